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

/// Most queues that are remembered; profile names may be without end.
const MOST: usize = 4096;

/// The queues that are known to exist.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    known: HashSet<ShortString>,
}

/// Why a queue is not there to be published to.
pub(crate) enum Missing {
    /// The events for this queue have this outcome.
    Refused(Outcome),
    /// The connection is of no use any more.
    Connection(Failure),
}

impl Queues {
    /// Sees that a queue exists. One round trip for a name that is not known yet.
    ///
    /// A queue that exists is left as it is, whatever its arguments. The check comes before the
    /// publish, not after the broker gave a message back, so that order is kept: messages that
    /// follow the returned one would overtake it.
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

    /// The broker says that it does not exist.
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

/// On a channel of its own, which the broker closes when it refuses.
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
