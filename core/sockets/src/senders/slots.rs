//! How many senders may be connected, and how many of them may be members of the group.
//!
//! A part is reserved for the host's user and root, so that members who connect and send nothing cannot
//! keep the host's own programs out.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::files::peer::Peer;
use crate::limits::{Limits, for_members};
use evbus_report::OncePerBurst;

/// The slots of all entrances together. A clone has the same.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    members: Arc<Semaphore>,
    /// Members that have connected and wait for a slot.
    waiting: Arc<Semaphore>,
}

/// One program's slot. Dropping it lets another one in.
#[derive(Debug)]
pub(crate) struct Slot {
    _of_all: OwnedSemaphorePermit,
    _of_members: Option<OwnedSemaphorePermit>,
}

/// What a program gets that has connected.
#[derive(Debug)]
pub(crate) enum Entry {
    Now(Slot),
    /// There is one when another member ends.
    Later(Waiting),
}

/// A member's place among those that wait.
#[derive(Debug)]
pub(crate) struct Waiting {
    slots: Slots,
    _place: OwnedSemaphorePermit,
}

impl Slots {
    /// Each entrance keeps a slot for the next program that comes, which counts for one of them alone.
    pub(crate) fn new(limits: &Limits, entrances: usize) -> Self {
        let kept = entrances.saturating_sub(1);
        let members = for_members(limits.senders);
        Self {
            all: Arc::new(Semaphore::new(limits.senders + kept)),
            members: Arc::new(Semaphore::new(members)),
            waiting: Arc::new(Semaphore::new((limits.senders - members).max(1))),
        }
    }

    /// Waits until one more program may connect. Who comes while none may waits, and nothing that it has
    /// written is lost.
    pub(crate) async fn next(&self) -> Option<OwnedSemaphorePermit> {
        static FULL: OncePerBurst = OncePerBurst::new();
        if self.all.available_permits() == 0 && FULL.begins() {
            tracing::warn!(
                "all connections for senders are in use; new senders wait until one closes (logged once per burst)"
            );
        }
        // The semaphores are never closed.
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    /// Decides about a program that has connected; none where it is to be closed.
    pub(crate) fn enter(&self, peer: Peer, free: OwnedSemaphorePermit) -> Option<Entry> {
        let of_members = match peer {
            Peer::Own => None,
            Peer::Member => match Arc::clone(&self.members).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => return self.queue(free).map(Entry::Later),
            },
        };
        Some(Entry::Now(Slot {
            _of_all: free,
            _of_members: of_members,
        }))
    }

    fn queue(&self, free: OwnedSemaphorePermit) -> Option<Waiting> {
        static FULL: OncePerBurst = OncePerBurst::new();
        if FULL.begins() {
            tracing::warn!(
                "the group uses all of its connections for senders; further ones wait, and some are closed (logged once per burst; those that are closed are counted)"
            );
        }
        drop(free);
        let place = Arc::clone(&self.waiting).try_acquire_owned().ok()?;
        Some(Waiting {
            slots: self.clone(),
            _place: place,
        })
    }
}

impl Waiting {
    /// Waits for a slot.
    pub(crate) async fn slot(self) -> Option<Slot> {
        let Slots { all, members, .. } = self.slots;
        let of_members = members.acquire_owned().await.ok()?;
        let of_all = all.acquire_owned().await.ok()?;
        Some(Slot {
            _of_all: of_all,
            _of_members: Some(of_members),
        })
    }
}
