//! Why a broker is unreachable, derived from librdkafka's errors.
//!
//! | librdkafka's code and words | cause |
//! |---|---|
//! | `_RESOLVE` | the host's name is not known |
//! | `_TRANSPORT`: Connection refused | nothing listens at the address |
//! | `_TRANSPORT`: no route, unreachable | the network does not lead there |
//! | `_TRANSPORT`: timed out while it connects | nobody answers at the address |
//! | `_TRANSPORT`: timed out later; requests timed out | the peer takes the connection and is silent |
//! | `_TRANSPORT`: hung up at the first request, without TLS | the port expects TLS, or is not Kafka's |
//! | `_TRANSPORT`: hung up right after the greeting | the port expects a login |
//! | `_TRANSPORT`: hung up later | the broker ended the connection |
//! | `_BAD_MSG`: invalid response size | another protocol; the size is the first four bytes of its answer |
//! | `_SSL`: verify failed | the certificate is not trusted, or is for another name: OpenSSL's words are the same |
//! | `_SSL`: an alert about a certificate | the broker wants a client certificate, or another one |
//! | `_SSL`: wrong version, end of file; `_TRANSPORT`: hung up in the handshake | the port does not speak TLS |
//! | `_AUTHENTICATION`: not valid in this state | the port takes no login |
//! | `_AUTHENTICATION`: unsupported mechanism | the broker takes other mechanisms |
//! | `_AUTHENTICATION`: anything else | the user or the password is wrong |
//!
//! librdkafka's texts are its own, with the system's and OpenSSL's words inside; those about a login hold
//! the broker's words, which may repeat it, and are never shown.

use std::fmt;

use rdkafka::types::RDKafkaErrorCode as Code;

/// Why one broker is not reached; displayed as one sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    /// `host:port`.
    pub(crate) broker: String,
    /// The address is one that the cluster names, not one of `bootstrap_servers`.
    pub(crate) advertised: bool,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    UnknownHost,
    Refused,
    NoRoute,
    NoAnswer,
    Mute,
    WantsTls,
    WantsLogin,
    HungUp,
    /// Another protocol, if it is known which.
    Speaks(Option<&'static str>),
    Certificate,
    ClientCertificate,
    NoTls,
    NoLogin,
    /// The mechanisms that the broker names.
    Mechanism(String),
    Login,
    /// librdkafka's message, shortened to one line.
    Other(String),
}

impl Cause {
    /// From an error or a `FAIL` line of librdkafka, which begin with the name of the broker.
    pub(crate) fn new(code: Code, text: &str) -> Option<Self> {
        let (name, said) = text.split_once(": ")?;
        let address = name.split_once("://").map_or(name, |(_, address)| address);
        let (broker, id) = address.split_once('/')?;
        Some(Self {
            broker: broker.to_owned(),
            advertised: id != "bootstrap",
            kind: match kind(code, said) {
                Kind::HungUp => hung_up(said, name.contains("ssl://")),
                kind => kind,
            },
        })
    }

    /// Whether waiting does not help, so that the attempt to connect can end.
    pub(crate) fn is_permanent(&self) -> bool {
        match self.kind {
            Kind::Certificate
            | Kind::ClientCertificate
            | Kind::NoLogin
            | Kind::Mechanism(_)
            | Kind::Login => true,
            Kind::UnknownHost
            | Kind::Refused
            | Kind::NoRoute
            | Kind::NoAnswer
            | Kind::Mute
            | Kind::WantsTls
            | Kind::WantsLogin
            | Kind::HungUp
            | Kind::NoTls
            | Kind::Speaks(_)
            | Kind::Other(_) => false,
        }
    }
}

fn kind(code: Code, said: &str) -> Kind {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match code {
        Code::Resolve => Kind::UnknownHost,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => login(said),
        // librdkafka reports some errors of OpenSSL as errors of the transport.
        code if code == Code::SSL || has(&["SSL routines"]) => {
            if has(&["verify failed", "Failed to verify"]) {
                Kind::Certificate
            } else if has(&["alert", "unexpected message"]) {
                Kind::ClientCertificate
            } else if has(&["wrong version", "unexpected eof", "packet length", "http"]) {
                Kind::NoTls
            } else {
                Kind::Other(short(said))
            }
        }
        Code::BadMessage => Kind::Speaks(protocol(said)),
        _ if has(&["Connection refused"]) => Kind::Refused,
        _ if has(&["No route", "unreachable"]) => Kind::NoRoute,
        _ if has(&["PLAINTEXT broker listener", "SSL connection handshake"]) => Kind::NoTls,
        _ if has(&["Disconnected", "reset by peer", "Broken pipe"]) => Kind::HungUp,
        _ if has(&["timed out in state CONNECT", "Connection timed out"]) => Kind::NoAnswer,
        _ if has(&["timed out", "Timed out"]) => Kind::Mute,
        _ => Kind::Other(short(said)),
    }
}

/// The state in which the peer closed the connection suggests what it expected.
fn hung_up(said: &str, over_tls: bool) -> Kind {
    if said.contains("in state APIVERSION_QUERY") && !over_tls {
        Kind::WantsTls
    } else if said.contains("might require SASL") || is_soon_after_greeting(said) {
        Kind::WantsLogin
    } else {
        Kind::HungUp
    }
}

fn is_soon_after_greeting(said: &str) -> bool {
    let time = said
        .rsplit_once("(after ")
        .and_then(|(_, state)| state.split_once("ms in state UP"));
    time.and_then(|(ms, _)| ms.parse().ok())
        .is_some_and(|ms: u32| ms < 2000)
}

fn login(said: &str) -> Kind {
    if said.contains("SASL state") {
        return Kind::NoLogin;
    }
    match said.split_once("supported mechanisms: ") {
        Some((_, offered)) if said.contains("Unsupported SASL mechanism") => {
            let is_name =
                |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || "-_,".contains(*c);
            Kind::Mechanism(offered.chars().take_while(is_name).take(200).collect())
        }
        _ => Kind::Login,
    }
}

/// The peer's protocol, from the first bytes of its answer, which librdkafka reads as a size.
fn protocol(said: &str) -> Option<&'static str> {
    let (_, size) = said.split_once("response size ")?;
    let end = size.find(|c: char| c != '-' && !c.is_ascii_digit());
    let size: i32 = size[..end.unwrap_or(size.len())].parse().ok()?;
    match &size.to_be_bytes() {
        b"HTTP" => Some("HTTP"),
        b"AMQP" => Some("AMQP (such as RabbitMQ)"),
        b"SSH-" => Some("SSH"),
        // A TLS alert of any version.
        [0x15, 0x03, ..] => Some("TLS"),
        _ => None,
    }
}

/// A foreign text, shortened to one line.
pub(crate) fn short(said: &str) -> String {
    const MOST: usize = 200;
    let said = match said.rfind(" (after ") {
        Some(end) => &said[..end],
        None => said,
    };
    let mut short: String = said
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MOST)
        .collect();
    if short.len() < said.len() {
        short.push_str("...");
    }
    short
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broker = &self.broker;
        if self.advertised {
            write!(f, "the broker that the cluster advertises as {broker} ")?;
        } else {
            write!(f, "{broker} ")?;
        }
        let place = if self.advertised {
            "correct `advertised.listeners` of that broker, or make the address reachable from here"
        } else {
            "correct `bootstrap_servers`, or start the broker"
        };
        match &self.kind {
            Kind::UnknownHost => write!(f, "cannot be found: its host name is not known; {place}"),
            Kind::Refused => write!(f, "refuses the connection: nothing listens there; {place}"),
            Kind::NoRoute => write!(f, "cannot be reached: there is no route to it; {place}"),
            Kind::NoAnswer => write!(
                f,
                "cannot be reached: it does not answer, or a firewall blocks it; {place}"
            ),
            Kind::Mute => f.write_str(
                "accepts the connection but does not answer like a Kafka broker; check that the port is Kafka's, and that the broker is not overloaded",
            ),
            Kind::WantsTls => f.write_str(
                "closes the connection on an unencrypted request: the port expects TLS, or is not \
                 Kafka's; set `security_protocol` to SSL or SASL_SSL, or correct the port",
            ),
            Kind::WantsLogin => f.write_str(
                "closes the connection after the first request: the port expects a login; set \
                 `security_protocol` to SASL_SSL or SASL_PLAINTEXT with `sasl_plain_username` and \
                 `sasl_plain_password`",
            ),
            Kind::HungUp => f.write_str(
                "closed the connection; if this happens again, see its log",
            ),
            Kind::Speaks(what) => write!(
                f,
                "is not a Kafka broker: it speaks {}; correct the port in `bootstrap_servers`",
                what.unwrap_or("another protocol")
            ),
            Kind::Certificate => f.write_str(
                "has a certificate that is not trusted, or is for another host name; set `ca_file` of `ssl` to its certificate authority, and use a host name that the certificate contains",
            ),
            Kind::ClientCertificate => f.write_str(
                "refuses the TLS handshake: it requires a client certificate, or rejects the one given; set `cert_file` and `key_file` of `ssl` to one from an authority that it trusts",
            ),
            Kind::NoTls => f.write_str(
                "does not speak TLS; use the port of its TLS listener, or set `security_protocol` to \
                 PLAINTEXT or SASL_PLAINTEXT and remove `ssl`",
            ),
            Kind::NoLogin => f.write_str(
                "does not accept logins on this port; use the port of its SASL listener, or set \
                 `security_protocol` to PLAINTEXT or SSL and remove user and password",
            ),
            Kind::Mechanism(offered) if offered.is_empty() => {
                f.write_str("does not support this `sasl_mechanism`; choose another one")
            }
            Kind::Mechanism(offered) => write!(
                f,
                "does not support this `sasl_mechanism`; choose one of {}",
                offered.replace(',', ", ")
            ),
            Kind::Login => f.write_str(
                "refused the credentials; correct `sasl_plain_username` and `sasl_plain_password`, \
                 or `sasl_mechanism`",
            ),
            Kind::Other(said) => write!(f, "cannot be used: {said}"),
        }
    }
}

/// A fatal error of the idempotent producer, after which it can send nothing more.
pub(crate) fn fatal(code: Code, said: &str) -> String {
    match code {
        Code::ClusterAuthorizationFailed => "the brokers do not allow this user an idempotent \
             producer; grant it IdempotentWrite on the cluster or Write on the topic, or set \
             `enable_idempotence: false`"
            .to_owned(),
        Code::UnsupportedFeature => "the brokers do not support idempotent producers; set \
             `enable_idempotence: false`"
            .to_owned(),
        code => format!(
            "the idempotent producer failed ({}: {}) and is created again; if this happens again, see the brokers' logs",
            code,
            short(said)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_kinds(cases: &[(Code, &str, Kind)]) {
        for (code, said, expected) in cases {
            for (name, broker, advertised) in [
                ("h:9/bootstrap", "h:9", false),
                ("sasl_plaintext://[::1]:9/4", "[::1]:9", true),
            ] {
                let cause = Cause::new(*code, &format!("{name}: {said}")).expect(said);
                assert_eq!(cause.kind, *expected, "{said}");
                assert_eq!((&*cause.broker, cause.advertised), (broker, advertised));
                let shown = cause.to_string();
                assert!(
                    !shown.contains("hunter2") && shown.contains(broker),
                    "{shown}"
                );
            }
        }
    }

    #[test]
    fn the_words_of_librdkafka_about_the_network_are_told_apart() {
        let transport = Code::BrokerTransportFailure;
        assert_kinds(&[
            (
                Code::Resolve,
                "Failed to resolve 'h:9': Name or service not known",
                Kind::UnknownHost,
            ),
            (
                transport,
                "Connect to ipv4#127.0.0.1:9 failed: Connection refused (after 0ms in state CONNECT)",
                Kind::Refused,
            ),
            (
                transport,
                "Connect to ipv4#10.0.0.1:9 failed: No route to host",
                Kind::NoRoute,
            ),
            (
                transport,
                "Connect to ipv6#[::2]:9 failed: Network is unreachable",
                Kind::NoRoute,
            ),
            (
                transport,
                "Connection setup timed out in state CONNECT",
                Kind::NoAnswer,
            ),
            (
                transport,
                "Connection setup timed out in state APIVERSION_QUERY",
                Kind::Mute,
            ),
            (
                Code::OperationTimedOut,
                "3 request(s) timed out: disconnect",
                Kind::Mute,
            ),
            (
                transport,
                "Disconnected: requesting ApiVersion: might be caused by incorrect security.protocol configuration (connecting to a SSL listener?) (after 2ms in state APIVERSION_QUERY)",
                Kind::WantsTls,
            ),
            (
                transport,
                "Disconnected: verify that security.protocol is correctly configured, broker might require SASL authentication",
                Kind::WantsLogin,
            ),
            (
                transport,
                "Disconnected: connection closed by peer (after 7ms in state UP)",
                Kind::WantsLogin,
            ),
            (
                transport,
                "Disconnected: connection closed by peer (after 90000ms in state UP)",
                Kind::HungUp,
            ),
            (
                Code::BadMessage,
                "Receive failed: Invalid response size 1213486160 (0..100000000): increase receive.message.max.bytes",
                Kind::Speaks(Some("HTTP")),
            ),
            (
                Code::BadMessage,
                "Receive failed: Invalid response size 1095586128 (0..100000000): x",
                Kind::Speaks(Some("AMQP (such as RabbitMQ)")),
            ),
            (
                Code::BadMessage,
                "Receive failed: Invalid response size 352518912 (0..1): x",
                Kind::Speaks(Some("TLS")),
            ),
            (
                Code::BadMessage,
                "Receive failed: Invalid response size -7 (0..1): x",
                Kind::Speaks(None),
            ),
        ]);
    }

    #[test]
    fn the_words_of_librdkafka_about_tls_and_logins_are_told_apart() {
        let transport = Code::BrokerTransportFailure;
        assert_kinds(&[
            (
                Code::SSL,
                "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified",
                Kind::Certificate,
            ),
            (
                Code::SSL,
                "SSL handshake failed: error:0A00045C:SSL routines::tlsv13 alert certificate required",
                Kind::ClientCertificate,
            ),
            (
                Code::SSL,
                "SSL handshake failed: error:0A00010B:SSL routines::wrong version number",
                Kind::NoTls,
            ),
            (
                transport,
                "SSL handshake failed: Disconnected: connection closed by peer: connecting to a PLAINTEXT broker listener?",
                Kind::NoTls,
            ),
            (
                Code::Authentication,
                "SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state: broker's supported mechanisms: ",
                Kind::NoLogin,
            ),
            (
                Code::Authentication,
                "SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-256,GSSAPI (after 3ms in state AUTH_HANDSHAKE)",
                Kind::Mechanism("SCRAM-SHA-256,GSSAPI".to_owned()),
            ),
            (
                Code::SaslAuthenticationFailed,
                "SASL authentication error: no user hunter2 hunter2",
                Kind::Login,
            ),
        ]);
    }

    #[test]
    fn unknown_words_are_one_short_line() {
        let text = format!("h:9/1: a\n{}", "b".repeat(1000));
        let shown = Cause::new(Code::Fail, &text)
            .expect("it names a broker")
            .to_string();
        assert!(shown.len() < 400 && !shown.contains('\n'), "{shown}");
        assert_eq!(Cause::new(Code::Fail, "no broker is named"), None);
    }
}
