//! Limits on the resources that programs at the event sockets may use.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// The most programs that fire, however many files the process may open.
const MAX_SENDERS: usize = 4096;

/// What holds for all event sockets of a host together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections of programs that fire. More wait until there is room. A part is reserved, see
    /// [`for_members`].
    pub(crate) senders: usize,
    /// Connections of listeners. More are closed. A part is reserved, as of those of senders.
    pub(crate) listeners: usize,
    /// Bytes in the buffers of frames that are not whole or not handed in. What every connection has
    /// anyway is not counted: twice what is read at a time.
    pub(crate) held_bytes: usize,
    /// Bytes that programs wrote which left while the host was full.
    pub(crate) left_bytes: usize,
    /// How long a frame may stand still until it loses its memory to one that needs it.
    pub(crate) still: Duration,
    /// How long a frame waits for memory while none is being handed in.
    pub(crate) patience: Duration,
    /// How long a frame that has begun may get no further.
    pub(crate) stall: Duration,
}

/// How many of so many connections members of the group may have: three quarters, so that one at least is
/// left to the host's user and root, unless there is no more than one.
pub(crate) fn for_members(connections: usize) -> usize {
    (connections - (connections / 4).max(1)).max(1)
}

impl Default for Limits {
    /// What is fixed, and what the process's limit of open files leaves room for: a quarter is for
    /// programs that fire, half for listeners, the rest for everything else.
    fn default() -> Self {
        let files = getrlimit(Resource::Nofile)
            .current
            .and_then(|files| usize::try_from(files).ok())
            .unwrap_or(usize::MAX);
        Self {
            senders: (files / 4).clamp(1, MAX_SENDERS),
            listeners: (files / 2).max(1),
            held_bytes: 512 * 1024 * 1024,
            left_bytes: 64 * 1024 * 1024,
            still: Duration::from_secs(1),
            patience: Duration::from_secs(10),
            stall: Duration::from_mins(5),
        }
    }
}
