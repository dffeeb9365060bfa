//! From bytes to events.

use bytes::BytesMut;
use evbus_wire::{Decoder, LostSync};

use crate::Event;

/// What was read from one connection and not taken yet: less than one frame and one block. Each frame may be bare or
/// prefixed.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buffer: BytesMut,
    decoder: Decoder,
}

impl Inbox {
    /// Adds bytes that were read.
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next event; `None` if more must be read. Frames without an event are skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, LostSync> {
        while let Some((payload, len)) = self.decoder.next(&self.buffer)? {
            let prefix = len - payload.len();
            let payload = self.buffer.split_to(len).freeze().slice(prefix..);
            if let Some(event) = Event::read(payload) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}
