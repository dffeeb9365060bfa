//! The keys that say something about each event: `when`, `body`, `rate`, `dedup`.

use std::time::Duration;

use evbus_destination::{Dedup, Rate};
use evbus_expression::Expression;

use super::{DAY, Reader, Spot, duration, events};
use crate::node::Value;

/// The defaults of `dedup`.
const WITHIN: Duration = Duration::from_mins(1);
const KEEP: usize = 10_000;

impl Reader<'_> {
    pub(super) fn expression(&mut self, field: &mut Option<Expression>, spot: &Spot<'_>) {
        self.set(field, spot, |value| expression(value).map(Some));
    }

    pub(super) fn rate(&mut self, spot: &Spot<'_>) -> Option<Rate> {
        let (mut count, mut per) = (None, Duration::from_secs(1));
        self.fields(spot, &["events", "per"], |this, name, spot| match name {
            "events" => this.set(&mut count, spot, |v| {
                events(v, 100_000_000).map(|n| u32::try_from(n).ok())
            }),
            _ => this.set(&mut per, spot, |v| duration(v, 0.01..=DAY)),
        });
        let Some(events) = count else {
            self.missing(spot, "events", "`rate: {events: 100, per: 1s}`");
            return None;
        };
        Some(Rate { events, per })
    }

    pub(super) fn dedup(&mut self, spot: &Spot<'_>) -> Option<Dedup> {
        let (mut key, mut within, mut keep) = (None, WITHIN, KEEP);
        let known = ["key", "within", "keep"];
        self.fields(spot, &known, |this, name, spot| match name {
            "key" => this.expression(&mut key, spot),
            "within" => this.set(&mut within, spot, |v| duration(v, 0.1..=7.0 * DAY)),
            _ => this.set(&mut keep, spot, |v| events(v, 1_000_000)),
        });
        let Some(key) = key else {
            self.missing(spot, "key", "`dedup: {key: message.id, within: 60s}`");
            return None;
        };
        Some(Dedup { key, within, keep })
    }

    /// A key that the mapping must have; nothing if another fault says why it is not there.
    fn missing(&mut self, spot: &Spot<'_>, key: &str, example: &str) {
        let has_key = match &spot.node.value {
            Value::Map(pairs) => pairs.iter().any(|(it, _)| it.name == key),
            Value::Null => false,
            _ => true,
        };
        if !has_key {
            let message = format!("missing key `{key}`; write it as in {example}");
            self.fault(spot, &message);
        }
    }
}

fn expression(value: &Value) -> Result<Expression, String> {
    let text = match value {
        Value::Text(text) => text.as_str().to_owned(),
        // YAML reads `true` and `1` as what they are as expressions, too.
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        other => {
            return Err(format!(
                "found {}, expected a Jinja expression as text; put it in quotes, such as \"tags.type == 'x'\"",
                other.kind()
            ));
        }
    };
    Expression::compile(&text).map_err(|fault| fault.to_string())
}
