//! Expressions about events, evaluated by this project and by the real Jinja2: the same JSON, or a fault in both.
//!
//! The expressions are in `expressions/table.txt`; those whose values differ, with both values, in
//! `expressions/differences.txt`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::json_server::JsonServer;
use evbus_expression::{Expression, Sample};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// What an expression without a value is said to give.
const FAULT: &str = "a fault";

/// The event of a sample.
#[derive(Deserialize)]
struct Described {
    profile: String,
    tags: BTreeMap<String, serde_json::Value>,
    body: Box<RawValue>,
}

impl Described {
    fn sample(&self) -> Sample {
        // Those that are not text are in the body.
        let texts = self.tags.iter();
        let tags: Vec<_> = texts
            .filter_map(|(key, value)| Some((&**key, value.as_str()?)))
            .collect();
        let id = 1_u128.to_be_bytes();
        let body = self.body.get().as_bytes();
        Sample::new(id, 1_764_547_200_123_456_000, &self.profile, body, &tags)
    }
}

/// An expression, with the name of its sample and the lines below it that are indented.
struct Row {
    sample: String,
    expression: String,
    expected: Vec<String>,
}

fn beside_the_test(name: &str) -> String {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/idem/expressions");
    fs::read_to_string(PathBuf::from(dir).join(name)).unwrap()
}

fn rows(file: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut sample = String::new();
    for line in beside_the_test(file).lines() {
        let heading = (line.strip_prefix('['))
            .and_then(|rest| rest.split_once("] "))
            .filter(|(name, _)| ["salt", "idem", "odd"].contains(name));
        if let Some((name, _)) = heading {
            name.clone_into(&mut sample);
        } else if let Some(expected) = line.strip_prefix("    ") {
            let row = rows.last_mut().expect("an expression is above");
            row.expected.push(expected.to_owned());
        } else if !line.is_empty() && !line.starts_with("# ") {
            rows.push(Row {
                sample: sample.clone(),
                expression: line.to_owned(),
                expected: Vec::new(),
            });
        }
    }
    rows
}

/// What both give for an expression; the fault of ours says why there is no value.
struct Evaluator {
    samples: BTreeMap<String, Sample>,
    jinja2: JsonServer,
}

impl Evaluator {
    fn start() -> Self {
        let described: BTreeMap<String, Described> =
            serde_json::from_str(&beside_the_test("samples.json")).unwrap();
        let samples = described.into_iter();
        Self {
            samples: samples.map(|(name, it)| (name, it.sample())).collect(),
            jinja2: JsonServer::start("idem/expressions/evaluate.py"),
        }
    }

    /// The value in Jinja2, ours, and our fault.
    fn evaluate(&mut self, row: &Row) -> (String, String, String) {
        let ours = Expression::compile(&row.expression)
            .map_err(|fault| fault.to_string())
            .and_then(|it| {
                it.json(&self.samples[&row.sample])
                    .map_err(|fault| fault.to_string())
            });
        let fault = ours.as_ref().err().cloned().unwrap_or_default();
        let answer = self.jinja2.ask(&json!({
            "sample": row.sample,
            "expression": row.expression,
            "ours": ours.ok(),
        }));
        let value = |who: &str| answer[who].as_str().unwrap_or(FAULT).to_owned();
        (value("theirs"), value("ours"), fault)
    }
}

#[test]
fn expressions_have_the_values_that_they_have_in_jinja2() {
    let rows = rows("table.txt");
    assert!(rows.len() > 800, "{}", rows.len());
    let mut evaluator = Evaluator::start();
    let mut values = 0;
    let mut differences = Vec::new();
    for row in &rows {
        let (theirs, ours, fault) = evaluator.evaluate(row);
        values += usize::from(theirs != FAULT);
        if theirs != ours {
            differences.push(format!(
                "[{}] {}\n    Jinja2: {theirs}\n    evbus: {ours} {fault}",
                row.sample, row.expression
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // The comparison proves little if most are faults.
    assert!(values > rows.len() / 2, "only {values} have a value");
}

#[test]
fn what_differs_from_jinja2_is_as_listed() {
    let mut evaluator = Evaluator::start();
    let mut others = Vec::new();
    for row in rows("differences.txt") {
        let (theirs, ours, _) = evaluator.evaluate(&row);
        let found = [format!("Jinja2: {theirs}"), format!("evbus: {ours}")];
        if theirs == ours || row.expected != found {
            others.push(format!("{}\n    {}", row.expression, found.join("\n    ")));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}
