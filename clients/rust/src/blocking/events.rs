//! A blocking client's events as an iterator.

use super::Client;
use super::link::Deadline;
use crate::{Error, Incoming, TagFilter};

/// An endless iterator over events; see [`Client::iter_events`].
///
/// An error other than [`Error::Closed`], [`Error::TurnedAway`] and [`Error::Pattern`] does not end the iterator.
#[derive(Debug)]
#[must_use = "an iterator does nothing unless it is used"]
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
    pub(super) fn new(client: &'a mut Client, filter: Result<TagFilter, Error>) -> Self {
        let state = match filter {
            Ok(filter) => State::Listening(filter),
            Err(error) => State::Unusable(error),
        };
        Self { client, state }
    }
}

impl Iterator for Events<'_> {
    type Item = Result<Incoming, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let State::Listening(filter) = &self.state else {
            return match std::mem::replace(&mut self.state, State::Ended) {
                State::Unusable(error) => Some(Err(error)),
                _ => None,
            };
        };
        let incoming = self.client.next_incoming(filter, Deadline::Never, true);
        if matches!(incoming, Err(Error::Closed | Error::TurnedAway)) {
            self.state = State::Ended;
        }
        incoming.transpose()
    }
}
