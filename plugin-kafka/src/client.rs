//! What librdkafka calls back: delivery reports, errors and log lines, on the producer's thread.

use std::sync::Arc;

use evbus_sdk::tracing::{debug, error, info, warn};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{ProducerContext, ThreadedProducer};

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
                .unwrap_or(rdkafka::types::RDKafkaErrorCode::Unknown)
        });
        self.reports.arrived(ticket, error);
    }
}

impl ClientContext for Client {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let _here = self.link.host().enter();
        match level {
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
