//! Events that are kept for a later call: Salt's `subscribe`.

use std::collections::VecDeque;

use crate::{Error, Event, MatchType, TagFilter};

/// Subscriptions, and their events that were read while another call looked for something else.
#[derive(Debug)]
pub(crate) struct Pending {
    subscriptions: Vec<Subscription>,
    events: VecDeque<Event>,
    bytes: usize,
    limit: PendingLimit,
}

/// How much is kept; beyond either limit the oldest is dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PendingLimit {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Subscription {
    tag: String,
    match_type: MatchType,
    filter: TagFilter,
}

impl Pending {
    pub(crate) fn new(limit: PendingLimit) -> Self {
        Self {
            subscriptions: Vec::new(),
            events: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    pub(crate) fn subscribe(&mut self, tag: &str, match_type: MatchType) -> Result<(), Error> {
        self.subscriptions.push(Subscription {
            tag: tag.to_owned(),
            match_type,
            filter: TagFilter::new(tag, match_type)?,
        });
        Ok(())
    }

    /// Ends one such subscription; events that belong to no other are dropped.
    pub(crate) fn unsubscribe(&mut self, tag: &str, match_type: MatchType) {
        let same = |one: &Subscription| one.tag == tag && one.match_type == match_type;
        let Some(place) = self.subscriptions.iter().position(same) else {
            return;
        };
        self.subscriptions.remove(place);
        let mut events = std::mem::take(&mut self.events);
        events.retain(|event| self.is_subscribed(event));
        self.bytes = events.iter().map(Event::size).sum();
        self.events = events;
    }

    /// Takes the oldest event that passes the filter.
    pub(crate) fn take(&mut self, filter: &TagFilter) -> Option<Event> {
        let passes = |event: &Event| filter.passes(event.tag());
        let place = self.events.iter().position(passes)?;
        let event = self.events.remove(place)?;
        self.bytes -= event.size();
        Some(event)
    }

    /// Keeps an event if it is subscribed to; returns how many had to be dropped for it.
    pub(crate) fn offer(&mut self, event: &Event) -> u64 {
        if !self.is_subscribed(event) {
            return 0;
        }
        let mut dropped = 0;
        if let Some(event) = event.detached() {
            self.bytes += event.size();
            self.events.push_back(event);
        }
        while self.events.len() > self.limit.events || self.bytes > self.limit.bytes {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.size();
            dropped += 1;
        }
        dropped
    }

    fn is_subscribed(&self, event: &Event) -> bool {
        self.subscriptions
            .iter()
            .any(|one| one.filter.passes(event.tag()))
    }
}
