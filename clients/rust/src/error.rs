//! Errors between a program and a host.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use evbus_wire::{LostSync, in_words};

/// An error between a program and a host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No host answers at this socket.
    #[error(
        "cannot connect to the event socket {path:?}: {}; {}",
        in_words(.source),
        advice(.source)
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The event cannot be sent; others can.
    #[error("the event with the tag (profile) {tag:?} cannot be sent: {reason}")]
    Unsendable {
        /// The event's tag.
        tag: String,
        /// Why.
        reason: String,
    },
    /// The connection was lost. Some of the events sent over it may not have arrived.
    #[error(
        "the connection to the host was lost ({}), and events that it has not acknowledged may not have arrived; check that the host is running, and see its log",
        in_words(.0)
    )]
    Broken(#[from] io::Error),
    /// The host has ended or disconnected this listener, and the client does not reconnect. The host had sent
    /// something before; otherwise the error is [`TurnedAway`](Self::TurnedAway).
    #[error("the host closed the connection: it has ended, or this listener read too slowly")]
    Closed,
    /// The host closed the connection before it sent anything: it does not let this user listen, has reached its
    /// limit of listeners, or has ended. The client does not reconnect.
    #[error(
        "the host closed the connection before it sent anything: it does not let this user listen (see its --sock-group), has reached its limit of listeners, or has ended; see its log"
    )]
    TurnedAway,
    /// The host closed the connection before it acknowledged all events; some may have arrived.
    #[error(
        "the host closed the connection before it acknowledged all events; some may not have arrived"
    )]
    Unconfirmed,
    /// The host did not keep all events. Those that it kept are delivered.
    #[error("the host did not keep every event: {reason}")]
    Refused {
        /// The host's reason for the first event that was not kept.
        reason: String,
    },
    /// The host did not take all events in time.
    #[error("the host did not acknowledge all events within {} s; they may still be delivered, and the host may be waiting for room", .0.as_secs_f64())]
    Slow(Duration),
    /// The host sent something other than a frame.
    #[error("the host sent unreadable data: {0}")]
    LostSync(#[from] LostSync),
    /// A tag is not a valid pattern of its match type.
    #[error("the tag {tag:?} is not a valid pattern of the match type {match_type}: {reason}")]
    Pattern {
        /// The tag.
        tag: String,
        /// Its match type.
        match_type: crate::MatchType,
        /// Why.
        reason: String,
    },
    /// An event's data do not have the expected form.
    #[error("the data of the event with the tag {tag:?} cannot be read: {reason}")]
    Data {
        /// The event's tag.
        tag: String,
        /// Why.
        reason: String,
    },
}

/// Advice for a connection that was not made.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "run the program as the host's user, or start the host with --sock-group and a group of this user"
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "try again, and see the host's log",
        _ => {
            "check that a host is running with this socket directory (`evbus run --sock-dir`), or use the directory of one that is"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_another_user_is_not_taken_for_a_host_that_is_down() {
        for (kind, sentence) in [
            (io::ErrorKind::PermissionDenied, "--sock-group"),
            (
                io::ErrorKind::NotFound,
                "the socket does not exist; check that a host is running",
            ),
            (
                io::ErrorKind::ConnectionRefused,
                "nothing listens on it; check that a host is running",
            ),
        ] {
            let error = Error::Connect {
                path: "s/pull.ipc".into(),
                source: kind.into(),
            };
            assert!(error.to_string().contains(sentence), "{error}");
            assert!(!error.to_string().contains("os error"), "{error}");
        }
    }
}
