//! The outcome of a batch, as a message.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use evbus_abi::v1::{BatchOutcomeV1, ExceptionV1, FateV1, OutcomeCodeV1, OutcomeV1};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::one_line;

/// The most outcomes that a batch can have: as many as it can have events.
const MAX_EXCEPTIONS: usize = 1_000_000;

/// Reads no more exceptions than a batch can have, however many a frame holds: in memory they take ten times
/// as much.
fn exceptions<'de, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(u32, Outcome<'a>)>, D::Error> {
    struct Bounded<'a>(PhantomData<&'a ()>);

    impl<'de, 'a> Visitor<'de> for Bounded<'a> {
        type Value = Vec<(u32, Outcome<'a>)>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "at most {MAX_EXCEPTIONS} exceptions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut exceptions = Vec::new();
            while let Some(exception) = seq.next_element()? {
                if exceptions.len() == MAX_EXCEPTIONS {
                    return Err(de::Error::invalid_length(MAX_EXCEPTIONS + 1, &self));
                }
                exceptions.push(exception);
            }
            Ok(exceptions)
        }
    }

    deserializer.deserialize_seq(Bounded(PhantomData))
}

/// A [`BatchOutcomeV1`].
#[derive(Serialize, Deserialize)]
pub(in crate::process) struct BatchOutcome<'a> {
    instance: u8,
    all: Outcome<'a>,
    /// With the event's position in the batch.
    #[serde(deserialize_with = "exceptions")]
    exceptions: Vec<(u32, Outcome<'a>)>,
}

#[derive(Serialize, Deserialize)]
struct Outcome<'a> {
    code: u8,
    retry_after_ms: u32,
    reason: Cow<'a, str>,
}

impl<'a> From<&'a BatchOutcomeV1> for BatchOutcome<'a> {
    fn from(outcome: &'a BatchOutcomeV1) -> Self {
        let exception = |exception: &'a ExceptionV1| (exception.index, (&exception.outcome).into());
        Self {
            instance: outcome.instance.0,
            all: (&outcome.all).into(),
            exceptions: outcome.exceptions.iter().map(exception).collect(),
        }
    }
}

impl From<BatchOutcome<'_>> for BatchOutcomeV1 {
    fn from(outcome: BatchOutcome<'_>) -> Self {
        let exception = |(index, outcome): (u32, Outcome<'_>)| ExceptionV1 {
            index,
            outcome: outcome.into(),
        };
        Self {
            all: outcome.all.into(),
            exceptions: outcome.exceptions.into_iter().map(exception).collect(),
            instance: FateV1(outcome.instance),
        }
    }
}

impl<'a> From<&'a OutcomeV1> for Outcome<'a> {
    fn from(outcome: &'a OutcomeV1) -> Self {
        Self {
            code: outcome.code.0,
            retry_after_ms: outcome.retry_after_ms,
            reason: one_line(&outcome.reason),
        }
    }
}

impl From<Outcome<'_>> for OutcomeV1 {
    fn from(outcome: Outcome<'_>) -> Self {
        Self {
            code: OutcomeCodeV1(outcome.code),
            retry_after_ms: outcome.retry_after_ms,
            reason: outcome.reason.into_owned().into(),
        }
    }
}
