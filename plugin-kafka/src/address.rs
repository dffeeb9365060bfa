//! Where the messages of an event go, and what the configuration adds to them: its constants, and what its templates give.
//!
//! An event for which a template fails, or gives a topic that Kafka does not take, goes nowhere, also not to the topics
//! that are in order. What templates give is kept for one event at a time: a key may be as long as a message.

use std::borrow::Cow;

use evbus_sdk::{ConfigFault, Event, Outcome, Template, Templated};

use crate::config::{Config, OneOrMany, Partition};
use crate::message::{is_own_header, topic_fault};

/// The part of a configuration that says where events go.
#[derive(Debug)]
pub(crate) struct Addressing {
    /// If empty, the topic is the event's profile name.
    topics: Vec<Template>,
    is_list: bool,
    key: Option<Template>,
    partition: Option<Templated<Partition>>,
    extra_headers: Vec<(String, Template)>,
}

/// What it gives for one event. Constants are borrowed.
#[derive(Debug, Default)]
pub(crate) struct Address<'a> {
    /// Empty if all topics are constants.
    topics: Vec<Cow<'a, str>>,
    pub(crate) key: Option<Cow<'a, str>>,
    pub(crate) partition: Option<i32>,
    pub(crate) extra_headers: Vec<(&'a str, Cow<'a, str>)>,
}

impl Addressing {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            is_list: matches!(config.topics, OneOrMany::Many(_)),
            topics: config.topics.as_slice().to_vec(),
            key: config.key,
            partition: config.partition,
            extra_headers: config.extra_headers.into_iter().collect(),
        }
    }

    /// The faults of the configuration that do not depend on an event.
    pub(crate) fn faults(config: &Config) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        for (position, topic) in config.topics.as_slice().iter().enumerate() {
            let fault = match topic.constant() {
                Some(topic) => topic_fault(topic),
                // No event makes a valid name of what begins with an invalid one.
                None if matches!(topic.prefix(), "" | "." | "..") => None,
                None => topic_fault(topic.prefix()),
            };
            if let Some(fault) = fault {
                faults.push(ConfigFault::of_key(format!("topics[{position}]"), fault));
            }
        }
        for name in config.extra_headers.keys() {
            let message = if name.is_empty() {
                "found a header without a name; name it, or remove it".to_owned()
            } else if is_own_header(name) {
                format!("the header `{name}` is one of the plugin's own; choose another name")
            } else {
                continue;
            };
            faults.push(ConfigFault::of_key("extra_headers", message));
        }
        faults
    }

    /// How many messages each event becomes.
    pub(crate) fn fan_out(&self) -> usize {
        self.topics.len().max(1)
    }

    /// The topics that are the same for all events.
    pub(crate) fn constant_topics(&self) -> Vec<String> {
        let constants = self.topics.iter().filter_map(Template::constant);
        constants.map(str::to_owned).collect()
    }

    /// Whether each event has a partition of its own.
    pub(crate) fn has_templated_partition(&self) -> bool {
        matches!(self.partition, Some(Templated::Template(_)))
    }

    /// Finds out where an event goes; the memory of `address` is used again.
    ///
    /// # Errors
    ///
    /// The outcome of an event that can never go there.
    pub(crate) fn find<'a>(
        &'a self,
        event: Event<'_>,
        address: &mut Address<'a>,
    ) -> Result<(), Outcome> {
        address.topics.clear();
        address.extra_headers.clear();
        if self.topics.is_empty() {
            check(event.profile())?;
        } else if self.topics.iter().any(|topic| topic.constant().is_none()) {
            for (position, template) in self.topics.iter().enumerate() {
                let text = template.text(event).map_err(|fault| {
                    let position = if self.is_list {
                        format!("[{position}]")
                    } else {
                        String::new()
                    };
                    fault.outcome(&format!("topics{position}"))
                })?;
                check(&text)?;
                address.topics.push(text);
            }
        }
        address.partition = match &self.partition {
            None => None,
            Some(partition) => {
                let value = partition.value(event, "the number of a partition, from 0");
                Some(value.map_err(|fault| fault.outcome("partition"))?.number())
            }
        };
        address.key = match &self.key {
            None => None,
            Some(key) => Some(key.text(event).map_err(|fault| fault.outcome("key"))?),
        };
        for (name, template) in &self.extra_headers {
            let text = template.text(event);
            let text = text.map_err(|fault| fault.outcome(&format!("extra_headers.{name}")))?;
            address.extra_headers.push((name, text));
        }
        Ok(())
    }

    /// The topic of one of the messages of an event, counted from 0.
    pub(crate) fn topic<'s>(
        &'s self,
        event: Event<'s>,
        address: &'s Address<'_>,
        message: usize,
    ) -> &'s str {
        let found = address.topics.get(message).map(|topic| &**topic);
        let constant = || self.topics.get(message).and_then(Template::constant);
        found.or_else(constant).unwrap_or(event.profile())
    }
}

fn check(topic: &str) -> Result<(), Outcome> {
    topic_fault(topic).map_or(Ok(()), |fault| {
        Err(Outcome::rejected(format!("the topic {fault}")))
    })
}
