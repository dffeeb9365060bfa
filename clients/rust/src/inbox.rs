//! From bytes to events.

use bytes::BytesMut;
use evbus_wire::{Decoder, LostSync};

use crate::Event;

/// What has been read from one connection and not been taken yet: less than one frame and one
/// block. Whether frames are bare or prefixed is seen frame by frame.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buffer: BytesMut,
    decoder: Decoder,
}

impl Inbox {
    /// Adds what has been read.
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next event; `None` until more has been read. Frames without an event are skipped.
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
