//! Asks a match plugin, on threads of its own: it is foreign code that may hang for one name, and must
//! stop neither the runtime nor the names that come behind.
//!
//! One thread does it all as long as the plugin answers at once. Another one comes where a name keeps
//! that busy, up to [`MAX_THREADS`]; when all of them hang, every new name is undecided without being
//! asked about. What is answered late is kept, so that whoever tries again has it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use evbus_abi::v1::{MatchesV1, PatternSetV1};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::answers::{self, Answers};
use super::{ANSWER_WITHIN, Route};
use crate::once_per_burst::OncePerBurst;

/// So many threads of one pattern set may be at work.
const MAX_THREADS: usize = 4;

/// So many of all sets of the process: a set that hangs is left behind by a reload.
const MAX_THREADS_OF_ALL: usize = 64;

/// A name that takes longer does not hold up others.
const BRIEFLY: Duration = Duration::from_millis(20);

/// So many new names of one program are asked about at a time.
const MAX_NAMES: usize = 256;

static THREADS_OF_ALL: AtomicUsize = AtomicUsize::new(0);

/// A pattern set, and what it said before.
pub(super) struct Asking(Arc<Inner>);

struct Inner {
    /// The plugin's id.
    plugin: String,
    set: PatternSetV1,
    patterns: usize,
    answers: Answers,
    desk: Mutex<Desk>,
    changed: Condvar,
    late: OncePerBurst,
}

/// The names that are asked about.
#[derive(Default)]
struct Desk {
    /// Bounded by the programs that fire, of which each waits for its own.
    waiting: VecDeque<(Box<str>, Arc<Group>)>,
    at_work: Vec<AtWork>,
    idle: usize,
    is_closed: bool,
}

struct AtWork {
    name: Box<str>,
    since: Instant,
    /// Who waits for it.
    groups: Vec<Arc<Group>>,
}

/// Names that somebody waits for together.
struct Group {
    state: Mutex<GroupState>,
    settled: Condvar,
    settled_later: Notify,
}

struct GroupState {
    left: usize,
    /// The last answer: the one of a single name, which may be too long to be kept.
    route: Option<Route>,
}

impl Group {
    fn of(names: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(GroupState {
                left: names,
                route: None,
            }),
            settled: Condvar::new(),
            settled_later: Notify::new(),
        })
    }

    fn settle_one(&self, route: Option<Route>) {
        let mut state = self.state.lock();
        state.left -= 1;
        state.route = route;
        if state.left == 0 {
            self.settled.notify_all();
            // One waits; where it does not yet, it is not to wait.
            self.settled_later.notify_one();
        }
    }

    /// Blocks; false where that takes longer.
    fn wait(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut state = self.state.lock();
        while state.left > 0 {
            if self.settled.wait_until(&mut state, until).timed_out() {
                return state.left == 0;
            }
        }
        true
    }

    /// Waits; false where that takes longer.
    async fn wait_later(&self, limit: Duration) -> bool {
        let settled = self.settled_later.notified();
        tokio::time::timeout(limit, settled).await.is_ok()
    }

    fn route(&self) -> Option<Route> {
        self.state.lock().route.take()
    }
}

impl Asking {
    pub(super) fn new(plugin: &str, set: PatternSetV1, patterns: usize) -> Self {
        Self(Arc::new(Inner {
            plugin: plugin.to_owned(),
            set,
            patterns,
            answers: Answers::default(),
            desk: Mutex::default(),
            changed: Condvar::new(),
            late: OncePerBurst::default(),
        }))
    }

    /// What was answered before.
    pub(super) fn known(&self, name: &str) -> Option<Route> {
        self.0.answers.get(name)
    }

    /// The answer for a name. Blocks where it is new.
    pub(super) fn answer(&self, name: &str) -> Route {
        if let Some(route) = self.known(name) {
            return route;
        }
        let group = Group::of(1);
        if let Err(reason) = self.ask([name].into_iter(), &group) {
            return self.undecided(&reason);
        }
        if !group.wait(BRIEFLY) {
            self.relieve();
            group.wait(ANSWER_WITHIN.saturating_sub(BRIEFLY));
        }
        group.route().unwrap_or_else(|| self.too_late(name))
    }

    /// As [`answer`](Self::answer), without blocking.
    pub(super) async fn answer_later(&self, name: &str) -> Route {
        if let Some(route) = self.known(name) {
            return route;
        }
        let group = Group::of(1);
        if let Err(reason) = self.ask([name].into_iter(), &group) {
            return self.undecided(&reason);
        }
        self.wait(&group).await;
        group.route().unwrap_or_else(|| self.too_late(name))
    }

    /// Asks about the new ones of these names, and waits.
    pub(super) async fn prepare<'n>(&self, names: impl Iterator<Item = &'n str>) {
        let mut new: Vec<&str> = names
            .filter(|name| self.known(name).is_none())
            .take(MAX_NAMES)
            .collect();
        new.sort_unstable();
        new.dedup();
        // A single one is asked about when it is needed.
        if new.len() < 2 {
            return;
        }
        let group = Group::of(new.len());
        if self.ask(new.into_iter(), &group).is_ok() {
            self.wait(&group).await;
        }
    }

    async fn wait(&self, group: &Group) {
        if !group.wait_later(BRIEFLY).await {
            self.relieve();
            group
                .wait_later(ANSWER_WITHIN.saturating_sub(BRIEFLY))
                .await;
        }
    }

    #[cfg(test)]
    pub(super) fn keep(&self, name: &str, route: Route) {
        self.0.answers.keep(name, route);
    }

    fn undecided(&self, reason: &str) -> Route {
        answers::undecided(self.0.patterns, reason)
    }

    /// There is no answer within the limit.
    fn too_late(&self, name: &str) -> Route {
        let seconds = ANSWER_WITHIN.as_secs();
        if self.0.late.begins() {
            tracing::warn!(
                "match plugin {} has not answered within {seconds} s for the name {:?}: its events are refused (logged once per burst)",
                self.0.plugin,
                crate::foreign_text::line(name, 256)
            );
        }
        self.undecided(&self.no_answer())
    }

    fn no_answer(&self) -> String {
        format!(
            "the match plugin {} has not answered within {} s",
            self.0.plugin,
            ANSWER_WITHIN.as_secs()
        )
    }

    /// Has another thread help where one name takes long.
    fn relieve(&self) {
        let desk = self.0.desk.lock();
        if !desk.waiting.is_empty() && desk.idle == 0 {
            // Whoever waits is told that there is no answer.
            let _ = self.call_another(&desk);
        }
    }

    /// Puts names on the desk, and sees to it that somebody works there.
    fn ask<'n>(
        &self,
        names: impl ExactSizeIterator<Item = &'n str>,
        group: &Arc<Group>,
    ) -> Result<(), String> {
        let inner = &self.0;
        let mut desk = inner.desk.lock();
        let hanging = (desk.at_work.iter())
            .filter(|at_work| at_work.since.elapsed() >= ANSWER_WITHIN)
            .count();
        if hanging == MAX_THREADS {
            return Err(format!(
                "the match plugin {} hangs for {hanging} other names, and is not asked until it has answered",
                inner.plugin
            ));
        }
        let is_one = names.len() == 1;
        for name in names {
            let same = (desk.at_work.iter_mut()).find(|at_work| *at_work.name == *name);
            match same {
                Some(at_work) if at_work.since.elapsed() < ANSWER_WITHIN => {
                    at_work.groups.push(Arc::clone(group));
                }
                Some(_) if is_one => return Err(self.no_answer()),
                // Whoever needs it is told then.
                Some(_) => group.settle_one(None),
                None => desk.waiting.push_back((name.into(), Arc::clone(group))),
            }
        }
        if desk.waiting.is_empty() {
            return Ok(());
        }
        if desk.idle > 0 {
            inner.changed.notify_one();
            return Ok(());
        }
        self.call_another(&desk)
    }

    /// Starts a thread where all that there are have been busy for long.
    fn call_another(&self, desk: &Desk) -> Result<(), String> {
        let is_busy = |at_work: &AtWork| at_work.since.elapsed() >= BRIEFLY;
        if desk.at_work.len() == MAX_THREADS || !desk.at_work.iter().all(is_busy) {
            return Ok(());
        }
        if THREADS_OF_ALL.fetch_add(1, Ordering::Relaxed) >= MAX_THREADS_OF_ALL {
            THREADS_OF_ALL.fetch_sub(1, Ordering::Relaxed);
            return Err(format!(
                "{MAX_THREADS_OF_ALL} threads hang in match plugins; remove the plugin that hangs, and restart the host"
            ));
        }
        let inner = Arc::clone(&self.0);
        std::thread::Builder::new()
            .name("evbus matcher".to_owned())
            .spawn(move || {
                inner.work();
                THREADS_OF_ALL.fetch_sub(1, Ordering::Relaxed);
            })
            .map(drop)
            .map_err(|error| {
                THREADS_OF_ALL.fetch_sub(1, Ordering::Relaxed);
                format!("no thread to ask the match plugin can be started: {error}")
            })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.desk.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Inner {
    /// Asks about one name after the other, until nobody has the router any more.
    fn work(&self) {
        let mut found = MatchesV1::default();
        let mut desk = self.desk.lock();
        loop {
            let Some((name, group)) = desk.waiting.pop_front() else {
                if desk.is_closed {
                    return;
                }
                desk.idle += 1;
                self.changed.wait(&mut desk);
                desk.idle -= 1;
                continue;
            };
            if let Some(route) = self.answers.get(&name) {
                group.settle_one(Some(route));
                continue;
            }
            if let Some(same) = (desk.at_work.iter_mut()).find(|other| other.name == name) {
                same.groups.push(group);
                continue;
            }
            desk.at_work.push(AtWork {
                name: name.clone(),
                since: Instant::now(),
                groups: vec![group],
            });
            drop(desk);
            let route = crate::plugin::guarded("it matched a name", &self.plugin, || {
                let decided = self.set.matches(&name, &mut found);
                answers::read(&found, decided, self.patterns)
            });
            self.answers.keep(&name, route.clone());
            desk = self.desk.lock();
            let at = desk.at_work.iter().position(|at_work| at_work.name == name);
            if let Some(at) = at {
                for group in desk.at_work.swap_remove(at).groups {
                    group.settle_one(Some(route.clone()));
                }
            }
        }
    }
}
