//! Where events go: the exchange and the routing key, which are constants, the profile, or what a template gives.

use std::collections::HashMap;

use evbus_sdk::{Batch, Event, Outcome, Template};
use lapin::types::ShortString;

use crate::Config;
use crate::message::short;

/// How the configuration names the default exchange, whose name in the protocol is empty.
const DEFAULT: &str = "default";

/// The part of a configuration that says where events go.
#[derive(Debug)]
pub(crate) struct Addressing {
    /// Used unless there is a template.
    exchange: ShortString,
    exchange_template: Option<Template>,
    /// `None` means the event's profile name.
    routing_key: Option<Template>,
}

/// What templates give for one event.
#[derive(Debug, Default)]
struct Address {
    exchange: Option<ShortString>,
    routing_key: Option<ShortString>,
}

/// Where the events of one batch go.
#[derive(Debug)]
pub(crate) struct Addresses<'a> {
    addressing: &'a Addressing,
    /// By position; empty without templates.
    found: Vec<Address>,
}

impl Addressing {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let exchange = config.exchange.as_ref();
        let constant = exchange.and_then(Template::constant).unwrap_or_default();
        let routing_key = config.routing_key.clone();
        Ok(Self {
            exchange: ShortString::try_new(in_protocol(constant))
                .map_err(|error| format!("exchange: {error}"))?,
            exchange_template: exchange.filter(|it| it.constant().is_none()).cloned(),
            routing_key: routing_key.filter(|key| key.constant() != Some("")),
        })
    }

    /// The exchange, if it is the same for all events; empty for the default exchange.
    pub(crate) fn constant_exchange(&self) -> Option<&str> {
        match self.exchange_template {
            Some(_) => None,
            None => Some(self.exchange.as_str()),
        }
    }

    /// The routing key, if it is the same for all events.
    pub(crate) fn constant_routing_key(&self) -> Option<&str> {
        self.routing_key.as_ref()?.constant()
    }

    /// Finds out where the events of a batch go. Those that can go nowhere get their outcome here.
    pub(crate) fn find(&self, batch: &Batch, ledger: &mut [Option<Outcome>]) -> Addresses<'_> {
        let templates = [&self.exchange_template, &self.routing_key];
        let is_constant = |template: &Option<Template>| {
            template
                .as_ref()
                .is_none_or(|template| template.constant().is_some())
        };
        let mut found = Vec::new();
        if !templates.into_iter().all(is_constant) {
            for (event, entry) in batch.iter().zip(ledger) {
                found.push(self.address(event).unwrap_or_else(|outcome| {
                    *entry = Some(outcome);
                    Address::default()
                }));
            }
        }
        Addresses {
            addressing: self,
            found,
        }
    }

    fn address(&self, event: Event<'_>) -> Result<Address, Outcome> {
        let exchange = match &self.exchange_template {
            Some(template) => Some(exchange(template, event)?),
            None => None,
        };
        let routing_key = match &self.routing_key {
            Some(template) if template.constant().is_none() => {
                let what = "the routing key";
                Some(given(template, event, "routing_key", what)?)
            }
            _ => None,
        };
        Ok(Address {
            exchange,
            routing_key,
        })
    }
}

impl Addresses<'_> {
    /// The exchange of the event at a position of the batch; empty for the default exchange.
    pub(crate) fn exchange(&self, index: usize) -> &ShortString {
        let found = self.found.get(index).and_then(|it| it.exchange.as_ref());
        found.unwrap_or(&self.addressing.exchange)
    }

    /// The routing key of the event at a position of the batch.
    pub(crate) fn routing_key<'s>(&'s self, index: usize, event: Event<'s>) -> &'s str {
        let found = self.found.get(index).and_then(|it| it.routing_key.as_ref());
        found
            .map(ShortString::as_str)
            .or_else(|| self.addressing.constant_routing_key())
            .unwrap_or(event.profile())
    }

    /// What has to exist for the event at a position: an exchange, or, on the default exchange, a queue.
    pub(crate) fn place<'s>(&'s self, index: usize, event: Event<'s>) -> (&'s str, &'s str) {
        match self.exchange(index).as_str() {
            "" => ("", self.routing_key(index, event)),
            exchange => (exchange, ""),
        }
    }

    /// These positions of the batch by their exchange, in the order in which the exchanges first appear.
    pub(crate) fn by_exchange(&self, positions: &[usize]) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut known = HashMap::new();
        for &index in positions {
            let group = *known
                .entry(self.exchange(index).as_str())
                .or_insert_with(|| {
                    groups.push(Vec::new());
                    groups.len() - 1
                });
            groups[group].push(index);
        }
        groups
    }

    /// Whether events of this batch may go to different exchanges.
    pub(crate) fn has_templated_exchange(&self) -> bool {
        self.addressing.exchange_template.is_some()
    }
}

fn in_protocol(exchange: &str) -> &str {
    if exchange == DEFAULT { "" } else { exchange }
}

fn exchange(template: &Template, event: Event<'_>) -> Result<ShortString, Outcome> {
    let name = given(template, event, "exchange", "the exchange")?;
    // Brokers remove some of these from names, and then look for another one.
    if name.as_str().chars().any(char::is_control) {
        return Err(Outcome::rejected(
            "the template of `exchange` gives a name with a control character, which no exchange has",
        ));
    }
    Ok(in_protocol(name.as_str()).into())
}

/// The name that a template gives for an event.
pub(crate) fn given(
    template: &Template,
    event: Event<'_>,
    key: &str,
    what: &str,
) -> Result<ShortString, Outcome> {
    let text = template.text(event).map_err(|fault| fault.outcome(key))?;
    if text.is_empty() {
        return Err(Outcome::rejected(format!(
            "the template of `{key}` gives an empty text; use the filter `default` with `true` to replace it"
        )));
    }
    short(what, &text)
}
