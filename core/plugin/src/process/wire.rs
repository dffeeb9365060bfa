//! The messages between the host and a plugin's process.
//!
//! Each is a frame: its length (`u32`, little-endian) and the message in postcard's encoding. The first frame in each
//! direction is a greeting instead (`greeting`), which shows whether both ends know the messages. Bytes and text are
//! copied once on each side, into the frame and out of the socket: a received event shares its frame.

mod greeting;
mod outcome;

use std::borrow::Cow;
use std::io::Read;

use bytes::{Bytes, BytesMut};
use evbus_abi::RSlice;
use evbus_abi::v1::{AttributeV1, EventV1, LimitsV1};
use evbus_report::foreign_text::{self, MAX_BYTES};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio_util::codec::{Decoder as _, LengthDelimitedCodec};

pub(super) use greeting::{greeting, other_version, refused_host, refused_program};
pub(super) use outcome::BatchOutcome;

/// The largest frame. An event takes at most its body, as much again for its attributes, which the
/// body contains too, and its profile.
pub(super) const MAX_FRAME: usize = 256 * 1024 * 1024;

/// Events are sent as soon as they have this many bytes together.
const CHUNK: usize = 256 * 1024;

/// Why no message could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The other end is gone.
    #[error("nothing more")]
    End(#[source] Option<std::io::Error>),
    /// It is not a message of this protocol.
    #[error("{0}")]
    Malformed(String),
}

impl From<std::io::Error> for WireError {
    fn from(error: std::io::Error) -> Self {
        Self::End(Some(error))
    }
}

/// A message from the host.
#[derive(Serialize, Deserialize)]
pub(super) enum ToChild<'a> {
    /// Load the plugin and connect.
    Connect {
        max_level: u8,
        /// The file the plugin came from, for messages.
        path: &'a str,
        config: &'a str,
    },
    /// Events of a batch.
    Events {
        batch: u64,
        #[serde(borrow)]
        events: Events<'a>,
        /// The batch is complete.
        last: bool,
    },
    /// Shut down in order.
    Close,
    /// Load the plugin, ask it what it is, and exit.
    Probe {
        /// The file the plugin came from, for messages.
        path: &'a str,
    },
}

/// Events of a batch.
pub(super) enum Events<'a> {
    /// To be written.
    Given(&'a [EventV1<'a>]),
    /// As read.
    Read(Vec<Event<'a>>),
}

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Given(events) => serializer.collect_seq(events.iter().map(Event::from)),
            Self::Read(events) => events.serialize(serializer),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Events<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::Read)
    }
}

impl Events<'_> {
    /// The events as parts of the `frame` from which they were read.
    pub(super) fn received(self, frame: &Bytes) -> impl Iterator<Item = ReceivedEvent> {
        let read = match self {
            Self::Given(_) => Vec::new(),
            Self::Read(events) => events,
        };
        read.into_iter()
            .map(|event| ReceivedEvent::new(frame, &event))
    }
}

/// An event of a batch.
#[derive(Serialize, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(with = "serde_bytes")]
    id: [u8; 16],
    time_unix_ns: u64,
    attempt: u32,
    profile: &'a str,
    content_type: &'a str,
    #[serde(with = "serde_bytes")]
    body: &'a [u8],
    #[serde(borrow, with = "attributes")]
    attributes: Cow<'a, [AttributeV1<'a>]>,
}

/// Attributes as pairs of texts.
mod attributes {
    use super::{AttributeV1, Cow};
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        attributes: &[AttributeV1<'_>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            attributes
                .iter()
                .map(|AttributeV1 { key, value }| (key.as_str(), value.as_str())),
        )
    }

    pub(super) fn deserialize<'de: 'a, 'a, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cow<'a, [AttributeV1<'a>]>, D::Error> {
        let pairs = Vec::<(&'de str, &'de str)>::deserialize(deserializer)?;
        let attribute = |(key, value): (&'a str, &'a str)| AttributeV1 {
            key: key.into(),
            value: value.into(),
        };
        Ok(pairs.into_iter().map(attribute).collect())
    }
}

impl<'a> From<&'a EventV1<'_>> for Event<'a> {
    fn from(event: &'a EventV1<'_>) -> Self {
        Self {
            id: event.id,
            time_unix_ns: event.time_unix_ns,
            attempt: event.attempt,
            profile: event.profile.as_str(),
            content_type: event.content_type.as_str(),
            body: event.body.as_slice(),
            attributes: event.attributes.as_slice().into(),
        }
    }
}

/// An event that arrived in a frame, which it shares with the other events of that frame.
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
    fn new(frame: &Bytes, event: &Event<'_>) -> Self {
        let text = |text: &str| Text(frame.slice_ref(text.as_bytes()));
        Self {
            id: event.id,
            time_unix_ns: event.time_unix_ns,
            attempt: event.attempt,
            profile: text(event.profile),
            content_type: text(event.content_type),
            body: frame.slice_ref(event.body),
            attributes: (event.attributes.iter())
                .map(|attribute| (text(attribute.key.as_str()), text(attribute.value.as_str())))
                .collect(),
        }
    }

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
        // The bytes were read as a `str`, so they are UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A message from the plugin's process.
#[derive(Serialize, Deserialize)]
pub(super) enum ToHost<'a> {
    Connected(#[serde(with = "Limits")] LimitsV1),
    Failed {
        permanent: bool,
        reason: Cow<'a, str>,
    },
    /// The outcome of a batch; none: the plugin dropped the completion.
    Outcome {
        batch: u64,
        outcome: Option<BatchOutcome<'a>>,
    },
    Log {
        level: u8,
        target: Cow<'a, str>,
        message: Cow<'a, str>,
    },
    Link {
        link: u8,
        reason: Cow<'a, str>,
    },
    /// The plugin has shut down in order.
    Closed,
    /// What is done next with a plugin that is being probed; see `probe`.
    Stage(u8),
    /// The plugin has passed the probe.
    Probed,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "LimitsV1")]
#[expect(
    clippy::struct_field_names,
    reason = "the names are those of `LimitsV1`"
)]
struct Limits {
    max_batch_events: u32,
    max_batch_bytes: u64,
    max_in_flight: u32,
}

/// A plugin's text as one line of bounded length.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    foreign_text::line(text, MAX_BYTES)
}

/// Appends a message's frame to `out`.
///
/// # Errors
///
/// It would be larger than [`MAX_FRAME`]; `out` is then lost.
fn append(mut out: Vec<u8>, message: &impl Serialize) -> Result<Vec<u8>, WireError> {
    let start = out.len();
    out.extend([0; 4]);
    let mut out = postcard::to_io(message, out).map_err(|error| malformed(&error))?;
    let length = out.len() - start - 4;
    match u32::try_from(length) {
        Ok(short) if length <= MAX_FRAME => {
            out[start..start + 4].copy_from_slice(&short.to_le_bytes());
            Ok(out)
        }
        _ => Err(too_large(MAX_FRAME)),
    }
}

/// The greeting and the first message behind it.
///
/// # Errors
///
/// The message's frame would be larger than [`MAX_FRAME`].
pub(super) fn opening(message: &impl Serialize) -> Result<Vec<u8>, WireError> {
    append(greeting(), message)
}

/// A message's frame.
///
/// # Errors
///
/// It would be larger than [`MAX_FRAME`].
pub(super) fn frame(message: &impl Serialize) -> Result<Vec<u8>, WireError> {
    append(Vec::new(), message)
}

/// Writes a batch's frames, one part after the other, so that large batches need no large buffer.
pub(super) struct BatchFrames<'a> {
    batch: u64,
    events: &'a [EventV1<'a>],
    begun: bool,
}

impl<'a> BatchFrames<'a> {
    pub(super) fn new(batch: u64, events: &'a [EventV1<'a>]) -> Self {
        Self {
            batch,
            events,
            begun: false,
        }
    }

    /// Puts the next part into `out`, which is cleared. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// An event is larger than a frame, which no event of a host is.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, WireError> {
        out.clear();
        if self.begun && self.events.is_empty() {
            return Ok(false);
        }
        self.begun = true;
        let mut bytes = 0;
        let together = |event: &&EventV1<'_>| {
            let before = bytes;
            bytes += size_of::<EventV1<'_>>() + event.body.len();
            before < CHUNK
        };
        let count = self.events.iter().take_while(together).count();
        let (events, rest) = self.events.split_at(count);
        self.events = rest;
        let message = ToChild::Events {
            batch: self.batch,
            events: Events::Given(events),
            last: rest.is_empty(),
        };
        *out = append(std::mem::take(out), &message)?;
        Ok(true)
    }
}

/// Splits frames of at most `max` bytes off what the plugin's process sends.
pub(super) fn frames(max: usize) -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .little_endian()
        .max_frame_length(max)
        .new_codec()
}

/// Takes the next whole frame off what was received, if there is one.
pub(super) fn next_frame(
    frames: &mut LengthDelimitedCodec,
    received: &mut BytesMut,
) -> Result<Option<BytesMut>, WireError> {
    let next = frames.decode(received);
    next.map_err(|error| broken_frame(error, frames))
}

/// Why there is no next frame of the plugin's process.
pub(super) fn broken_frame(error: std::io::Error, frames: &LengthDelimitedCodec) -> WireError {
    match error.kind() {
        // The codec reports only wrong lengths with this kind.
        std::io::ErrorKind::InvalidData => too_large(frames.max_frame_length()),
        _ => error.into(),
    }
}

/// Reads a frame from the host. Blocks.
pub(super) fn read(socket: &mut impl Read) -> Result<Bytes, WireError> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(too_large(MAX_FRAME));
    }
    let mut frame = vec![0; length];
    socket.read_exact(&mut frame)?;
    Ok(frame.into())
}

/// The message in a frame, and nothing behind it.
pub(super) fn message<'a, M: Deserialize<'a>>(frame: &'a [u8]) -> Result<M, WireError> {
    match postcard::take_from_bytes(frame).map_err(|error| malformed(&error))? {
        (message, []) => Ok(message),
        (_, rest) => Err(WireError::Malformed(format!(
            "{} bytes after the end of a message",
            rest.len()
        ))),
    }
}

fn malformed(error: &postcard::Error) -> WireError {
    let what = match error {
        postcard::Error::DeserializeUnexpectedEnd => "a message that ends too early",
        postcard::Error::DeserializeBadUtf8 => "text that is not UTF-8",
        _ => "a message of unknown form",
    };
    WireError::Malformed(what.to_owned())
}

fn too_large(max: usize) -> WireError {
    WireError::Malformed(format!("a frame of more than {max} bytes"))
}

#[cfg(test)]
mod tests;
