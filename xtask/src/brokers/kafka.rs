//! A private Kafka: one process that is broker and controller (`KRaft`).

mod install;
mod options;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::port::Port;
use super::server::{Server, last_lines};
use super::{BrokerError, Certificates, HOST, PASSWORD, USER, lock};
use install::Installed;
use options::Listener;

pub use install::VERSION;
pub use options::KafkaBuilder;

/// Any 16 bytes in URL-safe base64.
const CLUSTER: &str = "ZXZidXMtdGVzdC1icm9rZQ";
const TOPIC_LIMIT: Duration = Duration::from_secs(15);
/// A server for one test does not benefit from the second compiler and a large heap.
const SMALL_JVM: &[&str] = &["-XX:TieredStopAtLevel=1", "-Xmx256m"];
const LARGE_JVM: &[&str] = &["-Xmx1g"];
const COMMON_JVM: &[&str] = &[
    "-XX:+UseSerialGC",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.showThreadName=false",
];

/// A private Kafka. Dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Kafka {
    server: Server,
    installed: Installed,
    listeners: Vec<(Listener, Port)>,
    controller: Port,
    certificates: Option<Certificates>,
    options: KafkaBuilder,
}

impl KafkaBuilder {
    /// Starts it and waits until it serves requests; blocks for seconds, and on the first time also
    /// while Kafka is fetched.
    ///
    /// # Errors
    ///
    /// When Java is not installed, Kafka cannot be fetched, or it does not become ready within two
    /// minutes.
    pub fn start(self) -> Result<Kafka, BrokerError> {
        let installed = install::install()?;
        if !installed.archive.is_file() {
            // It only makes starts faster; if the server cannot start, that shows below.
            let _ = record(&installed);
        }
        self.start_with(installed, &[])
    }

    fn start_with(self, installed: Installed, jvm: &[String]) -> Result<Kafka, BrokerError> {
        let server = Server::new("kafka")?;
        let certificates = match self.tls {
            Some(_) => Some(Certificates::generate(server.dir())?),
            None => None,
        };
        let reserve = || Port::reserve().map_err(BrokerError::io("reserve a port"));
        let wanted = [
            (Listener::Plaintext, true),
            (Listener::Sasl, self.sasl),
            (Listener::Tls, self.tls.is_some()),
            (Listener::SaslTls, self.sasl && self.tls.is_some()),
        ];
        let listeners = wanted
            .into_iter()
            .filter(|(_, wanted)| *wanted)
            .map(|(listener, _)| Ok((listener, reserve()?)))
            .collect::<Result<_, BrokerError>>()?;
        let mut broker = Kafka {
            server,
            installed,
            listeners,
            controller: reserve()?,
            certificates,
            options: self,
        };
        broker.format()?;
        broker.launch(jvm)?;
        Ok(broker)
    }
}

/// Runs a server once to record the classes it loads.
fn record(installed: &Installed) -> Result<(), BrokerError> {
    let home = installed.libs.parent().unwrap_or(&installed.libs);
    let _lock = lock(home)?;
    if installed.archive.is_file() {
        return Ok(());
    }
    let recorded = installed.archive.with_extension("recording");
    let flag = format!("-XX:ArchiveClassesAtExit={}", recorded.display());
    let options = KafkaBuilder::default().sasl();
    options.start_with(installed.clone(), &[flag])?.stop()?;
    fs::rename(&recorded, &installed.archive).map_err(BrokerError::file("make", &installed.archive))
}

impl Kafka {
    /// Starts one with the defaults; see [`KafkaBuilder::start`].
    ///
    /// # Errors
    ///
    /// Those of [`KafkaBuilder::start`].
    pub fn start() -> Result<Self, BrokerError> {
        Self::builder().start()
    }

    /// Fetches what a server needs, and readies it for quick starts, where that was not done yet; blocks
    /// for up to minutes then, and not at all otherwise.
    ///
    /// # Errors
    ///
    /// Those of [`KafkaBuilder::start`].
    pub fn prepare() -> Result<(), BrokerError> {
        let installed = install::install()?;
        if installed.archive.is_file() {
            return Ok(());
        }
        record(&installed)
    }

    /// Options for one.
    #[must_use]
    pub fn builder() -> KafkaBuilder {
        KafkaBuilder::default()
    }

    /// The port of the listener without encryption and login.
    pub fn port(&self) -> u16 {
        self.find(Listener::Plaintext)
            .expect("every server has this listener")
    }

    /// `host:port` of the listener without encryption and login.
    pub fn bootstrap_servers(&self) -> String {
        format!("{HOST}:{}", self.port())
    }

    /// `host:port` of the listener with login (`SASL_PLAINTEXT`).
    pub fn sasl_servers(&self) -> Option<String> {
        self.address(Listener::Sasl)
    }

    /// `host:port` of the listener with encryption (`SSL`).
    pub fn tls_servers(&self) -> Option<String> {
        self.address(Listener::Tls)
    }

    /// `host:port` of the listener with login and encryption (`SASL_SSL`).
    pub fn sasl_tls_servers(&self) -> Option<String> {
        self.address(Listener::SaslTls)
    }

    /// The certificates of the listeners with encryption.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The server's process while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// The directory of everything that belongs to it.
    pub fn dir(&self) -> &Path {
        self.server.dir()
    }

    /// Where its records are kept.
    pub fn data_dir(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.server.log()
    }

    /// Makes a topic and waits until all its partitions can be written to.
    ///
    /// # Errors
    ///
    /// When the server is down or refuses, for instance because there is one of that name.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<(), BrokerError> {
        let refused = |answer| BrokerError::Refused {
            request: format!("create the topic {name}"),
            answer,
        };
        wire::create_topic(self.port(), name, partitions).map_err(refused)?;
        self.wait_for_topic(name, Some(partitions)).map_err(refused)
    }

    /// Removes a topic and waits until the server does not know it any more.
    ///
    /// # Errors
    ///
    /// When the server is down or refuses, for instance because there is none of that name.
    pub fn delete_topic(&self, name: &str) -> Result<(), BrokerError> {
        let refused = |answer| BrokerError::Refused {
            request: format!("delete the topic {name}"),
            answer,
        };
        wire::delete_topic(self.port(), name).map_err(refused)?;
        self.wait_for_topic(name, None).map_err(refused)
    }

    fn wait_for_topic(&self, name: &str, partitions: Option<u32>) -> Result<(), String> {
        let deadline = Instant::now() + TOPIC_LIMIT;
        loop {
            let found = wire::led_partitions(self.port(), name)?;
            if found == partitions {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("it did, but {found:?} partitions are led"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks the server to end and waits for it; its records are kept.
    ///
    /// # Errors
    ///
    /// When it has to be killed after all.
    pub fn stop(&mut self) -> Result<(), BrokerError> {
        self.server.stop()
    }

    /// Kills the server (SIGKILL) and waits until nothing of it runs; its files stay.
    ///
    /// # Errors
    ///
    /// When the process that watches over it is gone.
    pub fn kill(&mut self) -> Result<(), BrokerError> {
        self.server.kill()
    }

    /// Starts it again, on the same ports and files; stops it first if it runs.
    ///
    /// # Errors
    ///
    /// When it does not become ready within two minutes.
    pub fn restart(&mut self) -> Result<(), BrokerError> {
        self.stop()?;
        self.launch(&[])
    }

    pub(super) fn leave(self) -> Result<PathBuf, BrokerError> {
        self.server.leave()
    }

    fn find(&self, wanted: Listener) -> Option<u16> {
        self.listeners
            .iter()
            .find(|(listener, _)| *listener == wanted)
            .map(|(_, port)| port.number())
    }

    fn address(&self, wanted: Listener) -> Option<String> {
        self.find(wanted)
            .map(|port| format!("{}:{port}", wanted.host()))
    }

    fn settings_file(&self) -> PathBuf {
        self.dir().join("server.properties")
    }

    /// Writes the configuration and prepares the data directory.
    fn format(&self) -> Result<(), BrokerError> {
        let settings = self.settings_file();
        let ports: Vec<_> = self
            .listeners
            .iter()
            .map(|(listener, port)| (*listener, port.number()))
            .collect();
        let server = self.dir().join("server-with-key.pem");
        let tls = match &self.certificates {
            Some(made) => {
                made.join_server(&server)?;
                Some((server.as_path(), made.ca.as_path()))
            }
            None => None,
        };
        let controller = self.controller.number();
        let text = self
            .options
            .settings(&self.data_dir(), controller, &ports, tls);
        fs::write(&settings, text).map_err(BrokerError::file("write", &settings))?;
        let mut tool = self.java(&[]);
        tool.args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER]);
        tool.arg("--config").arg(&settings);
        if self.options.sasl {
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                tool.arg("--add-scram")
                    .arg(format!("{mechanism}=[name={USER},password={PASSWORD}]"));
            }
        }
        let output = tool.output().map_err(BrokerError::io("start java"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(BrokerError::Tool {
            tool: "kafka-storage",
            why: format!(
                "{}: {}",
                output.status,
                last_lines(&String::from_utf8_lossy(&output.stderr))
            ),
        })
    }

    fn launch(&mut self, jvm: &[String]) -> Result<(), BrokerError> {
        let mut server = self.java(jvm);
        server.arg("kafka.Kafka").arg(self.settings_file());
        let port = self.port();
        self.server.launch(server, || wire::ready(port))
    }

    fn java(&self, more: &[String]) -> Command {
        let mut command = self.server.command(&self.installed.java);
        // It would override the flags below.
        command
            .env_remove("JAVA_TOOL_OPTIONS")
            .env_remove("JDK_JAVA_OPTIONS");
        command.args(COMMON_JVM).args(more);
        command.args(if self.options.for_benchmarks {
            LARGE_JVM
        } else {
            SMALL_JVM
        });
        if self.installed.archive.is_file() {
            let archive = self.installed.archive.display();
            command.arg(format!("-XX:SharedArchiveFile={archive}"));
        }
        command.arg("-cp").arg(self.installed.libs.join("*"));
        command
    }
}
