//! `evbus route --event`: where events go, and why.

use std::path::Path;
use std::sync::Arc;

use evbus::Plan;
use serde_json::{Value, json};

use super::exit::Exit;
use super::output::json_line;
use super::recorded;

/// Prints a line for each event of a file: for every entry, whether its pattern matches and what its filter says.
pub(super) async fn run(plan: &Plan, file: &Path) -> Result<(), Exit> {
    recorded::each(file, |_, event| {
        let event = Arc::new(event);
        let matching = plan.route(event.profile());
        let destinations = plan.served().iter().map(|planned| {
            let destination = planned.destination();
            let matches = matching.contains(&destination);
            let filter = planned.lets_pass(&event).filter(|_| matches);
            let (when, fault) = match filter {
                None => (Value::Null, Value::Null),
                Some(Ok(is_true)) => (json!(is_true.to_string()), Value::Null),
                Some(Err(fault)) => (json!("failed"), json!(fault)),
            };
            json!({
                "provider": destination.provider,
                "pattern": destination.pattern,
                "index": destination.index,
                "matches": matches,
                "when": when,
                "fault": fault,
                // A filter that fails lets the event pass.
                "goes": matches && when != json!("false"),
            })
        });
        json_line(&json!({
            "profile": event.profile(),
            "destinations": destinations.collect::<Vec<_>>(),
        }))
    })
    .await
}
