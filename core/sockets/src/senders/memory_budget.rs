//! Memory for frames that are not whole or not handed in, shared by all connections.
//!
//! A frame may have 100 MiB, and anyone may begin one and pause. Small frames need no room from here,
//! so most connections never come by.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    /// In bytes.
    limit: usize,
    /// A frame that has not grown for this long loses its room to one that needs it.
    still: Duration,
    /// How long a frame waits for room while none is being handed in.
    patience: Duration,
    shared: Mutex<Shared>,
    /// Told when there is more room than before.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Shared {
    held: usize,
    next_id: u64,
    places: BTreeMap<u64, Place>,
}

/// What one connection holds.
#[derive(Debug)]
struct Place {
    bytes: usize,
    doing: Doing,
    evict: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// The frame grows, and grew last then.
    Growing(Instant),
    /// It cannot grow until there is room.
    Waiting,
    /// What is whole of it is being handed in.
    HandingIn,
    /// It has been told to go.
    Leaving,
}

/// There is no room, and none is to be expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl MemoryBudget {
    pub(crate) fn new(limit: usize, still: Duration, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            limit,
            still,
            patience,
            shared: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Tells the frame that has stood still for longest to go, if it has for long enough.
    fn evict_one(&self, shared: &mut Shared, now: Instant) {
        let longest = shared
            .places
            .values_mut()
            .filter_map(|place| match place.doing {
                Doing::Growing(since) if now - since >= self.still => Some((since, place)),
                _ => None,
            })
            .min_by_key(|(since, _)| *since);
        if let Some((_, place)) = longest {
            place.doing = Doing::Leaving;
            place.evict.notify_one();
        }
    }
}

/// A connection's share. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Share {
    room: Arc<MemoryBudget>,
    /// None while it holds nothing.
    id: Option<u64>,
    evict: Arc<Notify>,
}

impl Share {
    pub(crate) fn of(room: &Arc<MemoryBudget>) -> Self {
        Self {
            room: Arc::clone(room),
            id: None,
            evict: Arc::new(Notify::new()),
        }
    }

    /// Whether it holds anything.
    pub(crate) fn is_held(&self) -> bool {
        self.id.is_some()
    }

    /// Makes it `bytes` large, which is more than before. Waits for room: frames that stand still
    /// make some, and so does the host when it takes what is whole. May be dropped while it waits.
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let MemoryBudget {
            still, patience, ..
        } = *self.room;
        let mut until = Instant::now() + patience;
        loop {
            let mut freed = pin!(self.room.freed.notified());
            freed.as_mut().enable();
            let now = Instant::now();
            {
                let shared = &mut *self.room.shared.lock();
                let id = *self.id.get_or_insert_with(|| {
                    shared.next_id += 1;
                    shared.next_id
                });
                let place = shared.places.entry(id).or_insert_with(|| Place {
                    bytes: 0,
                    doing: Doing::Waiting,
                    evict: Arc::clone(&self.evict),
                });
                let held = shared.held - place.bytes + bytes;
                if held <= self.room.limit {
                    (place.bytes, place.doing) = (bytes, Doing::Growing(now));
                    shared.held = held;
                    return Ok(());
                }
                place.doing = Doing::Waiting;
                if now >= until {
                    let is_moving = |place: &Place| place.doing == Doing::HandingIn;
                    if !shared.places.values().any(is_moving) {
                        return Err(NoRoom);
                    }
                    // The host is full, which is not a fault of this program.
                    until = now + patience;
                }
                if !(shared.places.values()).any(|place| place.doing == Doing::Leaving) {
                    self.room.evict_one(shared, now);
                }
            }
            // Either way it is looked at again.
            let _ = timeout_at(until.min(now + still), freed).await;
        }
    }

    /// More of the frame has come; what of it is whole is handed in from now on.
    pub(crate) fn hand_in(&self) {
        self.set(Doing::HandingIn);
    }

    /// What was whole has been handed in.
    pub(crate) fn handed_in(&self) {
        self.set(Doing::Growing(Instant::now()));
    }

    fn set(&self, doing: Doing) {
        if let Some(id) = self.id
            && let Some(place) = self.room.shared.lock().places.get_mut(&id)
            && place.doing != Doing::Leaving
        {
            place.doing = doing;
        }
    }

    /// Resolves when another frame needs the room more.
    pub(crate) async fn evicted(&self) {
        self.evict.notified().await;
    }

    /// Keeps no more than `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if let Some(id) = self.id {
            let shared = &mut *self.room.shared.lock();
            if let Some(place) = shared.places.get_mut(&id) {
                shared.held -= place.bytes.saturating_sub(bytes);
                place.bytes = place.bytes.min(bytes);
            }
        }
        self.room.freed.notify_waiters();
    }

    /// Gives everything back.
    pub(crate) fn give_back(&mut self) {
        let Some(id) = self.id.take() else {
            return;
        };
        // If it was to go, it need not any more.
        self.evict = Arc::default();
        {
            let shared = &mut *self.room.shared.lock();
            if let Some(place) = shared.places.remove(&id) {
                shared.held -= place.bytes;
            }
        }
        self.room.freed.notify_waiters();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(room: &MemoryBudget) -> usize {
        room.shared.lock().held
    }

    const LONG: Duration = Duration::from_mins(10);

    #[tokio::test]
    async fn a_share_is_counted_while_it_is_held() {
        let room = MemoryBudget::new(100, LONG, LONG);
        let (mut one, mut other) = (Share::of(&room), Share::of(&room));
        assert_eq!(one.grow(30).await, Ok(()));
        assert_eq!(other.grow(30).await, Ok(()));
        assert_eq!(one.grow(70).await, Ok(()));
        assert_eq!(held(&room), 100);
        other.shrink(10);
        assert_eq!(held(&room), 80);
        one.give_back();
        assert!(!one.is_held());
        assert_eq!(held(&room), 10);
        drop(other);
        assert_eq!(held(&room), 0);
    }

    #[tokio::test]
    async fn the_frame_that_stood_still_for_longest_goes() {
        let room = MemoryBudget::new(100, Duration::ZERO, LONG);
        let shares = || Share::of(&room);
        let (mut first, mut second, mut third) = (shares(), shares(), shares());
        assert_eq!(first.grow(40).await, Ok(()));
        assert_eq!(second.grow(40).await, Ok(()));
        // It has grown in the meantime.
        first.hand_in();
        first.handed_in();
        let evicted = async {
            second.evicted().await;
            drop(second);
        };
        let (grown, ()) = tokio::join!(third.grow(50), evicted);
        assert_eq!(grown, Ok(()));
        assert_eq!(held(&room), 90);
    }

    #[tokio::test]
    async fn where_all_wait_one_gives_up_and_the_other_goes_on() {
        let room = MemoryBudget::new(100, LONG, Duration::from_millis(5));
        let (mut one, mut other) = (Share::of(&room), Share::of(&room));
        assert_eq!(one.grow(50).await, Ok(()));
        assert_eq!(other.grow(50).await, Ok(()));
        let try_to_grow = async |share: &mut Share| {
            let grown = share.grow(60).await;
            if grown.is_err() {
                share.give_back();
            }
            grown
        };
        let both = tokio::join!(try_to_grow(&mut one), try_to_grow(&mut other));
        assert_ne!(both.0, both.1);
        assert_eq!(held(&room), 60);
    }

    #[tokio::test]
    async fn a_full_host_makes_nobody_give_up() {
        let patience = Duration::from_millis(1);
        let room = MemoryBudget::new(100, LONG, patience);
        let (mut whole, mut waiting) = (Share::of(&room), Share::of(&room));
        assert_eq!(whole.grow(100).await, Ok(()));
        whole.hand_in();
        let waited = tokio::time::timeout(20 * patience, waiting.grow(50)).await;
        assert!(waited.is_err(), "{waited:?}");
        whole.give_back();
        assert_eq!(waiting.grow(50).await, Ok(()));
    }
}
