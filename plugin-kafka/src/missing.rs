//! Looks for a topic or a partition that does not exist yet.
//!
//! librdkafka itself asks the brokers again only after minutes, and refuses messages meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use evbus_sdk::tokio;
use rdkafka::producer::Producer as _;

use crate::client::Producer;

/// The pause between checks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the brokers may take to describe a topic.
const LOOK_FOR: Duration = Duration::from_secs(2);
/// After this many checks, the search continues only when another message was refused.
const LOOKS: u32 = 60;

/// A missing topic or partition.
#[derive(Debug, Clone)]
pub(crate) struct Missing {
    pub(crate) topic: String,
    /// `None` for the topic itself.
    pub(crate) partition: Option<i32>,
}

impl Missing {
    /// Asks the brokers, which updates what the producer knows. Blocks.
    fn is_found(&self, producer: &Producer) -> bool {
        let Ok(metadata) = producer
            .client()
            .fetch_metadata(Some(&self.topic), LOOK_FOR)
        else {
            return false;
        };
        metadata.topics().iter().any(|topic| {
            let mut partitions = topic.partitions().iter();
            topic.name() == self.topic
                && match self.partition {
                    Some(wanted) => partitions.any(|partition| partition.id() == wanted),
                    None => partitions.next().is_some(),
                }
        })
    }
}

/// Searches for one missing thing at a time, in the background.
#[derive(Debug, Default)]
pub(crate) struct Search {
    under_way: Arc<AtomicBool>,
}

impl Search {
    /// Starts to search, unless it is searching already.
    pub(crate) fn begin(&self, producer: &Arc<Producer>, missing: Missing) {
        if self.under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let under_way = Arc::clone(&self.under_way);
        let producer = Arc::downgrade(producer);
        tokio::spawn(async move {
            look(&producer, &missing).await;
            under_way.store(false, Ordering::Release);
        });
    }
}

async fn look(producer: &Weak<Producer>, missing: &Missing) {
    for _ in 0..LOOKS {
        let Some(producer) = producer.upgrade() else {
            return;
        };
        let missing = missing.clone();
        let look = tokio::task::spawn_blocking(move || missing.is_found(&producer));
        if look.await.unwrap_or(false) {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
