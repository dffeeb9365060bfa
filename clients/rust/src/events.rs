//! A client's events as a stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::{Client, Error, Incoming, TagFilter};

/// An endless stream of events; see [`Client::iter_events`].
///
/// An error other than [`Error::Closed`], [`Error::TurnedAway`] and [`Error::Pattern`] does not end the stream.
/// Events that do not match are discarded unless they are subscribed to.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct Events<'a> {
    client: &'a mut Client,
    state: State,
}

#[derive(Debug)]
enum State {
    Listening(TagFilter),
    Unusable(Error),
    Ended,
}

impl<'a> Events<'a> {
    pub(crate) fn new(client: &'a mut Client, filter: Result<TagFilter, Error>) -> Self {
        let state = match filter {
            Ok(filter) => State::Listening(filter),
            Err(error) => State::Unusable(error),
        };
        Self { client, state }
    }

    /// Waits for the next event, without the need for `StreamExt`. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Client::get_event`].
    pub async fn next(&mut self) -> Option<Result<Incoming, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events<'_> {
    type Item = Result<Incoming, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let State::Listening(filter) = &this.state else {
            return match std::mem::replace(&mut this.state, State::Ended) {
                State::Unusable(error) => Poll::Ready(Some(Err(error))),
                _ => Poll::Ready(None),
            };
        };
        let incoming = ready!(this.client.poll_incoming(cx, filter, true));
        if matches!(incoming, Err(Error::Closed | Error::TurnedAway)) {
            this.state = State::Ended;
        }
        Poll::Ready(Some(incoming))
    }
}
