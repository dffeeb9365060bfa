//! Creates and ends plugin instances for a lane.

use std::sync::Arc;
use std::time::Duration;

use evbus_abi::RResult;
use evbus_abi::v1::{CompletionV1, ConnectFailureV1, HostObjectV1, HostV1, InstanceV1};
use tokio::sync::oneshot;

use crate::internal::InternalQueues;
use evbus_destination::Secrets;
use evbus_plugin::{ConnectFailure, Isolated, Plugin, max_level};

/// Creates the instances of a lane.
#[derive(Debug, Clone)]
pub enum Connector {
    /// A plugin.
    Plugin(Arc<Plugin>),
    /// A plugin, in a process of its own.
    Isolated(Isolated),
    /// The host itself.
    Internal(InternalQueues),
    /// What a test of lanes says.
    #[cfg(test)]
    Scripted(super::tests::Script),
}

impl PartialEq for Connector {
    /// Whether both are the very same plugin; another file of the same plugin is another one.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plugin(a), Self::Plugin(b)) => Arc::ptr_eq(a, b),
            (Self::Isolated(a), Self::Isolated(b)) => a == b,
            (Self::Internal(_), Self::Internal(_)) => true,
            #[cfg(test)]
            (Self::Scripted(a), Self::Scripted(b)) => a == b,
            _ => false,
        }
    }
}

impl Connector {
    /// Creates an instance. No message shows any of `secrets`. Takes at most `deadline`; an instance
    /// that arrives later is dropped.
    ///
    /// # Errors
    ///
    /// The reason, from the plugin or from the host.
    pub async fn connect(
        &self,
        config: &str,
        secrets: &Secrets,
        host: impl HostObjectV1,
        deadline: Duration,
    ) -> Result<InstanceV1, ConnectFailure> {
        let made = self.make(config, host, deadline).await;
        made.map_err(|failure| ConnectFailure {
            reason: secrets.hide(&failure.reason).into_owned(),
            ..failure
        })
    }

    async fn make(
        &self,
        config: &str,
        host: impl HostObjectV1,
        deadline: Duration,
    ) -> Result<InstanceV1, ConnectFailure> {
        let plugin = match self {
            Self::Internal(queues) => return queues.connect(config),
            #[cfg(test)]
            Self::Scripted(script) => return script.connect(HostV1::new(host, max_level())).await,
            Self::Isolated(isolated) => {
                return isolated.connect(config, host, max_level(), deadline).await;
            }
            Self::Plugin(plugin) => plugin,
        };
        let (sender, answer) = oneshot::channel();
        plugin.connect_apart(config, HostV1::new(host, max_level()), move |answer| {
            // Nobody waits any more: the instance is dropped with the message.
            let _ = sender.send(answer);
        })?;
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(Some(RResult::ROk(instance)))) => Ok(instance),
            Ok(Ok(Some(RResult::RErr(ConnectFailureV1 { permanent, reason })))) => {
                Err(ConnectFailure {
                    permanent,
                    reason: reason.into(),
                })
            }
            Ok(Ok(None) | Err(_)) => Err(ConnectFailure {
                permanent: false,
                reason: "the plugin dropped the request to connect".to_owned(),
            }),
            Err(_) => Err(ConnectFailure {
                permanent: false,
                reason: format!(
                    "the plugin did not connect within {} s",
                    deadline.as_secs_f32()
                ),
            }),
        }
    }

    /// The plugin's id, for the log.
    pub fn id(&self) -> &str {
        match self {
            Self::Plugin(plugin) => plugin.id(),
            Self::Isolated(isolated) => isolated.plugin().id(),
            Self::Internal(_) => "internal",
            #[cfg(test)]
            Self::Scripted(_) => "scripted",
        }
    }
}

/// Asks an instance to end, and waits until it has ended.
pub async fn closed(instance: &InstanceV1) {
    let (sender, closed) = oneshot::channel();
    instance.close(CompletionV1::new(move |_| {
        // Whoever waited may have lost patience.
        let _ = sender.send(());
    }));
    let _ = closed.await;
}
