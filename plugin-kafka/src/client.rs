//! librdkafka's callbacks: delivery reports, errors and log lines, on the producer's thread.

use std::sync::Arc;

use evbus_sdk::tracing::{debug, error, info, warn};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use crate::cause::Cause;
use crate::link::Link;
use crate::reports::Reports;

/// A producer that reports to a [`Client`].
pub(crate) type Producer = ThreadedProducer<Client>;

/// The receiver of librdkafka's callbacks. None of them blocks.
pub(crate) struct Client {
    pub(crate) reports: Arc<Reports>,
    pub(crate) link: Arc<Link>,
}

impl ProducerContext for Client {
    /// The message's ticket.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let error = result.as_ref().err().map(|(error, _)| {
            error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::Unknown)
        });
        self.reports.arrived(ticket, error);
    }
}

impl ClientContext for Client {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let _here = self.link.host().enter();
        if self.takes(level, facility, message) {
            return;
        }
        match level {
            // Brokers that have just started return an id later, and librdkafka asks again.
            _ if facility == "GETPID" => debug!(target: "librdkafka", "{facility}: {message}"),
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => error!(target: "librdkafka", "{facility}: {message}"),
            RDKafkaLogLevel::Warning => warn!(target: "librdkafka", "{facility}: {message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                info!(target: "librdkafka", "{facility}: {message}");
            }
            RDKafkaLogLevel::Debug => debug!(target: "librdkafka", "{facility}: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            let _here = self.link.host().enter();
            self.link.fault(code, reason);
        }
    }
}

impl Client {
    /// Whether a line is about a failed connection, which the link reports itself. librdkafka's text may contain a
    /// login.
    fn takes(&self, level: RDKafkaLogLevel, facility: &str, message: &str) -> bool {
        match facility {
            "FAIL" => {
                // Errors are also reported through another callback, with their codes.
                if matches!(
                    level,
                    RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info
                ) {
                    let transport = RDKafkaErrorCode::BrokerTransportFailure;
                    if let Some(cause) = Cause::new(transport, without_thread(message)) {
                        self.link.cause(cause);
                    }
                }
                true
            }
            "IDEMPSTATE" => {
                if message.ends_with("-> Assigned") {
                    self.link.got_id();
                }
                false
            }
            // The first of several OpenSSL errors, of which only the last is reported; and fatal errors.
            "SSL" | "FATAL" => true,
            _ => false,
        }
    }
}

/// A line without the thread's name at its beginning (`log.thread.name`).
fn without_thread(message: &str) -> &str {
    let named = message.strip_prefix("[thrd:");
    named
        .and_then(|named| named.split_once("]: "))
        .map_or(message, |(_, line)| line)
}
