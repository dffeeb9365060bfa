//! What the host does for a destination, whatever its plugin: the entry's `evbus:` key.

use std::time::Duration;

use evbus_expression::Expression;

/// The host's treatment of one destination. The defaults are those of [`Policy::default`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How much may wait in memory for this destination.
    pub queue: QueueLimits,
    /// How much may wait on disk for this destination; nothing does without a state directory.
    pub disk: DiskLimits,
    /// How many dead letters are kept for this destination.
    pub dead_letters: DeadLetterLimits,
    /// What happens to an event that finds the queue full. Default none: [`WhenFull::Spill`] if
    /// the host has a state directory, otherwise [`WhenFull::Block`].
    pub when_full: Option<WhenFull>,
    /// The host acknowledges an event to the program that fires it only when the event is on disk or
    /// acknowledged by the far system. Needs a state directory. Default false.
    pub durable: bool,
    /// When an event that could not be delivered is retried.
    pub retry: Retry,
    /// Limits of a batch, below the plugin's own.
    pub batch: BatchCaps,
    /// One batch in flight, and no later event is tried before an earlier one is settled. Default false:
    /// a retried event may arrive behind later ones.
    pub ordered: bool,
    /// How long a batch may take before the plugin's instance counts as hung and is replaced.
    /// Default 60 s, from 0.1 s to a day.
    pub deadline: Duration,
    /// The host refuses to start if this destination cannot be served or reached. Default false: the host
    /// starts, logs it, and keeps trying.
    pub required: bool,
    /// Where the plugin's instance runs. Default: in the host's own process.
    pub isolate: Isolation,
    /// Only events of which it is true go to the destination. One that it has no value for goes there, too, and is
    /// counted. Default none: all of them.
    pub when: Option<Expression>,
    /// The body that the destination gets. What is kept on disk and in dead letters is the event's own. An event that it
    /// has no value for becomes a dead letter. Default none: the event's own body.
    pub body: Option<Expression>,
    /// How many events are handed to the plugin in a time. Default none: as many as it takes.
    pub rate: Option<Rate>,
    /// Which events are repeats of earlier ones, and dropped. Default none.
    pub dedup: Option<Dedup>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            queue: QueueLimits::default(),
            disk: DiskLimits::default(),
            dead_letters: DeadLetterLimits::default(),
            when_full: None,
            durable: false,
            retry: Retry::default(),
            batch: BatchCaps::default(),
            ordered: false,
            deadline: Duration::from_mins(1),
            required: false,
            isolate: Isolation::default(),
            when: None,
            body: None,
            rate: None,
            dedup: None,
        }
    }
}

/// The most events that are handed to a plugin within any span of a length, attempts included. The others wait in the
/// queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Events, from 1 to 100 million.
    pub events: u32,
    /// The length of the span, from 0.01 s to a day.
    pub per: Duration,
}

/// An event is a repeat, and dropped, if one with the same key entered the queue not long before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedup {
    /// What repeats have in common. An event that it has no value for is none, and counted.
    pub key: Expression,
    /// How long after the first one others are repeats. Default 60 s, from 0.1 s to 7 days.
    pub within: Duration,
    /// How many keys are remembered, of about 100 bytes each; the oldest are forgotten first. Default 10000, from 1 to
    /// 1 million.
    pub keep: usize,
}

/// The limits of a destination's queue in memory; it is full when either is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLimits {
    /// Events; default 10000, from 1 to 100 million.
    pub events: usize,
    /// Bytes of event bodies; default 64 MiB, from 1 KiB to 1 TiB.
    pub bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            events: 10_000,
            bytes: 64 * 1024 * 1024,
        }
    }
}

/// The limit of a destination's queue on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskLimits {
    /// Bytes of events; default 10 GiB, from 1 MiB to 1024 GiB. If it is reached, the program that
    /// fires waits.
    pub bytes: u64,
}

impl Default for DiskLimits {
    fn default() -> Self {
        Self {
            bytes: 10 * 1024 * 1024 * 1024,
        }
    }
}

/// The limits of a destination's dead letters; there are too many when either is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterLimits {
    /// Dead letters; default 100000, from 1 to 100 million.
    pub events: u64,
    /// Bytes of dead letters, including reasons and attributes; default 1 GiB, from 1 KiB to 1024 GiB.
    pub bytes: u64,
    /// Which dead letter is dropped and counted if there are too many. Default the oldest.
    pub when_full: DeadLettersFull,
}

impl Default for DeadLetterLimits {
    fn default() -> Self {
        Self {
            events: 100_000,
            bytes: 1024 * 1024 * 1024,
            when_full: DeadLettersFull::default(),
        }
    }
}

/// Which dead letter is dropped if there are too many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeadLettersFull {
    /// The oldest dead letter of the destination.
    #[default]
    DropOldest,
    /// The new dead letter.
    DropNewest,
}

impl DeadLettersFull {
    /// The word in the acct file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DropOldest => "drop_oldest",
            Self::DropNewest => "drop_newest",
        }
    }
}

/// What happens to an event that finds its destination's queue full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The event waits on disk. Needs a state directory.
    Spill,
    /// The program that fires waits for room: nothing is lost, but a destination that is down delays that
    /// program.
    Block,
    /// The new event is dropped for this destination, and counted.
    DropNewest,
}

/// How a destination's plugin is isolated from the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// It runs in the host's process: fastest, but a crash ends the host.
    #[default]
    None,
    /// It runs in a process of its own, which is restarted after a crash; no event is lost.
    Process,
}

/// Capped exponential backoff with full jitter: before attempt n+1 the host waits a random time between
/// zero and `first_delay * 2^(n-1)`, at most `max_delay`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The longest wait before the second attempt. Default 0.1 s, from 0.001 s to a day.
    pub first_delay: Duration,
    /// The longest wait before any attempt, at least `first_delay`. Default 30 s, at most a day.
    pub max_delay: Duration,
    /// How many attempts an event gets, including the first, before it becomes a dead letter.
    /// Default none: it is retried until it is delivered or rejected.
    pub max_attempts: Option<u32>,
    /// The age, since firing, at which an event that could not be delivered becomes a dead letter.
    /// Default none, from 1 s to 10 years.
    pub max_age: Option<Duration>,
    /// How often an event may crash the plugin's instance (a panic; with `isolate: process` any crash)
    /// before it becomes a dead letter. Events that were in flight are then retried one by one, so that
    /// only the event that causes the crash is counted. Default 3, or none.
    pub max_crashes: Option<u32>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(30),
            max_attempts: None,
            max_age: None,
            max_crashes: Some(3),
        }
    }
}

/// Limits of one batch. A plugin declares its own limits; these can only lower them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchCaps {
    /// Events in a batch, from 1 to 1 million. Default none: the plugin's limit.
    pub events: Option<usize>,
    /// Bytes of event bodies in a batch, from 1 B to 1 GiB; a larger event gets a batch of its own.
    /// Default none: the plugin's limit.
    pub bytes: Option<usize>,
}
