//! What became of events and of connection attempts.

use std::time::Duration;

use evbus_abi::RString;
use evbus_abi::v1::{
    BatchOutcomeV1, ConnectFailureV1, ExceptionV1, FateV1, OutcomeCodeV1, OutcomeV1,
};

/// What became of one event. Reasons are for the operator: one sentence, no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The far system acknowledged it. An event that is merely queued in a client library is not
    /// accepted yet.
    Accepted,
    /// Not delivered, may succeed later: broker down, timeout, connection lost.
    Retry {
        /// Why.
        reason: String,
        /// Not before this time has passed; without it the host's backoff decides.
        after: Option<Duration>,
    },
    /// Will never succeed as it is: too large, not allowed, unroutable.
    Rejected {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// To be tried again, after the host's backoff.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            after: None,
        }
    }

    /// Never to be tried again.
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
                    u32::try_from(after.as_millis()).unwrap_or(u32::MAX).max(1)
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

/// The outcomes of a batch: one for all events, and exceptions by position.
#[derive(Debug, Clone)]
pub struct Outcomes {
    all: Outcome,
    exceptions: Vec<(usize, Outcome)>,
    instance: FateV1,
}

impl Outcomes {
    /// Every event was accepted.
    pub fn accepted() -> Self {
        Self::all(Outcome::Accepted)
    }

    /// Every event had this outcome.
    pub fn all(outcome: Outcome) -> Self {
        Self {
            all: outcome,
            exceptions: Vec::new(),
            instance: FateV1::WORKS,
        }
    }

    /// Sets the outcome of the event at a position of the batch, from 0.
    pub fn set(&mut self, index: usize, outcome: Outcome) {
        self.exceptions.push((index, outcome));
    }

    /// Asks the host to replace this instance by a new one (its connection is beyond repair, say).
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

    pub(crate) fn into_abi(self) -> BatchOutcomeV1 {
        BatchOutcomeV1 {
            all: self.all.into_abi(),
            exceptions: self
                .exceptions
                .into_iter()
                .filter_map(|(index, outcome)| {
                    Some(ExceptionV1 {
                        index: u32::try_from(index).ok()?,
                        outcome: outcome.into_abi(),
                    })
                })
                .collect(),
            instance: self.instance,
        }
    }
}

impl FromIterator<Outcome> for Outcomes {
    /// Collects one outcome per event, in the batch's order.
    fn from_iter<I: IntoIterator<Item = Outcome>>(outcomes: I) -> Self {
        let mut collected = Self::accepted();
        for (index, outcome) in outcomes.into_iter().enumerate() {
            if outcome != Outcome::Accepted {
                collected.set(index, outcome);
            }
        }
        collected
    }
}

/// Why a connection was not made. Reasons are for the operator: one sentence, no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// May succeed later; the host tries again with backoff.
    Retry(String),
    /// Will fail until somebody changes something: wrong credentials, a missing certificate. The
    /// host says so loudly and tries again, slowly.
    Permanent(String),
}

impl ConnectError {
    /// May succeed later.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry(reason.into())
    }

    /// Will fail until somebody changes something.
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
