//! Reads a configuration and finds all of its faults, not only the first.
//!
//! A deserializer gives up at the first value that it refuses. That value is taken out and the rest is
//! read again, until nothing is refused.

use evbus_expression::Template;
use evbus_expression::places::{Step, path_of, templates_in};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::expectation::{self, Complaint, Location};
use crate::{ConfigFault, known_keys};

/// How many unknown keys are reported individually: each costs a search for similar known ones.
const MAX_UNKNOWN: usize = 100;

/// How often a configuration is read at most; it may be a long list in which everything is wrong.
const MAX_READINGS: usize = 100;

/// A configuration and its faults.
pub(crate) struct Reading<C> {
    /// What can be read, without invalid values.
    pub(crate) config: Option<C>,
    pub(crate) faults: Vec<ConfigFault>,
    /// Paths of the values that are left out of `config`.
    pub(crate) unread: Vec<String>,
}

/// Reads a configuration from JSON text. `other_names` are those of [`Provider::OTHER_NAMES`].
///
/// [`Provider::OTHER_NAMES`]: crate::Provider::OTHER_NAMES
pub(crate) fn read<C: DeserializeOwned + JsonSchema>(
    json: &str,
    other_names: &[(&str, &str)],
) -> Reading<C> {
    let schema = schemars::schema_for!(C);
    let Ok(given) = serde_json::from_str::<Value>(json) else {
        let message = "found a configuration that is not JSON";
        return Reading {
            config: None,
            faults: vec![ConfigFault::new("", message)],
            unread: vec![String::new()],
        };
    };
    let out_of_range = expectation::out_of_range(schema.as_value(), &given);
    let mut rest = Rest::of(schema.as_value(), given);
    let mut config = None;
    for _ in 0..MAX_READINGS {
        if rest.is_nothing {
            break;
        }
        let mut unknown = Vec::new();
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(&rest.value, &mut track);
        let read = serde_ignored::deserialize(tracked, |path| {
            unknown.push(steps(&rest.value, &path).0);
        });
        let more = unknown.len().saturating_sub(MAX_UNKNOWN);
        for steps in unknown.into_iter().take(MAX_UNKNOWN) {
            rest.drop_unknown(&steps, other_names);
        }
        if more > 0 {
            let message = format!("found {more} more unknown keys, expected none of them");
            rest.faults.push(ConfigFault::new("", message));
            break;
        }
        match read {
            Ok(read) => {
                config = Some(read);
                break;
            }
            Err(refusal) => rest.drop_refused(&track.path(), &refusal.to_string()),
        }
    }
    // In addition to other faults; the deserializer reports some of these too.
    for (steps, message) in out_of_range {
        if !rest.refused.contains(&steps) {
            rest.faults.push(ConfigFault::new(path_of(&steps), message));
        }
    }
    Reading {
        config,
        unread: rest.refused.iter().map(|steps| path_of(steps)).collect(),
        faults: rest.faults,
    }
}

/// The remaining configuration.
struct Rest<'a> {
    schema: &'a Value,
    value: Value,
    is_nothing: bool,
    /// The positions in the whole configuration from which invalid values were removed.
    refused: Vec<Vec<Step>>,
    faults: Vec<ConfigFault>,
}

impl<'a> Rest<'a> {
    fn of(schema: &'a Value, given: Value) -> Self {
        let mut taken = expectation::lists_for_mappings(schema, &given);
        taken.extend(broken_templates(schema, &given));
        let mut rest = Self {
            schema,
            value: given,
            is_nothing: false,
            refused: Vec::new(),
            faults: Vec::new(),
        };
        for (steps, message) in &taken {
            rest.faults.push(ConfigFault::new(path_of(steps), message));
        }
        taken.sort();
        // From the last one backwards, so that the positions of the others stay valid.
        for (steps, _) in taken.into_iter().rev() {
            rest.take_out(&steps);
            rest.refused.push(steps);
        }
        rest
    }

    fn drop_unknown(&mut self, steps: &[Step], other_names: &[(&str, &str)]) {
        let mut message = "found an unknown key".to_owned();
        let keys = known_keys::beside(self.schema, steps);
        if let Some(keys) = &keys {
            message = format!("{message}, expected one of: {}", keys.join(", "));
        }
        if let Some((Step::Key(key), parents)) = steps.split_last() {
            let nearest = || Some(format!("`{}`", known_keys::nearest(key, keys.as_deref()?)?));
            let meant = known_keys::meant(key, &path_of(parents), other_names).or_else(nearest);
            if let Some(meant) = meant {
                message = format!("{message}; did you mean {meant}?");
            }
        }
        let at = path_of(&self.as_given(steps));
        self.faults.push(ConfigFault::new(at, message));
        self.take_out(steps);
    }

    fn drop_refused(&mut self, at: &serde_path_to_error::Path, refusal: &str) {
        let location = Location::of(self.schema, &self.value, at);
        let given = self.as_given(&location.steps);
        let key = |name: &str| [given.as_slice(), &[Step::Key(name.to_owned())]].concat();
        let mut found = Vec::new();
        let mut out = location.steps.clone();
        match location.complaint(self.schema, refusal) {
            Complaint::Missing(name) => {
                let mut names = location.missing(self.schema).unwrap_or_default();
                if !names.contains(&name) {
                    names.push(name);
                }
                names.retain(|name| !self.refused.contains(&key(name)));
                found.extend(names.iter().map(|name| format!("missing field `{name}`")));
            }
            Complaint::Twice(name) => {
                found.push(format!(
                    "found the key `{name}` twice, once under an alias; keep only one"
                ));
                let one = [location.steps.as_slice(), &[Step::Key(name)]].concat();
                if leads_to(&one, &self.value) {
                    out = one;
                }
            }
            // Parts of the value were removed, so the complaint is not about what the file contains.
            Complaint::Value if self.refused.iter().any(|it| it.starts_with(&given)) => {}
            Complaint::Value => found.push(location.sentence(self.schema)),
        }
        let at = path_of(&given);
        let found = found.into_iter();
        self.faults
            .extend(found.map(|message| ConfigFault::new(at.as_str(), message)));
        self.refused.push(self.as_given(&out));
        self.take_out(&out);
    }

    /// The same location in the whole configuration, in which lists have all their items.
    fn as_given(&self, steps: &[Step]) -> Vec<Step> {
        let mut given = Vec::new();
        for step in steps {
            let step = match step {
                Step::Key(key) => Step::Key(key.clone()),
                Step::Item(index) => {
                    let is_left = |position: &usize| {
                        let item = [given.as_slice(), &[Step::Item(*position)]].concat();
                        !self.refused.contains(&item)
                    };
                    Step::Item((0..).filter(is_left).nth(*index).unwrap_or(*index))
                }
            };
            given.push(step);
        }
        given
    }

    fn take_out(&mut self, steps: &[Step]) {
        let Some((last, parents)) = steps.split_last() else {
            self.is_nothing = true;
            return;
        };
        let mut value = Some(&mut self.value);
        for step in parents {
            value = value.and_then(|value| match step {
                Step::Key(key) => value.get_mut(key),
                Step::Item(index) => value.get_mut(index),
            });
        }
        match (value, last) {
            (Some(Value::Object(pairs)), Step::Key(key)) => {
                pairs.shift_remove(key);
            }
            (Some(Value::Array(items)), Step::Item(index)) if *index < items.len() => {
                items.remove(*index);
            }
            _ => {}
        }
    }
}

/// The templates that cannot be compiled, each with its fault.
fn broken_templates(schema: &Value, given: &Value) -> Vec<(Vec<Step>, String)> {
    let templates = templates_in(schema, given).into_iter();
    templates
        .filter_map(|(at, text)| {
            let fault = Template::compile(text).err()?;
            Some((at, fault.to_string()))
        })
        .collect()
}

/// The position at which `serde_ignored` was, and the value there. It does not show the key of an enum's variant.
fn steps<'a>(config: &'a Value, path: &serde_ignored::Path<'_>) -> (Vec<Step>, Option<&'a Value>) {
    use serde_ignored::Path;

    let (parent, step) = match path {
        Path::Root => return (Vec::new(), Some(config)),
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => return steps(config, parent),
        Path::Seq { parent, index } => (parent, Step::Item(*index)),
        Path::Map { parent, key } => (parent, Step::Key(key.clone())),
    };
    let (mut steps, mut found) = steps(config, parent);
    if let Some(Value::Object(pairs)) = found
        && found.and_then(|found| step.value_in(found)).is_none()
        && let Some((variant, value)) = pairs.iter().next()
    {
        steps.push(Step::Key(variant.clone()));
        found = Some(value);
    }
    let found = found.and_then(|found| step.value_in(found));
    steps.push(step);
    (steps, found)
}

fn leads_to(steps: &[Step], value: &Value) -> bool {
    let reached = steps
        .iter()
        .try_fold(value, |value, step| step.value_in(value));
    reached.is_some()
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;

    use crate::config::parse_config;

    #[test]
    fn a_number_outside_the_range_of_its_schema_is_found_beside_every_other_fault() {
        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code)]
        struct Rotate {
            size: u64,
            #[schemars(range(min = 1, max = 9))]
            keep: u32,
        }
        #[derive(Deserialize, JsonSchema)]
        #[serde(rename_all = "lowercase")]
        #[allow(dead_code)]
        enum Sync {
            Never,
            Every(#[schemars(range(min = 1))] u32),
        }
        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code)]
        struct Numbers {
            path: String,
            rotate: Option<Rotate>,
            sync: Option<Sync>,
            #[schemars(range(min = 0.5))]
            wait: Option<f64>,
            level: Option<u8>,
        }

        let json = r#"{"rotate": {"keep": 10}, "sync": {"every": 0}, "wait": 0.1, "level": 256}"#;
        let found = parse_config::<Numbers>(json).err().unwrap_or_default();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "rotate: missing field `size`",
                "level: found a number, expected a whole number from 0 to 255",
                "missing field `path`",
                "rotate.keep: found a number, expected a whole number from 1 to 9",
                "sync.every: found a number, expected a whole number from 1 to 4294967295",
                "wait: found a number, expected a number of at least 0.5",
            ]
        );
    }

    #[test]
    fn a_number_that_counts_something_is_asked_for_without_a_unit() {
        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code)]
        struct Sizes {
            #[schemars(range(min = 1), extend("x-unit" = "bytes"))]
            size: Option<u64>,
            #[schemars(extend("x-unit" = "seconds"))]
            wait: Option<f64>,
        }

        let faults = |json| {
            let found = parse_config::<Sizes>(json).err().unwrap_or_default();
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            found
        };
        assert_eq!(
            faults(r#"{"size": "100 MB", "wait": "5s"}"#),
            [
                "size: found text, expected a whole number of bytes of at least 1, without a unit",
                "wait: found text, expected a number of seconds, without a unit",
            ]
        );
        assert_eq!(
            faults(r#"{"size": 0, "wait": [5]}"#),
            [
                "wait: found a list, expected a number of seconds",
                "size: found a number, expected a whole number of bytes of at least 1",
            ]
        );
    }
}
