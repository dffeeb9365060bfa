//! Requests of a program to its client.

use std::time::Duration;

use crate::{Error, MatchType, TagFilter};

/// What to wait for, and how long: the arguments of Salt's `get_event`, with its defaults.
///
/// | Salt | here |
/// |---|---|
/// | `wait=5` | [`wait`](Self::wait); the default is 5 seconds |
/// | `wait=0` | [`wait_forever`](Self::wait_forever) |
/// | `tag=''` | [`tag`](Self::tag); the default is every event |
/// | `match_type=None` | [`match_type`](Self::match_type); the default is the client's |
/// | `no_block=True` | [`no_block`](Self::no_block) |
/// | `full=True` | every [`Event`](crate::Event) has tag and data; [`full_json`](crate::Event::full_json) and [`data_json`](crate::Event::data_json) are the two forms as text |
/// | `auto_reconnect=True` | [`ClientBuilder::reconnect`](crate::ClientBuilder::reconnect), on by default |
///
/// A tag such as `"auth"` is a request by itself, and so is a [`TagFilter`].
#[derive(Debug, Clone)]
pub struct GetEvent {
    wanted: Wanted,
    pub(crate) wait: Wait,
}

#[derive(Debug, Clone)]
enum Wanted {
    Tag(String, Option<MatchType>),
    Filter(TagFilter),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    For(Duration),
    Forever,
    No,
}

impl Default for GetEvent {
    fn default() -> Self {
        Self {
            wanted: Wanted::Tag(String::new(), None),
            wait: Wait::For(Duration::from_secs(5)),
        }
    }
}

impl GetEvent {
    /// Any event, within 5 seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only events with a matching tag. The empty tag matches every event.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        let match_type = match self.wanted {
            Wanted::Tag(_, match_type) => match_type,
            Wanted::Filter(_) => None,
        };
        self.wanted = Wanted::Tag(tag.into(), match_type);
        self
    }

    /// How the tag is compared.
    #[must_use]
    pub fn match_type(mut self, match_type: MatchType) -> Self {
        let tag = match self.wanted {
            Wanted::Tag(tag, _) => tag,
            Wanted::Filter(_) => String::new(),
        };
        self.wanted = Wanted::Tag(tag, Some(match_type));
        self
    }

    /// Only events that pass a filter, instead of a tag and a match type. Useful for a regular expression
    /// that is used often, because it is compiled only once.
    #[must_use]
    pub fn filter(mut self, filter: TagFilter) -> Self {
        self.wanted = Wanted::Filter(filter);
        self
    }

    /// How long to wait for an event. Zero means not to wait, unlike Salt's 0.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = if wait.is_zero() {
            Wait::No
        } else {
            Wait::For(wait)
        };
        self
    }

    /// Waits until an event arrives.
    #[must_use]
    pub fn wait_forever(mut self) -> Self {
        self.wait = Wait::Forever;
        self
    }

    /// Returns an event that has already arrived and does not wait.
    #[must_use]
    pub fn no_block(mut self) -> Self {
        self.wait = Wait::No;
        self
    }

    pub(crate) fn compile(&self, default: MatchType) -> Result<TagFilter, Error> {
        match &self.wanted {
            Wanted::Tag(tag, match_type) => TagFilter::new(tag, match_type.unwrap_or(default)),
            Wanted::Filter(filter) => Ok(filter.clone()),
        }
    }
}

impl From<&str> for GetEvent {
    fn from(tag: &str) -> Self {
        Self::new().tag(tag)
    }
}

impl From<String> for GetEvent {
    fn from(tag: String) -> Self {
        Self::new().tag(tag)
    }
}

impl From<TagFilter> for GetEvent {
    fn from(filter: TagFilter) -> Self {
        Self::new().filter(filter)
    }
}
