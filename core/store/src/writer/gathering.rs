//! How many programs fire at the same time, and a short wait for all of them.
//!
//! Each commit of durable events costs a flush, and lets the programs that waited for it fire again. They
//! would come too late for the next commit, which has the events of the others: two groups would take
//! turns, each with half of the events. So before the flush the writer waits for those it has just let go,
//! for at most half of the time of a commit.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, MutexGuard};

use super::super::journal::{Append, Pending};

/// As long as a commit counts at most, however slow the disk is.
const LONGEST: Duration = Duration::from_millis(10);

/// After a wait in vain, so many commits follow without one.
const WITHOUT: u32 = 16;

/// What the last commits showed.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// How many events are likely to come together.
    together: usize,
    /// How long a commit takes.
    took: Duration,
    /// So many commits are made without a wait.
    without: u32,
}

impl Gathering {
    /// Waits for the programs that are likely to fire soon, if there are durable events.
    pub(super) fn wait(&mut self, wake: &Condvar, pending: &mut MutexGuard<'_, Pending>) {
        let is_durable = |append: &Append| append.durable;
        if pending.appends.len() >= self.together || !pending.appends.iter().any(is_durable) {
            return;
        }
        if self.without > 0 {
            self.without -= 1;
            return;
        }
        pending.awaited = self.together;
        let until = Instant::now() + self.took / 2;
        while !pending.is_gathered() {
            if wake.wait_until(pending, until).timed_out() {
                self.without = WITHOUT;
                break;
            }
        }
        pending.awaited = 0;
    }

    /// After a commit: so many durable events were in it, so many have come since, and it took so long.
    pub(super) fn committed(&mut self, durable: usize, since: usize, took: Duration) {
        self.together = durable + since;
        self.took = took.min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

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

    fn of(together: usize) -> Gathering {
        let mut gathering = Gathering::default();
        gathering.committed(together, 0, TOOK);
        gathering
    }

    #[test]
    fn a_wait_in_vain_ends_and_is_followed_by_commits_without_one() {
        let mut gathering = of(8);
        let some = pending(7, true);
        let start = Instant::now();
        gathering.wait(&Condvar::new(), &mut some.lock());
        assert!(start.elapsed() >= TOOK / 2);
        for _ in 0..WITHOUT {
            assert!(gathering.without > 0, "it does not wait again");
            gathering.wait(&Condvar::new(), &mut some.lock());
        }
        assert_eq!((gathering.without, some.lock().awaited), (0, 0));
    }

    #[test]
    fn nobody_is_waited_for_where_nothing_is_flushed_all_have_come_or_the_store_closes() {
        let closing = pending(1, true);
        closing.lock().close = true;
        for pending in [pending(1, false), pending(8, true), closing] {
            let mut gathering = of(8);
            gathering.wait(&Condvar::new(), &mut pending.lock());
            assert_eq!(gathering.without, 0, "it did not wait in vain");
        }
    }

    #[test]
    fn the_last_one_to_come_ends_the_wait() {
        let mut gathering = of(8);
        gathering.took = Duration::from_secs(60);
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
        assert_eq!(gathering.without, 0);
    }
}
