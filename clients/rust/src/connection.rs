//! A connection to a pub socket.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use evbus_wire::SocketPath;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::UnixStream;
use tokio::task::coop::has_budget_remaining;

use crate::Error;

/// How much is read, or collected for writing, at a time.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

/// Connects to a socket.
pub(crate) async fn connect(path: &Path) -> Result<UnixStream, Error> {
    let connecting = async { UnixStream::connect(SocketPath::new(path)?.as_path()).await };
    connecting.await.map_err(|source| Error::Connect {
        path: path.to_owned(),
        source,
    })
}

/// A connection from which a listener reads.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    /// The same socket without the runtime, which may not have noticed yet what has arrived.
    direct: StdStream,
    block: Box<[u8]>,
    drained: bool,
}

impl Connection {
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::new(connect(path).await?)?)
    }

    pub(crate) fn over(stream: StdStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Self::new(UnixStream::from_std(stream)?)
    }

    fn new(stream: UnixStream) -> io::Result<Self> {
        Ok(Self {
            // Also non-blocking, which is a property of the socket, not of the descriptor.
            direct: stream.as_fd().try_clone_to_owned()?.into(),
            stream,
            block: vec![0; BLOCK_BYTES].into_boxed_slice(),
            drained: false,
        })
    }

    /// Whether the last read found nothing.
    pub(crate) fn is_drained(&self) -> bool {
        self.drained
    }

    /// Reads what has arrived, at most a block; nothing at the end. Pending only if nothing has arrived, or if other
    /// tasks must run first.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.drained = false;
        let mut block = ReadBuf::new(&mut self.block);
        let len = match Pin::new(&mut self.stream).poll_read(cx, &mut block) {
            Poll::Ready(result) => {
                result?;
                block.filled().len()
            }
            Poll::Pending if !has_budget_remaining() => return Poll::Pending,
            Poll::Pending => match read(&mut self.direct, &mut self.block) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.drained = true;
                    return Poll::Pending;
                }
                result => result?,
            },
        };
        Poll::Ready(Ok(&self.block[..len]))
    }
}

/// Reads once, repeated if a signal interrupts it.
pub(crate) fn read(stream: &mut StdStream, block: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(block) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
