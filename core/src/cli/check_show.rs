//! `evbus check --show`: what the expressions and templates of each entry give for events.

use std::path::Path;
use std::sync::Arc;

use evbus::{Given, Plan};
use evbus_report::foreign_text;
use serde_json::json;

use super::exit::Exit;
use super::output::{Reader, json_line, table};
use super::recorded;

/// A longer text is cut in the table.
const MAX_SHOWN: usize = 200;

/// Shows what every entry of a plan gives for the events of a file.
pub(super) async fn run(plan: &Plan, file: &Path, as_json: bool) -> Result<(), Exit> {
    let mut rows = Vec::new();
    recorded::each(file, |_, event| {
        let event = Arc::new(event);
        let matching = plan.route(event.profile());
        for planned in plan.served() {
            let destination = planned.destination();
            let matches = matching.contains(&destination);
            let given = if matches {
                planned
                    .given(&event)
                    .map_err(|why| Exit::failed(format!("destination {destination}: {why}")))?
            } else {
                Vec::new()
            };
            if !as_json {
                rows.extend(lines(
                    &destination.to_string(),
                    event.profile(),
                    matches,
                    given,
                ));
                continue;
            }
            let given = given.iter().map(|Given { key, value }| match value {
                Ok(value) => json!({"key": key, "value": value}),
                Err(fault) => json!({"key": key, "fault": fault}),
            });
            let line = json!({
                "profile": event.profile(),
                "provider": destination.provider,
                "pattern": destination.pattern,
                "index": destination.index,
                "matches": matches,
                "given": given.collect::<Vec<_>>(),
            });
            if json_line(&line)? == Reader::Gone {
                return Ok(Reader::Gone);
            }
        }
        Ok(Reader::There)
    })
    .await?;
    if rows.is_empty() {
        return Ok(());
    }
    table(&["profile", "destination", "key", "gives"], rows)
}

fn lines(destination: &str, profile: &str, matches: bool, given: Vec<Given>) -> Vec<Vec<String>> {
    let row = |key: &str, gives: String| {
        let profile = foreign_text::message(profile, MAX_SHOWN).into_owned();
        vec![profile, destination.to_owned(), key.to_owned(), gives]
    };
    if !matches {
        return vec![row("-", "the pattern does not match".to_owned())];
    }
    if given.is_empty() {
        return vec![row("-", "the same for every event".to_owned())];
    }
    (given.into_iter())
        .map(|Given { key, value }| match value {
            Ok(value) => row(&key, foreign_text::message(&value, MAX_SHOWN).into_owned()),
            Err(fault) => row(&key, format!("fails: {fault}")),
        })
        .collect()
}
