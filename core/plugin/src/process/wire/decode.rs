//! Frames, read. What comes from a plugin's process is believed in nothing.

use std::io::Read;

use bytes::{Buf as _, Bytes};
use evbus_abi::v1::{
    BatchOutcomeV1, ExceptionV1, FateV1, LevelV1, LimitsV1, LinkV1, OutcomeCodeV1, OutcomeV1,
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{
    BATCH, CLOSE, CLOSED, CONNECT, CONNECTED, DROPPED, EVENTS, FAILED, LINK, LOG, MAX_FRAME,
    OUTCOME, PROBE, PROBED, ReceivedEvent, STAGE, Text, ToChild, ToHost, WireError, malformed,
};

/// The length of a frame, if it may have one like this.
fn length(bytes: [u8; 4]) -> Result<usize, WireError> {
    match usize::try_from(u32::from_le_bytes(bytes)) {
        Ok(length) if (1..=MAX_FRAME).contains(&length) => Ok(length),
        _ => malformed(format!(
            "a frame of {} bytes (expected 1 to {MAX_FRAME})",
            u32::from_le_bytes(bytes)
        )),
    }
}

/// Reads what the host says. Blocks.
pub(in crate::process) fn read(socket: &mut impl Read) -> Result<ToChild, WireError> {
    let mut head = [0; 4];
    socket.read_exact(&mut head)?;
    let mut frame = vec![0; length(head)?];
    socket.read_exact(&mut frame)?;
    let mut fields = Fields(frame.into());
    let message = match fields.u8()? {
        CONNECT => ToChild::Connect {
            version: fields.string()?,
            max_level: LevelV1(fields.u8()?),
            path: fields.string()?,
            config: fields.string()?,
        },
        BATCH => ToChild::Batch {
            number: fields.u64()?,
            count: fields.u32()?,
        },
        EVENTS => {
            let mut events = Vec::new();
            while !fields.0.is_empty() {
                events.push(fields.event()?);
            }
            ToChild::Events(events)
        }
        CLOSE => ToChild::Close,
        PROBE => ToChild::Probe {
            version: fields.string()?,
            path: fields.string()?,
        },
        kind => return malformed(format!("a frame of unknown kind {kind}")),
    };
    fields.end()?;
    Ok(message)
}

/// Reads what the plugin's process says. Not cancel safe.
pub(in crate::process) async fn read_async(
    socket: &mut (impl AsyncRead + Unpin),
) -> Result<ToHost, WireError> {
    let mut head = [0; 4];
    socket.read_exact(&mut head).await?;
    let mut frame = vec![0; length(head)?];
    socket.read_exact(&mut frame).await?;
    to_host(frame)
}

/// Takes the next whole frame of what the plugin's process said off `received`, if there is one. None
/// is longer than `max`.
pub(in crate::process) fn next_to_host(
    received: &mut Vec<u8>,
    max: usize,
) -> Result<Option<ToHost>, WireError> {
    let Some((head, rest)) = received.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = length(*head)?;
    if length > max {
        return malformed(format!("a frame of {length} bytes"));
    }
    let Some(frame) = rest.get(..length) else {
        return Ok(None);
    };
    let frame = frame.to_vec();
    received.drain(..4 + length);
    to_host(frame).map(Some)
}

fn to_host(frame: Vec<u8>) -> Result<ToHost, WireError> {
    let mut fields = Fields(frame.into());
    let message = match fields.u8()? {
        CONNECTED => ToHost::Connected(LimitsV1 {
            max_batch_events: fields.u32()?,
            max_batch_bytes: fields.u64()?,
            max_in_flight: fields.u32()?,
        }),
        FAILED => ToHost::Failed {
            permanent: fields.u8()? != 0,
            reason: fields.string()?,
        },
        OUTCOME => ToHost::Outcome {
            number: fields.u64()?,
            outcome: Some(fields.batch_outcome()?),
        },
        DROPPED => ToHost::Outcome {
            number: fields.u64()?,
            outcome: None,
        },
        LOG => ToHost::Log {
            level: LevelV1(fields.u8()?),
            target: fields.string()?,
            message: fields.string()?,
        },
        LINK => ToHost::Link {
            link: LinkV1(fields.u8()?),
            reason: fields.string()?,
        },
        CLOSED => ToHost::Closed,
        STAGE => ToHost::Stage(fields.u8()?),
        PROBED => ToHost::Probed,
        kind => return malformed(format!("a frame of unknown kind {kind}")),
    };
    fields.end()?;
    Ok(message)
}

/// What is left of a frame.
struct Fields(Bytes);

impl Fields {
    fn u8(&mut self) -> Result<u8, WireError> {
        self.0.try_get_u8().or_else(|_| short())
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.0.try_get_u32_le().or_else(|_| short())
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.0.try_get_u64_le().or_else(|_| short())
    }

    fn bytes(&mut self) -> Result<Bytes, WireError> {
        let length = self.u32()? as usize;
        if length > self.0.len() {
            return short();
        }
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<Text, WireError> {
        let bytes = self.bytes()?;
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Text(bytes)),
            Err(_) => malformed("text that is not UTF-8"),
        }
    }

    fn string(&mut self) -> Result<String, WireError> {
        Ok(self.text()?.as_str().to_owned())
    }

    fn event(&mut self) -> Result<ReceivedEvent, WireError> {
        let mut id = [0; 16];
        if self.0.try_copy_to_slice(&mut id).is_err() {
            return short();
        }
        let mut event = ReceivedEvent {
            id,
            time_unix_ns: self.u64()?,
            attempt: self.u32()?,
            profile: self.text()?,
            content_type: self.text()?,
            body: self.bytes()?,
            attributes: Vec::new(),
        };
        for _ in 0..self.u32()? {
            event.attributes.push((self.text()?, self.text()?));
        }
        Ok(event)
    }

    fn outcome(&mut self) -> Result<OutcomeV1, WireError> {
        Ok(OutcomeV1 {
            code: OutcomeCodeV1(self.u8()?),
            retry_after_ms: self.u32()?,
            reason: self.string()?.into(),
        })
    }

    fn batch_outcome(&mut self) -> Result<BatchOutcomeV1, WireError> {
        let instance = FateV1(self.u8()?);
        let mut outcome = BatchOutcomeV1 {
            all: self.outcome()?,
            exceptions: evbus_abi::RVec::new(),
            instance,
        };
        for _ in 0..self.u32()? {
            outcome.exceptions.push(ExceptionV1 {
                index: self.u32()?,
                outcome: self.outcome()?,
            });
        }
        Ok(outcome)
    }

    fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            malformed(format!("{} bytes after the end of a frame", self.0.len()))
        }
    }
}

fn short<T>() -> Result<T, WireError> {
    malformed("a frame that ends too early")
}
