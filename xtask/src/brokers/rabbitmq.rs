//! A private `RabbitMQ`.

mod options;

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::port::Port;
use super::server::{Server, last_lines};
use super::{BrokerError, Certificates, HOST, PASSWORD, USER, amqp};
use crate::system::{self, Need};

pub use options::RabbitMqBuilder;

const NODE: &str = "evbus@localhost";
/// Erlang's resolver must not use the network: a slow answer would delay every start by seconds, and its helper
/// program leaves the process group.
const RESOLVER: &str = "{lookup, [file]}.\n{host, {127,0,0,1}, [\"localhost\"]}.\n";
/// A single scheduler of each kind starts a second faster than one for each core.
const SMALL_RUNTIME: &str = "+S 1:1 +A 1 +SDio 1 +SDcpu 1";

/// A private `RabbitMQ` without plugins. Dropping it ends it and removes its files.
#[derive(Debug)]
pub struct RabbitMq {
    server: Server,
    amqp: Port,
    tls: Option<(Port, Certificates)>,
    epmd: Port,
    distribution: Port,
    small: bool,
}

impl RabbitMqBuilder {
    /// Starts it and waits until it lets [`USER`] log in; blocks for seconds.
    ///
    /// # Errors
    ///
    /// When rabbitmq-server is not installed, or does not become ready within two minutes.
    pub fn start(self) -> Result<RabbitMq, BrokerError> {
        system::check(&[Need::RabbitMq])?;
        let server = Server::new("rabbitmq")?;
        let reserve = || Port::reserve().map_err(BrokerError::io("reserve a port"));
        let tls = match self.tls {
            Some(_) => Some((reserve()?, Certificates::generate(server.dir())?)),
            None => None,
        };
        let mut broker = RabbitMq {
            server,
            amqp: reserve()?,
            tls,
            epmd: reserve()?,
            distribution: reserve()?,
            small: !self.for_benchmarks,
        };
        broker.write_files(&self)?;
        broker.launch()?;
        Ok(broker)
    }
}

impl RabbitMq {
    /// Starts one with the defaults; see [`RabbitMqBuilder::start`].
    ///
    /// # Errors
    ///
    /// Those of [`RabbitMqBuilder::start`].
    pub fn start() -> Result<Self, BrokerError> {
        Self::builder().start()
    }

    /// Options for one.
    #[must_use]
    pub fn builder() -> RabbitMqBuilder {
        RabbitMqBuilder::default()
    }

    /// The port for AMQP without TLS.
    pub fn port(&self) -> u16 {
        self.amqp.number()
    }

    /// The port for AMQP with TLS.
    pub fn tls_port(&self) -> Option<u16> {
        self.tls.as_ref().map(|(port, _)| port.number())
    }

    /// The certificates of the TLS listener.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.tls.as_ref().map(|(_, certificates)| certificates)
    }

    /// The URL of [`USER`] in the virtual host `/`.
    pub fn url(&self) -> String {
        self.url_of(USER, PASSWORD, "/")
    }

    /// The URL of a user in a virtual host.
    pub fn url_of(&self, user: &str, password: &str, vhost: &str) -> String {
        url("amqp", user, password, HOST, self.port(), vhost)
    }

    /// The URL of [`USER`] in the virtual host `/`, with TLS.
    pub fn tls_url(&self) -> Option<String> {
        self.tls_port()
            .map(|port| url("amqps", USER, PASSWORD, "localhost", port, "/"))
    }

    /// The server's process while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// The directory of everything that belongs to it.
    pub fn dir(&self) -> &Path {
        self.server.dir()
    }

    /// Where its queues are kept.
    pub fn data_dir(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.server.log()
    }

    /// Runs `rabbitmqctl` and answers with what it printed. It takes a second or two; what can be
    /// set when the server starts is better set there.
    ///
    /// # Errors
    ///
    /// When the server is down, or the command fails.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String, BrokerError> {
        let output = self
            .erlang(self.dir().join("home/sbin/rabbitmqctl"))
            .arg("--quiet")
            .args(arguments)
            .output()
            .map_err(BrokerError::io("start rabbitmqctl"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(BrokerError::Tool {
            tool: "rabbitmqctl",
            why: format!("{}: {}", output.status, last_lines(&errors)),
        })
    }

    /// Asks the server to end and waits for it; what is durable is kept.
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
        self.launch()
    }

    pub(super) fn leave(self) -> Result<PathBuf, BrokerError> {
        self.server.leave()
    }

    fn launch(&mut self) -> Result<(), BrokerError> {
        // A private port mapper, which ends with the server and leaves the system's untouched.
        let port = self.epmd.number();
        let mut epmd = self.server.command("epmd");
        epmd.args(["-address", HOST, "-port"]).arg(port.to_string());
        self.server.helper(epmd, || connects(port))?;

        let server = self.erlang(self.dir().join("home/sbin/rabbitmq-server"));
        let (port, tls_port) = (self.port(), self.tls_port());
        self.server.launch(server, || {
            amqp::log_in(port, USER, PASSWORD)?;
            tls_port.map_or(Ok(()), connects)
        })
    }

    /// A command with the environment by which the server and its tools find each other.
    fn erlang(&self, program: PathBuf) -> Command {
        let mut command = self.server.command(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("RABBITMQ_") || text.starts_with("ERL_") {
                command.env_remove(&name);
            }
        }
        let dir = self.dir();
        command
            .env("HOME", dir)
            .env("RUNNING_UNDER_SYSTEMD", "true") // the script becomes the server: no shell between
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            .env("ERL_INETRC", dir.join("inetrc"))
            .env("ERL_EPMD_ADDRESS", HOST)
            .env("ERL_EPMD_PORT", self.epmd.number().to_string())
            .env("ERL_FLAGS", "-start_epmd false")
            .env("RABBITMQ_SCRIPTS_DIR", dir.join("home/sbin"))
            .env("RABBITMQ_NODENAME", NODE)
            .env("RABBITMQ_DIST_PORT", self.distribution.number().to_string())
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", dir.join("none"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", dir.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("plugins"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", dir.join("generated"))
            .env("RABBITMQ_FEATURE_FLAGS_FILE", dir.join("feature_flags"))
            .env("RABBITMQ_MNESIA_BASE", self.data_dir())
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env("RABBITMQ_LOG", "info,-color");
        if self.small {
            command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", SMALL_RUNTIME);
        }
        command
    }

    fn write_files(&self, options: &RabbitMqBuilder) -> Result<(), BrokerError> {
        let dir = self.dir();
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).map_err(BrokerError::file("write", &path))
        };
        write("inetrc", RESOLVER)?;
        write("plugins", "[].\n")?;
        write("advanced.config", "[].\n")?;
        write("definitions.json", &options.definitions())?;
        let tls = self.tls.as_ref().map(|(port, made)| (port.number(), made));
        write("rabbitmq.conf", &options.settings(dir, self.port(), tls))?;
        link_installation(&dir.join("home"))
    }
}

/// Makes `home` look like the installed server without its optional plugins. Erlang searches every plugin's directory
/// for each module: without them the server starts in two thirds of the time.
fn link_installation(home: &Path) -> Result<(), BrokerError> {
    let installed = system::rabbitmq_home()?;
    let link = |from: &Path, to: &Path| symlink(from, to).map_err(BrokerError::file("link", to));
    for part in ["sbin", "plugins"] {
        let (from, to) = (installed.join(part), home.join(part));
        fs::create_dir_all(&to).map_err(BrokerError::file("make", &to))?;
        for entry in fs::read_dir(&from).map_err(BrokerError::file("read", &from))? {
            let entry = entry.map_err(BrokerError::file("read", &from))?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            if text.starts_with("rabbitmq_") && !text.starts_with("rabbitmq_prelaunch") {
                continue;
            }
            link(&entry.path(), &to.join(&name))?;
        }
    }
    link(&installed.join("escript"), &home.join("escript"))
}

fn connects(port: u16) -> Result<(), String> {
    TcpStream::connect((HOST, port))
        .map(drop)
        .map_err(|error| format!("port {port}: {error}"))
}

fn url(scheme: &str, user: &str, password: &str, host: &str, port: u16, vhost: &str) -> String {
    let (user, password, vhost) = (escaped(user), escaped(password), escaped(vhost));
    format!("{scheme}://{user}:{password}@{host}:{port}/{vhost}")
}

/// Percent-encodes everything except RFC 3986's unreserved characters.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").expect("a String takes everything"),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_escapes_what_would_end_a_part_early() {
        assert_eq!(
            url("amqp", "a@b", "p/w", HOST, 1, "/"),
            "amqp://a%40b:p%2Fw@127.0.0.1:1/%2F"
        );
    }
}
