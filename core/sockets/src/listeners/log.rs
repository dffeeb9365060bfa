//! The bytes that listeners of one framing are sent: written once, read by each at its own pace.
//!
//! A chain of chunks. Every listener holds its place between two chunks, and so all that
//! follow; a chunk is freed when the last listener has passed it. What is kept is therefore what
//! the slowest listener has yet to read, however many listeners there are.

use std::io::IoSlice;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::listeners::frames::Frames;

/// Short pieces are gathered in chunks of this many bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// From this length on, bytes become a chunk of their own instead of being copied.
const OWN_CHUNK_BYTES: usize = 16 * 1024;

/// How many chunks one write takes.
const CHUNKS_PER_WRITE: usize = 64;

/// Where one chunk ends and the next one begins.
#[derive(Default)]
struct Place {
    next: OnceLock<Chunk>,
}

struct Chunk {
    bytes: Bytes,
    end: Arc<Place>,
}

impl Drop for Place {
    // One after the other: a long chain would overflow the stack if each freed the next.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut place) = next.and_then(|chunk| Arc::into_inner(chunk.end)) {
            next = place.next.take();
        }
    }
}

/// The writing end.
#[derive(Default)]
pub(crate) struct Log {
    /// Bytes that are not yet in the chain.
    open: BytesMut,
    tail: Arc<Place>,
    end: u64,
}

impl Log {
    /// How many bytes have been appended since the beginning.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Appends `len` bytes by copying them.
    pub(crate) fn append<'a>(&mut self, len: usize, pieces: impl IntoIterator<Item = &'a [u8]>) {
        if self.open.capacity() - self.open.len() < len {
            self.seal();
            // The memory is used again if everybody has read all of it.
            self.open.reserve(len.max(CHUNK_BYTES));
        }
        for piece in pieces {
            self.open.extend_from_slice(piece);
        }
        self.end += len as u64;
    }

    /// Appends all frames, one behind the other.
    pub(crate) fn append_frames(&mut self, frames: &mut Frames) {
        if frames.len() < OWN_CHUNK_BYTES {
            return self.append(frames.len(), [frames.as_bytes()]);
        }
        self.seal();
        self.end += frames.len() as u64;
        self.chain(frames.take_bytes());
    }

    /// Moves what has been copied into the chain, where readers find it. Tells whether there
    /// was anything.
    pub(crate) fn seal(&mut self) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let bytes = self.open.split().freeze();
        self.chain(bytes);
        true
    }

    fn chain(&mut self, bytes: Bytes) {
        let end = Arc::new(Place::default());
        let chunk = Chunk {
            bytes,
            end: Arc::clone(&end),
        };
        // Only this method sets `next`, and only of the last place, so it is never set already.
        let _ = self.tail.next.set(chunk);
        self.tail = end;
    }

    /// A reader of all that will be appended.
    pub(crate) fn reader(&mut self) -> Reader {
        self.seal();
        Reader {
            place: Arc::clone(&self.tail),
            offset: 0,
        }
    }

    /// Forgets what nobody will read.
    pub(crate) fn clear(&mut self) {
        self.open = BytesMut::new();
        self.tail = Arc::default();
    }
}

/// A place in the chain.
pub(crate) struct Reader {
    /// The last one that has been reached.
    place: Arc<Place>,
    /// How much of the chunk behind it has been read.
    offset: usize,
}

impl Reader {
    /// What comes next, for one vectored write; empty where the chain ends.
    pub(crate) fn gather(&self) -> impl AsRef<[IoSlice<'_>]> {
        let mut slices = SmallVec::<[_; 4]>::new();
        let mut place = &self.place;
        let mut offset = self.offset;
        while let Some(chunk) = place.next.get() {
            slices.push(IoSlice::new(&chunk.bytes[offset..]));
            offset = 0;
            place = &chunk.end;
            if slices.len() == CHUNKS_PER_WRITE {
                break;
            }
        }
        slices
    }

    /// Whether the chain goes on.
    pub(crate) fn has_more(&self) -> bool {
        self.place.next.get().is_some()
    }

    /// Goes on by `count` bytes, at most those of the last [`gather`](Self::gather).
    pub(crate) fn advance(&mut self, count: usize) {
        self.offset += count;
        while let Some(chunk) = self.place.next.get() {
            let Some(offset) = self.offset.checked_sub(chunk.bytes.len()) else {
                break;
            };
            let end = Arc::clone(&chunk.end);
            self.place = end;
            self.offset = offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use evbus_wire::Frame;

    use super::*;

    fn read_all(reader: &mut Reader, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let bytes: Vec<u8> = {
                let slices = reader.gather();
                let flat = slices
                    .as_ref()
                    .iter()
                    .flat_map(|slice| slice.iter().copied());
                flat.take(step).collect()
            };
            if bytes.is_empty() {
                return all;
            }
            reader.advance(bytes.len());
            all.extend(bytes);
        }
    }

    #[test]
    fn readers_get_what_was_appended_after_they_came_at_any_pace() {
        let mut log = Log::default();
        log.append(3, [&b"no"[..], b"t"]);
        let mut early = log.reader();
        log.append(2, [&b"ab"[..]]);
        let mut late = log.reader();
        log.append(3, [&b"cd"[..], b"e"]);
        assert!(log.seal());
        assert!(!log.seal());
        log.append(CHUNK_BYTES, [&vec![b'x'; CHUNK_BYTES][..]]);
        log.seal();
        let rest = "x".repeat(CHUNK_BYTES);
        assert_eq!(read_all(&mut early, 1), format!("abcde{rest}").as_bytes());
        assert_eq!(read_all(&mut late, 1000), format!("cde{rest}").as_bytes());
        assert_eq!(log.end(), 8 + CHUNK_BYTES as u64);
    }

    #[test]
    fn frames_are_read_in_order_however_they_were_appended() {
        let mut log = Log::default();
        let mut reader = log.reader();
        let mut expected = Vec::new();
        let mut frames = Frames::default();
        for len in [
            3,
            10,
            OWN_CHUNK_BYTES,
            5,
            2 * CHUNK_BYTES,
            7,
            OWN_CHUNK_BYTES,
        ] {
            let data = vec![b'x'; len];
            for count in [1, 2] {
                for _ in 0..count {
                    let frame = Frame::of_salt("t", &data).expect("it is short");
                    expected.extend(frame.pieces().concat());
                    frames.push(&frame);
                }
                let before = expected.len() as u64;
                log.append_frames(&mut frames);
                frames.clear();
                assert_eq!(log.end(), before);
            }
        }
        log.seal();
        assert_eq!(read_all(&mut reader, 1000), expected);
        assert!(!reader.has_more());
    }

    #[test]
    fn memory_that_all_have_read_is_used_again() {
        let mut log = Log::default();
        let mut readers = [log.reader(), log.reader()];
        let mut frames = Frames::default();
        let data = vec![0; OWN_CHUNK_BYTES];
        let frame = Frame::of_salt("t", &data).expect("it is short");
        let mut places = Vec::new();
        for _ in 0..100 {
            frames.push(&frame);
            places.push(frames.as_bytes().as_ptr());
            log.append_frames(&mut frames);
            frames.clear();
            for reader in &mut readers {
                read_all(reader, 1000);
            }
        }
        places.sort_unstable();
        places.dedup();
        assert!(places.len() < 5, "{} places", places.len());
    }

    #[test]
    fn what_another_reader_has_sealed_in_between_is_found() {
        let mut log = Log::default();
        let mut reader = log.reader();
        log.append(1, [&b"x"[..]]);
        assert!(reader.gather().as_ref().is_empty());
        assert!(log.seal(), "as the other reader does");
        assert!(!log.seal(), "which leaves nothing to this one");
        assert!(reader.has_more());
        reader.advance(1);
        assert!(!reader.has_more());
    }

    #[test]
    fn a_long_chain_is_freed_without_a_stack_overflow() {
        let mut log = Log::default();
        let reader = log.reader();
        for _ in 0..1_000_000 {
            log.append(1, [&b"x"[..]]);
            log.seal();
        }
        drop(log);
        drop(reader);
    }
}
