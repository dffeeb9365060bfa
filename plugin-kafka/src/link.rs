//! Watches the connection to the cluster and tells the host when it goes and when it is back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use evbus_sdk::Context;
use evbus_sdk::tokio;
use evbus_sdk::tokio::sync::Notify;
use evbus_sdk::tracing::warn;
use rdkafka::producer::Producer as _;
use rdkafka::types::RDKafkaErrorCode;

use crate::client::Producer;

/// The pause between looks at a cluster that was lost.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long one look may take.
const LOOK_FOR: Duration = Duration::from_secs(2);

/// The state of the connection, as librdkafka's error callback tells it.
pub(crate) struct Link {
    host: Context,
    down: AtomicBool,
    went_down: Notify,
    last: Mutex<Option<Fault>>,
}

/// An error of the connection, by librdkafka's code and text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub(crate) code: RDKafkaErrorCode,
    pub(crate) reason: String,
}

impl Link {
    pub(crate) fn new(host: Context) -> Self {
        Self {
            host,
            down: AtomicBool::new(false),
            went_down: Notify::new(),
            last: Mutex::new(None),
        }
    }

    pub(crate) fn host(&self) -> &Context {
        &self.host
    }

    /// The last error since the link was up, other than that no broker is left: its cause.
    pub(crate) fn last_fault(&self) -> Option<Fault> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes an error of librdkafka, which may come twice.
    pub(crate) fn fault(&self, code: RDKafkaErrorCode, reason: &str) {
        if code == RDKafkaErrorCode::AllBrokersDown {
            if !self.down.swap(true, Ordering::AcqRel) {
                let cause = self.last_fault().map(|fault| fault.reason);
                self.host.link_down(cause.as_deref().unwrap_or(reason));
                self.went_down.notify_one();
            }
            return;
        }
        let fault = Fault {
            code,
            reason: reason.to_owned(),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&fault) {
            warn!(target: "librdkafka", "{reason}");
            *last = Some(fault);
        }
    }

    /// Says that the cluster answers.
    pub(crate) fn up(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if self.down.swap(false, Ordering::AcqRel) {
            self.host.link_up();
        }
    }

    /// Looks after the cluster whenever it was lost, for as long as the producer lives. librdkafka
    /// tells that brokers go, but not that they are back, so they are asked.
    pub(crate) async fn watch(self: Arc<Self>, producer: Weak<Producer>) {
        loop {
            self.went_down.notified().await;
            while self.down.load(Ordering::Acquire) {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(producer) = producer.upgrade() else {
                    return;
                };
                let look = move || producer.client().fetch_metadata(None, LOOK_FOR).is_ok();
                if tokio::task::spawn_blocking(look).await.unwrap_or(false) {
                    self.up();
                }
            }
        }
    }
}
