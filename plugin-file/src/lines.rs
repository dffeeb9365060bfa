//! The lines of a batch, and how many of them were written.

use std::io::{self, ErrorKind, Write};
use std::ops::Range;

use evbus_sdk::Event;

use crate::outcome::Failure;
use crate::{Format, message};

/// Most bytes that are kept between batches.
const MAX_IDLE_BYTES: usize = 8 * 1024 * 1024;

/// The lines of one batch, one after the other. Kept, so that a batch costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
}

/// What became of lines that were to be appended.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    /// How many are there whole, and as safe as the configuration wants it.
    pub(crate) lines: usize,
    /// Why it was not all of them.
    pub(crate) failure: Option<Failure>,
}

impl Appended {
    pub(crate) fn failed(failure: Failure) -> Self {
        Self {
            lines: 0,
            failure: Some(failure),
        }
    }
}

/// What a write did.
#[derive(Debug)]
pub(crate) struct Written {
    /// Bytes that were written.
    pub(crate) bytes: usize,
    /// How many of them belong to whole lines.
    pub(crate) whole: usize,
    /// Whole lines.
    pub(crate) lines: usize,
    pub(crate) error: Option<io::Error>,
}

impl Written {
    pub(crate) fn nothing(error: io::Error) -> Self {
        Self {
            bytes: 0,
            whole: 0,
            lines: 0,
            error: Some(error),
        }
    }
}

impl Lines {
    /// Adds the line of an event.
    ///
    /// # Errors
    ///
    /// Why the event has no line in the format; nothing is added.
    pub(crate) fn push(&mut self, format: Format, event: Event<'_>) -> Result<(), &'static str> {
        message::push_line(format, event, &mut self.bytes)?;
        self.ends.push(self.bytes.len());
        Ok(())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Where each line ends.
    pub(crate) fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// Where the first `lines` lines end.
    pub(crate) fn end(&self, lines: usize) -> usize {
        lines.checked_sub(1).map_or(0, |last| self.ends[last])
    }

    /// Writes some of the lines. Blocks.
    pub(crate) fn write(&self, lines: Range<usize>, to: &mut impl Write) -> Written {
        let start = self.end(lines.start);
        let bytes = &self.bytes[start..self.end(lines.end)];
        let (written, error) = write_counted(bytes, to);
        let ends = &self.ends[lines];
        let count = ends.partition_point(|end| end - start <= written);
        Written {
            bytes: written,
            whole: count.checked_sub(1).map_or(0, |last| ends[last] - start),
            lines: count,
            error,
        }
    }

    /// Makes room for the next batch. One very large event must not hold its memory for ever.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.bytes.shrink_to(MAX_IDLE_BYTES);
    }
}

/// As `write_all`, but tells how far it came.
fn write_counted(bytes: &[u8], to: &mut impl Write) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return (written, Some(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}
