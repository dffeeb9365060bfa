//! The policy's `body`: what a destination gets in place of an event's own body. It is made when the event is handed over, so
//! that what waits, in memory and on disk, is the event itself.

use std::sync::Arc;

use evbus_abi::v1::{OutcomeCodeV1, OutcomeV1};
use evbus_event::{Event, Subject};
use evbus_expression::Expression;
use tokio::time::{Duration, Instant};

use super::queued::Queued;

/// How long a lane makes bodies before it looks at what else there is to do: it shares its thread with others.
const TURN: Duration = Duration::from_millis(5);

/// A batch with other bodies, as far as there was time and room for them.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    /// The events as they are in the queue.
    pub(super) events: Vec<Queued>,
    /// The same with the bodies that the destination gets, by position.
    pub(super) bodies: Vec<Event>,
    /// Those that have no such body, and why.
    pub(super) failed: Vec<(Queued, OutcomeV1)>,
    /// Those that come later.
    pub(super) left: Vec<Queued>,
}

/// Makes the bodies of a batch, up to about `max_bytes` of them; at least one.
pub(super) fn map(batch: Vec<Queued>, body: &Expression, max_bytes: usize) -> Mapped {
    let begun = Instant::now();
    let mut mapped = Mapped::default();
    let mut bytes = 0;
    let mut batch = batch.into_iter();
    for queued in batch.by_ref() {
        match other(&queued.event, body) {
            Ok(event) => {
                bytes += event.size();
                mapped.events.push(queued);
                mapped.bodies.push(event);
            }
            Err(reason) => mapped.failed.push((
                queued,
                OutcomeV1 {
                    code: OutcomeCodeV1::REJECTED,
                    retry_after_ms: 0,
                    reason: format!("`evbus.body` fails for this event: {reason}").into(),
                },
            )),
        }
        if bytes >= max_bytes || begun.elapsed() >= TURN {
            break;
        }
    }
    mapped.left = batch.collect();
    mapped
}

fn other(event: &Arc<Event>, body: &Expression) -> Result<Event, String> {
    let json = body
        .json(&Subject(Arc::clone(event)))
        .map_err(|fault| fault.to_string())?;
    event.with_json(&json).map_err(|error| error.to_string())
}
