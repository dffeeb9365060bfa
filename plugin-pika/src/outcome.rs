//! Turns errors of the broker and the client library into outcomes and connection errors.
//!
//! | found | outcome |
//! |---|---|
//! | ack | accepted |
//! | nack (the broker could not keep it) | retry |
//! | returned: no queue takes it | rejected; on the default exchange with `declare`, retry |
//! | 404: no such exchange | rejected, with all unconfirmed events for this exchange |
//! | 403: access refused | rejected |
//! | 406: precondition failed, larger than the broker's maximum, say | rejected |
//! | the channel closed for another reason | retry |
//! | connection lost, connection closed by the broker, no confirm in time | retry, on a new connection |
//! | blocked by the broker | retry, on the same connection: it is waited for, and not sent again |
//! | a template fails, its exchange does not exist, one queue more than `max_declared` | rejected before it is sent |
//! | too many new queues or exchanges before it in the batch | retry |
//! | name longer than 255 bytes, tags larger than a frame | rejected before it is sent |
//!
//! [`cause`](crate::cause) explains failed connections.

use std::fmt;

use evbus_sdk::Outcome;
use lapin::ErrorKind;
use lapin::message::BasicReturnMessage;
use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPSoftError};

/// Why events passed to a channel are not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The broker closed the channel because of an event; with its reason.
    Channel(Cause, String),
    /// The connection is unusable.
    Connection(String),
    /// The broker reads nothing at the moment, and why. It has what was sent before.
    Blocked(String),
}

/// Why the broker closes a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Every event for this exchange fails in this way: it is missing, or forbidden to the user.
    Destination,
    /// This event fails in this way, but others may not.
    Event,
    /// The reason is unknown; another attempt may succeed.
    Unknown,
}

impl Failure {
    /// The meaning of lapin's error for a publish.
    pub(crate) fn of(error: &lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(error) => match error.kind() {
                AMQPErrorKind::Soft(soft) => Self::Channel(cause(soft, error), said(error)),
                AMQPErrorKind::Hard(_) => Self::Connection(said(error)),
            },
            // Other publishes get the reason for which the channel was closed.
            ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidChannel(_) => {
                Self::Channel(Cause::Unknown, "the channel is closed".to_owned())
            }
            ErrorKind::MissingHeartbeatError => {
                Self::Connection("no heartbeat from the broker in time".to_owned())
            }
            ErrorKind::IOError(error) => Self::Connection(match error.kind() {
                // lapin's error for a connection closed by the peer.
                std::io::ErrorKind::ConnectionAborted => {
                    "the broker closed the connection".to_owned()
                }
                _ => format!("the connection broke: {}", clean(&error.to_string())),
            }),
            ErrorKind::ParsingError(_) => {
                Self::Connection("the broker sent data that is not AMQP 0-9-1".to_owned())
            }
            ErrorKind::ChannelsLimitReached => Self::Connection(
                "the broker allows no more channels on a connection; raise its `channel_max`"
                    .to_owned(),
            ),
            _ => Self::Connection(clean(&error.to_string())),
        }
    }

    /// Of two failures of one channel, the one that explains the other. A refused event can cost the connection, too.
    pub(crate) fn or(self, other: Self) -> Self {
        let rank = |failure: &Self| match failure {
            Self::Channel(Cause::Destination | Cause::Event, _) => 3,
            Self::Connection(_) => 2,
            Self::Channel(Cause::Unknown, _) => 1,
            Self::Blocked(_) => 0,
        };
        if rank(&other) > rank(&self) {
            other
        } else {
            self
        }
    }

    /// Whether waiting for further confirms is pointless, because none will arrive for now.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Connection(_) | Self::Blocked(_))
    }

    /// The outcome of an event that failed by itself, or together with its whole destination.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Channel(Cause::Destination | Cause::Event, said) => {
                Outcome::rejected(format!("the broker refused it: {said}"))
            }
            Self::Channel(Cause::Unknown, _) | Self::Connection(_) | Self::Blocked(_) => {
                Outcome::retry(format!("not confirmed: {self}"))
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(_, why) | Self::Connection(why) => why.fmt(f),
            Self::Blocked(why) => write!(f, "blocked by the broker: {why}"),
        }
    }
}

fn cause(soft: &AMQPSoftError, error: &AMQPError) -> Cause {
    match soft {
        AMQPSoftError::NOTFOUND => Cause::Destination,
        // RabbitMQ names what was refused: the exchange, or the event's topic in it. An unknown wording only causes
        // retries.
        AMQPSoftError::ACCESSREFUSED
            if error.get_message().as_str().contains("access to exchange") =>
        {
            Cause::Destination
        }
        AMQPSoftError::ACCESSREFUSED | AMQPSoftError::PRECONDITIONFAILED => Cause::Event,
        _ => Cause::Unknown,
    }
}

/// The broker's code and text.
pub(crate) fn said(error: &AMQPError) -> String {
    format!(
        "{} ({})",
        clean(error.get_message().as_str()),
        error.get_id()
    )
}

/// A foreign text, shortened to one line.
pub(crate) fn clean(words: &str) -> String {
    const MOST: usize = 300;
    let is_unclean = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let words = words.chars().map(|c| if is_unclean(c) { ' ' } else { c });
    words.take(MOST).collect()
}

/// The beginning of the reason for an event that no queue accepts.
pub(crate) const UNROUTABLE: &str = "unroutable: ";

/// The reason for events that come after so many new queues and exchanges that the host would wait too long.
pub(crate) const TOO_MANY: &str = "the events before it go to so many new queues or exchanges that looking for them takes its time";

/// The outcome of a message that the broker returned because no queue accepts it.
pub(crate) fn unroutable(returned: &BasicReturnMessage) -> Outcome {
    let (exchange, key) = (&returned.delivery.exchange, &returned.delivery.routing_key);
    let place = if exchange.as_str().is_empty() {
        format!("queue `{key}` does not exist")
    } else {
        format!("no queue is bound to the exchange `{exchange}` for the routing key `{key}`")
    };
    Outcome::rejected(format!(
        "{UNROUTABLE}{place} ({} {})",
        returned.reply_code, returned.reply_text
    ))
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPHardError;
    use lapin::types::ShortString;

    use super::*;

    fn outcome(kind: impl Into<AMQPErrorKind>, said: &str) -> Outcome {
        let error = AMQPError::new(kind.into(), ShortString::from(said));
        Failure::of(&ErrorKind::ProtocolError(error).into()).outcome()
    }

    #[test]
    fn what_the_broker_refuses_is_rejected_and_what_it_merely_breaks_off_is_retried() {
        for (soft, said) in [
            (AMQPSoftError::NOTFOUND, "no exchange 'x'"),
            (AMQPSoftError::ACCESSREFUSED, "access to exchange 'x'"),
            (AMQPSoftError::ACCESSREFUSED, "access to topic 't'"),
            (
                AMQPSoftError::PRECONDITIONFAILED,
                "message size 2 is larger",
            ),
        ] {
            let outcome = outcome(soft, said);
            assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
        }
        for soft in [
            AMQPSoftError::RESOURCELOCKED,
            AMQPSoftError::CONTENTTOOLARGE,
            AMQPSoftError::NOCONSUMERS,
        ] {
            let outcome = outcome(soft, "closed");
            assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
        }
        for hard in [
            AMQPHardError::CONNECTIONFORCED,
            AMQPHardError::RESOURCEERROR,
            AMQPHardError::INTERNALERROR,
        ] {
            let outcome = outcome(hard, "closed");
            assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
        }
    }

    #[test]
    fn a_lost_channel_or_connection_is_retried() {
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for kind in [
            ErrorKind::InvalidChannel(1),
            ErrorKind::IOError(std::sync::Arc::new(io)),
        ] {
            let outcome = Failure::of(&kind.into()).outcome();
            assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
        }
    }
}
