//! What a plugin reported to the host besides its answers, and what it has not returned.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use evbus_abi::v1::{HostObjectV1, HostV1, LevelV1, LinkV1};
use tokio::sync::watch;

/// How many log lines are kept; the oldest are dropped first.
const MAX_LINES: usize = 10_000;

/// One log line of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Severity.
    pub level: LevelV1,
    /// The module it comes from.
    pub target: String,
    /// What it says.
    pub message: String,
}

/// A change of the link to the far system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It is reached.
    Up,
    /// It is not reached, with the plugin's reason.
    Down(String),
    /// A code that this version does not know.
    Unknown(u8),
}

/// What was seen so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The last 10,000 log lines, oldest first.
    pub log: VecDeque<LogLine>,
    /// All link changes, oldest first.
    pub links: Vec<Link>,
}

impl Seen {
    /// Whether a log line's message contains the text.
    pub fn logged(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.message.contains(text))
    }
}

/// What the plugin holds of the host's objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) batches: usize,
    pub(crate) hosts: usize,
}

/// Shared between the harness, its instances and the host objects that the plugin holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder {
    seen: Arc<watch::Sender<Seen>>,
    held: Arc<watch::Sender<Held>>,
}

impl Recorder {
    /// A recorder for one instance, which counts together with `self`.
    pub(crate) fn for_instance(&self) -> Self {
        Self {
            seen: Arc::default(),
            held: Arc::clone(&self.held),
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub(crate) async fn until(&self, within: Duration, condition: impl Fn(&Seen) -> bool) -> bool {
        let mut changes = self.seen.subscribe();
        let met = changes.wait_for(|seen| condition(seen));
        matches!(tokio::time::timeout(within, met).await, Ok(Ok(_)))
    }

    pub(crate) async fn until_nothing_is_held(&self, within: Duration) -> Result<(), Held> {
        let mut changes = self.held.subscribe();
        let met = changes.wait_for(|held| *held == Held::default());
        match tokio::time::timeout(within, met).await {
            Ok(_) => Ok(()),
            Err(_) => Err(*self.held.borrow()),
        }
    }

    /// Counts a batch for as long as the guard lives.
    pub(crate) fn hold_batch(&self) -> HeldGuard {
        self.hold(|held| &mut held.batches)
    }

    fn hold(&self, which: fn(&mut Held) -> &mut usize) -> HeldGuard {
        self.held.send_modify(|held| *which(held) += 1);
        HeldGuard {
            held: Arc::clone(&self.held),
            which,
        }
    }

    /// The host object for one instance: calls are recorded for the instance and for the harness.
    pub(crate) fn host(&self, instance: &Recorder) -> HostV1 {
        let host = Host {
            recorders: [Arc::clone(&self.seen), Arc::clone(&instance.seen)],
            _held: self.hold(|held| &mut held.hosts),
        };
        HostV1::new(host, LevelV1::TRACE)
    }
}

/// Counts down when it is dropped.
pub(crate) struct HeldGuard {
    held: Arc<watch::Sender<Held>>,
    which: fn(&mut Held) -> &mut usize,
}

impl Drop for HeldGuard {
    fn drop(&mut self) {
        self.held.send_modify(|held| *(self.which)(held) -= 1);
    }
}

struct Host {
    recorders: [Arc<watch::Sender<Seen>>; 2],
    _held: HeldGuard,
}

impl Host {
    fn record(&self, change: impl Fn(&mut Seen)) {
        for recorder in &self.recorders {
            recorder.send_modify(&change);
        }
    }
}

impl HostObjectV1 for Host {
    fn log(&self, level: LevelV1, target: &str, message: &str) {
        self.record(|seen| {
            if seen.log.len() == MAX_LINES {
                seen.log.pop_front();
            }
            seen.log.push_back(LogLine {
                level,
                target: target.to_owned(),
                message: message.to_owned(),
            });
        });
    }

    fn link(&self, link: LinkV1, reason: &str) {
        let link = match link {
            LinkV1::UP => Link::Up,
            LinkV1::DOWN => Link::Down(reason.to_owned()),
            LinkV1(code) => Link::Unknown(code),
        };
        self.record(|seen| seen.links.push(link.clone()));
    }
}
