//! How a private Kafka can differ from the default, and its configuration file.

use std::fmt::Write as _;
use std::path::Path;

use crate::brokers::{ClientCertificate, HOST, PASSWORD, USER};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    Plaintext,
    Sasl,
    Tls,
    SaslTls,
}

impl Listener {
    /// Kafka's name of the protocol, used as the listener's name too.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Sasl => "SASL_PLAINTEXT",
            Self::Tls => "SSL",
            Self::SaslTls => "SASL_SSL",
        }
    }

    /// The host name announced to clients: that of the certificate if there is one.
    pub(super) fn host(self) -> &'static str {
        match self {
            Self::Plaintext | Self::Sasl => HOST,
            Self::Tls | Self::SaslTls => "localhost",
        }
    }
}

/// What a [`Kafka`](crate::brokers::Kafka) shall have beside its listener without encryption and login.
#[derive(Clone, Debug)]
pub struct KafkaBuilder {
    pub(super) sasl: bool,
    pub(super) tls: Option<ClientCertificate>,
    pub(super) auto_create_topics: bool,
    pub(super) message_max_bytes: Option<u32>,
    pub(super) partitions: u16,
    /// Host and port of another plaintext listener, besides the private ones.
    named: Option<(String, u16)>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) for_benchmarks: bool,
}

impl Default for KafkaBuilder {
    fn default() -> Self {
        Self {
            sasl: false,
            tls: None,
            auto_create_topics: true,
            message_max_bytes: None,
            partitions: 1,
            named: None,
            settings: Vec::new(),
            for_benchmarks: false,
        }
    }
}

impl KafkaBuilder {
    /// A listener too on which [`USER`] logs in with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; with
    /// [`Self::tls`], another one that has both.
    #[must_use]
    pub fn sasl(mut self) -> Self {
        self.sasl = true;
        self
    }

    /// A TLS listener too, with [`Certificates`](crate::brokers::Certificates) of its own.
    #[must_use]
    pub fn tls(mut self, client: ClientCertificate) -> Self {
        self.tls = Some(client);
        self
    }

    /// Whether a topic appears when it is first used; it does unless this says no.
    #[must_use]
    pub fn auto_create_topics(mut self, on: bool) -> Self {
        self.auto_create_topics = on;
        self
    }

    /// The largest batch of records it takes, in bytes; Kafka's default otherwise (about 1 MiB).
    #[must_use]
    pub fn message_max_bytes(mut self, bytes: u32) -> Self {
        self.message_max_bytes = Some(bytes);
        self
    }

    /// How many partitions a topic has that appears by being used; 1 by default.
    #[must_use]
    pub fn partitions(mut self, count: u16) -> Self {
        self.partitions = count;
        self
    }

    /// A listener too, without encryption and login, at a place that clients know already: it listens
    /// on the address that `host` resolves to, and tells clients to come back to `host:port`. The port
    /// is not reserved; the server does not start where it is taken.
    #[must_use]
    pub fn also_at(mut self, host: &str, port: u16) -> Self {
        self.named = Some((host.to_owned(), port));
        self
    }

    /// A property of the server's configuration.
    #[must_use]
    pub fn setting(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// As fast as the machine allows, at the price of a slower start.
    #[must_use]
    pub fn for_benchmarks(mut self) -> Self {
        self.for_benchmarks = true;
        self
    }

    /// The server's configuration file; `tls` are the files of the server's key with certificate and
    /// of the authority.
    pub(super) fn settings(
        &self,
        data_dir: &Path,
        controller: u16,
        ports: &[(Listener, u16)],
        tls: Option<(&Path, &Path)>,
    ) -> String {
        let mut listeners = vec![format!("CONTROLLER://{HOST}:{controller}")];
        let mut advertised = Vec::new();
        for (listener, port) in ports {
            let name = listener.name();
            listeners.push(format!("{name}://{HOST}:{port}"));
            advertised.push(format!("{name}://{}:{port}", listener.host()));
        }
        if let Some((host, port)) = &self.named {
            for list in [&mut listeners, &mut advertised] {
                list.push(format!("NAMED://{host}:{port}"));
            }
        }
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@{HOST}:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners={}\n\
             advertised.listeners={}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,NAMED:PLAINTEXT,\
             SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
             log.dirs={}\n\
             auto.create.topics.enable={}\n\
             num.partitions={}\n\
             group.initial.rebalance.delay.ms=0\n",
            listeners.join(","),
            advertised.join(","),
            data_dir.display(),
            self.auto_create_topics,
            self.partitions,
        );
        let mut set = |key: &str, value: &str| {
            writeln!(text, "{key}={value}").expect("a String takes everything");
        };
        // One server cannot keep three copies of its own topics.
        for topic in [
            "offsets.topic",
            "transaction.state.log",
            "share.coordinator.state.topic",
        ] {
            set(&format!("{topic}.replication.factor"), "1");
            set(&format!("{topic}.num.partitions"), "1");
        }
        set("transaction.state.log.min.isr", "1");
        set("share.coordinator.state.topic.min.isr", "1");
        // A killed server may return only when its session has ended: by default after 9 s.
        set("broker.session.timeout.ms", "4000");
        set("broker.heartbeat.interval.ms", "500");
        if !self.for_benchmarks {
            set("num.network.threads", "1");
            set("num.io.threads", "2");
            set("background.threads", "2");
        }
        if let Some(bytes) = self.message_max_bytes {
            set("message.max.bytes", &bytes.to_string());
        }
        if self.sasl {
            set(
                "sasl.enabled.mechanisms",
                "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            );
            let module = "org.apache.kafka.common.security";
            for name in [Listener::Sasl, Listener::SaslTls].map(|l| l.name().to_lowercase()) {
                set(
                    &format!("listener.name.{name}.plain.sasl.jaas.config"),
                    &format!(
                        "{module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"
                    ),
                );
                for scram in ["scram-sha-256", "scram-sha-512"] {
                    set(
                        &format!("listener.name.{name}.{scram}.sasl.jaas.config"),
                        &format!("{module}.scram.ScramLoginModule required;"),
                    );
                }
            }
        }
        if let (Some((server, ca)), Some(client)) = (tls, self.tls) {
            set("ssl.keystore.type", "PEM");
            set("ssl.keystore.location", &server.display().to_string());
            set("ssl.truststore.type", "PEM");
            set("ssl.truststore.location", &ca.display().to_string());
            let auth = match client {
                ClientCertificate::NotAsked => "none",
                ClientCertificate::Required => "required",
            };
            for name in [Listener::Tls, Listener::SaslTls].map(|l| l.name().to_lowercase()) {
                set(&format!("listener.name.{name}.ssl.client.auth"), auth);
            }
        }
        for (key, value) in &self.settings {
            set(key, value);
        }
        text
    }
}
