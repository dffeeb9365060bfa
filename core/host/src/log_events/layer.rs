//! The receiving end: on the thread that logs.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc::error::TrySendError;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::line::Line;
use super::{Entry, LogEvents};
use evbus_delivery::lane_at_work;

thread_local! {
    /// Whether log lines of this thread are ignored now.
    static DEAF: Cell<bool> = const { Cell::new(false) };
}

/// Does something whose log lines become no events.
pub(super) fn deaf<R>(work: impl FnOnce() -> R) -> R {
    let before = DEAF.replace(true);
    let result = work();
    DEAF.set(before);
    result
}

impl<S: Subscriber> Layer<S> for LogEvents {
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.inner.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > self.inner.level || DEAF.get() {
            return;
        }
        // Formatting a value may itself log.
        let line = deaf(|| Line::read(event));
        let entry = Entry::Line {
            line,
            about: lane_at_work(),
        };
        // A closed channel means that the host has ended.
        if let Err(TrySendError::Full(_)) = self.inner.entries.try_send(entry) {
            self.inner.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
