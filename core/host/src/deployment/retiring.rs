//! A removed destination: it delivers what it has for a while, then it is stopped.
//!
//! Two parties may want the lane: its own task, which stops it when its time is over, and a reload
//! that brings the destination back. One state decides between them, and each step is taken under
//! its lock:
//!
//! ```text
//! Draining --stop--> Stopping --done--> Stopped
//!    |  ^
//!   hold release
//!    v  |
//!   Held --revive--> Revived
//! ```
//!
//! A reload first holds the lane, which it can undo, and revives it when nothing can fail any more.
//! A task whose time is over while the lane is held waits, and decides anew.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use evbus_delivery::Lane;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It delivers its events.
    Draining,
    /// A reload may revive it, so it must not be stopped.
    Held,
    /// It serves an entry of the acct file again.
    Revived,
    /// It is being stopped and cannot be revived.
    Stopping,
    /// It has ended, and its store is closed.
    Stopped,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Hold,
    Release,
    Revive,
    Stop,
    Done,
}

impl Phase {
    /// The phase after a step; `None` if the step is not possible.
    fn after(self, step: Step) -> Option<Self> {
        match (self, step) {
            (Self::Draining, Step::Hold) => Some(Self::Held),
            (Self::Held, Step::Release) => Some(Self::Draining),
            (Self::Held, Step::Revive) => Some(Self::Revived),
            (Self::Draining, Step::Stop) => Some(Self::Stopping),
            (Self::Stopping, Step::Done) => Some(Self::Stopped),
            _ => None,
        }
    }
}

/// The state that both parties share.
#[derive(Debug, Clone)]
struct State(Arc<watch::Sender<Phase>>);

impl State {
    fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Draining)))
    }

    /// Takes a step if it is possible. Returns whether it was.
    fn step(&self, step: Step) -> bool {
        self.0.send_if_modified(|phase| match phase.after(step) {
            Some(next) => {
                *phase = next;
                true
            }
            None => false,
        })
    }

    /// Decides for the lane's task, when its time is over, whether to stop the lane. Waits while a reload holds it.
    async fn may_stop(&self) -> bool {
        let mut phases = self.0.subscribe();
        loop {
            if self.step(Step::Stop) {
                return true;
            }
            let decided = phases.wait_for(|phase| *phase != Phase::Held).await;
            // The sender lives in `self`, so this cannot fail.
            if decided.is_ok_and(|phase| *phase != Phase::Draining) {
                return false;
            }
        }
    }

    async fn stopped(&self) {
        let mut phases = self.0.subscribe();
        // As above.
        let _ = phases.wait_for(|phase| *phase == Phase::Stopped).await;
    }
}

/// A removed lane, and the task that ends it.
#[derive(Debug)]
pub(super) struct Retiring {
    lane: Arc<Lane>,
    state: State,
    task: JoinHandle<()>,
}

impl Retiring {
    /// Gives the lane `limit` to deliver its events, then lets `end` stop it. Must be called within a tokio runtime.
    pub(super) fn start<E>(
        lane: Arc<Lane>,
        limit: Duration,
        end: impl FnOnce(Arc<Lane>) -> E,
    ) -> Self
    where
        E: Future<Output = ()> + Send + 'static,
    {
        let state = State::new();
        let (its, its_state, ending) = (Arc::clone(&lane), state.clone(), end(Arc::clone(&lane)));
        let task = tokio::spawn(async move {
            // Events that remain after that are not lost if there is a disk.
            let _ = tokio::time::timeout(limit, its.shared().empty()).await;
            if its_state.may_stop().await {
                // However stopping ends, nobody waits forever.
                let _done = Done(&its_state);
                ending.await;
            }
        });
        Self { lane, state, task }
    }

    /// Keeps the lane from being stopped until the guard is dropped. `None` if it is being stopped already; then
    /// [`stopped`](Self::stopped) reports when its store can be opened again.
    pub(super) fn hold(&self) -> Option<Held> {
        (self.state.step(Step::Hold)).then(|| Held {
            lane: Arc::clone(&self.lane),
            state: self.state.clone(),
        })
    }

    /// Resolves when it has ended and its store is closed. Only for a lane that could not be held.
    pub(super) async fn stopped(&self) {
        self.state.stopped().await;
    }

    /// Whether it has ended completely.
    pub(super) fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

struct Done<'a>(&'a State);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.step(Step::Done);
    }
}

/// A removed lane that is not stopped while this exists.
#[derive(Debug)]
pub(super) struct Held {
    lane: Arc<Lane>,
    state: State,
}

impl Held {
    /// The lane, which continues to deliver.
    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Takes the lane back; its task no longer stops it.
    pub(super) fn revive(self) -> Arc<Lane> {
        self.state.step(Step::Revive);
        Arc::clone(&self.lane)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // If it was revived, this step is not possible and has no effect.
        self.state.step(Step::Release);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What the two parties have done to one lane.
    #[derive(Default)]
    struct Deeds {
        stops: usize,
        revivals: usize,
    }

    /// The lane's task: it decides, and ends the lane or leaves it.
    async fn retire(state: &State, deeds: &parking_lot::Mutex<Deeds>) {
        if state.may_stop().await {
            deeds.lock().stops += 1;
            pause().await;
            state.step(Step::Done);
        }
    }

    /// A reload that revives the lane, after failing `failures` times.
    async fn reload(
        state: &State,
        failures: usize,
        deeds: &parking_lot::Mutex<Deeds>,
    ) -> &'static str {
        for attempt in 0..=failures {
            pause().await;
            if !state.step(Step::Hold) {
                state.stopped().await;
                assert_eq!(*state.0.borrow(), Phase::Stopped);
                return "opens the store anew";
            }
            pause().await;
            if attempt < failures {
                assert!(state.step(Step::Release));
            }
        }
        assert!(state.step(Step::Revive), "a held lane can be had back");
        deeds.lock().revivals += 1;
        "revives it"
    }

    /// A point at which the other party may run.
    async fn pause() {
        let mut paused = false;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut paused, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Runs both parties in the order given by `turns`, then whichever remains.
    fn run(failures: usize, mut turns: u32) -> (&'static str, Deeds) {
        let state = State::new();
        let deeds = parking_lot::Mutex::default();
        let mut task: Pin<&mut dyn Future<Output = ()>> = pin!(retire(&state, &deeds));
        let mut other: Pin<&mut dyn Future<Output = &'static str>> =
            pin!(reload(&state, failures, &deeds));
        let mut context = Context::from_waker(Waker::noop());
        let (mut task_ended, mut result) = (false, None);
        for _ in 0..200 {
            if task_ended && let Some(result) = result {
                return (result, std::mem::take(&mut *deeds.lock()));
            }
            let is_tasks_turn = turns & 1 == 0;
            // Each used bit returns inverted, so neither of the two is always first.
            turns = (turns >> 1) | ((turns & 1) ^ 1) << 31;
            if is_tasks_turn && !task_ended {
                task_ended = task.as_mut().poll(&mut context).is_ready();
            } else if !is_tasks_turn
                && result.is_none()
                && let Poll::Ready(done) = other.as_mut().poll(&mut context)
            {
                result = Some(done);
            }
        }
        panic!("the two wait for each other");
    }

    #[test]
    fn in_every_order_a_removed_lane_is_either_stopped_or_brought_back() {
        let mut results = std::collections::BTreeSet::new();
        for failures in 0..3 {
            for turns in 0..1 << 12 {
                let (result, deeds) = run(failures, turns);
                let expected = match result {
                    "revives it" => (0, 1),
                    _ => (1, 0),
                };
                assert_eq!(
                    (deeds.stops, deeds.revivals),
                    expected,
                    "{failures} failed reloads, turns {turns:012b}"
                );
                results.insert((failures, result));
            }
        }
        assert_eq!(results.len(), 6, "both ends were reached: {results:?}");
    }

    #[test]
    fn a_step_out_of_place_changes_nothing() {
        let steps = [
            Step::Hold,
            Step::Release,
            Step::Revive,
            Step::Stop,
            Step::Done,
        ];
        for phase in [Phase::Revived, Phase::Stopped] {
            assert!(steps.iter().all(|step| phase.after(*step).is_none()));
        }
        assert_eq!(Phase::Held.after(Step::Stop), None);
        assert_eq!(Phase::Stopping.after(Step::Hold), None);
        assert_eq!(Phase::Draining.after(Step::Revive), None);
    }
}
