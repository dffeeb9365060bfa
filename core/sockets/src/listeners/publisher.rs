//! Sends events to listeners.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use evbus_wire::Frame;

use crate::listeners::broadcast::Broadcast;
use crate::listeners::encode;
use crate::listeners::frames::Frames;
use evbus_event::Event;

/// The default of how many bytes may wait for one listener before it is cut off.
pub const LISTENER_QUEUE_BYTES: u64 = 32 * 1024 * 1024;

/// The longest time [`Publisher::pace`] waits.
const PACE_LIMIT: Duration = Duration::from_millis(100);

/// Sends events to every listener of every socket directory, to all in the same order. Clones share one
/// publisher.
///
/// A listener never delays anything: unread data waits for it up to a limit, and beyond the limit its
/// connection is closed. The program may reconnect.
#[derive(Clone)]
pub struct Publisher {
    pub(crate) broadcast: Arc<Broadcast>,
}

/// The counts of a publisher and its listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PublisherCounts {
    /// Listeners connected now.
    pub listeners: usize,
    /// Events sent to at least one listener.
    pub published: u64,
    /// Listeners cut off because they read too slowly.
    pub cut_off: u64,
    /// Connections refused because they came from another user.
    pub refused: u64,
    /// Events that no listener got because they cannot be encoded as a frame.
    pub unencodable: u64,
    /// Connections closed because the limit of listeners was reached.
    pub turned_away: u64,
}

impl Default for Publisher {
    /// A publisher whose listeners have [`LISTENER_QUEUE_BYTES`] each.
    fn default() -> Self {
        Self::new(LISTENER_QUEUE_BYTES)
    }
}

impl Publisher {
    /// A publisher that cuts a listener off when more than `queue_bytes` wait for it.
    ///
    /// The longest waiting frame is not counted, so a single long event cuts off no listener.
    pub fn new(queue_bytes: u64) -> Self {
        Self {
            broadcast: Arc::new(Broadcast::new(queue_bytes)),
        }
    }

    /// Sends an event to every listener that is connected when this is called.
    ///
    /// Never waits for a listener, and encodes nothing if there are none. May be called from any thread.
    /// Events of one thread keep their order; all listeners see all events in the same order.
    pub fn publish(&self, event: &Event) {
        self.accept_waiting();
        if !self.has_listeners() {
            return;
        }
        let mut frames = Frames::of_this_thread();
        self.add(event.profile(), encode::frame(event), &mut frames);
        self.publish_frames(frames);
    }

    /// Whether any listener is connected.
    pub(crate) fn has_listeners(&self) -> bool {
        self.broadcast.listeners.load(Ordering::Acquire) > 0
    }

    /// Adds an event's frame to others, for [`publish_frames`](Self::publish_frames). If the event makes no
    /// frame, this is logged and counted.
    #[inline]
    pub(crate) fn add(&self, profile: &str, frame: Result<Frame<'_>, String>, frames: &mut Frames) {
        match frame {
            Ok(frame) => frames.push(&frame),
            Err(reason) => self.not_encoded(profile, &reason),
        }
    }

    /// As [`publish`](Self::publish), of many events at once, and for the listeners that have been let
    /// in.
    pub(crate) fn publish_frames(&self, mut frames: Frames) {
        if frames.count() > 0 {
            self.broadcast.append(&mut frames);
        }
        frames.keep();
    }

    #[cold]
    fn not_encoded(&self, profile: &str, reason: &str) {
        self.broadcast.unencodable.fetch_add(1, Ordering::Relaxed);
        if self.broadcast.unencoded.begins() {
            tracing::warn!(
                profile,
                "an event was not sent to listeners: {reason} (logged once per burst; all are counted)"
            );
        }
    }

    /// Lets in every listener whose connection waits, so that it gets all that is published from
    /// now on. Never waits.
    pub(crate) fn accept_waiting(&self) {
        Broadcast::accept_all(&self.broadcast);
    }

    /// Waits a moment if even the fastest listener is far behind. This delays none of them, because each
    /// has enough to read. Without it, fast listeners would be cut off by a program that fires faster
    /// than anyone can read.
    ///
    /// Waits for at most 100 ms, and not again until listeners have caught up: a listener that does not
    /// read at all slows nobody down.
    pub(crate) async fn pace(&self) {
        let broadcast = &*self.broadcast;
        let far = broadcast.queue_bytes / 4;
        if broadcast.least_lag() <= far {
            broadcast.unpaced.store(false, Ordering::Relaxed);
            return;
        }
        if broadcast.unpaced.load(Ordering::Relaxed) {
            return;
        }
        let caught_up = async {
            loop {
                let mut progress = pin!(broadcast.progress.notified());
                progress.as_mut().enable();
                if broadcast.least_lag() <= far - far / 8 {
                    return;
                }
                progress.await;
            }
        };
        if tokio::time::timeout(PACE_LIMIT, caught_up).await.is_err() {
            broadcast.unpaced.store(true, Ordering::Relaxed);
        }
    }

    /// Waits until every listener has been sent all that was published, or has gone.
    pub(crate) async fn flush(&self) {
        loop {
            let mut progress = pin!(self.broadcast.progress.notified());
            progress.as_mut().enable();
            if self.broadcast.greatest_lag() == 0 {
                return;
            }
            progress.await;
        }
    }

    /// The counts so far.
    pub fn counts(&self) -> PublisherCounts {
        let broadcast = &*self.broadcast;
        PublisherCounts {
            listeners: broadcast.listeners.load(Ordering::Relaxed),
            published: broadcast.published.load(Ordering::Relaxed),
            cut_off: broadcast.cut_off.load(Ordering::Relaxed),
            refused: broadcast.refused.load(Ordering::Relaxed),
            unencodable: broadcast.unencodable.load(Ordering::Relaxed),
            turned_away: broadcast.turned_away.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Publisher").field(&self.counts()).finish()
    }
}
