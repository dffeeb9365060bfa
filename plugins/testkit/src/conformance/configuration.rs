//! Cases about a provider's configuration and its schema.

use serde_json::{Map, Value, json};

use super::{Conformance, Report, ensure};

/// A key that no plugin has.
const UNKNOWN: &str = "evbus_conformance_unknown";

impl Conformance {
    pub(super) fn run_configuration(&self, report: &mut Report) {
        report.add("has a name", self.has_a_name());
        report.add("accepts the configuration", self.accepts_the_config());
        report.add(
            "names unknown keys at every depth",
            self.names_unknown_keys(),
        );
        report.add("names the key of a wrong type", self.names_wrong_types());
        report.add(
            "refuses a configuration that is not an object",
            self.refuses_no_object(),
        );
        report.add(
            "has a JSON Schema of its configuration",
            self.has_a_schema(),
        );
        report.add(
            "describes every key in its schema",
            self.describes_its_keys(),
        );
    }

    fn has_a_name(&self) -> Result<(), String> {
        let names = self.harness.names();
        ensure!(!names.is_empty(), "it serves no provider name");
        ensure!(
            names
                .iter()
                .all(|name| !name.is_empty() && !name.contains(char::is_whitespace)),
            "a provider name is empty or has white space: {names:?}"
        );
        Ok(())
    }

    fn accepts_the_config(&self) -> Result<(), String> {
        for config in std::iter::once(&self.config).chain(&self.second_config) {
            let faults = self.harness.check(config);
            ensure!(
                faults.is_empty(),
                "faults in a working configuration: {faults:?}"
            );
        }
        Ok(())
    }

    fn names_unknown_keys(&self) -> Result<(), String> {
        for path in self.objects() {
            let mut config = self.config.clone();
            at(&mut config, &path).insert(UNKNOWN.to_owned(), json!(1));
            let mut expected = path;
            expected.push(UNKNOWN.to_owned());
            self.faults_name(&config, &expected.join("."), "an unknown key")?;
        }
        Ok(())
    }

    fn names_wrong_types(&self) -> Result<(), String> {
        for parent in self.objects() {
            let keys: Vec<String> = at(&mut self.config.clone(), &parent)
                .keys()
                .cloned()
                .collect();
            for key in keys {
                let mut config = self.config.clone();
                let value = &mut at(&mut config, &parent)[&key];
                *value = if value.is_object() {
                    json!(3.25)
                } else {
                    json!({UNKNOWN: {}})
                };
                let mut path = parent.clone();
                path.push(key);
                self.faults_name(&config, &path.join("."), "a value of a wrong type")?;
            }
        }
        Ok(())
    }

    fn refuses_no_object(&self) -> Result<(), String> {
        for config in [json!("text"), json!(7), json!(null)] {
            ensure!(
                !self.harness.check(&config).is_empty(),
                "{config} is accepted"
            );
        }
        Ok(())
    }

    fn has_a_schema(&self) -> Result<(), String> {
        let schema = self.harness.schema();
        ensure!(
            schema["type"] == "object" || schema["properties"].is_object(),
            "the schema describes no object: {schema}"
        );
        for path in self.objects() {
            for key in at(&mut self.config.clone(), &path).keys() {
                let mut of_key = path.clone();
                of_key.push(key.clone());
                ensure!(
                    find(&schema, &schema, &of_key).is_some(),
                    "the schema does not know the key {}",
                    of_key.join(".")
                );
            }
        }
        Ok(())
    }

    fn describes_its_keys(&self) -> Result<(), String> {
        let schema = self.harness.schema();
        let properties = schema["properties"].as_object().into_iter().flatten();
        let silent: Vec<&String> = properties
            .filter(|(_, property)| property["description"].as_str().is_none_or(str::is_empty))
            .map(|(key, _)| key)
            .collect();
        ensure!(silent.is_empty(), "no description of {silent:?}");
        Ok(())
    }

    /// Checks that the configuration has a fault at or below a path.
    fn faults_name(&self, config: &Value, path: &str, what: &str) -> Result<(), String> {
        let faults = self.harness.check(config);
        let named = faults.iter().any(|fault| {
            fault.path.strip_prefix(path).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('.') || rest.starts_with('[')
            })
        });
        ensure!(
            named,
            "{what} at {path} is not named; the faults are {faults:?}"
        );
        Ok(())
    }

    /// Paths of all objects in the configuration that have fixed keys, the whole first.
    fn objects(&self) -> Vec<Vec<String>> {
        let mut paths = vec![Vec::new()];
        let mut next = 0;
        while let Some(path) = paths.get(next).cloned() {
            next += 1;
            for (key, value) in at(&mut self.config.clone(), &path).iter() {
                let mut path = path.clone();
                path.push(key.clone());
                if value.is_object() && !self.free_form.contains(&path.join(".")) {
                    paths.push(path);
                }
            }
        }
        paths
    }
}

/// The object at a path from [`Conformance::objects`].
fn at<'a>(config: &'a mut Value, path: &[String]) -> &'a mut Map<String, Value> {
    let mut value = config;
    for key in path {
        value = &mut value[key];
    }
    value
        .as_object_mut()
        .expect("the configuration is an object and so is everything a path leads to")
}

/// The schema of the key at a path, through references and alternatives.
fn find<'a>(root: &'a Value, schema: &'a Value, path: &[String]) -> Option<&'a Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return find(root, root.pointer(reference.strip_prefix('#')?)?, path);
    }
    let Some((key, rest)) = path.split_first() else {
        return Some(schema);
    };
    let own = schema["properties"].get(key);
    let alternatives = ["anyOf", "oneOf", "allOf"]
        .into_iter()
        .filter_map(|of| schema[of].as_array())
        .flatten();
    own.and_then(|property| find(root, property, rest))
        .or_else(|| {
            alternatives
                .into_iter()
                .find_map(|other| find(root, other, path))
        })
}
