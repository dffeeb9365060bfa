//! Requests and answers.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use evbus_delivery::FiredCounts;
use evbus_sockets::{PublisherCounts, PullCounts, SaltMasterStatus};
use evbus_store::deadletters::Filter;

/// The version of the protocol. An answer may gain keys without a new one.
const VERSION: u64 = 1;

/// The longest question, in bytes.
pub(super) const MAX_QUESTION_BYTES: usize = 64 * 1024;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    Status,
    Replay(Filter),
    Purge(Filter),
    Reload,
}

#[derive(Serialize, Deserialize)]
struct Question<F> {
    evbus: u64,
    ask: String,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    filter: Option<F>,
}

fn none<F>() -> Option<F> {
    None
}

impl Ask {
    /// Parses a line, or says in a sentence what is wrong with it.
    pub(super) fn read(line: &[u8]) -> Result<Self, String> {
        let question: Question<serde_json::Value> =
            serde_json::from_slice(line).map_err(|error| {
                format!(
                    "expected one line like {{\"evbus\": {VERSION}, \"ask\": \"status\"}}, but {error}"
                )
            })?;
        if question.evbus != VERSION {
            return Err(format!(
                "the request has version {}; this host speaks version {VERSION}",
                question.evbus
            ));
        }
        match question.ask.as_str() {
            "status" => Ok(Self::Status),
            "reload" => Ok(Self::Reload),
            ask @ ("replay" | "purge") => {
                let filter = question.filter.ok_or_else(|| {
                    format!(
                        "{ask} needs a filter; the empty filter, {{}}, selects every dead letter"
                    )
                })?;
                let filter = serde_json::from_value(filter)
                    .map_err(|error| format!("invalid filter: {error}"))?;
                Ok(if ask == "replay" {
                    Self::Replay(filter)
                } else {
                    Self::Purge(filter)
                })
            }
            other => Err(format!(
                "unknown request {other:?}; expected status, replay, purge or reload"
            )),
        }
    }

    /// The line, without its line break.
    pub(super) fn write(self) -> Vec<u8> {
        let (ask, filter) = match self {
            Self::Status => ("status", None),
            Self::Reload => ("reload", None),
            Self::Replay(filter) => ("replay", Some(filter)),
            Self::Purge(filter) => ("purge", Some(filter)),
        };
        let question = Question {
            evbus: VERSION,
            ask: ask.to_owned(),
            filter,
        };
        // Strings and numbers can always be written as JSON.
        serde_json::to_vec(&question).unwrap_or_default()
    }
}

/// The answer to a refused request.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    pub(super) error: String,
}

/// The answer to `replay`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Replayed {
    pub(super) replayed: u64,
}

/// The answer to `purge`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Purged {
    pub(super) purged: u64,
}

/// The answer to `reload`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) ok: bool,
    #[serde(flatten)]
    pub(super) reloaded: Reloaded,
}

/// What a reload changed: destinations, named as in messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Reloaded {
    /// New destinations, and removed ones that were added again.
    pub added: Vec<String>,
    /// Destinations that are no longer in the acct file.
    pub removed: Vec<String>,
    /// Destinations with a changed configuration.
    pub changed: Vec<String>,
    /// How many destinations are unchanged.
    pub unchanged: u64,
}

/// `1 added, 0 removed, 0 changed, 2 unchanged`.
impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} added, {} removed, {} changed, {} unchanged",
            self.added.len(),
            self.removed.len(),
            self.changed.len(),
            self.unchanged
        )
    }
}

/// What a host reports about itself and its destinations. A host of another version may report less,
/// which reads as the default, or more, which is ignored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Status {
    /// The host.
    pub host: HostStatus,
    /// Its destinations, in the order of the acct file.
    pub destinations: Vec<DestinationStatus>,
}

/// What a host reports about itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HostStatus {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Seconds since it was started.
    pub uptime_s: f64,
    /// The run name of events that have none of their own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub run_name: String,
    /// Its plugin files.
    pub plugins: PluginsStatus,
    /// Its state directory, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<StateDirStatus>,
    /// The events that programs have fired, and whether they had a destination.
    pub events: FiredCounts,
    /// The listeners on its event sockets.
    pub listeners: PublisherCounts,
    /// What came in through its event sockets.
    pub intake: PullCounts,
    /// The Salt masters whose events it takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub salt_masters: Vec<SaltMasterStatus>,
}

impl HostStatus {
    /// Connections of listeners and senders that were closed because the limit was reached.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.listeners.turned_away + self.intake.turned_away
    }
}

/// The plugin files of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PluginsStatus {
    /// The number of the current set of plugins: 1 at the start, one more with every change.
    pub generation: u64,
    /// Plugins in use.
    pub loaded: usize,
    /// Files that were refused.
    pub refused: usize,
}

/// The state directory of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StateDirStatus {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes of the events in it.
    pub bytes: u64,
}

/// What a host reports about a destination. `None` means not reported.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DestinationStatus {
    /// The provider, as written in the acct file.
    pub provider: String,
    /// Counts the entries of one provider in file order, from 0.
    pub index: usize,
    /// The profile pattern.
    pub pattern: String,
    /// The state of its plugin instance, such as `connected`.
    pub state: String,
    /// Events that were fired and matched.
    pub received: u64,
    /// Events that the far system acknowledged.
    pub accepted: u64,
    /// Events that were rejected, or whose attempts were used up.
    pub dead_lettered: u64,
    /// Events that were dropped because the queue was full.
    pub dropped: u64,
    /// Events that were dropped because they repeat earlier ones.
    pub deduplicated: u64,
    /// Events that `when` kept from the destination; they do not count as received.
    pub filtered: u64,
    /// Events that passed because `when` or the key of `dedup` had no value for them.
    pub filter_faults: u64,
    /// Events that are not settled: waiting or in flight.
    pub queued: u64,
    /// Queued events that are only on disk.
    pub queued_on_disk: Option<u64>,
    /// Queued events that wait for another attempt.
    pub retrying: Option<u64>,
    /// Queued events that the plugin has not answered yet.
    pub in_flight: Option<u64>,
    /// Events that programs are waiting to put into the queue, which has no room for them. They do not count as
    /// received yet.
    pub waiting_for_room: u64,
    /// Seconds since the oldest queued event was fired; `None` if nothing is queued.
    pub oldest_age_s: Option<f64>,
    /// Events with a damaged record in the store, since it was created.
    pub damaged: u64,
    /// Events that disk damage destroyed, since the store was created.
    pub lost: u64,
    /// Dead letters that are kept; none without a state directory.
    pub dead_letters: u64,
    /// Their size on disk in bytes.
    pub dead_letter_bytes: u64,
    /// Dead letters that were dropped because their limit was reached, since the store was created.
    pub dead_letters_dropped: u64,
    /// Seconds until the next attempt, while it pauses or waits to reconnect.
    pub next_attempt_s: Option<f64>,
    /// Who asked for that wait: `host` (its backoff) or `plugin` (for its far system).
    pub paused_by: Option<String>,
    /// The last error, without secrets: why it cannot connect or deliver, or why the last dead letter
    /// was not delivered.
    pub last_error: Option<String>,
    /// The age of that error, in seconds.
    pub last_error_age_s: Option<f64>,
}
