//! Calls into plugin instances in this process, on threads of their own: the contract wants them to return
//! at once, but a plugin that does not must hold up nobody else, and least of all the runtime.
//!
//! One thread does all of this work as long as every call returns at once, and a second one looks on. When a
//! call takes long, the one that looks on takes over, and another looks on. So a call that hangs costs its
//! thread, and only its own instance waits for it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evbus_abi::v1::{BatchOutcomeV1, BatchV1, CompletionV1, InstanceObjectV1, InstanceV1};
use parking_lot::{Condvar, Mutex};

use super::exit_guard;

/// A call that takes longer does not hold up those of other instances.
const BRIEFLY: Duration = Duration::from_millis(20);

static DESK: Desk = Desk {
    state: Mutex::new(State {
        waiting: VecDeque::new(),
        at_work: Vec::new(),
        idle: 0,
        calls: 0,
    }),
    changed: Condvar::new(),
};

type Call = Box<dyn FnOnce() + Send>;

/// The calls of one instance, and of the attempt to make it. They run one at a time, in their order.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    /// Bounded by the batches that a lane has in flight.
    calls: VecDeque<Call>,
    /// A thread has them, or they wait for one.
    is_taken: bool,
}

impl Calls {
    /// For another instance.
    ///
    /// # Errors
    ///
    /// One sentence: the system starts no thread for the calls.
    pub(crate) fn start() -> Result<Self, String> {
        DESK.open()?;
        Ok(Self(Arc::default()))
    }

    /// Has `call` run after those before it. Does not block.
    pub(crate) fn then(&self, call: impl FnOnce() + Send + 'static) {
        let is_taken = {
            let mut queue = self.0.lock();
            queue.calls.push_back(Box::new(call));
            std::mem::replace(&mut queue.is_taken, true)
        };
        if !is_taken {
            DESK.put(self.clone());
        }
    }

    /// The instance whose calls these are, for whoever must not wait for it.
    pub(crate) fn instance(self, instance: InstanceV1, plugin: &str) -> InstanceV1 {
        let limits = instance.limits;
        let called = Called {
            calls: self,
            instance: Some(Arc::new(instance)),
            plugin: plugin.into(),
        };
        InstanceV1::new(called, limits)
    }

    /// Runs the next call, and comes back later for the others.
    fn run(self) {
        let call = self.0.lock().calls.pop_front();
        if let Some(call) = call {
            // What waits for it learns it from the answer that is dropped.
            let _ = catch_unwind(AssertUnwindSafe(call));
        }
        let is_taken = {
            let mut queue = self.0.lock();
            queue.is_taken = !queue.calls.is_empty();
            queue.is_taken
        };
        if is_taken {
            DESK.put(self);
        }
    }
}

/// Stands for an instance. All calls go to `calls`, and so does dropping it.
struct Called {
    calls: Calls,
    /// Until this is dropped.
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
        let (instance, plugin) = (self.instance.take(), Arc::clone(&self.plugin));
        (self.calls).then(move || {
            exit_guard::call("it dropped an instance", &plugin, move || drop(instance));
        });
    }
}

/// Where calls wait for a thread.
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: VecDeque<Calls>,
    /// Which call a thread is in, and since when.
    at_work: Vec<(u64, Instant)>,
    /// Threads that wait or look on, and those on their way.
    idle: usize,
    /// So many calls there were.
    calls: u64,
}

impl State {
    /// Until when somebody is expected back at the desk, if anybody is.
    fn expected(&self) -> Option<Instant> {
        let back = |(_, since): &(u64, Instant)| *since + BRIEFLY;
        let now = Instant::now();
        self.at_work.iter().map(back).find(|until| *until > now)
    }
}

impl Desk {
    /// Sees to it that a thread is there.
    fn open(&'static self) -> Result<(), String> {
        let mut state = self.state.lock();
        if state.idle > 0 {
            return Ok(());
        }
        self.call_another(&mut state)
    }

    fn put(&'static self, calls: Calls) {
        let mut state = self.state.lock();
        state.waiting.push_back(calls);
        if state.idle == 0 {
            // None could be started before.
            let _ = self.call_another(&mut state);
        }
        self.changed.notify_one();
    }

    fn call_another(&'static self, state: &mut State) -> Result<(), String> {
        std::thread::Builder::new()
            .name("evbus calls".to_owned())
            .spawn(|| self.work())
            .map_err(|error| {
                format!(
                    "cannot start a thread for the instance: {error}; raise the process limit (ulimit -u, TasksMax=)"
                )
            })?;
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
            let Some(calls) = state.waiting.pop_front() else {
                continue;
            };
            state.idle -= 1;
            // Where none can be started, calls wait for this one.
            if state.idle == 0 {
                let _ = self.call_another(&mut state);
            }
            state.calls += 1;
            let number = state.calls;
            state.at_work.push((number, Instant::now()));
            drop(state);
            calls.run();
            state = self.state.lock();
            state.at_work.retain(|(other, _)| *other != number);
            if state.idle >= 2 {
                // It was replaced while it was away.
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
}
