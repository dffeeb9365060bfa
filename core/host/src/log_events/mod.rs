//! Log events: a program's own log, fired as `idem-logger` events.
//!
//! `layer` takes the lines of the program's log, on whatever thread they are written, and never waits;
//! `forward` fires them, in a task. Three rules keep log events from causing log events for ever: lines
//! written while one is fired are not taken, lines about a destination that itself receives log events
//! go only to listeners (see [`lane_at_work`](evbus_delivery::lane_at_work)), and lines that find no
//! room are counted and reported once.

mod forward;
mod layer;
mod line;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tracing::level_filters::LevelFilter;

use evbus_delivery::Bus;
use evbus_delivery::Shared;
use line::Line;

/// How many lines may wait to be fired, before there is a bus and during a burst.
pub const LOG_EVENTS_QUEUE: usize = 4096;

/// Fires the lines of a program's log as events: a [`Layer`](tracing_subscriber::Layer) for a
/// [`tracing_subscriber::registry()`]. Clones share one queue.
///
/// Each line is a [`LoggerEvent`](evbus_idem::LoggerEvent) under the profile `idem-logger`: the message
/// followed by the line's fields, and the tags `module`, `level` (Python's names, such as `WARNING`),
/// `timestamp` (as Python's `asctime`, in UTC) and `ref`.
///
/// The program that logs never waits: at most [`LOG_EVENTS_QUEUE`] lines wait to be fired, and a
/// destination without room does not get them. The number of lost lines is reported once, as an event
/// and in the log, when there is room again. A line about a destination that itself receives log events
/// goes only to listeners: otherwise a failing destination would feed itself.
///
/// ```no_run
/// use evbus_host::{Host, LogEvents};
/// use tracing_subscriber::filter::LevelFilter;
/// use tracing_subscriber::prelude::*;
///
/// # async fn example() -> Result<(), evbus_host::StartError> {
/// let log_events = LogEvents::new(LevelFilter::INFO);
/// tracing_subscriber::registry()
///     .with(tracing_subscriber::fmt::layer().with_filter(LevelFilter::WARN))
///     .with(log_events.clone())
///     .init();
///
/// let host = Host::builder().acct_file("acct.yml").start().await?;
/// // What was logged so far is fired now.
/// log_events.attach(host.bus());
/// tracing::info!("the program has started");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct LogEvents {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    level: LevelFilter,
    entries: mpsc::Sender<Entry>,
    /// Taken when there is a bus.
    waiting: Mutex<Option<mpsc::Receiver<Entry>>>,
    /// Lines lost because the channel was full.
    lost: AtomicU64,
}

/// An entry to be fired.
#[derive(Debug)]
enum Entry {
    Line {
        line: Line,
        /// The destination that it is about.
        about: Option<Arc<Shared>>,
    },
    /// Answered when everything before it has been fired.
    Flushed(oneshot::Sender<()>),
}

impl LogEvents {
    /// Takes lines of this level and above. They wait until there is a bus.
    pub fn new(level: LevelFilter) -> Self {
        let (entries, waiting) = mpsc::channel(LOG_EVENTS_QUEUE);
        Self {
            inner: Arc::new(Inner {
                level,
                entries,
                waiting: Mutex::new(Some(waiting)),
                lost: AtomicU64::new(0),
            }),
        }
    }

    /// Fires the waiting lines and all later ones on this bus until its host ends, in a task of the
    /// current tokio runtime. Only the first call has an effect.
    pub fn attach(&self, bus: &Bus) {
        if let Some(entries) = self.inner.waiting.lock().take() {
            tokio::spawn(forward::run(
                entries,
                bus.downgrade(),
                Arc::clone(&self.inner),
            ));
        }
    }

    /// Resolves when every line written before has been fired; at once if there is no bus.
    pub async fn flush(&self) {
        if self.inner.waiting.lock().is_some() {
            return;
        }
        let (flushed, done) = oneshot::channel();
        // An error means that the bus is gone, and everything that waited with it.
        if self
            .inner
            .entries
            .send(Entry::Flushed(flushed))
            .await
            .is_ok()
        {
            let _ = done.await;
        }
    }
}
