//! The lines of a batch, and how many of them were written.

use std::io::{self, ErrorKind, Write};
use std::ops::Range;

use evbus_sdk::Event;

use crate::outcome::Failure;
use crate::{Format, message};

/// How many bytes are kept between batches at most.
const MAX_IDLE_BYTES: usize = 8 * 1024 * 1024;

/// The lines of one batch, one after the other. Reused, so that a batch needs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// The end of each line.
    ends: Vec<usize>,
}

/// The result of appending lines.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    /// How many lines are written completely, and as safely as the configuration wants.
    pub(crate) lines: usize,
    /// Why not all of them were.
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

/// The result of a write.
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

    /// The end of each line.
    pub(crate) fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// The end of the first `lines` lines.
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

    /// Clears the lines for the next batch. One very large event must not keep its memory forever.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.bytes.shrink_to(MAX_IDLE_BYTES);
    }
}

/// Like `write_all`, but returns how much was written.
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
