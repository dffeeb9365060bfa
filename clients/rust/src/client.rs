//! The event library for asynchronous programs.

use std::future::poll_fn;
use std::path::Path;
use std::task::{Context, Poll, ready};

use evbus_wire::PUB_SOCKET;
use serde::Serialize;

use crate::connection::Connection;
use crate::link::Link;
use crate::reception::Reception;
use crate::request::Wait;
use crate::{
    ClientBuilder, Error, Event, Events, Firing, Gap, GetEvent, Incoming, MatchType, TagFilter,
};

/// Listens to and fires at the bus of a socket directory, like `MasterEvent` in Salt.
///
/// The client reads only while the program requests events. The host disconnects a program that requests none for
/// a long time (evbus: once 32 MiB wait for it); the client reports this as a [`Gap`]. A program that only fires
/// uses [`Firing`], which does not listen. Dropping a future of a client loses no event.
///
/// Frames, and thus events, have at most 100 MiB; nothing is trimmed.
#[derive(Debug)]
pub struct Client {
    reception: Reception,
    link: Link,
    firing: Firing,
    match_type: MatchType,
}

impl Client {
    /// Connects to the host of evbus, or the Salt master, that serves the socket directory `dir`
    /// (Salt's `sock_dir`). Every event that it publishes from now on can be received. Needs a
    /// tokio runtime with IO and time, like everything here.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`]: no host is running there, or it does not let this user in.
    pub async fn connect(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder(dir).connect().await
    }

    /// Settings other than the defaults.
    pub fn builder(dir: impl AsRef<Path>) -> ClientBuilder {
        ClientBuilder::new(dir.as_ref())
    }

    pub(crate) async fn open(builder: &ClientBuilder) -> Result<Self, Error> {
        let path = builder.dir.join(PUB_SOCKET);
        let connection = match Connection::open(&path).await {
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

    /// Returns the next event that matches the request; `None` when the wait (5 seconds by default) is
    /// over. Events that were kept for a subscription are returned first. Events that do not match are discarded, unless
    /// they are [subscribed to](Self::subscribe).
    ///
    /// This also waits while the client reconnects. Afterwards [`take_gap`](Self::take_gap) reports
    /// whether events may be missing.
    ///
    /// # Errors
    ///
    /// [`Error::Pattern`]: the tag is not a valid regular expression. [`Error::LostSync`]: the host sent
    /// something other than a frame; the client reconnects. [`Error::Closed`]: the host has ended, and the
    /// client does not reconnect.
    pub async fn get_event(
        &mut self,
        request: impl Into<GetEvent>,
    ) -> Result<Option<Event>, Error> {
        let incoming = self.get(request.into(), false).await?;
        Ok(incoming.and_then(Incoming::into_event))
    }

    /// Like [`get_event`](Self::get_event), but also reports losses of the connection and gaps, in order
    /// with the events.
    ///
    /// # Errors
    ///
    /// Those of [`get_event`](Self::get_event).
    pub async fn get_incoming(
        &mut self,
        request: impl Into<GetEvent>,
    ) -> Result<Option<Incoming>, Error> {
        self.get(request.into(), true).await
    }

    async fn get(&mut self, request: GetEvent, notices: bool) -> Result<Option<Incoming>, Error> {
        let filter = request.compile(self.match_type)?;
        let next = poll_fn(|cx| {
            let next = self.poll_incoming(cx, &filter, notices)?;
            match next {
                Poll::Pending if request.wait == Wait::No => Poll::Ready(Ok(None)),
                next => next.map(|incoming| Ok(Some(incoming))),
            }
        });
        match request.wait {
            Wait::For(wait) => tokio::time::timeout(wait, next).await.unwrap_or(Ok(None)),
            Wait::Forever | Wait::No => next.await,
        }
    }

    /// Returns an endless `Stream` of the events that match a tag, a request or a filter. The wait of a
    /// request is ignored.
    ///
    /// Without reconnecting, the stream ends after [`Error::Closed`].
    pub fn iter_events(&mut self, request: impl Into<GetEvent>) -> Events<'_> {
        let filter = request.into().compile(self.match_type);
        Events::new(self, filter)
    }

    /// Keeps events with this tag from being discarded by a call that requests other events; they wait for
    /// the call that requests them. Without a match type, the client's applies. To end two identical
    /// subscriptions, unsubscribe twice.
    ///
    /// # Errors
    ///
    /// [`Error::Pattern`]: the tag is not a valid regular expression.
    pub fn subscribe(
        &mut self,
        tag: &str,
        match_type: impl Into<Option<MatchType>>,
    ) -> Result<(), Error> {
        let match_type = match_type.into().unwrap_or(self.match_type);
        self.reception.pending.subscribe(tag, match_type)
    }

    /// Ends a subscription with the same tag and match type, if there is one. Events that wait for it and for
    /// no other subscription are discarded.
    pub fn unsubscribe(&mut self, tag: &str, match_type: impl Into<Option<MatchType>>) {
        let match_type = match_type.into().unwrap_or(self.match_type);
        self.reception.pending.unsubscribe(tag, match_type);
    }

    /// Whether there is a connection to listen on, as far as the client has noticed.
    pub fn is_connected(&self) -> bool {
        self.link.is_up()
    }

    /// The period from which events may be missing, since this was last called or a gap was reported by
    /// [`iter_events`](Self::iter_events) or [`get_incoming`](Self::get_incoming).
    pub fn take_gap(&mut self) -> Option<Gap> {
        self.reception.take_gap()
    }

    /// Fires an event; see [`Firing::fire_event`].
    ///
    /// # Errors
    ///
    /// Those of [`Firing::fire_event`].
    pub async fn fire_event(
        &self,
        data: &(impl Serialize + ?Sized),
        tag: &str,
    ) -> Result<(), Error> {
        self.firing.fire_event(data, tag).await
    }

    /// The firing half, for use while the client iterates or in other tasks.
    pub fn firing(&self) -> Firing {
        self.firing.clone()
    }

    pub(crate) fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
        filter: &TagFilter,
        notices: bool,
    ) -> Poll<Result<Incoming, Error>> {
        if let Some(event) = self.reception.pending.take(filter) {
            return Poll::Ready(Ok(Incoming::Event(event)));
        }
        loop {
            if notices && let Some(notice) = self.reception.take_notice() {
                return Poll::Ready(Ok(notice));
            }
            if let Some(event) = ready!(self.link.poll_event(cx, &mut self.reception, filter))? {
                return Poll::Ready(Ok(Incoming::Event(event)));
            }
        }
    }
}
