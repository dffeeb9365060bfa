//! What the policy's expressions say of an event before it is queued: whether it goes to the destination at all, and what
//! its repeats have in common with it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwapOption;
use evbus_destination::Policy;
use evbus_event::{Event, Subject};
use evbus_expression::{Expression, Fault};
use evbus_report::OncePerBurst;
use tokio::time::{Duration, Instant};

use super::{Shared, log_scope};

/// How long expressions are evaluated on a thread that others need, before it is given to them.
const TURN: Duration = Duration::from_millis(5);

/// The policy's expressions about events that are fired.
#[derive(Debug)]
pub(super) struct Screen {
    when: Option<Expression>,
    key: Option<Expression>,
    faults: OncePerBurst,
}

impl Screen {
    /// `None` if every event passes.
    pub(super) fn of(policy: &Policy) -> Option<Self> {
        let key = policy.dedup.as_ref().map(|dedup| dedup.key.clone());
        (policy.when.is_some() || key.is_some()).then(|| Self {
            when: policy.when.clone(),
            key,
            faults: OncePerBurst::new(),
        })
    }
}

/// What they say of one event. By default it passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// It does not go to the destination.
    pub(crate) filtered: bool,
    /// An expression has no value for it, which lets it pass.
    pub(crate) faulty: bool,
    /// What its repeats have in common with it.
    pub(crate) key: Option<DedupKey>,
}

/// The hash of a key, by which repeats are recognized: long enough that no two keys have the same.
pub(crate) type DedupKey = u128;

/// Unknown outside, so that nobody can make keys with the same hash.
static HASHERS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);

/// Of the expression, too: a verdict may be older than the policy that it is used under.
fn hash(key: &Expression, value: &str) -> DedupKey {
    let hash = |hasher: &RandomState| hasher.hash_one((key.source(), value));
    let [high, low] = HASHERS.each_ref().map(hash);
    u128::from(high) << 64 | u128::from(low)
}

/// The screen of a lane, which most have not.
#[derive(Debug, Default)]
pub(super) struct Screens {
    current: ArcSwapOption<Screen>,
    /// What is asked for every event: whether there is one, and whether the destination gets another body.
    is_some: AtomicBool,
    maps: AtomicBool,
}

impl Screens {
    pub(super) fn follow(&self, policy: &Policy) {
        let screen = Screen::of(policy).map(Arc::new);
        self.is_some.store(screen.is_some(), Ordering::Relaxed);
        self.maps.store(policy.body.is_some(), Ordering::Relaxed);
        self.current.store(screen);
    }
}

/// Lets go of what expressions have parsed of an event, unless one of its destinations gets another body, for which it is
/// needed again soon.
pub(crate) fn forget_parsed<'l>(event: &Event, mut lanes: impl Iterator<Item = &'l Arc<Shared>>) {
    if !lanes.any(|lane| lane.screens.maps.load(Ordering::Relaxed)) {
        event.parsed().forget();
    }
}

impl Shared {
    /// Whether the policy has expressions about events that are fired.
    pub(crate) fn has_screen(&self) -> bool {
        self.screens.is_some.load(Ordering::Relaxed)
    }

    /// What the policy's expressions say of an event.
    pub(crate) fn verdict(self: &Arc<Self>, event: &Arc<Event>) -> Verdict {
        if !self.has_screen() {
            return Verdict::default();
        }
        let screen = self.screens.current.load();
        let Some(screen) = &*screen else {
            return Verdict::default();
        };
        let subject = Subject(Arc::clone(event));
        let mut verdict = Verdict::default();
        if let Some(when) = &screen.when {
            match when.is_true(&subject) {
                Ok(is_true) => verdict.filtered = !is_true,
                Err(fault) => self.tell_fault(screen, "evbus.when", &fault, &mut verdict),
            }
        }
        if let Some(key) = screen.key.as_ref().filter(|_| !verdict.filtered) {
            match key.json(&subject) {
                // Events without a key have nothing in common.
                Ok(value) if value == "null" => {}
                Ok(value) => verdict.key = Some(hash(key, &value)),
                Err(fault) => self.tell_fault(screen, "evbus.dedup.key", &fault, &mut verdict),
            }
        }
        verdict
    }

    /// As [`verdict`](Self::verdict), of many events, without holding a thread up for long. Empty if all of them pass.
    pub(crate) async fn verdicts(self: &Arc<Self>, events: &[Arc<Event>]) -> Vec<Verdict> {
        if !self.has_screen() {
            return Vec::new();
        }
        let mut verdicts = Vec::with_capacity(events.len());
        let mut turn = Instant::now();
        for event in events {
            verdicts.push(self.verdict(event));
            if turn.elapsed() > TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
        }
        verdicts
    }

    fn tell_fault(
        self: &Arc<Self>,
        screen: &Screen,
        key: &str,
        fault: &Fault,
        verdict: &mut Verdict,
    ) {
        verdict.faulty = true;
        if screen.faults.begins() {
            log_scope::within_now(self, || {
                tracing::warn!(
                    "destination {}: `{key}` has no value for an event, which is let through: {fault} (logged once per burst)",
                    self.destination()
                );
            });
        }
    }
}
