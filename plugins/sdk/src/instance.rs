//! An instance at work: a thread, a runtime, and the provider on it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use evbus_abi::v1::{
    BatchOutcomeV1, BatchV1, CompletionV1, ConnectOutcomeV1, FateV1, HostV1, InstanceObjectV1,
    InstanceV1,
};
use evbus_abi::{RErr, ROk};
use futures_util::FutureExt;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::{Batch, ConnectError, Context, Limits, Outcome, Outcomes, Provider, log_bridge};

enum Command {
    Publish(BatchV1, CompletionV1<BatchOutcomeV1>),
    Close(CompletionV1<()>),
}

/// Starts an instance's thread, which connects and answers through `done`.
pub(crate) fn start<P: Provider>(
    config: P::Config,
    host: HostV1,
    done: CompletionV1<ConnectOutcomeV1>,
) {
    let host = Arc::new(host);
    let name = format!("evbus {}", P::NAMES.first().copied().unwrap_or("plugin"));
    // If the thread cannot be started, what was moved into it is lost, so it receives its arguments later.
    let (give, given) = std::sync::mpsc::sync_channel(1);
    let started = std::thread::Builder::new().name(name).spawn(move || {
        let Ok((config, host, done)) = given.recv() else {
            return;
        };
        instance::<P>(config, host, done);
    });
    match started {
        // The thread waits for this.
        Ok(_) => drop(give.send((config, host, done))),
        Err(error) => {
            let error = ConnectError::retry(format!(
                "cannot start a thread for the instance: {error}; raise the process limit (ulimit -u, TasksMax=)"
            ));
            done.complete(RErr(error.into_abi()));
        }
    }
}

/// Runs an instance on its thread.
fn instance<P: Provider>(
    config: P::Config,
    host: Arc<HostV1>,
    done: CompletionV1<ConnectOutcomeV1>,
) {
    let _log = log_bridge::enter(Arc::clone(&host));
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let error =
                ConnectError::retry(format!("cannot start a runtime for the instance: {error}"));
            return done.complete(RErr(error.into_abi()));
        }
    };
    run::<P>(&runtime, config, host, done);
    // Tasks that the plugin left behind must not block the thread.
    runtime.shutdown_background();
}

fn run<P: Provider>(
    runtime: &Runtime,
    config: P::Config,
    host: Arc<HostV1>,
    done: CompletionV1<ConnectOutcomeV1>,
) {
    runtime.block_on(async move {
        let connecting = async { P::connect(config, Context::new(host)).await };
        let provider = match AssertUnwindSafe(connecting).catch_unwind().await {
            Ok(Ok(provider)) => Arc::new(provider),
            Ok(Err(error)) => return done.complete(RErr(error.into_abi())),
            Err(panic) => {
                let reason = format!("the plugin panicked in connect: {}", message(&*panic));
                return done.complete(RErr(ConnectError::retry(reason).into_abi()));
            }
        };
        let limits =
            std::panic::catch_unwind(AssertUnwindSafe(|| provider.limits())).unwrap_or_default();
        let (commands, queue) = mpsc::channel(channel_size(limits));
        done.complete(ROk(InstanceV1::new(Handle { commands }, limits.into_abi())));
        serve(provider, queue).await;
    });
}

/// Enough for the batches in flight, and for the close.
fn channel_size(limits: Limits) -> usize {
    (limits.max_in_flight.max(1) as usize)
        .saturating_add(1)
        .min(4096)
}

async fn serve<P: Provider>(provider: Arc<P>, mut queue: mpsc::Receiver<Command>) {
    let mut publishing = JoinSet::new();
    loop {
        tokio::select! {
            command = queue.recv() => match command {
                Some(Command::Publish(batch, done)) => {
                    publishing.spawn(publish(Arc::clone(&provider), batch, done));
                }
                Some(Command::Close(done)) => {
                    while publishing.join_next().await.is_some() {}
                    // A panic in close changes nothing, because the instance ends anyway.
                    let _ = AssertUnwindSafe(async { provider.close().await }).catch_unwind().await;
                    return done.complete(());
                }
                // The host dropped the instance without a close: batches in flight are dropped without an answer.
                None => return,
            },
            Some(_) = publishing.join_next() => {}
        }
    }
}

async fn publish<P: Provider>(
    provider: Arc<P>,
    batch: BatchV1,
    done: CompletionV1<BatchOutcomeV1>,
) {
    let batch = Batch::new(batch);
    let events = batch.len();
    let publishing = async { provider.publish(batch).await };
    let outcomes = match AssertUnwindSafe(publishing).catch_unwind().await {
        Ok(outcomes) => outcomes,
        Err(panic) => Outcomes::all(Outcome::retry(format!(
            "the plugin panicked: {}",
            message(&*panic)
        )))
        .crashed(),
    };
    done.complete(outcomes.into_abi(events));
}

/// The message of a panic.
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// The host's end of the instance's queue.
struct Handle {
    commands: mpsc::Sender<Command>,
}

impl InstanceObjectV1 for Handle {
    fn publish(&self, batch: BatchV1, done: CompletionV1<BatchOutcomeV1>) {
        let refused = match self.commands.try_send(Command::Publish(batch, done)) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(command)) => (
                command,
                "more batches are in flight than the plugin allows",
                FateV1::WORKS,
            ),
            Err(mpsc::error::TrySendError::Closed(command)) => {
                (command, "the plugin's instance has ended", FateV1::BROKEN)
            }
        };
        if let (Command::Publish(batch, done), reason, fate) = refused {
            let outcomes = Outcomes::all(Outcome::retry(reason));
            let mut outcomes = outcomes.into_abi(batch.events().len());
            outcomes.instance = fate;
            done.complete(outcomes);
        }
    }

    fn close(&self, done: CompletionV1<()>) {
        // On failure the completion is dropped, so the host does not wait.
        let _ = self.commands.try_send(Command::Close(done));
    }
}
