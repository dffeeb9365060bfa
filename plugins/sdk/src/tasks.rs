//! What an instance does beside its calls: the tasks that its provider spawned.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;

use futures_util::future::{AbortHandle, BoxFuture, abortable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;

/// Tasks that have not ended, and the end of the channel through which more come.
pub(crate) struct Tasks {
    running: FuturesUnordered<BoxFuture<'static, ()>>,
    spawned: mpsc::UnboundedReceiver<BoxFuture<'static, ()>>,
}

/// Gives an instance tasks.
#[derive(Debug, Clone)]
pub(crate) struct Spawner(mpsc::UnboundedSender<BoxFuture<'static, ()>>);

pub(crate) fn channel() -> (Spawner, Tasks) {
    let (sender, spawned) = mpsc::unbounded_channel();
    let running = FuturesUnordered::new();
    (Spawner(sender), Tasks { running, spawned })
}

impl Spawner {
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        let (future, handle) = abortable(future);
        // A panic, which is in the log, ends only the task.
        let future = AssertUnwindSafe(future).catch_unwind().map(drop);
        // If the instance has ended, so has its task.
        let _ = self.0.send(future.boxed());
        Task(handle)
    }
}

impl Tasks {
    /// Runs the tasks as long as the instance lives.
    pub(crate) async fn run(mut self) -> Infallible {
        loop {
            tokio::select! {
                biased;
                Some(task) = self.spawned.recv() => self.running.push(task),
                Some(()) = self.running.next() => {}
                else => std::future::pending().await,
            }
        }
    }
}

/// A task of an instance; see [`Context::spawn`](crate::Context::spawn). Dropping this does not end the task.
#[derive(Debug, Clone)]
pub struct Task(AbortHandle);

impl Task {
    /// Ends the task where it next awaits something, unless it is over.
    pub fn end(&self) {
        self.0.abort();
    }
}
