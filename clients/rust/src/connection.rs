//! A connection to a pub socket.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::UnixStream;

use crate::Error;

/// How much is read, and gathered to be written, at a time.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

/// Connects to a socket.
pub(crate) async fn connect(path: &Path) -> Result<UnixStream, Error> {
    UnixStream::connect(path)
        .await
        .map_err(|source| Error::Connect {
            path: path.to_owned(),
            source,
        })
}

/// A connection from which a listener reads.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    block: Box<[u8]>,
}

impl Connection {
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        connect(path).await.map(Self::new)
    }

    pub(crate) fn over(stream: StdStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream).map(Self::new)
    }

    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            block: vec![0; BLOCK_BYTES].into_boxed_slice(),
        }
    }

    /// Reads what has arrived, waiting for something; nothing at the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let mut block = ReadBuf::new(&mut self.block);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut block))?;
        let len = block.filled().len();
        Poll::Ready(Ok(&self.block[..len]))
    }
}
