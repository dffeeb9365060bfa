//! Starting a process for a plugin, and connecting in it.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use evbus_abi::v1::{HostObjectV1, InstanceV1, LimitsV1};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::codec::FramedRead;

use super::LINKED;
use super::driver::Driver;
use super::proxy::Proxy;
use super::spawn::PluginProcess;
use super::talk::{Talk, ended, misplaced_frame, next_frame, next_message};
use super::wire::{self, ToHost};
use crate::{ConnectFailure, Plugin};

/// What is needed to start a process.
pub(super) struct Start {
    pub(super) program: Arc<Path>,
    pub(super) plugin: Arc<Plugin>,
    /// What is sent first: the greeting, and the configuration.
    pub(super) request: Vec<u8>,
    pub(super) deadline: Duration,
}

impl Start {
    /// Makes an instance that stands for one in a new process.
    pub(super) async fn instance(
        self,
        host: impl HostObjectV1,
    ) -> Result<InstanceV1, ConnectFailure> {
        let (talk, limits) = self.connect(&host).await?;
        // Bounded by the lane's limit of batches in flight, and one close.
        let (commands, queue) = mpsc::unbounded_channel();
        let (held, gone) = oneshot::channel();
        let killer = Arc::new(Mutex::new(talk.process.killer()));
        let why = Arc::new(OnceLock::new());
        let proxy = Proxy {
            commands,
            killer: Arc::clone(&killer),
            why: Arc::clone(&why),
            _held: held,
        };
        let driver = Driver {
            start: self,
            limits,
            host,
            queue,
            gone,
            killer,
            why,
        };
        tokio::spawn(driver.run(talk));
        Ok(InstanceV1::new(proxy, limits))
    }

    /// Starts a process and lets it connect, within the deadline. Cancel safe.
    pub(super) async fn connect(
        &self,
        host: &impl HostObjectV1,
    ) -> Result<(Talk, LimitsV1), ConnectFailure> {
        timeout(self.deadline, self.connect_at_last(host))
            .await
            .unwrap_or_else(|_| {
                Err(ConnectFailure {
                    permanent: false,
                    reason: format!(
                        "the plugin did not connect within {} s",
                        self.deadline.as_secs_f32()
                    ),
                })
            })
    }

    async fn connect_at_last(
        &self,
        host: &impl HostObjectV1,
    ) -> Result<(Talk, LimitsV1), ConnectFailure> {
        let permanent = |reason| ConnectFailure {
            permanent: true,
            reason,
        };
        let Some(image) = self.plugin.image() else {
            return Err(permanent(LINKED.to_owned()));
        };
        let retry = |reason| ConnectFailure {
            permanent: false,
            reason,
        };
        let (mut process, socket) = PluginProcess::start(&self.program, self.plugin.id(), image)
            .map_err(|error| {
                retry(format!(
                    "cannot start a process for the plugin from {}: {error}",
                    self.program.display()
                ))
            })?;
        let (reader, mut writer) = socket.into_split();
        let mut reader = FramedRead::new(reader, wire::frames(wire::MAX_FRAME));
        // Whether the process is gone shows when its answer is read.
        let _ = writer.write_all(&self.request).await;
        let answer = match next_frame(&mut reader).await {
            Ok(first) => match wire::other_version(&first) {
                Some(other) => return Err(permanent(wire::refused_program(&self.program, &other))),
                None => next_message(&mut reader, host).await,
            },
            Err(error) => Err(error),
        };
        let error = match answer {
            Ok(ToHost::Connected(limits)) => {
                let talk = Talk {
                    process,
                    reader,
                    writer,
                };
                return Ok((talk, limits));
            }
            Ok(ToHost::Failed { permanent, reason }) => {
                let reason = reason.into_owned();
                return Err(ConnectFailure { permanent, reason });
            }
            Ok(_) => misplaced_frame(),
            Err(error) => error,
        };
        let end = ended(&mut process, &error).await;
        Err(retry(format!("{end} before it connected")))
    }
}
