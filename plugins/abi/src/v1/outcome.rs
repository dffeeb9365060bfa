//! What became of events.

use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};

/// What became of one event. An open set: an unknown code counts as [`OutcomeCodeV1::RETRY`].
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeCodeV1(pub u8);

impl OutcomeCodeV1 {
    /// The far system acknowledged the event; "queued in the client library" is not that.
    pub const ACCEPTED: Self = Self(0);
    /// Not delivered, may succeed later: the host tries again with backoff.
    pub const RETRY: Self = Self(1);
    /// Will never succeed as it is: the host dead-letters it.
    pub const REJECTED: Self = Self(2);
}

/// The outcome of one event.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq, Eq)]
pub struct OutcomeV1 {
    /// What became of it.
    pub code: OutcomeCodeV1,
    /// For a retry: not before this many milliseconds; 0 leaves the delay to the host.
    pub retry_after_ms: u32,
    /// One sentence for the operator, without secrets; empty when accepted.
    pub reason: RString,
}

impl OutcomeV1 {
    /// Accepted; allocates nothing.
    pub fn accepted() -> Self {
        Self {
            code: OutcomeCodeV1::ACCEPTED,
            retry_after_ms: 0,
            reason: RString::new(),
        }
    }
}

/// An event of a batch whose outcome differs from the others'.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq, Eq)]
pub struct ExceptionV1 {
    /// Position of the event in its batch, from 0. Positions past the end are ignored.
    pub index: u32,
    /// What became of it.
    pub outcome: OutcomeV1,
}

/// The outcome of a batch: one for all, and the exceptions.
///
/// The common case, all accepted, crosses without an allocation.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq, Eq)]
pub struct BatchOutcomeV1 {
    /// Holds for every event that is not among the exceptions.
    pub all: OutcomeV1,
    /// In any order; of two for one event, the last holds.
    pub exceptions: RVec<ExceptionV1>,
    /// What became of the instance meanwhile.
    pub instance: FateV1,
}

/// What became of an instance while it had a batch. An open set: an unknown code counts as
/// [`FateV1::BROKEN`].
#[repr(transparent)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct FateV1(pub u8);

impl FateV1 {
    /// It works on.
    pub const WORKS: Self = Self(0);
    /// It is of no more use (a connection beyond repair, say): the host makes a new one.
    pub const BROKEN: Self = Self(1);
    /// It panicked or died over the batch, so that one of the events may be to blame: the host makes
    /// a new one, tries the events one by one, and gives up one that does it again and again.
    pub const CRASHED: Self = Self(2);
}
