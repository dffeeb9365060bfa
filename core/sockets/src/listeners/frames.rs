//! Frames on their way to the listeners.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use evbus_wire::Frame;

/// Frames that listeners are sent together, without a framing: those of one read, in one piece of memory. When all
/// listeners have been sent all of it, the memory is used again.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: BytesMut,
    /// Where each ends.
    ends: Vec<usize>,
    longest: usize,
}

/// What is kept for the next frames.
const KEPT_BYTES: usize = 256 * 1024;

thread_local! {
    /// Not a connection's own, which may be silent for days.
    static FRAMES: RefCell<Frames> = RefCell::default();
}

impl Frames {
    /// No frames yet, in the memory of the thread's last ones.
    pub(crate) fn of_this_thread() -> Self {
        FRAMES.take()
    }

    /// Forgets the frames and keeps their memory for this thread's next ones.
    pub(crate) fn keep(mut self) {
        self.clear();
        FRAMES.set(self);
    }

    /// Adds a frame.
    pub(crate) fn push(&mut self, frame: &Frame<'_>) {
        let len = frame.len();
        self.longest = self.longest.max(len);
        self.bytes.reserve(len);
        for piece in frame.pieces() {
            self.bytes.extend_from_slice(piece);
        }
        self.ends.push(self.bytes.len());
    }

    /// Makes room for so many bytes that are about to be added.
    pub(crate) fn expect(&mut self, bytes: usize) {
        self.bytes.reserve(bytes.min(KEPT_BYTES));
    }

    /// How many frames there are.
    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    /// How long all are together.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How long the longest is.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Each frame.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0;
        self.ends.iter().map(move |&end| {
            let frame = &self.bytes[begin..end];
            begin = end;
            frame
        })
    }

    /// All frames, one behind the other.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives all frames away without copying them, one behind the other.
    pub(crate) fn take_bytes(&mut self) -> Bytes {
        self.bytes.split().freeze()
    }

    /// Forgets the frames.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        // Memory beyond what one read needs was for a long frame.
        if self.longest > KEPT_BYTES {
            self.bytes = BytesMut::new();
        }
        self.ends.clear();
        self.ends.shrink_to(KEPT_BYTES / size_of::<usize>());
        self.longest = 0;
    }
}
