//! Calls into plugin instances in this process, on threads of their own: the contract wants them to return
//! at once, but a plugin that does not must delay nobody else, and least of all the runtime.
//!
//! Instances whose calls return at once share a pool, of which one thread works and a second one looks on. When
//! a call takes long, the second one takes over, and the thread in that call stays with its instance from then
//! on. So an instance that is slow or hangs costs the others a few milliseconds, once. The attempt to connect,
//! which is the first call of every instance, has a thread of its own from the beginning.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evbus_abi::v1::{BatchOutcomeV1, BatchV1, CompletionV1, InstanceObjectV1, InstanceV1};
use parking_lot::{Condvar, Mutex};

use super::exit_guard;

/// A call that takes longer moves its instance to its own thread.
const BRIEFLY: Duration = Duration::from_millis(5);

static POOL: Pool = Pool {
    state: Mutex::new(PoolState {
        waiting: VecDeque::new(),
        at_work: Vec::new(),
        idle: 0,
        last_ticket: 0,
    }),
    changed: Condvar::new(),
};

type Job = Box<dyn FnOnce() + Send>;

/// The calls of one instance, and of the attempt to create it. They run one at a time, in order.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Handle>);

/// Held by everybody who may make further calls.
struct Handle(Arc<InstanceQueue>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.state.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

#[derive(Default)]
struct InstanceQueue {
    state: Mutex<QueueState>,
    /// Wakes the instance's own thread.
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    /// Bounded by the batches that a lane has in flight.
    jobs: VecDeque<Job>,
    runner: Runner,
    /// Whether a call took long.
    is_slow: bool,
    /// Whether there will be no more calls.
    is_closed: bool,
}

/// Which thread runs the calls of an instance.
#[derive(Default, PartialEq)]
enum Runner {
    /// None, because there are no calls.
    #[default]
    Nobody,
    Pool,
    OwnThread,
}

impl Calls {
    /// For a new instance, whose first call has its own thread.
    ///
    /// # Errors
    ///
    /// One sentence: the system starts no thread for the calls.
    pub(crate) fn start() -> Result<Self, String> {
        POOL.open()?;
        let queue = Arc::new(InstanceQueue::default());
        queue.state.lock().runner = Runner::OwnThread;
        let own = Arc::clone(&queue);
        start_thread(move || own.stay())?;
        Ok(Self(Arc::new(Handle(queue))))
    }

    /// Runs `call` after those before it. Does not wait for it.
    pub(crate) fn then(&self, call: impl FnOnce() + Send + 'static) {
        let queue = &(self.0).0;
        let mut state = queue.state.lock();
        state.jobs.push_back(Box::new(call));
        match state.runner {
            Runner::Pool => {}
            Runner::OwnThread => {
                queue.changed.notify_one();
            }
            Runner::Nobody => {
                state.runner = Runner::Pool;
                drop(state);
                POOL.put(Arc::clone(queue));
            }
        }
    }

    /// Drops the calls that have not begun.
    fn abandon(&self) {
        let jobs = std::mem::take(&mut (self.0).0.state.lock().jobs);
        drop(jobs);
    }

    /// For the instance that the first call may create. Holds no thread.
    pub(crate) fn awaited(&self) -> Awaited {
        Awaited(Arc::clone(&(self.0).0))
    }
}

/// The calls of an instance that was requested from a plugin and may never be created.
pub(crate) struct Awaited(Arc<InstanceQueue>);

impl Awaited {
    /// The instance with these calls, for a caller that must not wait for it.
    pub(crate) fn instance(self, instance: InstanceV1, plugin: &str) -> InstanceV1 {
        self.0.state.lock().is_closed = false;
        let limits = instance.limits;
        let called = Called {
            calls: Calls(Arc::new(Handle(self.0))),
            instance: Some(Arc::new(instance)),
            plugin: plugin.into(),
        };
        InstanceV1::new(called, limits)
    }
}

impl InstanceQueue {
    /// Runs the next call.
    fn run_next(&self) {
        let job = self.state.lock().jobs.pop_front();
        let Some(job) = job else { return };
        let started = Instant::now();
        // A panic drops the sender of the answer, which informs the waiting caller.
        let _ = catch_unwind(AssertUnwindSafe(job));
        if started.elapsed() >= BRIEFLY {
            self.state.lock().is_slow = true;
        }
    }

    /// Runs calls on this thread, until there are no more, or until the pool can run them.
    fn stay(self: Arc<Self>) {
        loop {
            {
                let mut state = self.state.lock();
                while state.jobs.is_empty() {
                    if state.is_closed {
                        state.runner = Runner::Nobody;
                        return;
                    }
                    self.changed.wait(&mut state);
                }
            }
            self.run_next();
            let mut state = self.state.lock();
            if !state.is_slow {
                state.runner = Runner::Nobody;
                if state.jobs.is_empty() {
                    return;
                }
                state.runner = Runner::Pool;
                drop(state);
                return POOL.put(self);
            }
        }
    }
}

/// Stands for an instance. All calls go through `calls`, and so does dropping it.
struct Called {
    calls: Calls,
    /// Present until this is dropped.
    instance: Option<Arc<InstanceV1>>,
    plugin: Arc<str>,
}

impl Called {
    fn call(&self, doing: &'static str, call: impl FnOnce(&InstanceV1) + Send + 'static) {
        let plugin = Arc::clone(&self.plugin);
        if let Some(instance) = self.instance.clone() {
            (self.calls).then(move || exit_guard::call(doing, &plugin, || call(&instance)));
        }
    }
}

impl InstanceObjectV1 for Called {
    fn publish(&self, batch: BatchV1, done: CompletionV1<BatchOutcomeV1>) {
        self.call("it was given a batch", |instance| {
            instance.publish(batch, done);
        });
    }

    fn close(&self, done: CompletionV1<()>) {
        self.call("it was asked to close", |instance| instance.close(done));
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        // A batch that still waits here was given up and goes to another instance.
        self.calls.abandon();
        let (instance, plugin) = (self.instance.take(), Arc::clone(&self.plugin));
        (self.calls).then(move || {
            exit_guard::call("it dropped an instance", &plugin, move || drop(instance));
        });
    }
}

fn start_thread(work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    std::thread::Builder::new()
        .name("evbus calls".to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| {
            format!(
                "cannot start a thread for the instance: {error}; raise the process limit (ulimit -u, TasksMax=)"
            )
        })
}

/// The threads for instances that are not slow.
struct Pool {
    state: Mutex<PoolState>,
    changed: Condvar,
}

struct PoolState {
    waiting: VecDeque<Arc<InstanceQueue>>,
    /// Calls in progress, and since when.
    at_work: Vec<(u64, Instant)>,
    /// Idle threads, including those that are starting.
    idle: usize,
    last_ticket: u64,
}

impl PoolState {
    /// When a thread is expected to be free, if any is.
    fn expected(&self) -> Option<Instant> {
        let back = |(_, since): &(u64, Instant)| *since + BRIEFLY;
        let now = Instant::now();
        self.at_work.iter().map(back).find(|until| *until > now)
    }
}

impl Pool {
    /// Makes sure that there is a thread.
    fn open(&'static self) -> Result<(), String> {
        let mut state = self.state.lock();
        if state.idle > 0 {
            return Ok(());
        }
        self.add_thread(&mut state)
    }

    fn put(&'static self, queue: Arc<InstanceQueue>) {
        let mut state = self.state.lock();
        state.waiting.push_back(queue);
        if state.idle == 0 {
            // No thread could be started before; try again.
            let _ = self.add_thread(&mut state);
        }
        // Whoever wakes needs the lock.
        drop(state);
        self.changed.notify_one();
    }

    fn add_thread(&'static self, state: &mut PoolState) -> Result<(), String> {
        start_thread(|| self.work())?;
        state.idle += 1;
        Ok(())
    }

    fn work(&'static self) {
        let mut state = self.state.lock();
        loop {
            if state.waiting.is_empty() {
                self.changed.wait(&mut state);
                continue;
            }
            if let Some(until) = state.expected() {
                self.changed.wait_until(&mut state, until);
                continue;
            }
            let Some(queue) = state.waiting.pop_front() else {
                continue;
            };
            state.idle -= 1;
            // If no thread can be started, calls wait until this one has finished.
            if state.idle == 0 {
                let _ = self.add_thread(&mut state);
            }
            state.last_ticket += 1;
            let ticket = state.last_ticket;
            state.at_work.push((ticket, Instant::now()));
            drop(state);
            queue.run_next();
            state = self.state.lock();
            state.at_work.retain(|(other, _)| *other != ticket);
            // The last thread of the pool must stay in it.
            let can_leave = state.idle > 0 || self.add_thread(&mut state).is_ok();
            {
                let mut own = queue.state.lock();
                if own.is_slow && can_leave {
                    own.runner = Runner::OwnThread;
                    drop((own, state));
                    return queue.stay();
                }
                if own.jobs.is_empty() {
                    own.runner = Runner::Nobody;
                } else {
                    state.waiting.push_back(Arc::clone(&queue));
                }
            }
            if state.idle >= 2 {
                // Another thread took over in the meantime.
                self.changed.notify_one();
                return;
            }
            state.idle += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// How long anything may take before a test fails.
    const PATIENCE: Duration = Duration::from_mins(1);

    fn calls() -> Calls {
        Calls::start().expect("a thread")
    }

    #[test]
    fn calls_that_hang_hold_up_only_what_comes_after_them_in_their_own_instance() {
        let (say, said) = mpsc::channel();
        let hanging: Vec<_> = (0..5)
            .map(|number| {
                let (release, hold) = mpsc::channel::<()>();
                let calls = calls();
                calls.then(move || {
                    let _ = hold.recv();
                });
                let say = say.clone();
                calls.then(move || say.send(number).expect("somebody listens"));
                release
            })
            .collect();
        let other = calls();
        for number in 100..200 {
            let say = say.clone();
            other.then(move || say.send(number).expect("somebody listens"));
        }
        for number in 100..200 {
            assert_eq!(said.recv_timeout(PATIENCE), Ok(number), "in their order");
        }
        assert!(said.try_recv().is_err(), "the others hang");
        for (number, release) in hanging.into_iter().enumerate() {
            release.send(()).expect("it waits");
            assert_eq!(said.recv_timeout(PATIENCE), Ok(number));
        }
    }

    #[test]
    fn a_call_that_panics_is_one_call() {
        let (say, said) = mpsc::channel();
        let calls = calls();
        calls.then(|| panic!("it cannot"));
        calls.then(move || say.send(()).expect("somebody listens"));
        assert_eq!(said.recv_timeout(PATIENCE), Ok(()));
    }

    /// The thread that a call of an instance runs on.
    fn thread_of(calls: &Calls) -> std::thread::ThreadId {
        let (say, said) = mpsc::channel();
        calls.then(move || say.send(std::thread::current().id()).expect("it waits"));
        said.recv_timeout(PATIENCE).expect("it runs")
    }

    #[test]
    fn an_instance_that_was_slow_once_has_a_thread_of_its_own() {
        let slow = calls();
        // The first call runs on its own thread in any case.
        thread_of(&slow);
        slow.then(|| std::thread::sleep(2 * BRIEFLY));
        let own = thread_of(&slow);
        assert_eq!(thread_of(&slow), own);
        let other = calls();
        for _ in 0..10 {
            assert_ne!(thread_of(&other), own);
        }
        assert_eq!(thread_of(&slow), own);
    }

    #[test]
    fn the_first_calls_of_many_instances_do_not_wait_for_each_other() {
        let (release, hold) = mpsc::channel::<()>();
        let hold = Arc::new(Mutex::new(hold));
        let hanging: Vec<_> = (0..200)
            .map(|_| {
                let (calls, hold) = (calls(), Arc::clone(&hold));
                calls.then(move || {
                    let _ = hold.lock().recv();
                });
                calls
            })
            .collect();
        let began = Instant::now();
        thread_of(&calls());
        // If hangs were noticed one after the other, it would take this long.
        assert!(began.elapsed() < 200 * BRIEFLY, "{:?}", began.elapsed());
        drop((release, hanging));
    }

    #[test]
    fn calls_that_have_not_begun_when_an_instance_is_given_up_never_run() {
        let (release, hold) = mpsc::channel::<()>();
        let (say, said) = mpsc::channel();
        let calls = calls();
        calls.then(move || {
            let _ = hold.recv();
        });
        let answer = say.clone();
        calls.then(move || answer.send("stale").expect("somebody listens"));
        calls.abandon();
        calls.then(move || say.send("dropped").expect("somebody listens"));
        drop((release, calls));
        assert_eq!(said.recv_timeout(PATIENCE), Ok("dropped"));
        assert!(said.recv_timeout(PATIENCE).is_err(), "nothing follows");
    }
}
