//! The connection of a blocking client, reopened when it ends.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::connect;
use crate::connection::{BLOCK_BYTES, read};
use crate::reception::Reception;
use crate::request::Wait;
use crate::{Error, Event, TagFilter};

/// The longest single wait, and so the precision with which a client knows when it last had everything.
const LONGEST_READ: Duration = Duration::from_secs(1);

/// How often a call that does not wait may read, a block at a time.
const MOST_READS: u32 = 64;

/// Until when a call waits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deadline {
    Never,
    At(Instant),
    /// It does not wait.
    Now,
}

impl From<Wait> for Deadline {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::No => Self::Now,
            Wait::Forever => Self::Never,
            // A wait that is too long for the clock never ends.
            Wait::For(wait) => Instant::now()
                .checked_add(wait)
                .map_or(Self::Never, Self::At),
        }
    }
}

impl Deadline {
    /// How much of `wish` may be waited; `None` if nothing.
    fn allows(self, wish: Duration) -> Option<Duration> {
        let left = match self {
            Self::Never => wish,
            Self::At(until) => until.saturating_duration_since(Instant::now()).min(wish),
            Self::Now => Duration::ZERO,
        };
        (!left.is_zero()).then_some(left)
    }

    /// Whether a call that has read this often ends: events that do not match must not keep it forever.
    fn is_over(self, reads: u32) -> bool {
        match self {
            Self::Never => false,
            Self::At(until) => Instant::now() >= until,
            Self::Now => reads >= MOST_READS,
        }
    }
}

/// What a link returns to its client.
pub(super) enum Next {
    Event(Event),
    /// The connection was lost or made again; the reception has the details.
    Notice,
    TimeOver,
}

/// The state of a client's connection.
#[derive(Debug)]
pub(super) struct Link {
    path: PathBuf,
    reconnect: bool,
    state: State,
    block: Box<[u8]>,
}

#[derive(Debug)]
enum State {
    Up(UnixStream),
    /// Connect again at this time.
    Down(Instant),
    /// Permanently.
    Closed,
}

impl Link {
    /// A link over a connection, or one that connects when it is first used.
    pub(super) fn new(path: PathBuf, reconnect: bool, connection: Option<UnixStream>) -> Self {
        Self {
            path,
            reconnect,
            state: connection.map_or_else(|| State::Down(Instant::now()), State::Up),
            block: vec![0; BLOCK_BYTES].into_boxed_slice(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    pub(super) fn next(
        &mut self,
        reception: &mut Reception,
        filter: &TagFilter,
        deadline: Deadline,
    ) -> Result<Next, Error> {
        let mut reads = 0;
        loop {
            match &mut self.state {
                State::Up(stream) => {
                    match reception.next(filter) {
                        Ok(None) => {}
                        Ok(Some(event)) => return Ok(Next::Event(event)),
                        Err(lost_sync) => {
                            self.lose(reception, &Error::LostSync(lost_sync));
                            return Err(lost_sync.into());
                        }
                    }
                    if reads > 0 && deadline.is_over(reads) {
                        return Ok(Next::TimeOver);
                    }
                    match receive(stream, &mut self.block, deadline.allows(LONGEST_READ)) {
                        Ok(0) => {
                            let reason = reception.closed();
                            self.lose(reception, &reason);
                            return Ok(Next::Notice);
                        }
                        Ok(len) => {
                            reception.fill(&self.block[..len]);
                            reads += 1;
                        }
                        Err(error) if is_time_over(&error) => {
                            reception.is_complete_now();
                            if deadline.allows(LONGEST_READ).is_none() {
                                return Ok(Next::TimeOver);
                            }
                        }
                        Err(error) => {
                            self.lose(reception, &Error::Broken(error));
                            return Ok(Next::Notice);
                        }
                    }
                }
                State::Down(retry) => {
                    let wish = retry.saturating_duration_since(Instant::now());
                    if !wish.is_zero() {
                        match deadline.allows(wish) {
                            Some(allowed) => std::thread::sleep(allowed),
                            None => return Ok(Next::TimeOver),
                        }
                        continue;
                    }
                    match connect(&self.path) {
                        Ok(stream) => {
                            self.state = State::Up(stream);
                            reception.connected();
                            return Ok(Next::Notice);
                        }
                        Err(_) => self.state = down(reception),
                    }
                }
                State::Closed => return Err(reception.closed()),
            }
        }
    }

    fn lose(&mut self, reception: &mut Reception, reason: &Error) {
        reception.disconnected(reason);
        self.state = if self.reconnect {
            down(reception)
        } else {
            State::Closed
        };
    }
}

fn down(reception: &mut Reception) -> State {
    State::Down(Instant::now() + reception.next_delay())
}

/// Reads what arrives within the time; without a time, what has already arrived.
fn receive(stream: &mut UnixStream, block: &mut [u8], wait: Option<Duration>) -> io::Result<usize> {
    stream.set_nonblocking(wait.is_none())?;
    if wait.is_some() {
        stream.set_read_timeout(wait)?;
    }
    read(stream, block)
}

fn is_time_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
