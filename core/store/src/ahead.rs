//! Reads ahead of the lane, so that a queue that is drained does not wait for the disk.
//!
//! After each answer to the lane, and only while there is nothing else to do, the writer reads what the lane
//! will ask for next, a slice at a time. The next answer then needs no disk, and does not wait for
//! a commit.

use std::collections::VecDeque;

use super::journal::{Loaded, ReadRequest};
use super::queue;
use super::record::Stored;
use super::writer::Writer;

/// How many events are read between two looks for other work.
const SLICE: usize = 512;

/// How many bytes of events are kept at most, and how many events.
const MOST_BYTES: usize = 2 * 1024 * 1024;
const MOST_EVENTS: usize = 4096;

/// Events that were read before they were asked for.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Events from the position that is asked for next, in order and without a gap on disk.
    events: VecDeque<Stored>,
    bytes: usize,
    /// That position.
    from: u64,
    /// How many there should be; 0 if nothing more is to be read.
    wanted: usize,
}

impl Ahead {
    /// Forgets all, for example because the store was replaced.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether more is to be read.
    pub(super) fn wants_more(&self) -> bool {
        self.events.len() < self.wanted && self.bytes < MOST_BYTES
    }

    /// Moves events to an answer, as far as they fit. Returns whether the answer is full.
    pub(super) fn serve(
        &mut self,
        request: &ReadRequest,
        loaded: &mut Loaded,
        bytes: &mut usize,
    ) -> bool {
        if self.from != request.from {
            self.clear();
        }
        while let Some(next) = self.events.front() {
            let size = next.event.size();
            if !request.has_room(loaded, bytes.saturating_add(size)) {
                return true;
            }
            *bytes += size;
            self.bytes -= size;
            self.from = next.seq + 1;
            loaded.events.extend(self.events.pop_front());
        }
        !request.has_room(loaded, *bytes)
    }

    /// After an answer: what follows it will be asked for.
    pub(super) fn follow(&mut self, request: &ReadRequest, loaded: &Loaded) {
        let is_last = loaded.events.is_empty() || loaded.complete_to.is_some();
        if let Some(last) = loaded.events.last() {
            self.from = last.seq + 1;
        }
        self.wanted = if is_last {
            0
        } else {
            request.max_events.min(MOST_EVENTS)
        };
    }
}

impl Writer {
    /// Answers a read if that needs no disk; otherwise returns it.
    pub(super) fn answer_from_ahead(&mut self, request: ReadRequest) -> Option<ReadRequest> {
        if self.ahead.from != request.from || self.ahead.events.is_empty() {
            return Some(request);
        }
        let (mut loaded, mut bytes) = (Loaded::default(), 0);
        self.ahead.serve(&request, &mut loaded, &mut bytes);
        self.ahead.follow(&request, &loaded);
        // If the lane is gone, its events stay in the store.
        let _ = request.reply.send(loaded);
        None
    }

    /// Reads a slice ahead. A damaged record or page is left to the next answer.
    pub(super) fn read_ahead(&mut self) {
        let ahead = &mut self.ahead;
        let from = ahead.events.back().map_or(ahead.from, |last| last.seq + 1);
        let mut slice = 0;
        let read = queue::each(&self.store, from, |stored| {
            slice += 1;
            ahead.bytes += stored.event.size();
            ahead.events.push_back(stored);
            slice < SLICE && ahead.wants_more()
        });
        if !matches!(read, Ok(false)) {
            ahead.wanted = 0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Journal;
    use super::super::tests::{event, filled, flip_in_bodies, name, state};
    use super::MOST_EVENTS;

    #[tokio::test]
    async fn what_is_read_ahead_is_handed_out_once_and_in_order_whatever_is_asked_for() {
        const ALL: u64 = 12_000;
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), ALL - 2000).await;
        let state = state(dir.path());
        let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
        let size = event(ALL).size();
        let (mut from, mut appended) = (1, ALL - 2000);
        let limits = [
            (1, usize::MAX),
            (700, usize::MAX),
            (5000, 100 * size),
            (MOST_EVENTS, usize::MAX),
            (3, 1),
        ];
        for (events, bytes) in limits.into_iter().cycle() {
            let loaded = journal.read(from, events, bytes).await.unwrap();
            assert!(loaded.events.len() <= events);
            let sizes = loaded.events.iter().map(|stored| stored.event.size());
            assert!(loaded.events.len() == 1 || sizes.sum::<usize>() <= bytes);
            let next = from + loaded.events.len() as u64;
            let seqs = loaded.events.iter().map(|stored| stored.seq);
            assert!(seqs.eq(from..next), "from {from} to {next}");
            // Some are asked for a second time; the others are settled.
            let again = u64::from(next.is_multiple_of(5));
            journal.settle((from..next - again).collect(), 0);
            from = next - again;
            if appended < ALL {
                for seq in appended + 1..=appended + 100 {
                    journal.append(seq, 0, &event(seq), false);
                }
                appended += 100;
            }
            if loaded.complete_to == Some(ALL) && appended == ALL {
                assert_eq!(next, ALL + 1);
                break;
            }
        }
        journal.close().await.unwrap();
    }

    #[tokio::test]
    async fn damage_behind_what_was_read_is_found_when_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = filled(dir.path(), 100).await;
        flip_in_bodies(&file, &[15, 40]);
        let state = state(dir.path());
        let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
        let (mut seqs, mut damaged) = (Vec::new(), 0);
        let mut from = 0;
        loop {
            let loaded = journal.read(from, 10, usize::MAX).await.unwrap();
            damaged += loaded.damaged;
            seqs.extend(loaded.events.iter().map(|stored| stored.seq));
            if loaded.complete_to.is_some() {
                break;
            }
            from = seqs.last().unwrap() + 1;
            assert_eq!(journal.letters().kept(), damaged, "not before");
        }
        assert_eq!(damaged, 2);
        assert!(
            seqs.into_iter()
                .eq((1..=100).filter(|seq| ![15, 40].contains(seq)))
        );
        journal.close().await.unwrap();
    }
}
