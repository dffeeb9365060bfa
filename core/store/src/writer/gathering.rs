//! How many programs fire at the same time, and a short wait for all of them.
//!
//! Each commit of durable events costs a flush, and lets the programs that waited for it fire again. Without
//! a wait they would come too late for the next commit, which has the events of the others: two groups
//! would take turns, each with half of the events. So before a commit the writer waits for the programs
//! that the previous one released, for at most half of the time that a commit takes.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, MutexGuard};

use super::super::journal::Pending;

/// The longest commit time taken into account; a wait never exceeds half of it.
const LONGEST: Duration = Duration::from_millis(10);

/// The number of commits without a wait that follow a wait in vain.
const SKIPPED: u32 = 16;

/// What the last commits showed.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// The number of events that are likely to come together.
    expected: usize,
    commit_time: Duration,
    /// The number of commits that are still made without a wait.
    skip: u32,
}

impl Gathering {
    /// Waits for the programs that are likely to fire soon, if there are durable events.
    pub(super) fn wait(&mut self, wake: &Condvar, pending: &mut MutexGuard<'_, Pending>) {
        // All events of a destination are durable, or none is.
        let is_durable = pending.appends.first().is_some_and(|append| append.durable);
        if !is_durable || pending.appends.len() >= self.expected {
            return;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        pending.awaited = self.expected;
        let until = Instant::now() + self.commit_time / 2;
        while !pending.is_gathered() {
            if wake.wait_until(pending, until).timed_out() && !pending.is_gathered() {
                self.skip = SKIPPED;
                break;
            }
        }
        pending.awaited = 0;
    }

    /// After a commit of durable events: the number of events in it and of those that have come since, and how long it
    /// took.
    pub(super) fn committed(&mut self, events: usize, took: Duration) {
        self.expected = events;
        self.commit_time = took.min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::super::super::journal::Append;
    use super::super::super::tests::event;
    use super::*;

    /// So long that only a wait that does not end by itself takes a noticeable part of it.
    const TOOK: Duration = Duration::from_millis(10);

    fn pending(events: u64, durable: bool) -> Mutex<Pending> {
        let appends = (1..=events).map(|seq| Append {
            seq,
            attempts: 0,
            event: event(seq),
            durable,
            again: false,
        });
        Mutex::new(Pending {
            appends: appends.collect(),
            ..Pending::default()
        })
    }

    fn of(expected: usize) -> Gathering {
        let mut gathering = Gathering::default();
        gathering.committed(expected, TOOK);
        gathering
    }

    #[test]
    fn a_wait_in_vain_ends_and_is_followed_by_commits_without_one() {
        let mut gathering = of(8);
        let some = pending(7, true);
        let start = Instant::now();
        gathering.wait(&Condvar::new(), &mut some.lock());
        assert!(start.elapsed() >= TOOK / 2);
        for _ in 0..SKIPPED {
            assert!(gathering.skip > 0, "it does not wait again");
            gathering.wait(&Condvar::new(), &mut some.lock());
        }
        assert_eq!((gathering.skip, some.lock().awaited), (0, 0));
    }

    #[test]
    fn nobody_is_waited_for_where_nothing_is_flushed_all_have_come_or_the_store_closes() {
        let closing = pending(1, true);
        closing.lock().close = true;
        for pending in [pending(1, false), pending(8, true), closing] {
            let mut gathering = of(8);
            gathering.wait(&Condvar::new(), &mut pending.lock());
            assert_eq!(gathering.skip, 0, "it did not wait in vain");
        }
    }

    #[test]
    fn the_last_one_to_come_ends_the_wait() {
        let mut gathering = of(8);
        gathering.commit_time = Duration::from_mins(1);
        let (pending, wake) = (pending(7, true), Condvar::new());
        std::thread::scope(|scope| {
            let mut guard = pending.lock();
            scope.spawn(|| {
                let mut pending = pending.lock();
                let last = pending.appends[0].clone();
                pending.appends.push(last);
                assert!(pending.is_gathered());
                wake.notify_one();
            });
            gathering.wait(&wake, &mut guard);
            assert_eq!(guard.appends.len(), 8);
        });
        assert_eq!(gathering.skip, 0);
    }
}
