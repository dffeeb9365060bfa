//! Connects to the destinations of a plan to see whether that works, and does nothing else.

use std::sync::Arc;
use std::time::Duration;

use evbus_abi::v1::{HostObjectV1, InstanceV1, LevelV1, LinkV1};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Plan, Planned};
use evbus_delivery::{closed, reason};
use evbus_destination::Secrets;
use evbus_plugin::{About, log};

/// So many destinations are connected to side by side, each on a thread that its plugin may block.
const AT_ONCE: usize = 256;

/// How much longer than its limit a plugin may take to return, before it counts as one that hangs.
const SLACK: Duration = Duration::from_millis(500);

/// How long an instance may take to say goodbye.
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
    /// little more, even if a plugin does not return. Results are in the order of the plan.
    pub async fn try_all(self, limit: Duration) -> Vec<Trial> {
        let served: Vec<Arc<Planned>> = self.served.into_iter().map(Arc::new).collect();
        let mut links = Vec::with_capacity(served.len());
        for some in served.chunks(AT_ONCE) {
            let until = Instant::now() + limit + SLACK;
            let trying: Vec<_> = some
                .iter()
                .map(|planned| {
                    let planned = Arc::clone(planned);
                    on_own_thread(async move { planned.connect(limit).await })
                })
                .collect();
            for (planned, trying) in some.iter().zip(trying) {
                links.push(match timeout_at(until, trying).await {
                    Ok(Ok(link)) => link,
                    Ok(Err(_)) => Err("the attempt to connect panicked".to_owned()),
                    Err(_) => Err(format!(
                        "plugin {} did not return from connect within {} s",
                        planned.plugin_id(),
                        limit.as_secs_f64()
                    )),
                });
            }
        }
        let mut closing = Vec::with_capacity(served.len());
        for (planned, link) in served.into_iter().zip(links) {
            let (link, ending) = match link {
                Ok(instance) => (Ok(()), Some(on_own_thread(close(instance)))),
                Err(reason) => (Err(reason), None),
            };
            closing.push((planned, link, ending));
        }
        let until = Instant::now() + CLOSING + SLACK;
        let mut trials = Vec::with_capacity(closing.len());
        for (planned, link, ending) in closing {
            let closed = match ending {
                Some(ending) => matches!(timeout_at(until, ending).await, Ok(Ok(true))),
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

/// Runs it where a plugin that blocks holds nobody else up.
fn on_own_thread<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let runtime = Handle::current();
    spawn_blocking(move || runtime.block_on(work))
}

/// Ends an instance. Gives whether it did in time.
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

/// The host, as an instance that is only tried sees it.
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
