//! Why a broker is unreachable, derived from lapin's errors and, if these are not specific, from the
//! peer's answer to a greeting.
//!
//! | found | cause |
//! |---|---|
//! | the host's name is not resolved | the host is not known |
//! | I/O: connection refused | nothing listens at the address |
//! | I/O: host or network unreachable | the network does not lead there |
//! | no answer while the connection is made | nobody answers at the address |
//! | rustls: the certificate has another name, an unknown issuer, is out of date | just that |
//! | rustls: an alert from the broker | the broker refuses the handshake: a client certificate, say |
//! | rustls: no TLS message; the peer hangs up or is silent in the handshake | what it says to a greeting |
//! | lapin: a frame that cannot be parsed, hung up, silent at the greeting | what it says to a greeting |
//! | the broker closes with 403 before it opened a virtual host | wrong login |
//! | the broker closes with 530 | no such virtual host, not for this user, or one connection too many |
//! | the broker closes with another code | its words |
//!
//! A peer's answer to the greeting of AMQP:
//!
//! | answer | it speaks |
//! |---|---|
//! | a method frame on channel 0 | AMQP 0-9-1 |
//! | `AMQP` and a version | AMQP of another version |
//! | `HTTP` | HTTP |
//! | a TLS alert | TLS |
//! | anything else, hung up, nothing | something else, or TLS |

use std::io;
use std::time::Duration;

use evbus_sdk::tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use evbus_sdk::tokio::net::TcpStream;
use evbus_sdk::{ConnectError, tokio};
use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use rustls::{AlertDescription, CertificateError};

use crate::endpoint::Endpoint;
use crate::outcome::{clean, said};

/// How long a peer may take to answer the greeting.
const GREET_WITHIN: Duration = Duration::from_secs(1);
const GREETING: &[u8] = b"AMQP\x00\x00\x09\x01";

/// The progress of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Resolving,
    Dialling,
    Handshake,
    Greeting,
}

/// Why an attempt to connect failed.
#[derive(Debug, PartialEq, Eq)]
enum Cause {
    Permanent(String),
    Retry(String),
    /// It is not clear what the peer speaks, so it must be asked.
    Unclear,
}

/// A peer's reaction to a greeting.
#[derive(Debug, PartialEq, Eq)]
enum Peer {
    Amqp,
    OtherAmqp,
    Http,
    Tls,
    Other,
    HangsUp,
    Silent,
}

/// The error of a failed attempt; `None` means that it took longer than `within`. If lapin's error is not specific,
/// asks the peer, for a second at most.
pub(crate) async fn connect_error(
    endpoint: &Endpoint,
    stage: Stage,
    error: Option<&lapin::Error>,
) -> ConnectError {
    let cause = match error {
        Some(error) => of(endpoint, stage, error),
        None => late(stage),
    };
    let (why, permanent) = match cause {
        Cause::Permanent(why) => (why, true),
        Cause::Retry(why) => (why, false),
        Cause::Unclear if endpoint.is_tls() && stage == Stage::Greeting => (
            "it speaks TLS, but does not answer like an AMQP 0-9-1 broker; check that `port` is the broker's"
                .to_owned(),
            false,
        ),
        Cause::Unclear => (speaks(endpoint, &greet(endpoint).await), false),
    };
    let why = format!("cannot connect to {endpoint}: {why}");
    if permanent {
        ConnectError::permanent(why)
    } else {
        ConnectError::retry(why)
    }
}

fn of(endpoint: &Endpoint, stage: Stage, error: &lapin::Error) -> Cause {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            let user = endpoint.user();
            match error.kind() {
                // The broker's text is not shown: it may contain the login.
                AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
                    let local = if user == "guest" {
                        " (by default, `guest` may log in only from the broker's own machine)"
                    } else {
                        ""
                    };
                    Cause::Permanent(format!(
                        "the broker refused the login of `{user}`{local}; correct `login` and \
                         `password`"
                    ))
                }
                AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => Cause::Permanent(format!(
                    "the broker refused access to the virtual host `{}` to `{user}`{}; correct \
                     `virtualhost`, or create it and give the user permissions there",
                    endpoint.vhost(),
                    words(endpoint, error)
                )),
                _ => Cause::Retry(format!(
                    "the broker closed the connection{}; see its log",
                    words(endpoint, error)
                )),
            }
        }
        ErrorKind::IOError(error) => io(stage, error),
        ErrorKind::ParsingError(_)
        | ErrorKind::InvalidProtocolVersion(_)
        | ErrorKind::MissingHeartbeatError
        | ErrorKind::InvalidConnectionState(_) => Cause::Unclear,
        _ => Cause::Retry(clean(&error.to_string())),
    }
}

/// The broker's message, unless it contains the password.
fn words(endpoint: &Endpoint, error: &lapin::protocol::AMQPError) -> String {
    let said = said(error);
    let password = endpoint.password();
    if !password.is_empty() && said.contains(password) {
        return String::new();
    }
    format!(" ({said})")
}

fn io(stage: Stage, error: &io::Error) -> Cause {
    let inner = error.get_ref();
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls(error);
    }
    if stage == Stage::Resolving {
        return Cause::Retry(
            "its host name is not known; correct `host`, or the name resolution (DNS) of this machine"
                .to_owned(),
        );
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Cause::Retry(
            "nothing listens there; correct `host` and `port`, or start the broker".to_owned(),
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Cause::Retry(
            "there is no route to it; correct `host`, or the network of this machine".to_owned(),
        ),
        io::ErrorKind::TimedOut => late(stage),
        _ if stage == Stage::Dialling => Cause::Retry(clean(&error.to_string())),
        _ => Cause::Unclear,
    }
}

/// It took too long.
fn late(stage: Stage) -> Cause {
    match stage {
        Stage::Resolving => Cause::Retry(
            "the name resolution (DNS) does not answer; fix it, or use an IP address as `host`"
                .to_owned(),
        ),
        Stage::Dialling => Cause::Retry(
            "it does not answer, or a firewall blocks it; correct `host` and `port`".to_owned(),
        ),
        Stage::Handshake | Stage::Greeting => Cause::Unclear,
    }
}

fn tls(error: &rustls::Error) -> Cause {
    match error {
        rustls::Error::InvalidCertificate(error) => Cause::Permanent(match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the broker's certificate is not accepted: it is for another host name; set `host` to a name that it contains"
                    .to_owned()
            }
            // The second one: signed by another authority with the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the broker's certificate is not accepted: its certificate authority is not trusted; set `ca_file` of `ssl_options` to that authority"
                    .to_owned()
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "the broker's certificate is not accepted: it has expired or is not valid yet; renew it, or correct the clock of this machine"
                    .to_owned()
            }
            error => format!(
                "the broker's certificate is not accepted: {}; give the broker another one",
                clean(&error.to_string())
            ),
        }),
        rustls::Error::AlertReceived(alert) => Cause::Permanent(match alert {
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => {
                "the broker refused TLS: it requires a client certificate, or rejects the one given; set `cert_file` of `ssl_options` to one from an authority that it trusts"
                    .to_owned()
            }
            alert => format!(
                "the broker refused TLS ({alert:?}); it may have no version or cipher in common \
                 with this client"
            ),
        }),
        rustls::Error::InvalidMessage(_)
        | rustls::Error::InappropriateMessage { .. }
        | rustls::Error::PeerMisbehaved(_) => Cause::Unclear,
        error => Cause::Retry(format!("TLS failed: {}", clean(&error.to_string()))),
    }
}

/// Greets the peer without TLS.
async fn greet(endpoint: &Endpoint) -> Peer {
    let greeting = async {
        let mut stream = TcpStream::connect((endpoint.host(), endpoint.port())).await?;
        stream.write_all(GREETING).await?;
        let mut answer = Vec::with_capacity(8);
        while answer.len() < 8 && stream.read_buf(&mut answer).await? > 0 {}
        Ok::<_, io::Error>(answer)
    };
    match tokio::time::timeout(GREET_WITHIN, greeting).await {
        Ok(Ok(answer)) => peer(&answer),
        Ok(Err(_)) => Peer::HangsUp,
        Err(_) => Peer::Silent,
    }
}

fn peer(answer: &[u8]) -> Peer {
    match answer {
        [] => Peer::HangsUp,
        // A method frame on channel 0: `connection.start`.
        [1, 0, 0, ..] => Peer::Amqp,
        [b'A', b'M', b'Q', b'P', ..] => Peer::OtherAmqp,
        [b'H', b'T', b'T', b'P', ..] => Peer::Http,
        // A TLS alert of any version.
        [0x15, 3, ..] => Peer::Tls,
        _ => Peer::Other,
    }
}

/// What is wrong with a peer that did not behave as expected.
fn speaks(endpoint: &Endpoint, peer: &Peer) -> String {
    let tls = endpoint.is_tls();
    let port = "correct `port`";
    match peer {
        Peer::Amqp if tls => {
            "it speaks AMQP without TLS; use the broker's TLS port (usually 5671), or remove `ssl` \
             (with a `url`: write amqp:)"
                .to_owned()
        }
        Peer::Amqp => "the broker closed the connection during login; see its log (a wrong `login` or `password`, for example)"
            .to_owned(),
        Peer::OtherAmqp => {
            "it speaks AMQP, but not version 0-9-1; use a broker or a port that does".to_owned()
        }
        Peer::Http => format!("it is not an AMQP broker: it speaks HTTP; {port}"),
        Peer::Tls if tls => format!("the TLS handshake with it failed; see its log, or {port}"),
        Peer::Tls => "it speaks TLS; add `ssl: true` (with a `url`: write amqps:), or use the \
             broker's port without TLS (usually 5672)"
            .to_owned(),
        Peer::Other => format!("it is not an AMQP broker: it speaks another protocol; {port}"),
        Peer::HangsUp if tls => {
            format!("it closes the connection without an answer: it speaks neither TLS nor AMQP 0-9-1; {port}")
        }
        Peer::HangsUp => format!(
            "it closes the connection without an answer, so it does not speak AMQP 0-9-1 there, or \
             only with TLS; {port}, or add `ssl: true`"
        ),
        Peer::Silent => format!(
            "it accepts the connection but does not answer like an AMQP 0-9-1 broker; {port}, or check whether the broker is overloaded"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lapin::protocol::AMQPError;
    use lapin::types::ShortString;

    use super::*;
    use crate::config::ConnectionConfig;

    fn endpoint() -> Endpoint {
        let json = r#"{"login": "u", "password": "hunter2", "host": "mq"}"#;
        let config: ConnectionConfig = evbus_sdk::parse_config(json).expect("valid");
        Endpoint::new(&config).expect("valid")
    }

    fn closed(kind: impl Into<AMQPErrorKind>, said: &str) -> Cause {
        let error = AMQPError::new(kind.into(), ShortString::from(said));
        of(
            &endpoint(),
            Stage::Greeting,
            &ErrorKind::ProtocolError(error).into(),
        )
    }

    #[test]
    fn a_broker_that_repeats_the_login_is_not_quoted() {
        let echo = "ACCESS_REFUSED - no user 'u' with password 'hunter2'";
        for cause in [
            closed(AMQPSoftError::ACCESSREFUSED, echo),
            closed(AMQPHardError::NOTALLOWED, echo),
            closed(AMQPHardError::INTERNALERROR, echo),
        ] {
            assert!(!format!("{cause:?}").contains("hunter2"), "{cause:?}");
        }
        let cause = closed(AMQPHardError::NOTALLOWED, "vhost\n/ not found");
        assert!(
            format!("{cause:?}").contains("vhost / not found"),
            "{cause:?}"
        );
    }

    #[test]
    fn errors_are_told_apart_by_their_kind_and_by_how_far_the_attempt_had_come() {
        let io = |stage, kind: io::ErrorKind| {
            let error = Arc::new(io::Error::from(kind));
            of(&endpoint(), stage, &ErrorKind::IOError(error).into())
        };
        let aborted = io::ErrorKind::ConnectionAborted;
        assert_eq!(io(Stage::Greeting, aborted), Cause::Unclear);
        assert_eq!(
            io(Stage::Handshake, io::ErrorKind::UnexpectedEof),
            Cause::Unclear
        );
        for (stage, kind, expected) in [
            (
                Stage::Resolving,
                io::ErrorKind::Other,
                "host name is not known",
            ),
            (
                Stage::Dialling,
                io::ErrorKind::ConnectionRefused,
                "nothing listens",
            ),
            (Stage::Dialling, io::ErrorKind::TimedOut, "firewall"),
            (Stage::Dialling, io::ErrorKind::HostUnreachable, "no route"),
        ] {
            let cause = io(stage, kind);
            assert!(format!("{cause:?}").contains(expected), "{cause:?}");
        }
    }

    #[test]
    fn a_peer_is_known_by_its_first_bytes() {
        for (answer, expected) in [
            (&b"\x01\x00\x00\x00\x00\x01\xf4"[..], Peer::Amqp),
            (b"AMQP\x03\x01\x00\x00", Peer::OtherAmqp),
            (b"HTTP/1.1 400", Peer::Http),
            (b"\x15\x03\x03\x00\x02\x02\x0a", Peer::Tls),
            (b"SSH-2.0-x", Peer::Other),
            (b"", Peer::HangsUp),
        ] {
            assert_eq!(peer(answer), expected, "{answer:?}");
        }
    }
}
