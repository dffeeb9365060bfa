//! The frames between the host and a plugin's process.
//!
//! A frame is a length (`u32`: of what follows), a kind (one byte) and its fields, in their order:
//! integers little-endian, text and bytes as a `u32` length and themselves. A batch is one `BATCH`
//! frame and as many `EVENTS` frames as it takes, so that no frame grows with the batch.

mod decode;
mod encode;

use bytes::Bytes;
use evbus_abi::RSlice;
use evbus_abi::v1::{BatchOutcomeV1, EventV1, LevelV1, LimitsV1, LinkV1};

pub(super) use decode::{next_to_host, read, read_async};
pub(super) use encode::{
    BatchFrames, close, closed, connect, connected, failed, link, log, outcome, probe, probed,
    stage,
};

/// Both ends are to be the same program; this tells where they are not.
pub(super) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (3)");

/// The largest frame. An event takes at most its body, as much again for its attributes, which the
/// body holds too, and its profile.
const MAX_FRAME: usize = 256 * 1024 * 1024;

const CONNECT: u8 = 1;
const BATCH: u8 = 2;
const EVENTS: u8 = 3;
const CLOSE: u8 = 4;
const PROBE: u8 = 5;
const CONNECTED: u8 = 65;
const FAILED: u8 = 66;
const OUTCOME: u8 = 67;
const DROPPED: u8 = 68;
const LOG: u8 = 69;
const LINK: u8 = 70;
const CLOSED: u8 = 71;
const STAGE: u8 = 72;
const PROBED: u8 = 73;

/// What is wrong with what came.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The other end is gone.
    #[error("nothing more")]
    End(#[source] Option<std::io::Error>),
    /// It is not a frame of this protocol.
    #[error("{0}")]
    Malformed(String),
}

impl From<std::io::Error> for WireError {
    fn from(error: std::io::Error) -> Self {
        Self::End(Some(error))
    }
}

fn malformed<T>(what: impl Into<String>) -> Result<T, WireError> {
    Err(WireError::Malformed(what.into()))
}

/// What the host says.
pub(super) enum ToChild {
    /// Load the plugin and connect.
    Connect {
        version: String,
        max_level: LevelV1,
        /// The file the plugin came from, for messages.
        path: String,
        config: String,
    },
    /// A batch of `count` events begins.
    Batch { number: u64, count: u32 },
    /// Further events of the batch.
    Events(Vec<ReceivedEvent>),
    /// End in order.
    Close,
    /// Load the plugin, ask it who it is, and end.
    Probe {
        version: String,
        /// The file the plugin came from, for messages.
        path: String,
    },
}

/// What the plugin's process says.
pub(super) enum ToHost {
    Connected(LimitsV1),
    Failed {
        permanent: bool,
        reason: String,
    },
    /// The outcome of a batch; none: the plugin dropped the completion.
    Outcome {
        number: u64,
        outcome: Option<BatchOutcomeV1>,
    },
    Log {
        level: LevelV1,
        target: String,
        message: String,
    },
    Link {
        link: LinkV1,
        reason: String,
    },
    /// The plugin has ended in order.
    Closed,
    /// What is done next with a plugin that is tried; see `probe`.
    Stage(u8),
    /// A plugin that was tried has done nothing wrong.
    Probed,
}

/// An event that came in a frame, which it shares with the others of that frame.
pub(super) struct ReceivedEvent {
    id: [u8; 16],
    time_unix_ns: u64,
    attempt: u32,
    profile: Text,
    content_type: Text,
    body: Bytes,
    attributes: Vec<(Text, Text)>,
}

impl ReceivedEvent {
    /// The event as a plugin sees it, but without its attributes.
    pub(super) fn view(&self) -> EventV1<'_> {
        EventV1 {
            id: self.id,
            time_unix_ns: self.time_unix_ns,
            attempt: self.attempt,
            profile: self.profile.as_str().into(),
            content_type: self.content_type.as_str().into(),
            body: (&*self.body).into(),
            attributes: RSlice::EMPTY,
        }
    }

    pub(super) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// UTF-8 inside a frame.
struct Text(Bytes);

impl Text {
    fn as_str(&self) -> &str {
        // It was checked when it was read.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
