//! How events get into a queue: where there is room for them, and what they bring about.

use std::sync::Arc;
use std::time::Instant;

use super::place::{Entered, NotQueued, Place, Pushed, Refused};
use super::repeats::First;
use super::{Inner, Queue};
use crate::lane::Verdict;
use crate::lane::queued::Queued;
use evbus_destination::WhenFull;
use evbus_event::Event;
use evbus_store::{Journal, Receipt};

impl Queue {
    fn place(&self, inner: &Inner, bytes: usize) -> Result<Place, NotQueued> {
        if inner.closed {
            return Err(NotQueued::Gone);
        }
        let rules = &inner.rules;
        // What is left on disk from before takes its room where nothing else may go to disk.
        let (before_events, before_bytes) = match (&self.journal, rules.when_full) {
            (Some(journal), WhenFull::Block | WhenFull::DropNewest) if inner.uses_disk() => (
                usize::try_from(inner.on_disk).unwrap_or(usize::MAX),
                usize::try_from(journal.bytes()).unwrap_or(usize::MAX),
            ),
            _ => (0, 0),
        };
        let events = inner.unsettled_events.saturating_add(before_events);
        let size = (inner.unsettled_bytes.saturating_add(before_bytes)).saturating_add(bytes);
        // An event larger than the whole queue is let in when it is alone.
        let fits = events == 0 || (events < rules.events && size <= rules.bytes);
        let disk_takes = |journal: &Journal| {
            let more = bytes as u64;
            journal.has_room()
                // A program that fires durable events is told of the fault; others wait.
                && (rules.durable || journal.fault().is_none())
                && (journal.bytes() == 0
                    || journal.bytes().saturating_add(more) <= rules.disk_bytes)
                && journal.state().has_room(more)
        };
        let on_disk = inner.uses_disk();
        if fits && !on_disk && (!rules.durable || self.journal.as_ref().is_some_and(disk_takes)) {
            return Ok(Place::Memory);
        }
        // What is on disk is older: whatever the policy, a new event goes behind it.
        if (rules.when_full == WhenFull::Spill || (on_disk && fits))
            && self.journal.as_ref().is_some_and(disk_takes)
        {
            return Ok(Place::Disk);
        }
        match rules.when_full {
            WhenFull::DropNewest => Ok(Place::Dropped),
            WhenFull::Spill | WhenFull::Block => Err(NotQueued::Full),
        }
    }

    /// Puts an event at the end, or drops it where the policy says so. Gives the receipt where the
    /// event has to be on disk before the program that fires it goes on: a `durable` one, or one that
    /// is on disk alone while the disk may be full.
    ///
    /// An event that is not queued comes back.
    pub(crate) fn push(
        &self,
        event: Arc<Event>,
        verdict: Verdict,
    ) -> Result<(Place, Option<Box<Receipt>>), Refused> {
        let mut inner = self.inner.lock();
        let (place, entered) = self.add(&mut inner, event, verdict)?;
        drop(inner);
        if entered.wakes {
            self.readable.notify_one();
        }
        Ok((place, entered.receipt))
    }

    /// As [`push`](Self::push), of many events in their order, until one finds no room. Where there are no verdicts, all
    /// pass.
    pub(crate) fn push_all(&self, events: &[Arc<Event>], verdicts: &[Verdict]) -> Pushed {
        let mut pushed = Pushed::default();
        let mut wakes = false;
        let mut inner = self.inner.lock();
        for (position, event) in events.iter().enumerate() {
            let verdict = verdicts.get(position).copied().unwrap_or_default();
            match self.add(&mut inner, Arc::clone(event), verdict) {
                Ok((place, entered)) => {
                    wakes |= entered.wakes;
                    pushed.events += 1;
                    pushed.begins_dropping |= place == Place::Dropped && inner.begins_dropping();
                    pushed.receipt = entered.receipt.map(|receipt| *receipt).or(pushed.receipt);
                }
                Err((stop, _)) => {
                    pushed.stop = Some(stop);
                    break;
                }
            }
        }
        drop(inner);
        if wakes {
            self.readable.notify_one();
        }
        pushed
    }

    /// Takes room for an event and puts it there.
    fn add(
        &self,
        inner: &mut Inner,
        event: Arc<Event>,
        verdict: Verdict,
    ) -> Result<(Place, Entered), Refused> {
        if verdict != Verdict::default()
            && let Some(entered) = self.kept_out(inner, verdict)
        {
            return Ok((Place::KeptOut, entered));
        }
        let bytes = event.size();
        let place = match self.place(inner, bytes) {
            Ok(place) => place,
            Err(stop) => return Err((stop, event)),
        };
        if place == Place::Memory {
            inner.unsettled_events += 1;
            inner.unsettled_bytes += bytes;
        }
        Ok((place, self.enter(inner, event, place, verdict)))
    }

    /// Counts an event that does not get in, because of a filter or because it repeats another one. Whoever fires a repeat
    /// waits for what the first one has to wait for.
    fn kept_out(&self, inner: &mut Inner, verdict: Verdict) -> Option<Entered> {
        if verdict.filtered {
            inner.filtered += 1;
            return Some(Entered::default());
        }
        // An ended queue does not keep the first one either.
        let key = verdict.key.filter(|_| !inner.closed)?;
        let first = inner.repeats.as_ref()?.first(key, Instant::now())?;
        let durable = inner.rules.durable;
        let receipt = match (&self.journal, first.is_stored) {
            (Some(journal), true) if durable => Some(journal.receipt(first.place)),
            (Some(journal), true) => journal.spill_receipt(first.place),
            // The first one is in memory alone, which is less than this one is promised.
            _ if durable => return None,
            _ => None,
        };
        inner.received += 1;
        inner.deduplicated += 1;
        inner.filter_faults += u64::from(verdict.faulty);
        Some(Entered {
            wakes: false,
            receipt: receipt.map(Box::new),
        })
    }

    /// Promises room for an event; `push_reserved` or `release` must follow.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<Place, NotQueued> {
        let mut inner = self.inner.lock();
        let place = self.place(&inner, bytes)?;
        if place == Place::Memory {
            inner.unsettled_events += 1;
            inner.unsettled_bytes += bytes;
            inner.reserved += 1;
        }
        Ok(place)
    }

    /// Puts in an event that room for `promised` bytes was promised to. Its size may have changed
    /// with its serialization. Says where it went; fails where the queue was closed since.
    pub(crate) fn push_reserved(
        &self,
        event: &Arc<Event>,
        place: Place,
        promised: usize,
        verdict: Verdict,
    ) -> Result<Place, NotQueued> {
        let mut inner = self.inner.lock();
        if inner.closed && place != Place::KeptOut {
            drop(inner);
            self.release(place, promised);
            return Err(NotQueued::Gone);
        }
        if verdict != Verdict::default() && self.kept_out(&mut inner, verdict).is_some() {
            drop(inner);
            self.release(place, promised);
            return Ok(Place::KeptOut);
        }
        let mut has_room = false;
        let place = match place {
            Place::Memory => {
                inner.reserved -= 1;
                if inner.uses_disk() {
                    // Others had to go to disk since, and this one goes behind them.
                    inner.unsettled_events -= 1;
                    inner.unsettled_bytes -= promised;
                    has_room = true;
                    Place::Disk
                } else {
                    inner.unsettled_bytes = inner.unsettled_bytes - promised + event.size();
                    Place::Memory
                }
            }
            other => other,
        };
        let entered = self.enter(&mut inner, Arc::clone(event), place, verdict);
        drop(inner);
        if entered.wakes {
            self.readable.notify_one();
        }
        if has_room {
            self.tell_room();
        }
        Ok(place)
    }

    /// Gives promised room back.
    pub(crate) fn release(&self, place: Place, bytes: usize) {
        if place != Place::Memory {
            return;
        }
        let mut inner = self.inner.lock();
        inner.reserved -= 1;
        inner.unsettled_events -= 1;
        inner.unsettled_bytes -= bytes;
        drop(inner);
        self.tell_room();
        self.tell_if_empty();
    }

    /// Room in memory was given back without an event's end: programs may have waited for it, and the
    /// lane's task, which reads the disk only where memory has room.
    fn tell_room(&self) {
        self.room.notify_waiters();
        self.readable.notify_one();
    }

    /// Counts an event and puts it into its place, whose room has been taken.
    fn enter(
        &self,
        inner: &mut Inner,
        event: Arc<Event>,
        place: Place,
        verdict: Verdict,
    ) -> Entered {
        inner.received += 1;
        inner.filter_faults += u64::from(verdict.faulty);
        if place == Place::Dropped {
            inner.dropped += 1;
            return Entered::default();
        }
        let durable = inner.rules.durable;
        let seq = inner.next_seq;
        inner.next_seq += 1;
        inner.dropping = false;
        let journal = self
            .journal
            .as_ref()
            .filter(|_| durable || place == Place::Disk);
        if let (Some(key), Some(repeats)) = (verdict.key, &mut inner.repeats) {
            let first = First {
                place: seq,
                is_stored: journal.is_some(),
            };
            repeats.enter(key, first, Instant::now());
        }
        let receipt = journal.and_then(|journal| {
            // Under the queue's lock, since places have to ascend.
            journal.append(seq, 0, &event, durable);
            let receipt = if durable {
                Some(journal.receipt(seq))
            } else {
                journal.spill_receipt(seq)
            };
            receipt.map(Box::new)
        });
        let wakes = if place == Place::Disk {
            if !inner.uses_disk() {
                inner.disk_next = seq;
            }
            inner.on_disk += 1;
            inner.on_disk == 1
        } else {
            let queued = Queued::new(event, seq, journal.is_some());
            inner.waiting.push_back(queued);
            inner.waiting.len() == 1
        };
        Entered { wakes, receipt }
    }
}
