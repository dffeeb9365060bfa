//! The event library for programs without a runtime.

use std::path::Path;

use evbus_wire::PUB_SOCKET;
use serde::Serialize;

use super::link::{Deadline, Link, Next};
use super::{Events, Firing, connect};
use crate::reception::Reception;
use crate::{ClientBuilder, Error, Event, Gap, GetEvent, Incoming, MatchType, TagFilter};

/// Like [`crate::Client`], but blocks the thread. The methods, limits and errors are the same.
///
/// A call may wait longer than requested if the host's backlog of connections is full, because connecting then
/// blocks.
#[derive(Debug)]
pub struct Client {
    reception: Reception,
    link: Link,
    firing: Firing,
    match_type: MatchType,
}

impl Client {
    /// Connects to the host of evbus, or the Salt master, that serves the socket directory `dir`
    /// (Salt's `sock_dir`). Every event that it publishes from now on can be received.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`]: no host is running there, or it does not let this user in.
    pub fn connect(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder(dir).connect_blocking()
    }

    /// Settings other than the defaults; end with
    /// [`connect_blocking`](ClientBuilder::connect_blocking).
    pub fn builder(dir: impl AsRef<Path>) -> ClientBuilder {
        ClientBuilder::new(dir.as_ref())
    }

    pub(crate) fn open(builder: &ClientBuilder) -> Result<Self, Error> {
        let path = builder.dir.join(PUB_SOCKET);
        let connection = match connect(&path) {
            Ok(connection) => Some(connection),
            Err(_) if builder.wait_for_host => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            reception: Reception::new(builder.pending),
            link: Link::new(path, builder.reconnect, connection),
            firing: Firing::new(&builder.dir)
                .framing(builder.pull_framing)
                .timeout(builder.fire_timeout),
            match_type: builder.match_type,
        })
    }

    /// Returns the next event that matches the request; `None` when the wait is over. See
    /// [`crate::Client::get_event`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::Client::get_event`].
    pub fn get_event(&mut self, request: impl Into<GetEvent>) -> Result<Option<Event>, Error> {
        let incoming = self.get(&request.into(), false)?;
        Ok(incoming.and_then(Incoming::into_event))
    }

    /// Like [`get_event`](Self::get_event), but also reports losses of the connection and gaps, in order
    /// with the events.
    ///
    /// # Errors
    ///
    /// Those of [`get_event`](Self::get_event).
    pub fn get_incoming(
        &mut self,
        request: impl Into<GetEvent>,
    ) -> Result<Option<Incoming>, Error> {
        self.get(&request.into(), true)
    }

    fn get(&mut self, request: &GetEvent, notices: bool) -> Result<Option<Incoming>, Error> {
        let filter = request.compile(self.match_type)?;
        self.next_incoming(&filter, Deadline::from(request.wait), notices)
    }

    pub(super) fn next_incoming(
        &mut self,
        filter: &TagFilter,
        deadline: Deadline,
        notices: bool,
    ) -> Result<Option<Incoming>, Error> {
        if let Some(event) = self.reception.pending.take(filter) {
            return Ok(Some(Incoming::Event(event)));
        }
        loop {
            if notices && let Some(notice) = self.reception.take_notice() {
                return Ok(Some(notice));
            }
            match self.link.next(&mut self.reception, filter, deadline)? {
                Next::Event(event) => return Ok(Some(Incoming::Event(event))),
                Next::Notice => {}
                Next::TimeOver => return Ok(None),
            }
        }
    }

    /// Returns an endless iterator over the events that match the request. See
    /// [`crate::Client::iter_events`].
    pub fn iter_events(&mut self, request: impl Into<GetEvent>) -> Events<'_> {
        let filter = request.into().compile(self.match_type);
        Events::new(self, filter)
    }

    /// Keeps events with this tag from being discarded; see [`crate::Client::subscribe`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::Client::subscribe`].
    pub fn subscribe(
        &mut self,
        tag: &str,
        match_type: impl Into<Option<MatchType>>,
    ) -> Result<(), Error> {
        let match_type = match_type.into().unwrap_or(self.match_type);
        self.reception.pending.subscribe(tag, match_type)
    }

    /// Ends a subscription; see [`crate::Client::unsubscribe`].
    pub fn unsubscribe(&mut self, tag: &str, match_type: impl Into<Option<MatchType>>) {
        let match_type = match_type.into().unwrap_or(self.match_type);
        self.reception.pending.unsubscribe(tag, match_type);
    }

    /// Whether there is a connection to listen on, as far as the client has noticed.
    pub fn is_connected(&self) -> bool {
        self.link.is_up()
    }

    /// The period from which events may be missing; see [`crate::Client::take_gap`].
    pub fn take_gap(&mut self) -> Option<Gap> {
        self.reception.take_gap()
    }

    /// Fires an event; see [`crate::Firing::fire_event`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::Firing::fire_event`].
    pub fn fire_event(&self, data: &(impl Serialize + ?Sized), tag: &str) -> Result<(), Error> {
        self.firing.fire_event(data, tag)
    }

    /// The firing half, for use while the client iterates or in other threads.
    pub fn firing(&self) -> Firing {
        self.firing.clone()
    }
}
