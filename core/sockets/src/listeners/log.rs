//! The bytes that listeners of one framing are sent: written once, read by each at its own pace.
//!
//! A chain of chunks. Every listener holds the chunk it has read to the end, and so all that
//! follow; a chunk is freed when the last listener has passed it. What is kept is therefore what
//! the slowest listener has yet to read, however many listeners there are.

use std::io::IoSlice;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};

/// Frames are gathered in chunks of this many bytes; a longer frame has a chunk of its own.
const CHUNK_BYTES: usize = 64 * 1024;

/// How many chunks one write takes.
const CHUNKS_PER_WRITE: usize = 64;

#[derive(Default)]
struct Chunk {
    bytes: Bytes,
    next: OnceLock<Arc<Chunk>>,
}

impl Drop for Chunk {
    // One after the other: a long chain would overflow the stack if each freed the next.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut chunk) = next.and_then(Arc::into_inner) {
            next = chunk.next.take();
        }
    }
}

/// The writing end.
#[derive(Default)]
pub(crate) struct Log {
    /// Frames that are not yet in the chain.
    open: BytesMut,
    tail: Arc<Chunk>,
    end: u64,
}

impl Log {
    /// How many bytes have been appended since the beginning.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Appends a frame of `len` bytes.
    pub(crate) fn append<'a>(&mut self, len: usize, pieces: impl IntoIterator<Item = &'a [u8]>) {
        if self.open.capacity() - self.open.len() < len {
            self.seal();
            self.open = BytesMut::with_capacity(len.max(CHUNK_BYTES));
        }
        for piece in pieces {
            self.open.extend_from_slice(piece);
        }
        self.end += len as u64;
    }

    /// Moves what has been appended into the chain, where readers find it. Tells whether there
    /// was anything.
    pub(crate) fn seal(&mut self) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let chunk = Arc::new(Chunk {
            bytes: self.open.split().freeze(),
            next: OnceLock::new(),
        });
        // Only this method sets `next`, and only on the last chunk, so it is never set already.
        let _ = self.tail.next.set(Arc::clone(&chunk));
        self.tail = chunk;
        true
    }

    /// A reader of all that will be appended.
    pub(crate) fn reader(&mut self) -> Reader {
        self.seal();
        Reader {
            done: Arc::clone(&self.tail),
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
    /// Read to its end.
    done: Arc<Chunk>,
    /// How much of the chunk after it has been read.
    offset: usize,
}

impl Reader {
    /// What comes next, for one vectored write; empty where the chain ends.
    pub(crate) fn gather(&self) -> impl AsRef<[IoSlice<'_>]> {
        let mut slices = Vec::with_capacity(4);
        let mut chunk = &self.done;
        let mut offset = self.offset;
        while let Some(next) = chunk.next.get() {
            slices.push(IoSlice::new(&next.bytes[offset..]));
            offset = 0;
            chunk = next;
            if slices.len() == CHUNKS_PER_WRITE {
                break;
            }
        }
        slices
    }

    /// Whether the chain goes on.
    pub(crate) fn has_more(&self) -> bool {
        self.done.next.get().is_some()
    }

    /// Goes on by `count` bytes, at most those of the last [`gather`](Self::gather).
    pub(crate) fn advance(&mut self, count: usize) {
        self.offset += count;
        while let Some(next) = self.done.next.get() {
            let Some(offset) = self.offset.checked_sub(next.bytes.len()) else {
                break;
            };
            let next = Arc::clone(next);
            self.done = next;
            self.offset = offset;
        }
    }
}

#[cfg(test)]
mod tests {
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
