//! The queues of the default exchange: checked once per connection, declared if missing. And the exchanges that
//! templates give, which are only checked.

use std::collections::HashSet;

use evbus_sdk::{Outcome, tracing};
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{ErrorKind, ExchangeKind};

use crate::connect::Session;
use crate::message::short;
use crate::outcome::{Failure, said};

/// How many names of each kind are remembered; there may be any number of them. Others are looked up again.
const MOST: usize = 10_000;
/// So many queues are likely to be more than an operator expects.
const MANY: usize = 100;

/// The queues and exchanges that are known to exist, as long as the connection lasts.
#[derive(Debug, Default)]
pub(crate) struct Known {
    queues: HashSet<ShortString>,
    exchanges: HashSet<ShortString>,
}

/// Why a queue or an exchange cannot be published to.
pub(crate) enum Missing {
    /// The outcome of the events for it.
    Refused(Outcome),
    /// The connection is unusable.
    Connection(Failure),
}

impl Known {
    /// Makes sure that a queue exists. Needs one round trip for a name that is not known yet.
    ///
    /// An existing queue is not changed, whatever its arguments. The check precedes the publish, rather than following
    /// a returned message, to keep the order: later messages would overtake the returned one.
    pub(crate) async fn ensure_queue(
        &mut self,
        session: &Session,
        name: &str,
        declared: &mut Declared,
    ) -> Result<(), Missing> {
        if self.queues.contains(name) {
            return Ok(());
        }
        let name = &short("the routing key", name).map_err(Missing::Refused)?;
        if name.as_str().contains(['\r', '\n']) {
            // It would declare one queue and publish to another, forever.
            return Err(Missing::Refused(Outcome::rejected(
                "the routing key contains a line break, which RabbitMQ removes from the name of a queue",
            )));
        }
        let look = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        match declare(session, name, look).await {
            Ok(()) => {}
            Err(error) => match soft(&error) {
                Some(AMQPSoftError::NOTFOUND) => create(session, name, declared).await?,
                // It exists and belongs to another connection; publishing to it is allowed.
                Some(AMQPSoftError::RESOURCELOCKED) => {}
                _ => return Err(missing(name, &error)),
            },
        }
        remember(&mut self.queues, name);
        Ok(())
    }

    /// Makes sure that an exchange exists, so that an event for another one does not cost the channel. Needs one round trip
    /// for a name that is not known yet.
    pub(crate) async fn ensure_exchange(
        &mut self,
        session: &Session,
        name: &str,
    ) -> Result<(), Missing> {
        if self.exchanges.contains(name) {
            return Ok(());
        }
        let name = &short("the exchange", name).map_err(Missing::Refused)?;
        let looking = async {
            let channel = session.channel().await?;
            let look = ExchangeDeclareOptions {
                passive: true,
                ..ExchangeDeclareOptions::default()
            };
            let nothing = FieldTable::default();
            (channel.exchange_declare(name.clone(), ExchangeKind::Direct, look, nothing)).await?;
            channel.close(200, "done".into()).await
        };
        match looking.await {
            Ok(()) => {
                remember(&mut self.exchanges, name);
                Ok(())
            }
            Err(error) => Err(match (soft(&error), error.kind()) {
                (Some(AMQPSoftError::NOTFOUND), _) => Missing::Refused(Outcome::rejected(format!(
                    "the exchange `{name}` does not exist; declare it on the broker, or correct the template of `exchange`"
                ))),
                (Some(_), ErrorKind::ProtocolError(error)) => {
                    Missing::Refused(Outcome::rejected(format!(
                        "the broker does not allow this user to use the exchange `{name}`: {}",
                        said(error)
                    )))
                }
                _ => Missing::Connection(Failure::of(&error)),
            }),
        }
    }

    /// Forgets a queue that, according to the broker, does not exist.
    pub(crate) fn forget_queue(&mut self, name: &str) {
        self.queues.remove(name);
    }

    /// Forgets an exchange that, according to the broker, does not exist.
    pub(crate) fn forget_exchange(&mut self, name: &str) {
        self.exchanges.remove(name);
    }
}

fn remember(names: &mut HashSet<ShortString>, name: &ShortString) {
    if names.len() >= MOST {
        names.clear();
    }
    names.insert(name.clone());
}

/// The queues that were declared for the destination, over all connections.
#[derive(Debug)]
pub(crate) struct Declared {
    max: Option<usize>,
    names: HashSet<ShortString>,
    has_warned: bool,
}

impl Declared {
    /// `max`: how many there may be.
    pub(crate) fn new(max: Option<u32>) -> Self {
        Self {
            max: max.and_then(|max| usize::try_from(max).ok()),
            names: HashSet::new(),
            has_warned: false,
        }
    }

    /// The outcome of events that need this queue, if it would be one too many.
    fn refusal(&self, name: &ShortString) -> Option<Outcome> {
        let max = self.max?;
        (self.names.len() >= max && !self.names.contains(name)).then(|| {
            Outcome::rejected(format!(
                "queue `{name}` does not exist, and {max} queues have been declared for this destination already \
                 (`max_declared`); declare it on the broker, or raise the limit"
            ))
        })
    }

    fn note(&mut self, name: &ShortString) {
        if self.max.is_none() && self.has_warned {
            // Nobody asks any more.
            return;
        }
        self.names.insert(name.clone());
        if self.names.len() >= MANY && !self.has_warned {
            self.has_warned = true;
            tracing::warn!(
                "{MANY} queues have been declared for this destination, one for each routing key; if that is not intended, correct `routing_key` or the pattern, or set `max_declared`"
            );
            if self.max.is_none() {
                self.names = HashSet::new();
            }
        }
    }
}

async fn create(
    session: &Session,
    name: &ShortString,
    declared: &mut Declared,
) -> Result<(), Missing> {
    if let Some(refusal) = declared.refusal(name) {
        return Err(Missing::Refused(refusal));
    }
    tracing::info!("declaring the missing queue `{name}` as durable");
    declare(session, name, QueueDeclareOptions::durable())
        .await
        .map_err(|error| missing(name, &error))?;
    declared.note(name);
    Ok(())
}

/// Uses a separate channel, which the broker closes when it refuses.
async fn declare(
    session: &Session,
    name: &ShortString,
    options: QueueDeclareOptions,
) -> lapin::Result<()> {
    let channel = session.channel().await?;
    channel
        .queue_declare(name.clone(), options, FieldTable::default())
        .await?;
    channel.close(200, "done".into()).await
}

fn soft(error: &lapin::Error) -> Option<&AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

fn missing(name: &ShortString, error: &lapin::Error) -> Missing {
    match (soft(error), error.kind()) {
        (Some(_), ErrorKind::ProtocolError(error)) => Missing::Refused(Outcome::rejected(format!(
            "queue `{name}` does not exist, and the broker did not allow this user to declare it ({}); give the user `configure` on it, or declare it on the broker",
            said(error)
        ))),
        _ => Missing::Connection(Failure::of(error)),
    }
}
