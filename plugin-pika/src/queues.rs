//! The queues of the default exchange: checked once per connection, declared if missing.

use std::collections::HashSet;

use evbus_sdk::{Outcome, tracing};
use lapin::ErrorKind;
use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};

use crate::connect::Session;
use crate::message::short;
use crate::outcome::{Failure, said};

/// How many queues are remembered; there may be any number of profile names.
const MOST: usize = 4096;

/// The queues that are known to exist.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    known: HashSet<ShortString>,
}

/// Why a queue cannot be published to.
pub(crate) enum Missing {
    /// The outcome of the events for this queue.
    Refused(Outcome),
    /// The connection is unusable.
    Connection(Failure),
}

impl Queues {
    /// Makes sure that a queue exists. Needs one round trip for a name that is not known yet.
    ///
    /// An existing queue is not changed, whatever its arguments. The check precedes the publish, rather than following
    /// a returned message, to keep the order: later messages would overtake the returned one.
    pub(crate) async fn ensure(&mut self, session: &Session, name: &str) -> Result<(), Missing> {
        if self.known.contains(name) {
            return Ok(());
        }
        let name = &short("the routing key", name).map_err(Missing::Refused)?;
        let look = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        match declare(session, name, look).await {
            Ok(()) => {}
            Err(error) => match soft(&error) {
                Some(AMQPSoftError::NOTFOUND) => create(session, name).await?,
                // It exists and belongs to another connection; publishing to it is allowed.
                Some(AMQPSoftError::RESOURCELOCKED) => {}
                _ => return Err(missing(name, &error)),
            },
        }
        if self.known.len() == MOST {
            self.known.clear();
        }
        self.known.insert(name.clone());
        Ok(())
    }

    /// Forgets a queue that, according to the broker, does not exist.
    pub(crate) fn forget(&mut self, name: &str) {
        self.known.remove(name);
    }
}

async fn create(session: &Session, name: &ShortString) -> Result<(), Missing> {
    tracing::info!("declaring the missing queue `{name}` as durable");
    declare(session, name, QueueDeclareOptions::durable())
        .await
        .map_err(|error| missing(name, &error))
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
