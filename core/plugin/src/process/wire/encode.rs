//! Frames, written.

use std::borrow::Cow;

use evbus_abi::v1::{BatchOutcomeV1, EventV1, LevelV1, LimitsV1, LinkV1, OutcomeV1};

use super::{
    BATCH, CLOSE, CLOSED, CONNECT, CONNECTED, DROPPED, EVENTS, FAILED, LINK, LOG, MAX_FRAME,
    OUTCOME, PROBE, PROBED, STAGE, VERSION, WireError, malformed,
};
use evbus_report::foreign_text::{self, MAX_BYTES};

/// Events are sent on when so many bytes of them have come together.
const CHUNK: usize = 256 * 1024;

/// Appends one frame to `out`. Without an effect where it would be too large.
fn frame(out: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = out.len();
    out.extend([0, 0, 0, 0, kind]);
    fields(out);
    let length = out.len() - start - 4;
    match u32::try_from(length) {
        Ok(short) if length <= MAX_FRAME => {
            out[start..start + 4].copy_from_slice(&short.to_le_bytes());
            true
        }
        _ => {
            out.truncate(start);
            false
        }
    }
}

/// A length that does not fit makes the frame too large, which `frame` notices.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend(length.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// The first frame. Returns nothing where the configuration is too large.
pub(in crate::process) fn connect(max_level: LevelV1, path: &str, config: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    frame(&mut out, CONNECT, |out| {
        put_text(out, VERSION);
        out.push(max_level.0);
        put_text(out, path);
        put_text(out, config);
    })
    .then_some(out)
}

/// The first frame, where the plugin is only tried.
pub(in crate::process) fn probe(path: &str) -> Vec<u8> {
    small(PROBE, |out| {
        put_text(out, VERSION);
        put_text(out, path);
    })
}

/// Writes a batch's frames, one part after the other, so that large batches need no large buffer.
pub(in crate::process) struct BatchFrames<'a> {
    number: u64,
    events: &'a [EventV1<'a>],
    begun: bool,
}

impl<'a> BatchFrames<'a> {
    pub(in crate::process) fn new(number: u64, events: &'a [EventV1<'a>]) -> Self {
        Self {
            number,
            events,
            begun: false,
        }
    }

    /// Puts the next part into `out`, which is cleared. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// An event is larger than a frame, which no event of a host is.
    pub(in crate::process) fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, WireError> {
        out.clear();
        if self.begun && self.events.is_empty() {
            return Ok(false);
        }
        if !self.begun {
            self.begun = true;
            // No memory holds a batch of more events.
            let count = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
            frame(out, BATCH, |out| {
                out.extend(self.number.to_le_bytes());
                out.extend(count.to_le_bytes());
            });
        }
        let written = frame(out, EVENTS, |out| {
            let start = out.len();
            while let Some((event, rest)) = self.events.split_first() {
                put_event(out, event);
                self.events = rest;
                if out.len() - start >= CHUNK {
                    break;
                }
            }
        });
        if written {
            Ok(true)
        } else {
            malformed("an event is larger than a frame")
        }
    }
}

fn put_event(out: &mut Vec<u8>, event: &EventV1<'_>) {
    out.extend(event.id);
    out.extend(event.time_unix_ns.to_le_bytes());
    out.extend(event.attempt.to_le_bytes());
    put_text(out, event.profile.as_str());
    put_text(out, event.content_type.as_str());
    put_bytes(out, event.body.as_slice());
    let attributes = event.attributes.as_slice();
    let count = u32::try_from(attributes.len()).unwrap_or(u32::MAX);
    out.extend(count.to_le_bytes());
    for attribute in attributes {
        put_text(out, attribute.key.as_str());
        put_text(out, attribute.value.as_str());
    }
}

pub(in crate::process) fn close() -> Vec<u8> {
    small(CLOSE, |_| {})
}

pub(in crate::process) fn connected(limits: LimitsV1) -> Vec<u8> {
    small(CONNECTED, |out| {
        out.extend(limits.max_batch_events.to_le_bytes());
        out.extend(limits.max_batch_bytes.to_le_bytes());
        out.extend(limits.max_in_flight.to_le_bytes());
    })
}

pub(in crate::process) fn failed(permanent: bool, reason: &str) -> Vec<u8> {
    small(FAILED, |out| {
        out.push(permanent.into());
        put_text(out, &cut(reason));
    })
}

/// The outcome of a batch; none where the plugin dropped the completion.
pub(in crate::process) fn outcome(number: u64, outcome: Option<&BatchOutcomeV1>) -> Vec<u8> {
    let mut out = Vec::new();
    let written = outcome.is_some_and(|outcome| {
        frame(&mut out, OUTCOME, |out| {
            out.extend(number.to_le_bytes());
            out.push(outcome.instance.0);
            put_outcome(out, &outcome.all);
            let count = u32::try_from(outcome.exceptions.len()).unwrap_or(u32::MAX);
            out.extend(count.to_le_bytes());
            for exception in &outcome.exceptions {
                out.extend(exception.index.to_le_bytes());
                put_outcome(out, &exception.outcome);
            }
        })
    });
    if written {
        out
    } else {
        small(DROPPED, |out| out.extend(number.to_le_bytes()))
    }
}

fn put_outcome(out: &mut Vec<u8>, outcome: &OutcomeV1) {
    out.push(outcome.code.0);
    out.extend(outcome.retry_after_ms.to_le_bytes());
    put_text(out, &cut(&outcome.reason));
}

pub(in crate::process) fn log(level: LevelV1, target: &str, message: &str) -> Vec<u8> {
    small(LOG, |out| {
        out.push(level.0);
        put_text(out, &cut(target));
        put_text(out, &cut(message));
    })
}

pub(in crate::process) fn link(link: LinkV1, reason: &str) -> Vec<u8> {
    small(LINK, |out| {
        out.push(link.0);
        put_text(out, &cut(reason));
    })
}

pub(in crate::process) fn closed() -> Vec<u8> {
    small(CLOSED, |_| {})
}

pub(in crate::process) fn stage(stage: u8) -> Vec<u8> {
    small(STAGE, |out| out.push(stage))
}

pub(in crate::process) fn probed() -> Vec<u8> {
    small(PROBED, |_| {})
}

/// A frame whose fields are far smaller than a frame may be.
fn small(kind: u8, fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    frame(&mut out, kind, fields);
    out
}

/// A plugin's text as one line that is not too long.
fn cut(line: &str) -> Cow<'_, str> {
    foreign_text::line(line, MAX_BYTES)
}
