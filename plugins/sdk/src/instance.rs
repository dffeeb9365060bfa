//! An instance at work: one task on the carriers, which runs the provider's futures one at a time.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use evbus_abi::v1::{
    BatchOutcomeV1, BatchV1, CompletionV1, ConnectOutcomeV1, FateV1, HostV1, InstanceObjectV1,
    InstanceV1,
};
use evbus_abi::{RErr, ROk};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use crate::carriers::CARRIERS;
use crate::reactor::{LIMIT, Reactor};
use crate::tasks;
use crate::{Batch, ConnectError, Context, Limits, Outcome, Outcomes, Provider, log_bridge};

enum Command {
    Publish(BatchV1, CompletionV1<BatchOutcomeV1>),
    Close(CompletionV1<()>),
}

/// Starts an instance, which connects and answers through `done`.
pub(crate) fn start<P: Provider>(
    config: P::Config,
    host: HostV1,
    done: CompletionV1<ConnectOutcomeV1>,
) {
    let name = format!("evbus {}", P::NAMES.first().copied().unwrap_or("plugin"));
    let place = match CARRIERS.reserve(&name) {
        Ok(place) => place,
        Err(error) => {
            return fail(
                done,
                format!("cannot start a thread for the instance: {error}; {LIMIT}"),
            );
        }
    };
    let host = Arc::new(host);
    log_bridge::add(&host);
    place.run(async move {
        let shared = {
            let _log = log_bridge::scope(Arc::clone(&host));
            Reactor::shared(&name)
        };
        match shared {
            Ok(reactor) => {
                let running = run::<P>(config, Arc::clone(&host), done);
                Instance::new(reactor, &host, running).await;
            }
            Err(reason) => fail(done, reason),
        }
    });
}

fn fail(done: CompletionV1<ConnectOutcomeV1>, reason: String) {
    done.complete(RErr(ConnectError::retry(reason).into_abi()));
}

/// Whatever belongs to an instance. It is polled, and in the end dropped, where its log lines are its own and where
/// tokio's sockets, timers and tasks work.
struct Instance<F> {
    reactor: Arc<Reactor>,
    host: Arc<HostV1>,
    /// `None` once it is over.
    running: Option<Pin<Box<F>>>,
}

impl<F: Future<Output = ()>> Instance<F> {
    fn new(reactor: Arc<Reactor>, host: &Arc<HostV1>, running: F) -> Self {
        Self {
            reactor,
            host: Arc::clone(host),
            running: Some(Box::pin(running)),
        }
    }
}

impl<F> Instance<F> {
    fn inside<R>(&mut self, call: impl FnOnce(&mut Option<Pin<Box<F>>>) -> R) -> R {
        let _log = log_bridge::scope(Arc::clone(&self.host));
        let _runtime = self.reactor.handle().enter();
        call(&mut self.running)
    }
}

impl<F: Future<Output = ()>> Future for Instance<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<()> {
        self.inside(|running| match running {
            Some(future) => future.as_mut().poll(context),
            None => Poll::Ready(()),
        })
    }
}

impl<F> Drop for Instance<F> {
    fn drop(&mut self) {
        self.inside(|running| *running = None);
    }
}

async fn run<P: Provider>(
    config: P::Config,
    host: Arc<HostV1>,
    done: CompletionV1<ConnectOutcomeV1>,
) {
    let (spawner, tasks) = tasks::channel();
    let serving = connect_and_serve::<P>(config, Context::new(host, spawner), done);
    tokio::select! {
        biased;
        () = serving => {}
        never = tasks.run() => match never {},
    }
}

async fn connect_and_serve<P: Provider>(
    config: P::Config,
    context: Context,
    done: CompletionV1<ConnectOutcomeV1>,
) {
    let connecting = async { P::connect(config, context).await };
    let provider = match AssertUnwindSafe(connecting).catch_unwind().await {
        Ok(Ok(provider)) => provider,
        Ok(Err(error)) => return done.complete(RErr(error.into_abi())),
        Err(panic) => {
            let reason = format!("the plugin panicked in connect: {}", message(&*panic));
            return fail(done, reason);
        }
    };
    let limits =
        std::panic::catch_unwind(AssertUnwindSafe(|| provider.limits())).unwrap_or_default();
    let (commands, queue) = mpsc::channel(channel_size(limits));
    done.complete(ROk(InstanceV1::new(Handle { commands }, limits.into_abi())));
    serve(&provider, queue).await;
}

/// Enough for the batches in flight, and for the close.
fn channel_size(limits: Limits) -> usize {
    (limits.max_in_flight.max(1) as usize)
        .saturating_add(1)
        .min(4096)
}

async fn serve<P: Provider>(provider: &P, mut queue: mpsc::Receiver<Command>) {
    let mut publishing = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            command = queue.recv() => match command {
                // They are polled in the order in which they are added.
                Some(Command::Publish(batch, done)) => publishing.push(publish(provider, batch, done)),
                Some(Command::Close(done)) => {
                    while publishing.next().await.is_some() {}
                    // A panic in close changes nothing, because the instance ends anyway.
                    let _ = AssertUnwindSafe(async { provider.close().await }).catch_unwind().await;
                    return done.complete(());
                }
                // The host dropped the instance without a close: batches in flight are dropped without an answer.
                None => return,
            },
            Some(()) = publishing.next() => {}
        }
    }
}

async fn publish<P: Provider>(provider: &P, batch: BatchV1, done: CompletionV1<BatchOutcomeV1>) {
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
