//! The tokio runtime that the instances of a plugin share: it watches sockets and timers, and runs what plugins
//! and client libraries give to `tokio::spawn`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// How long a runtime may take to run a new task before it counts as held up by tasks that block.
const PATIENCE: Duration = Duration::from_millis(250);

/// A task that blocks holds up one of them. The other takes over its sockets and timers at the latest when something is
/// spawned on the runtime from outside: tokio hands them over only then.
const WORKERS: usize = 2;

/// `spawn_blocking` is made for calls that block, as many as the plugin has.
const MAX_BLOCKING: usize = 1 << 16;

static SHARED: Mutex<Weak<Reactor>> = Mutex::new(Weak::new());

/// A runtime that ends, with all its tasks, when the last instance on it does.
pub(crate) struct Reactor(Option<Runtime>);

impl Reactor {
    /// The shared runtime; a new one if there is none, or if tasks that block hold it up. Waits a moment in this case,
    /// and then the instances that are on the old one stay there.
    ///
    /// # Errors
    ///
    /// Why none can be started.
    pub(crate) fn shared(name: &str) -> Result<Arc<Self>, String> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reactor) = shared.upgrade() {
            if reactor.answers() {
                return Ok(reactor);
            }
            tracing::error!(
                "tasks that the plugin spawned block the runtime of its instances; new instances get another one"
            );
        }
        let reactor = Arc::new(Self::start(name)?);
        *shared = Arc::downgrade(&reactor);
        Ok(reactor)
    }

    fn start(name: &str) -> Result<Self, String> {
        // Tokio panics if it cannot start a thread.
        let probe = thread::Builder::new().name(name.to_owned()).spawn(|| ());
        probe
            .map(drop)
            .map_err(|error| format!("cannot start a thread for the instance: {error}; {LIMIT}"))?;
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(WORKERS)
            .max_blocking_threads(MAX_BLOCKING)
            .thread_name(name)
            .enable_all();
        match catch_unwind(AssertUnwindSafe(|| builder.build())) {
            Ok(Ok(runtime)) => Ok(Self(Some(runtime))),
            Ok(Err(error)) => Err(format!("cannot start a runtime for the instance: {error}")),
            Err(_) => Err(format!("cannot start a thread for the instance: {LIMIT}")),
        }
    }

    /// Its handle, to be entered around every poll.
    pub(crate) fn handle(&self) -> &Handle {
        self.0
            .as_ref()
            .expect("it is there until it is dropped")
            .handle()
    }

    fn answers(&self) -> bool {
        let (say, heard) = mpsc::sync_channel(1);
        self.handle().spawn(async move {
            // Nobody hears one that is late.
            let _ = say.send(());
        });
        heard.recv_timeout(PATIENCE).is_ok()
    }
}

/// What to do if no thread can be started.
pub(crate) const LIMIT: &str = "raise the process limit (ulimit -u, TasksMax=)";

impl Drop for Reactor {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Tasks that block must not hold up whoever drops the last instance.
            runtime.shutdown_background();
        }
    }
}
