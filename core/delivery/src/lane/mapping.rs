//! The policy's `body`: what a destination gets in place of an event's own body. It is made when the event is handed over, so
//! that what waits, in memory and on disk, is the event itself.

use std::sync::Arc;

use evbus_abi::v1::{OutcomeCodeV1, OutcomeV1};
use evbus_event::{Event, Subject};
use evbus_expression::Expression;
use tokio::time::{Duration, Instant};

use super::queued::Queued;

/// How long the bodies of one batch may take to be made: a lane's task shares its thread with others.
const TURN: Duration = Duration::from_millis(5);
/// As how many events' bodies are made before it is known what they cost.
const FIRST: usize = 64;

/// What a body has cost lately.
#[derive(Debug, Default)]
pub(super) struct Cost(Option<Duration>);

impl Cost {
    /// How many bodies can be made in a turn; at least one.
    pub(super) fn events(&self) -> usize {
        let Some(each) = self.0 else { return FIRST };
        let fit = TURN.as_nanos() / each.as_nanos().max(1);
        usize::try_from(fit).unwrap_or(usize::MAX).max(1)
    }

    fn learn(&mut self, took: Duration, events: usize) {
        let each = took / u32::try_from(events.max(1)).unwrap_or(u32::MAX);
        // A dear one counts at once; cheap ones are believed slowly.
        self.0 = Some(match self.0 {
            Some(before) if before > each => (before * 7 + each) / 8,
            _ => each,
        });
    }
}

/// A batch with other bodies.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    /// The events as they are in the queue.
    pub(super) events: Vec<Queued>,
    /// The same with the bodies that the destination gets, by position.
    pub(super) bodies: Vec<Event>,
    /// Those that have no such body, and why.
    pub(super) failed: Vec<(Queued, OutcomeV1)>,
}

/// Makes the bodies of a batch.
pub(super) fn map(batch: Vec<Queued>, body: &Expression, cost: &mut Cost) -> Mapped {
    let begun = Instant::now();
    let count = batch.len();
    let mut mapped = Mapped::default();
    for queued in batch {
        match other(&queued.event, body) {
            Ok(event) => {
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
    }
    cost.learn(begun.elapsed(), count);
    mapped
}

fn other(event: &Arc<Event>, body: &Expression) -> Result<Event, String> {
    let json = body
        .json(&Subject(Arc::clone(event)))
        .map_err(|fault| fault.to_string())?;
    let json = String::from_utf8(json).map_err(|error| error.to_string())?;
    event.with_json(&json).map_err(|error| error.to_string())
}
