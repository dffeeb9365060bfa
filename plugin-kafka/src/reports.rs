//! Counts delivery reports, so that a whole batch costs one wait instead of one per message.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evbus_sdk::tokio::sync::oneshot;
use rdkafka::types::RDKafkaErrorCode;

/// A message that was not delivered: its position among the expected ones, and why.
pub(crate) type Failure = (usize, RDKafkaErrorCode);

/// The reports that are still to come.
///
/// Every message carries a ticket, a running number, through librdkafka. An expectation holds a
/// range of them; there are a few at a time, one per batch in flight.
#[derive(Default)]
pub(crate) struct Reports {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: usize,
    open: Vec<Open>,
}

struct Open {
    tickets: Range<usize>,
    /// How many reports are missing; never 0.
    missing: usize,
    failures: Vec<Failure>,
    done: oneshot::Sender<Vec<Failure>>,
}

impl Reports {
    /// Issues tickets for this many messages, at least one.
    pub(crate) fn expect(self: &Arc<Self>, count: usize) -> Expected {
        let (done, failures) = oneshot::channel();
        let mut table = self.lock();
        let tickets = table.next..table.next + count;
        table.next = tickets.end;
        table.open.push(Open {
            tickets: tickets.clone(),
            missing: count,
            failures: Vec::new(),
            done,
        });
        Expected {
            reports: Arc::clone(self),
            tickets,
            failures,
        }
    }

    /// Takes the report of a message. Does not block; called on librdkafka's reporting thread.
    pub(crate) fn arrived(&self, ticket: usize, error: Option<RDKafkaErrorCode>) {
        let mut table = self.lock();
        let found = table
            .open
            .iter()
            .position(|open| open.tickets.contains(&ticket));
        // The batch is gone if the host gave it up.
        let Some(position) = found else { return };
        let open = &mut table.open[position];
        if let Some(code) = error {
            open.failures.push((ticket - open.tickets.start, code));
        }
        open.missing -= 1;
        if open.missing == 0 {
            let open = table.open.swap_remove(position);
            drop(table);
            let _ = open.done.send(open.failures);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reports of the messages of one batch. Dropping it gives up waiting.
pub(crate) struct Expected {
    reports: Arc<Reports>,
    tickets: Range<usize>,
    failures: oneshot::Receiver<Vec<Failure>>,
}

impl Expected {
    /// The ticket of the message at a position.
    pub(crate) fn ticket(&self, position: usize) -> usize {
        self.tickets.start + position
    }

    /// Notes that the message at a position was not sent, so that there will be no report of it.
    pub(crate) fn forget(&self, position: usize) {
        self.reports.arrived(self.ticket(position), None);
    }

    /// Waits for all reports and returns the failures, in the order of their arrival.
    pub(crate) async fn wait(mut self) -> Vec<Failure> {
        // The sender lives in the table until all reports have arrived or `self` is dropped.
        (&mut self.failures).await.unwrap_or_default()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let first = self.tickets.start;
        self.reports
            .lock()
            .open
            .retain(|open| open.tickets.start != first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(expected: Expected) -> Vec<Failure> {
        evbus_sdk::tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers")
            .block_on(expected.wait())
    }

    #[test]
    fn a_batch_is_done_when_its_last_report_has_come_in_any_order() {
        let reports = Arc::new(Reports::default());
        let (first, second) = (reports.expect(2), reports.expect(3));
        for position in [2, 0] {
            reports.arrived(second.ticket(position), None);
        }
        reports.arrived(first.ticket(1), Some(RDKafkaErrorCode::MessageTimedOut));
        reports.arrived(second.ticket(1), Some(RDKafkaErrorCode::InvalidTopic));
        assert_eq!(wait(second), [(1, RDKafkaErrorCode::InvalidTopic)]);
        first.forget(0);
        assert_eq!(wait(first), [(1, RDKafkaErrorCode::MessageTimedOut)]);
        assert!(reports.lock().open.is_empty());
    }

    #[test]
    fn reports_of_a_batch_that_was_given_up_are_ignored() {
        let reports = Arc::new(Reports::default());
        let expected = reports.expect(1);
        let ticket = expected.ticket(0);
        drop(expected);
        assert!(reports.lock().open.is_empty());
        reports.arrived(ticket, None);
    }
}
