//! Private `RabbitMQ` and Kafka servers.
//!
//! Each one listens on ports of 127.0.0.1 that nobody else uses, keeps everything in a temporary
//! directory of its own, and disappears with its owner: when the handle is dropped, and also when
//! the owning process ends without dropping it (a handle in a `static`, a crash, SIGKILL). Several
//! processes may start brokers at once.
//!
//! Every call here blocks; inside an async test call it through `spawn_blocking`.

mod amqp;
mod certificates;
mod error;
pub mod kafka;
mod keeper;
pub(crate) mod port;
mod rabbitmq;
pub(crate) mod server;
mod standing;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub use certificates::{CLIENT_KEY_PASSWORD, Certificates, ClientCertificate};
pub use error::BrokerError;
pub use kafka::{Kafka, KafkaBuilder};
pub use keeper::Keeper;
pub use rabbitmq::{RabbitMq, RabbitMqBuilder};
pub use standing::{down, up};

/// The address every broker listens on.
pub const HOST: &str = "127.0.0.1";
/// The user every broker knows: `RabbitMQ`'s administrator, Kafka's SASL user.
pub const USER: &str = "evbus";
/// The password of [`USER`].
pub const PASSWORD: &str = "evbus-secret";

/// Where things that outlive a run are stored: the Kafka jars and the state of [`up`].
fn shared_dir() -> PathBuf {
    crate::target_dir().join("brokers")
}

/// Waits until no other process works in `dir`, which is created if necessary; the lock lasts as long as the file is
/// open.
fn lock(dir: &Path) -> Result<File, BrokerError> {
    fs::create_dir_all(dir).map_err(BrokerError::file("make", dir))?;
    let path = dir.join("lock");
    let file = File::create(&path).map_err(BrokerError::file("open", &path))?;
    file.lock().map_err(BrokerError::file("lock", &path))?;
    Ok(file)
}
