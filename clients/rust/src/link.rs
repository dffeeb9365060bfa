//! The connection of a client, reopened when it ends.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::connection::Connection;
use crate::reception::Reception;
use crate::{Error, Event, TagFilter};

/// How often a waiting client checks, and so the precision with which it knows when it last had everything.
const PULSE: Duration = Duration::from_secs(1);

/// The state of a client's connection.
pub(crate) struct Link {
    path: PathBuf,
    reconnect: bool,
    state: State,
    pulse: Pin<Box<Sleep>>,
}

enum State {
    Up(Connection),
    Waiting(Pin<Box<Sleep>>),
    Connecting(Pin<Box<dyn Future<Output = Result<Connection, Error>> + Send + Sync>>),
    /// Permanently.
    Closed,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Up(_) => "up",
            State::Waiting(_) => "waiting",
            State::Connecting(_) => "connecting",
            State::Closed => "closed",
        };
        f.debug_struct("Link")
            .field("path", &self.path)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// A link over a connection, or one that connects when it is first used.
    pub(crate) fn new(path: PathBuf, reconnect: bool, connection: Option<Connection>) -> Self {
        let state = match connection {
            Some(connection) => State::Up(connection),
            None => connecting(path.clone()),
        };
        Self {
            path,
            reconnect,
            state,
            pulse: Box::pin(sleep(PULSE)),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// The next event that passes the filter; `None` if the connection was lost or made again, for which `reception`
    /// has notices. Dropping the caller's future loses nothing: everything in progress is stored here.
    pub(crate) fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        reception: &mut Reception,
        filter: &TagFilter,
    ) -> Poll<Result<Option<Event>, Error>> {
        loop {
            match &mut self.state {
                State::Up(connection) => {
                    match reception.next(filter) {
                        Ok(None) => {}
                        Ok(event) => return Poll::Ready(Ok(event)),
                        Err(lost_sync) => {
                            self.lose(reception, &Error::LostSync(lost_sync));
                            return Poll::Ready(Err(lost_sync.into()));
                        }
                    }
                    match connection.poll_read(cx) {
                        Poll::Pending => {
                            if connection.is_drained() {
                                reception.is_complete_now();
                            }
                            if self.pulse.is_elapsed() {
                                self.pulse.as_mut().reset(Instant::now() + PULSE);
                            }
                            ready!(self.pulse.as_mut().poll(cx));
                        }
                        Poll::Ready(Ok([])) => {
                            let reason = reception.closed();
                            self.lose(reception, &reason);
                            return Poll::Ready(Ok(None));
                        }
                        Poll::Ready(Ok(bytes)) => reception.fill(bytes),
                        Poll::Ready(Err(error)) => {
                            self.lose(reception, &Error::Broken(error));
                            return Poll::Ready(Ok(None));
                        }
                    }
                }
                State::Waiting(delay) => {
                    ready!(delay.as_mut().poll(cx));
                    self.state = connecting(self.path.clone());
                }
                State::Connecting(attempt) => match ready!(attempt.as_mut().poll(cx)) {
                    Ok(connection) => {
                        self.state = State::Up(connection);
                        reception.connected();
                        return Poll::Ready(Ok(None));
                    }
                    Err(_) => self.state = waiting(reception),
                },
                State::Closed => return Poll::Ready(Err(reception.closed())),
            }
        }
    }

    fn lose(&mut self, reception: &mut Reception, reason: &Error) {
        reception.disconnected(reason);
        self.state = if self.reconnect {
            waiting(reception)
        } else {
            State::Closed
        };
    }
}

fn waiting(reception: &mut Reception) -> State {
    State::Waiting(Box::pin(sleep(reception.next_delay())))
}

fn connecting(path: PathBuf) -> State {
    State::Connecting(Box::pin(async move { Connection::open(&path).await }))
}
