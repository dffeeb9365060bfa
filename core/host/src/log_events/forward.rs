//! The firing end: a task of its own, because the code that logs may hold any lock.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tracing::Level;

use super::layer::deaf;
use super::line::Line;
use super::{Entry, Inner};
use evbus_delivery::{Bus, PutError};
use evbus_delivery::{Route, Routes, Shared, WeakBus};
use evbus_event::TypedBody as _;
use evbus_report::counted;

/// Fires entries until the host has ended.
pub(super) async fn run(mut entries: mpsc::Receiver<Entry>, bus: WeakBus, inner: Arc<Inner>) {
    while let Some(entry) = entries.recv().await {
        let (line, about) = match entry {
            Entry::Line { line, about } => (line, about),
            Entry::Flushed(flushed) => {
                // The caller may have stopped waiting.
                let _ = flushed.send(());
                continue;
            }
        };
        let Some(bus) = bus.upgrade() else { return };
        let (routes, route) = bus.find_route(evbus_idem::LOGGER).await;
        let way = (&**routes, &route);
        match deaf(|| fire(&bus, way, &line, about.as_ref())) {
            Ok(true) => deaf(|| tell_lost(&bus, way, &inner)),
            Ok(false) => {
                inner.lost.fetch_add(1, Ordering::Relaxed);
            }
            Err(PutError::Closed) => return,
            // Cannot happen: a log line can always be written as JSON.
            Err(_) => {}
        }
    }
}

/// Fires one line. Returns whether every destination had room for it.
fn fire(
    bus: &Bus,
    way: (&Routes, &Route),
    line: &Line,
    about: Option<&Arc<Shared>>,
) -> Result<bool, PutError> {
    let event = line.event();
    let event = event.event_with(bus.event(evbus_idem::LOGGER))?;
    bus.offer(way, event, about)
}

/// Fires one event about how many lines were lost, when there is room again.
fn tell_lost(bus: &Bus, way: (&Routes, &Route), inner: &Inner) {
    let lost = inner.lost.swap(0, Ordering::Relaxed);
    if lost == 0 {
        return;
    }
    let text = format!(
        "{} not sent as events to every destination: a queue was full",
        counted(lost, "log line was", "log lines were")
    );
    if let Ok(true) = fire(bus, way, &Line::own(Level::WARN, text.clone()), None) {
        tracing::warn!("{text}");
    } else {
        inner.lost.fetch_add(lost, Ordering::Relaxed);
    }
}
