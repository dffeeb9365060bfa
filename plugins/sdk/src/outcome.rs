//! Outcomes of events and of connection attempts.

use std::time::Duration;

use evbus_abi::RString;
use evbus_abi::v1::{
    BatchOutcomeV1, ConnectFailureV1, ExceptionV1, FateV1, OutcomeCodeV1, OutcomeV1,
};

/// The longest delay that [`Outcome::Retry`] can request; a longer one is shortened to this.
///
/// Such delays usually come from far systems (`Retry-After`, for example), and a wrong one must not
/// stop a destination. The host's own limit, `max_delay` in the destination's retry policy, may be lower.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// The start of the log line for a list of outcomes that does not fit its batch.
#[doc(hidden)]
pub const WRONG_COUNT: &str = "the plugin returned outcomes for";

/// The outcome of one event. Reasons are for the operator: one sentence, no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The far system acknowledged the event. An event that is only queued in a client library is not
    /// accepted yet.
    Accepted,
    /// The event was not delivered, but may be later: broker down, timeout, connection lost.
    Retry {
        /// Why.
        reason: String,
        /// The shortest delay before the next attempt, at most [`MAX_RETRY_AFTER`]; if `None`, the host's
        /// backoff decides.
        after: Option<Duration>,
    },
    /// The event can never be delivered as it is: too large, not allowed, unroutable.
    Rejected {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// Requests another attempt after the host's backoff.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            after: None,
        }
    }

    /// Rejects the event: it is never retried.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected {
            reason: reason.into(),
        }
    }

    fn into_abi(self) -> OutcomeV1 {
        match self {
            Self::Accepted => OutcomeV1::accepted(),
            Self::Retry { reason, after } => OutcomeV1 {
                code: OutcomeCodeV1::RETRY,
                retry_after_ms: after.map_or(0, |after| {
                    let after = after.min(MAX_RETRY_AFTER).as_millis();
                    // Bounded, so it fits; 0 would leave the delay to the host.
                    u32::try_from(after).unwrap_or(u32::MAX).max(1)
                }),
                reason: RString::from(reason),
            },
            Self::Rejected { reason } => OutcomeV1 {
                code: OutcomeCodeV1::REJECTED,
                retry_after_ms: 0,
                reason: RString::from(reason),
            },
        }
    }
}

/// The outcomes of a batch: one for all events, or a list, and exceptions by position.
///
/// If a list is shorter than its batch, the remaining events are retried; outcomes beyond the end of the
/// batch are ignored. Both are logged as errors of the plugin.
#[derive(Debug, Clone)]
pub struct Outcomes {
    all: Outcome,
    /// How many events a list covers; without a list, `all` holds for every event.
    listed: Option<usize>,
    exceptions: Vec<(usize, Outcome)>,
    instance: FateV1,
}

impl Outcomes {
    /// Every event was accepted.
    pub fn accepted() -> Self {
        Self::all(Outcome::Accepted)
    }

    /// Every event has this outcome.
    pub fn all(outcome: Outcome) -> Self {
        Self {
            all: outcome,
            listed: None,
            exceptions: Vec::new(),
            instance: FateV1::WORKS,
        }
    }

    /// Sets the outcome of the event at a position of the batch, from 0; the last call for a position counts.
    pub fn set(&mut self, index: usize, outcome: Outcome) {
        self.exceptions.push((index, outcome));
    }

    /// Asks the host to replace this instance with a new one, for example if its connection is beyond repair.
    #[must_use]
    pub fn rebuild_instance(mut self) -> Self {
        self.instance = FateV1::BROKEN;
        self
    }

    /// Tells the host that the instance went down over this batch.
    pub(crate) fn crashed(mut self) -> Self {
        self.instance = FateV1::CRASHED;
        self
    }

    /// The form that crosses the ABI, for a batch of this many events.
    pub(crate) fn into_abi(self, events: usize) -> BatchOutcomeV1 {
        let Self {
            mut all,
            listed,
            mut exceptions,
            instance,
        } = self;
        let beyond = exceptions.iter().map(|(index, _)| index + 1).max();
        let named = listed.max(beyond).unwrap_or(0);
        if named > events {
            exceptions.retain(|(index, _)| *index < events);
            tracing::error!(
                "{WRONG_COUNT} {named} events, but the batch has {events}; the rest is ignored"
            );
        }
        let mut of_list = Vec::new();
        if let Some(listed) = listed.filter(|listed| *listed < events) {
            tracing::error!("{WRONG_COUNT} {listed} of {events} events; the others are retried");
            // Nothing is known of the rest, so the listed outcomes become the exceptions.
            of_list = vec![Outcome::Accepted; listed];
            all = Outcome::retry(format!(
                "the plugin returned outcomes for {listed} of the {events} events of the batch, but \
                 none for this one; report this to the plugin's author"
            ));
        }
        let exceptions = of_list.into_iter().enumerate().chain(exceptions);
        BatchOutcomeV1 {
            all: all.into_abi(),
            exceptions: exceptions
                .filter_map(|(index, outcome)| {
                    Some(ExceptionV1 {
                        index: u32::try_from(index).ok()?,
                        outcome: outcome.into_abi(),
                    })
                })
                .collect(),
            instance,
        }
    }
}

impl FromIterator<Outcome> for Outcomes {
    /// Collects one outcome per event, in the batch's order.
    fn from_iter<I: IntoIterator<Item = Outcome>>(outcomes: I) -> Self {
        let mut collected = Self::accepted();
        let mut count = 0;
        for (index, outcome) in outcomes.into_iter().enumerate() {
            count = index + 1;
            if outcome != Outcome::Accepted {
                collected.set(index, outcome);
            }
        }
        collected.listed = Some(count);
        collected
    }
}

/// Why a connection failed. Reasons are for the operator: one sentence, no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// Another attempt may succeed; the host retries with backoff.
    Retry(String),
    /// Every attempt fails until somebody changes something: wrong credentials, a missing certificate. The
    /// host logs an error and retries slowly.
    Permanent(String),
}

impl ConnectError {
    /// Another attempt may succeed.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry(reason.into())
    }

    /// Every attempt fails until somebody changes something.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent(reason.into())
    }

    pub(crate) fn into_abi(self) -> ConnectFailureV1 {
        let (permanent, reason) = match self {
            Self::Retry(reason) => (false, reason),
            Self::Permanent(reason) => (true, reason),
        };
        ConnectFailureV1 {
            permanent,
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes that a host reads.
    fn codes(outcomes: Outcomes, events: usize) -> Vec<OutcomeCodeV1> {
        let outcome = outcomes.into_abi(events);
        let mut codes = vec![outcome.all.code; events];
        for exception in outcome.exceptions {
            codes[exception.index as usize] = exception.outcome.code;
        }
        codes
    }

    const ACCEPTED: OutcomeCodeV1 = OutcomeCodeV1::ACCEPTED;
    const RETRY: OutcomeCodeV1 = OutcomeCodeV1::RETRY;
    const REJECTED: OutcomeCodeV1 = OutcomeCodeV1::REJECTED;

    #[test]
    fn events_that_a_list_does_not_reach_are_tried_again() {
        let list = [Outcome::Accepted, Outcome::rejected("no")];
        let outcomes: Outcomes = list.clone().into_iter().collect();
        assert_eq!(
            codes(outcomes.clone(), 4),
            [ACCEPTED, REJECTED, RETRY, RETRY]
        );
        let reason = outcomes.into_abi(4).all.reason;
        assert!(reason.contains("2 of the 4 events"), "{reason}");

        let mut completed: Outcomes = list.into_iter().collect();
        completed.set(3, Outcome::Accepted);
        assert_eq!(codes(completed, 4), [ACCEPTED, REJECTED, RETRY, ACCEPTED]);
        assert_eq!(codes(Outcomes::from_iter([]), 2), [RETRY, RETRY]);
    }

    #[test]
    fn outcomes_beyond_the_batch_are_ignored() {
        let mut outcomes: Outcomes = vec![Outcome::rejected("no"); 3].into_iter().collect();
        outcomes.set(usize::MAX - 1, Outcome::Accepted);
        assert_eq!(codes(outcomes.clone(), 2), [REJECTED, REJECTED]);
        assert_eq!(outcomes.into_abi(2).exceptions.len(), 2);
        let mut outcomes = Outcomes::accepted();
        outcomes.set(2, Outcome::retry("later"));
        assert_eq!(codes(outcomes, 2), [ACCEPTED, ACCEPTED]);
    }

    #[test]
    fn a_list_that_fits_and_accepts_everything_crosses_without_exceptions() {
        let outcomes: Outcomes = vec![Outcome::Accepted; 3].into_iter().collect();
        let outcome = outcomes.into_abi(3);
        assert_eq!(outcome.all.code, ACCEPTED);
        assert!(outcome.exceptions.is_empty());
    }

    #[test]
    fn a_pause_that_a_far_system_asks_for_has_a_bound() {
        let asked = |after| {
            let reason = String::new();
            let retry = Outcome::Retry { reason, after };
            retry.into_abi().retry_after_ms
        };
        assert_eq!(asked(None), 0);
        assert_eq!(asked(Some(Duration::ZERO)), 1);
        assert_eq!(asked(Some(Duration::from_secs(90))), 90_000);
        for long in [
            Duration::from_hours(2),
            Duration::from_millis(u64::from(u32::MAX)),
            Duration::MAX,
        ] {
            assert_eq!(asked(Some(long)), 3_600_000, "{long:?}");
        }
    }
}
