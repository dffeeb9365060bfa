//! Brokers that stay up between commands, for trying things by hand.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use super::{BrokerError, HOST, Kafka, RabbitMq, keeper, lock, shared_dir};

/// The file that describes them: a line with port and directory of each, an empty line, and the text that was printed.
const STATE: &str = "up";

/// Starts a `RabbitMQ` and a Kafka that stay until [`down`], and answers with a text for people:
/// where they are, and an acct file for them. When they are up already, only the text. Blocks for
/// seconds.
///
/// # Errors
///
/// When a broker does not start; then neither stays.
pub fn up() -> Result<String, BrokerError> {
    up_in(&shared_dir())
}

/// Ends what [`up`] started, with all its data; says whether there was anything.
///
/// # Errors
///
/// When the state cannot be read or removed.
pub fn down() -> Result<bool, BrokerError> {
    down_in(&shared_dir())
}

fn up_in(dir: &Path) -> Result<String, BrokerError> {
    let _lock = lock(dir)?;
    let path = dir.join(STATE);
    if let Some(state) = State::read(&path)? {
        if state.answers() {
            return Ok(state.text);
        }
        state.clear(&path)?;
    }
    let (rabbitmq, kafka) = (RabbitMq::start()?, Kafka::start()?);
    let state = State {
        brokers: vec![
            (rabbitmq.port(), rabbitmq.dir().to_owned()),
            (kafka.port(), kafka.dir().to_owned()),
        ],
        text: describe(&rabbitmq, &kafka),
    };
    // Before they are left running, so that none of them is unknown.
    state.write(&path)?;
    rabbitmq.leave()?;
    kafka.leave()?;
    Ok(state.text)
}

fn down_in(dir: &Path) -> Result<bool, BrokerError> {
    let _lock = lock(dir)?;
    let path = dir.join(STATE);
    let found = State::read(&path)?;
    if let Some(state) = &found {
        state.clear(&path)?;
    }
    Ok(found.is_some())
}

struct State {
    brokers: Vec<(u16, PathBuf)>,
    text: String,
}

impl State {
    fn read(path: &Path) -> Result<Option<Self>, BrokerError> {
        let content = match fs::read_to_string(path) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BrokerError::file("read", path)(error)),
        };
        let (brokers, text) = content.split_once("\n\n").unwrap_or((&content, ""));
        Ok(Some(Self {
            brokers: brokers
                .lines()
                .filter_map(|line| line.split_once(' '))
                .filter_map(|(port, dir)| Some((port.parse().ok()?, PathBuf::from(dir))))
                .collect(),
            text: text.to_owned(),
        }))
    }

    fn write(&self, path: &Path) -> Result<(), BrokerError> {
        let brokers: Vec<_> = self
            .brokers
            .iter()
            .map(|(port, dir)| format!("{port} {}\n", dir.display()))
            .collect();
        let content = format!("{}\n{}", brokers.concat(), self.text);
        fs::write(path, content).map_err(BrokerError::file("write", path))
    }

    /// Whether they are still running: a reboot ends them and may leave their directories.
    fn answers(&self) -> bool {
        self.brokers
            .iter()
            .all(|(port, dir)| dir.is_dir() && TcpStream::connect((HOST, *port)).is_ok())
    }

    fn clear(&self, path: &Path) -> Result<(), BrokerError> {
        for (_, dir) in &self.brokers {
            keeper::clear(dir)?;
        }
        fs::remove_file(path).map_err(BrokerError::file("remove", path))
    }
}

fn describe(rabbitmq: &RabbitMq, kafka: &Kafka) -> String {
    let (url, servers) = (rabbitmq.url(), kafka.bootstrap_servers());
    format!(
        "\
RabbitMQ  {url}
          log {}
Kafka     {servers}
          log {}

An acct file for them:

kafka:
  - \"idem-*\":
      connection:
        bootstrap_servers: \"{servers}\"
      topics:
        - idem
pika:
  - \"idem-*\":
      connection:
        url: \"{url}\"
      routing_key: idem
",
        rabbitmq.log().display(),
        kafka.log().display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_stay_up_until_they_are_taken_down() {
        let dir = tempfile::tempdir().expect("makes");
        let text = up_in(dir.path()).expect("starts");
        assert_eq!(up_in(dir.path()).expect("finds them"), text);
        let state = State::read(&dir.path().join(STATE)).expect("reads");
        let state = state.expect("is there");
        assert_eq!(state.brokers.len(), 2);
        assert!(state.answers());

        assert!(down_in(dir.path()).expect("ends them"));
        for (port, dir) in &state.brokers {
            assert!(TcpStream::connect((HOST, *port)).is_err());
            assert!(!dir.exists());
        }
        assert!(!down_in(dir.path()).expect("finds nothing"));
    }
}
