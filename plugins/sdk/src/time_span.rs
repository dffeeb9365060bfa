//! Durations in a configuration.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time in a configuration: a number of seconds (`30`, `0.5`), or text with units (`500ms`, `5m`,
/// `1h 30m`), as the host reads the durations of its own keys.
///
/// At most [`TimeSpan::MAX`], so that it can be added to the current time. The schema describes both forms; an author
/// adds the range of the key in seconds, which holds for both: `#[schemars(range(min = 1, max = 3600))]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(Duration);

impl TimeSpan {
    /// Ten years of 365 days.
    pub const MAX: Self = Self(Duration::from_hours(3650 * 24));

    /// A number of seconds, such as a default; [`TimeSpan::MAX`] if there are more.
    pub const fn from_secs(seconds: u64) -> Self {
        let most = Self::MAX.0.as_secs();
        Self(Duration::from_secs(if seconds < most {
            seconds
        } else {
            most
        }))
    }

    /// The same as a duration.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl From<TimeSpan> for Duration {
    fn from(span: TimeSpan) -> Self {
        span.0
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = TimeSpan;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let most = TimeSpan::MAX.0.as_secs();
                let units = evbus_duration::WITH_UNITS;
                write!(f, "a number of seconds from 0 to {most}, or {units}")
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<TimeSpan, E> {
                bounded(Some(Duration::from_secs(seconds)), &self)
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<TimeSpan, E> {
                bounded(u64::try_from(seconds).ok().map(Duration::from_secs), &self)
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<TimeSpan, E> {
                bounded(Duration::try_from_secs_f64(seconds).ok(), &self)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<TimeSpan, E> {
                bounded(evbus_duration::parse(text), &self)
            }
        }

        fn bounded<E: de::Error>(
            found: Option<Duration>,
            expected: &Written,
        ) -> Result<TimeSpan, E> {
            (found.map(TimeSpan))
                .filter(|span| *span <= TimeSpan::MAX)
                .ok_or_else(|| E::invalid_value(de::Unexpected::Other("this value"), expected))
        }

        deserializer.deserialize_any(Written)
    }
}

impl Serialize for TimeSpan {
    /// As a number of seconds, in which the schema shows a default.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_nanos() {
            0 => serializer.serialize_u64(self.0.as_secs()),
            _ => serializer.serialize_f64(self.0.as_secs_f64()),
        }
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> Cow<'static, str> {
        "TimeSpan".into()
    }

    /// Inline, so that the range of a key is beside the types.
    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["number", "string"],
            "minimum": 0,
            "maximum": TimeSpan::MAX.0.as_secs(),
            "x-unit": "seconds",
            "examples": [30, "500ms", "5m", "1h 30m"],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::parse_config;

    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Config {
        #[serde(default = "half_a_minute")]
        #[schemars(range(min = 0.5, max = 3600))]
        wait: TimeSpan,
        pause: Option<TimeSpan>,
        every: Option<Every>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code)]
    enum Every {
        Batch,
        Interval(#[schemars(range(min = 1))] TimeSpan),
    }

    fn half_a_minute() -> TimeSpan {
        TimeSpan::from_secs(30)
    }

    fn faults(config: &serde_json::Value) -> Vec<String> {
        let found = parse_config::<Config>(&config.to_string()).err();
        let found = found.iter().flatten();
        found.map(ToString::to_string).collect()
    }

    #[test]
    fn a_time_span_is_a_number_of_seconds_or_text_with_units() {
        for (value, millis) in [
            (json!(10), 10_000),
            (json!(0.5), 500),
            (json!("10"), 10_000),
            (json!("30s"), 30_000),
            (json!("500ms"), 500),
            (json!("5m"), 300_000),
            (json!("1h 30m"), 5_400_000),
            (json!("7d"), 604_800_000),
            (json!(3650 * 86_400), 315_360_000_000),
        ] {
            let read = serde_json::from_value::<TimeSpan>(value.clone());
            let read = read.map(TimeSpan::duration).ok();
            assert_eq!(read, Some(Duration::from_millis(millis)), "{value}");
        }
        for wrong in [
            json!(-1),
            json!(-0.5),
            json!(1e300),
            json!(u64::MAX),
            json!("5M"),
            json!("1 year"),
            json!("soon"),
            json!("3651d"),
            json!([5]),
            json!(true),
        ] {
            let read = serde_json::from_value::<TimeSpan>(wrong.clone());
            assert!(read.is_err(), "{wrong}");
        }
        assert_eq!(TimeSpan::from_secs(u64::MAX), TimeSpan::MAX);
    }

    #[test]
    fn the_range_of_a_key_holds_for_both_forms() {
        let units = "or a duration with units such as 30s, 5m, 7d";
        let wait = format!("expected a number of seconds from 0.5 to 3600, {units}");
        let every = format!("expected a number of seconds from 1 to 315360000, {units}");
        let pause = format!("expected a number of seconds from 0 to 315360000, {units}");
        for (value, found) in [
            (json!(0.4), "a number"),
            (json!("400ms"), "text"),
            (json!(3601), "a number"),
            (json!("2h"), "text"),
            (json!("1M"), "text"),
            (json!("5 parsecs"), "text"),
            (json!([5]), "a list"),
        ] {
            let sentence = format!("wait: found {found}, {wait}");
            assert_eq!(faults(&json!({ "wait": value })), [sentence]);
        }
        assert_eq!(
            faults(&json!({"pause": "3651d", "every": {"interval": "900ms"}})),
            [
                format!("pause: found text, {pause}"),
                format!("every.interval: found text, {every}"),
            ]
        );
        assert_eq!(
            faults(&json!({"pause": -1, "every": {"interval": 0.9}})),
            [
                format!("pause: found a number, {pause}"),
                format!("every.interval: found a number, {every}"),
            ]
        );
        for config in [
            json!({}),
            json!({"wait": "500ms", "pause": null, "every": "batch"}),
            json!({"wait": 3600, "pause": "0s", "every": {"interval": "1s"}}),
        ] {
            assert_eq!(faults(&config), [""; 0], "{config}");
        }
    }

    #[test]
    fn the_schema_shows_both_forms_with_range_unit_and_default() {
        let schema = schemars::schema_for!(Config);
        let wait = &schema.as_value()["properties"]["wait"];
        assert_eq!(wait["type"], json!(["number", "string"]));
        assert_eq!(wait["minimum"], json!(0.5));
        assert_eq!(wait["maximum"], json!(3600));
        assert_eq!(wait["x-unit"], json!("seconds"));
        assert_eq!(wait["default"], json!(30));
        let pause = &schema.as_value()["properties"]["pause"];
        assert_eq!(pause["type"], json!(["number", "string", "null"]));
    }
}
