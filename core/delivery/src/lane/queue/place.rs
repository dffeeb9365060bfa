//! Where an event is queued, or why it is not.

/// Why an event is not in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotQueued {
    /// There is no room for it now.
    Full,
    /// The destination has ended, and takes nothing any more.
    Gone,
}

/// Where an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into memory; and on disk where the policy is `durable`.
    Memory,
    /// On disk alone.
    Disk,
    /// Nowhere: there is no room, and the policy is to drop it.
    Dropped,
}
