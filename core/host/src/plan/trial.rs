//! Connects to the destinations of a plan to see whether that works, and does nothing else.

use std::sync::Arc;
use std::time::Duration;

use evbus_abi::v1::{HostObjectV1, InstanceV1, LevelV1, LinkV1};
use tokio::time::timeout;

use super::{Plan, Planned};
use evbus_delivery::{closed, reason};
use evbus_destination::Secrets;
use evbus_plugin::{About, log};

/// How long an instance may take to close.
const CLOSING: Duration = Duration::from_secs(1);

/// The result of connecting to a destination.
#[derive(Debug)]
pub struct Trial {
    /// Which one.
    pub planned: Arc<Planned>,
    /// If it cannot be reached, the reason in one sentence, without secrets.
    pub link: Result<(), String>,
    /// Whether its instance, if there was one, ended within a second when asked to.
    pub closed: bool,
}

impl Plan {
    /// Connects to every served destination and disconnects once all have answered: all instances are
    /// open at the same time, as in a host, so that conflicts between them show. Takes `limit` and a
    /// little more. Results are in the order of the plan.
    pub async fn try_all(self, limit: Duration) -> Vec<Trial> {
        let served: Vec<Arc<Planned>> = self.served.into_iter().map(Arc::new).collect();
        let trying: Vec<_> = (served.iter().map(Arc::clone))
            .map(|planned| tokio::spawn(async move { planned.connect(limit).await }))
            .collect();
        let mut links = Vec::with_capacity(served.len());
        for trying in trying {
            let panicked = |_| Err("the attempt to connect panicked".to_owned());
            links.push(trying.await.unwrap_or_else(panicked));
        }
        let closing: Vec<_> = (served.into_iter().zip(links))
            .map(|(planned, link)| match link {
                Ok(instance) => (planned, Ok(()), Some(tokio::spawn(close(instance)))),
                Err(reason) => (planned, Err(reason), None),
            })
            .collect();
        let mut trials = Vec::with_capacity(closing.len());
        for (planned, link, ending) in closing {
            let closed = match ending {
                Some(ending) => matches!(ending.await, Ok(true)),
                None => true,
            };
            trials.push(Trial {
                planned,
                link,
                closed,
            });
        }
        trials
    }
}

/// Closes an instance. Returns whether it closed in time.
async fn close(instance: InstanceV1) -> bool {
    timeout(CLOSING, closed(&instance)).await.is_ok()
}

impl Planned {
    async fn connect(&self, limit: Duration) -> Result<InstanceV1, String> {
        let host = TryingHost {
            secrets: self.entry.secrets().clone(),
            plugin: self.plugin_id().to_owned(),
            pattern: self.entry.pattern.clone(),
        };
        self.connector
            .connect(&self.config(), self.entry.secrets(), host, limit)
            .await
            .map_err(|failure| reason(&failure.reason).into_owned())
    }
}

/// The host, as seen by an instance that is only tried.
struct TryingHost {
    secrets: Secrets,
    plugin: String,
    pattern: String,
}

impl HostObjectV1 for TryingHost {
    fn log(&self, level: LevelV1, target: &str, message: &str) {
        let about = About {
            plugin: &self.plugin,
            profile: Some(&self.pattern),
        };
        let secrets = &self.secrets;
        log(level, about, &secrets.hide(target), &secrets.hide(message));
    }

    fn link(&self, _: LinkV1, _: &str) {}
}
