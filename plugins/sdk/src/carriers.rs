//! The threads that the instances of a plugin share.
//!
//! Every instance is one task, which runs on one carrier at a time. There are about as many carriers as processors; a
//! task that blocks keeps the carrier that it blocks. While others have to wait, the watchdog looks for such carriers,
//! and starts as many more as are needed to have one for each processor again. So an instance that blocks occupies one
//! thread and delays the others for a moment, and only as often as it begins to block.
//!
//! A carrier blocks if the kernel says that its thread sleeps in the middle of a task, or if one poll lasts long. Polls
//! that compute for a while need not have more threads than processors. Many that sleep for a moment, such as writers to a
//! slow disk, get a few times as many; beyond that, only those that are stuck are replaced.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{self, Poll};
use std::thread;
use std::time::{Duration, Instant};

use async_task::Runnable;
use rustix::process::Pid;

use crate::reactor::LIMIT;

/// How long work waits before the watchdog looks for carriers that block, and how often it looks from then on.
const TICK: Duration = Duration::from_millis(10);

/// A poll of so many ticks is stuck, even if it computes. The kernel lets writers to a busy disk sleep for some 200 ms.
const LONG_TICKS: u32 = 50;

/// Up to so many carriers for each processor, one that sleeps is replaced before it is stuck.
const SLEEPERS: usize = 8;

/// And no more than this.
const MAX_SLEEPERS: usize = 32;

/// How long carriers stay that are no longer needed.
const LINGER: Duration = Duration::from_secs(1);

/// The carriers of this library.
pub(crate) static CARRIERS: Carriers = Carriers::new();

pub(crate) struct Carriers {
    state: Mutex<State>,
    /// Idle carriers wait here.
    work: Condvar,
    /// The watchdog waits here until tasks have to wait.
    delay: Condvar,
}

struct State {
    /// Tasks that have something to do, the first for the longest time.
    ready: VecDeque<Runnable>,
    /// How many were ever taken from `ready`.
    taken: u64,
    /// Tasks that have not ended.
    tasks: usize,
    /// By their numbers.
    carriers: BTreeMap<u64, Carrier>,
    /// The number of the next carrier.
    next: u64,
    /// Carriers that wait for work.
    idle: usize,
    /// When all carriers were last at work.
    last_scarce: Option<Instant>,
    /// Whether there is a watchdog.
    is_watched: bool,
    /// Whether the last attempt to start a thread failed.
    is_refused: bool,
    name: String,
}

#[derive(Default)]
struct Carrier {
    /// Known once it runs.
    thread: Option<Pid>,
    /// What it works at: the number of the poll, counted by `taken`.
    poll: Option<u64>,
    /// The poll in which the watchdog found it asleep.
    asleep: Option<u64>,
    /// The poll that has lasted too long.
    stuck: Option<u64>,
    /// A poll, and at how many ticks the watchdog has seen it.
    seen: (u64, u32),
}

impl Carrier {
    fn is_asleep(&self) -> bool {
        self.poll.is_some() && self.poll == self.asleep
    }

    fn is_stuck(&self) -> bool {
        self.poll.is_some() && self.poll == self.stuck
    }
}

impl State {
    fn carrier(&mut self, number: u64) -> &mut Carrier {
        self.carriers.entry(number).or_default()
    }

    /// How many carriers that do not block are enough.
    fn enough(&self) -> usize {
        self.tasks.min(processors())
    }

    /// Whether tasks wait though no carrier is about to take one.
    fn is_late(&self) -> bool {
        !self.ready.is_empty() && self.idle == 0
    }

    /// Whether there were idle carriers for a while.
    fn has_plenty(&self) -> bool {
        self.last_scarce.is_none_or(|then| then.elapsed() >= LINGER)
    }
}

fn processors() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    // At least two, so that one that blocks does not delay all others until the watchdog notices.
    *COUNT
        .get_or_init(|| thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8)))
}

impl Carriers {
    const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                taken: 0,
                tasks: 0,
                carriers: BTreeMap::new(),
                next: 0,
                idle: 0,
                last_scarce: None,
                is_watched: false,
                is_refused: false,
                name: String::new(),
            }),
            work: Condvar::new(),
            delay: Condvar::new(),
        }
    }

    /// Makes sure that a task will be carried. `name` is the name of threads that are started for it.
    ///
    /// # Errors
    ///
    /// No carrier is idle, and none can be started.
    pub(crate) fn reserve(&'static self, name: &str) -> io::Result<Place> {
        let mut state = self.lock();
        state.tasks += 1;
        name.clone_into(&mut state.name);
        // Dropped on failure.
        let place = Place(self);
        let started = if state.carriers.len() < state.enough() {
            self.start_carrier(&mut state)
        } else {
            Ok(())
        };
        if state.tasks > 1 && !state.is_watched {
            // Without one, tasks wait for those that block; the next task tries again.
            state.is_watched = thread::Builder::new()
                .name(state.name.clone())
                .spawn(|| self.watch())
                .is_ok();
        }
        let is_carried = state.idle > 0;
        drop(state);
        match started {
            // Those that there are may be blocked.
            Err(error) if !is_carried => Err(error),
            _ => Ok(place),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_carrier(&'static self, state: &mut State) -> io::Result<()> {
        let number = state.next;
        state.next += 1;
        thread::Builder::new()
            .name(state.name.clone())
            .spawn(move || self.carry(number))?;
        state.carrier(number);
        Ok(())
    }

    /// Puts a task that has something to do at the end.
    fn schedule(&self, task: Runnable) {
        let mut state = self.lock();
        state.ready.push_back(task);
        let wakes = state.idle > 0;
        self.tell_if_late(&state);
        drop(state);
        if wakes {
            self.work.notify_one();
        }
    }

    fn tell_if_late(&self, state: &State) {
        if state.is_watched && state.is_late() {
            self.delay.notify_one();
        }
    }

    /// A carrier's life.
    fn carry(&self, number: u64) {
        self.lock().carrier(number).thread = Some(rustix::thread::gettid());
        while let Some(task) = self.take(number) {
            // Tasks catch the panics of their polls; what panics here is being dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| task.run()));
        }
    }

    /// Waits for the next task to be run; `None` if this carrier is not needed.
    fn take(&self, number: u64) -> Option<Runnable> {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.ready.pop_front() {
                state.taken += 1;
                let poll = state.taken;
                state.carrier(number).poll = Some(poll);
                if state.idle == 0 && state.carriers.len() > state.enough() {
                    state.last_scarce = Some(Instant::now());
                }
                self.tell_if_late(&state);
                return Some(task);
            }
            state.carrier(number).poll = None;
            state.idle += 1;
            state = if state.idle <= state.enough() {
                self.work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner)
            } else if state.has_plenty() {
                state.idle -= 1;
                state.carriers.remove(&number);
                return None;
            } else {
                let waited = self.work.wait_timeout(state, LINGER);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
            state.idle -= 1;
        }
    }

    /// The watchdog's life. It sleeps as long as carriers are idle or nothing is to be done.
    fn watch(&'static self) {
        let mut state = self.lock();
        loop {
            if state.tasks < 2 {
                state.is_watched = false;
                return;
            }
            if !state.is_late() {
                state = self
                    .delay
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (taken, waiting) = (state.taken, state.ready.len());
            drop(state);
            thread::sleep(TICK);
            let unknown = self.unknown();
            let asleep: Vec<(u64, u64)> = unknown
                .into_iter()
                .filter(|(_, _, thread)| thread.is_some_and(sleeps))
                .map(|(number, poll, _)| (number, poll))
                .collect();
            state = self.lock();
            for (number, poll) in asleep {
                if let Some(carrier) = state.carriers.get_mut(&number) {
                    carrier.asleep = Some(poll);
                }
            }
            // Whether a task that waited before the tick still waits.
            if state.is_late()
                && state.taken - taken < waiting as u64
                && let Some(warning) = self.replace_blocked(&mut state)
            {
                // Whoever takes the line may wake a task, which needs the lock.
                drop(state);
                tracing::warn!("{warning}");
                state = self.lock();
            }
        }
    }

    /// Carriers at work of which it is not known that they sleep: number, poll and thread.
    fn unknown(&self) -> Vec<(u64, u64, Option<Pid>)> {
        let mut unknown = Vec::new();
        for (number, carrier) in &mut self.lock().carriers {
            let Some(poll) = carrier.poll.filter(|_| !carrier.is_stuck()) else {
                continue;
            };
            carrier.seen = match carrier.seen {
                (seen, ticks) if seen == poll => (poll, ticks + 1),
                _ => (poll, 1),
            };
            if carrier.seen.1 > LONG_TICKS {
                carrier.stuck = Some(poll);
            } else if !carrier.is_asleep() {
                unknown.push((*number, poll, carrier.thread));
            }
        }
        unknown
    }

    /// Starts carriers in place of those that block. Returns what to warn of, once until a start succeeds.
    fn replace_blocked(&'static self, state: &mut State) -> Option<String> {
        let count = |which: fn(&Carrier) -> bool| {
            let carriers = state.carriers.values();
            carriers.filter(|carrier| which(carrier)).count()
        };
        let all = state.carriers.len();
        let stuck = count(Carrier::is_stuck);
        let blocked = count(|carrier| carrier.is_asleep() || carrier.is_stuck());
        let most = (SLEEPERS * processors()).min(MAX_SLEEPERS);
        let missing = if stuck == all {
            // The more are stuck, the more are likely to be.
            all.max(state.enough())
        } else if all - stuck >= most {
            state.enough().saturating_sub(all - stuck)
        } else {
            state.enough().saturating_sub(all - blocked)
        };
        for _ in 0..missing.min(state.ready.len()) {
            let started = self.start_carrier(state);
            let was_refused = std::mem::replace(&mut state.is_refused, started.is_err());
            let Err(error) = started else { continue };
            return (!was_refused).then(|| {
                format!(
                    "instances block {blocked} of the plugin's {all} threads, and no other thread can be started: {error}; {LIMIT}"
                )
            });
        }
        None
    }
}

/// Whether the kernel has put a thread of this process to sleep. If that cannot be found out, it has not.
fn sleeps(thread: Pid) -> bool {
    let path = format!("/proc/self/task/{}/stat", thread.as_raw_nonzero());
    // The state is the first field behind the name, which may contain anything.
    std::fs::read_to_string(path)
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with(['S', 'D'])))
        .unwrap_or(false)
}

/// A task's claim to be carried.
pub(crate) struct Place(&'static Carriers);

impl Place {
    /// Runs a task until it is over.
    pub(crate) fn run(self, future: impl Future<Output = ()> + Send + 'static) {
        let carriers = self.0;
        let task = Task {
            future: Some(Box::pin(future)),
            _place: self,
        };
        let (task, handle) = async_task::spawn(task, |task| carriers.schedule(task));
        handle.detach();
        task.schedule();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.tasks -= 1;
        drop(state);
        self.0.work.notify_all();
        self.0.delay.notify_all();
    }
}

/// A task, whose panics end nothing but itself.
struct Task<F> {
    future: Option<Pin<Box<F>>>,
    _place: Place,
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<()> {
        let future = &mut self.future;
        let polled = catch_unwind(AssertUnwindSafe(|| match future {
            Some(running) => running.as_mut().poll(context),
            None => Poll::Ready(()),
        }));
        if let Ok(Poll::Pending) = polled {
            return Poll::Pending;
        }
        // A panic of what is dropped is in the log.
        let _ = catch_unwind(AssertUnwindSafe(|| self.future = None));
        Poll::Ready(())
    }
}
