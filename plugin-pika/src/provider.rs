//! The provider: connect, publish, close.

use evbus_sdk::tokio::sync::Mutex;
use evbus_sdk::tracing::level_filters::LevelFilter;
use evbus_sdk::{Batch, ConfigFault, ConnectError, Context, Limits, Outcomes, Provider};

use crate::address::Addressing;
use crate::config::{Config, OTHER_NAMES};
use crate::connect::Connector;
use crate::link::Link;
use crate::message::Form;
use crate::publisher::{Publisher, Rules};

/// Publishes events to an AMQP 0-9-1 broker; see the crate.
#[derive(Debug)]
pub struct Pika {
    link: Link,
    publisher: Mutex<Publisher>,
}

impl Provider for Pika {
    const NAMES: &'static [&'static str] = &["pika", "amqp", "rabbitmq"];
    const OTHER_NAMES: &'static [(&'static str, &'static str)] = OTHER_NAMES;
    /// lapin's trace lines contain the login and the bodies, and its line about a returned message contains the body.
    /// It logs as errors that a channel is closed, by the broker or by this plugin's end, and that a socket accepts
    /// nothing for a moment. Here the former is how a missing queue is detected, and the latter is normal; real errors
    /// are logged by this plugin.
    const LOG_CEILINGS: &'static [(&'static str, LevelFilter)] = &[
        ("lapin", LevelFilter::DEBUG),
        ("lapin::returned_messages", LevelFilter::ERROR),
        ("lapin::channel", LevelFilter::OFF),
        ("lapin::channels", LevelFilter::OFF),
        ("lapin::io_loop", LevelFilter::OFF),
        ("amq_protocol", LevelFilter::DEBUG),
    ];
    type Config = Config;

    fn check(config: &Config) -> Result<(), Vec<ConfigFault>> {
        config.check()
    }

    /// One batch in flight, so that later events do not overtake one that is retried; large batches keep the broker as
    /// busy as two in flight would.
    fn limits(&self) -> Limits {
        Limits {
            max_batch_events: 4096,
            max_batch_bytes: 4 * 1024 * 1024,
            max_in_flight: 1,
        }
    }

    async fn connect(config: Config, context: Context) -> Result<Self, ConnectError> {
        let addressing = Addressing::new(&config).map_err(ConnectError::permanent)?;
        let on_default = addressing.constant_exchange().is_none_or(str::is_empty);
        let rules = Rules {
            form: Form::new(&config),
            declare: config.declare && on_default,
            max_declared: config.max_declared,
            mandatory: config.mandatory,
            timeout: config.timeout.duration(),
            addressing,
        };
        // That of the publishes, and one to look for queues and exchanges.
        let looks = rules.declare || rules.addressing.constant_exchange().is_none();
        let channels = if looks { 2 } else { 1 };
        let connector = Connector::new(&config.connection.unwrap_or_default(), channels)?;
        Ok(Self {
            link: Link::new(connector, &rules, context).await?,
            publisher: Mutex::new(Publisher::new(rules)),
        })
    }

    async fn publish(&self, batch: Batch) -> Outcomes {
        self.publisher.lock().await.publish(&self.link, batch).await
    }

    async fn close(&self) {
        self.publisher.lock().await.close();
        self.link.close().await;
    }
}
