//! Passes output on as it arrives, and keeps the end of it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinHandle;

/// The last bytes of an output.
#[derive(Debug)]
pub(super) struct Tail {
    kept: VecDeque<u8>,
    limit: usize,
    total: u64,
}

impl Tail {
    fn new(limit: usize) -> Self {
        Self {
            kept: VecDeque::new(),
            limit,
            total: 0,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let new = &bytes[bytes.len().saturating_sub(self.limit)..];
        let too_many = (self.kept.len() + new.len()).saturating_sub(self.limit);
        self.kept.drain(..too_many);
        self.kept.extend(new);
    }

    /// The kept end as text, and how many bytes before it are left out.
    pub(super) fn text(&self) -> (String, u64) {
        let mut bytes: Vec<u8> = self.kept.iter().copied().collect();
        if self.total > bytes.len() as u64 {
            // The cut may have split a character, which has at most three more bytes.
            let rest = bytes
                .iter()
                .take(3)
                .take_while(|byte| **byte & 0xc0 == 0x80);
            bytes.drain(..rest.count());
        }
        let left_out = self.total - bytes.len() as u64;
        (String::from_utf8_lossy(&bytes).into_owned(), left_out)
    }
}

/// An output on its way to its reader.
#[derive(Debug)]
pub(super) struct Tee {
    tail: Arc<Mutex<Tail>>,
    task: JoinHandle<()>,
}

impl Tee {
    /// Passes `input` on until it ends, and keeps the last `limit` bytes.
    pub(super) fn start(
        input: impl AsyncRead + Unpin + Send + 'static,
        output: impl AsyncWrite + Unpin + Send + 'static,
        limit: usize,
    ) -> Self {
        let tail = Arc::new(Mutex::new(Tail::new(limit)));
        let kept = Arc::clone(&tail);
        let task = tokio::spawn(async move {
            // An error ends the output too: dropping `input` informs the command by the same signal that it
            // would receive without us.
            let _ = pass_on(input, output, &kept).await;
        });
        Self { tail, task }
    }

    /// Resolves when the output has ended.
    pub(super) async fn ended(&mut self) {
        if !self.task.is_finished() {
            // A task that panics has ended.
            let _ = (&mut self.task).await;
        }
    }

    /// The end of the output so far.
    pub(super) fn text(&self) -> (String, u64) {
        self.tail.lock().text()
    }
}

async fn pass_on(
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    tail: &Mutex<Tail>,
) -> io::Result<()> {
    let mut block = vec![0; 64 * 1024];
    loop {
        let len = input.read(&mut block).await?;
        if len == 0 {
            return Ok(());
        }
        tail.lock().push(&block[..len]);
        output.write_all(&block[..len]).await?;
        output.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(limit: usize, pieces: &[&[u8]]) -> (String, u64) {
        let mut tail = Tail::new(limit);
        for piece in pieces {
            tail.push(piece);
        }
        tail.text()
    }

    #[test]
    fn the_end_is_kept_and_the_rest_is_counted() {
        assert_eq!(kept(4, &[b"ab", b"cd"]), ("abcd".to_owned(), 0));
        assert_eq!(kept(4, &[b"ab", b"cde"]), ("bcde".to_owned(), 1));
        assert_eq!(kept(4, &[b"x", b"0123456789"]), ("6789".to_owned(), 7));
        assert_eq!(kept(0, &[b"x"]), (String::new(), 1));
    }

    #[test]
    fn a_character_is_never_cut() {
        let text = "a\u{20ac}b".as_bytes();
        assert_eq!(kept(3, &[text]), ("b".to_owned(), 4));
        assert_eq!(kept(4, &[text]), ("\u{20ac}b".to_owned(), 1));
        // Bytes that are not text are shown as such, however they begin.
        assert_eq!(kept(9, &[b"\x80x"]), ("\u{fffd}x".to_owned(), 0));
    }
}
