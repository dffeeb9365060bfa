//! Asks a match plugin, on threads of its own: it is foreign code that may hang on one name, and must
//! block neither the runtime nor later names.
//!
//! One thread is enough as long as the plugin answers at once. Another is started when a name keeps it
//! busy, up to [`MAX_THREADS`]; when all of them hang, every new name is undecided without asking the
//! plugin. Late answers are kept for the next attempt.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use evbus_abi::v1::{MatchesV1, PatternSetV1};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::answers::{self, Answers};
use super::{ANSWER_WITHIN, Route};
use evbus_report::OncePerBurst;

/// How many threads one pattern set may have. One is enough while its plugin answers; names may hang the others before
/// nothing more is asked.
const MAX_THREADS: usize = 4;

/// How many threads of the process may hang in sets that a reload replaced. Beyond that, no set is asked, rather than
/// losing four threads with each reload.
const MAX_LEFT_BEHIND: usize = 64;

/// A name that takes longer does not delay others.
const BRIEFLY: Duration = Duration::from_millis(20);

/// How many new names of one program are asked about at a time.
const MAX_NAMES: usize = 1024;

static LEFT_BEHIND: AtomicUsize = AtomicUsize::new(0);

/// A pattern set, and its previous answers.
pub(super) struct Asking {
    /// `None` only while it is dropped.
    inner: Option<Arc<Inner>>,
}

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

/// The names to be asked about.
#[derive(Default)]
struct Desk {
    /// Bounded by the number of firing programs, because each waits for its own names; names that nobody waits for are
    /// removed.
    waiting: VecDeque<(Box<str>, Arc<Group>)>,
    at_work: Vec<AtWork>,
    /// Including idle threads and those that are starting.
    threads: usize,
    is_closed: bool,
}

struct AtWork {
    name: Box<str>,
    since: Instant,
    /// Those who wait for the answer.
    groups: Vec<Arc<Group>>,
}

/// Names that one caller waits for.
struct Group {
    state: Mutex<GroupState>,
    settled: Condvar,
    settled_later: Notify,
}

struct GroupState {
    left: usize,
    /// The caller has given up.
    is_given_up: bool,
    /// The last answer; it may be too large for the cache, so a caller with a single name takes it from here.
    route: Option<Route>,
}

impl Group {
    fn of(names: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(GroupState {
                left: names,
                is_given_up: false,
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
            // At most one task waits; if it begins to wait later, it returns at once.
            self.settled_later.notify_one();
        }
    }

    /// Blocks; returns false after the time limit.
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

    /// Waits; returns false after the time limit.
    async fn wait_later(&self, limit: Duration) -> bool {
        let settled = self.settled_later.notified();
        tokio::time::timeout(limit, settled).await.is_ok()
    }

    /// Gives up waiting; returns the answer if there is one.
    fn leave(&self) -> Option<Route> {
        let mut state = self.state.lock();
        state.is_given_up = true;
        state.route.take()
    }

    fn is_given_up(&self) -> bool {
        self.state.lock().is_given_up
    }
}

impl Asking {
    /// Starts the first thread, so that a set that cannot be asked does not replace one that answers.
    ///
    /// # Errors
    ///
    /// One sentence: the system starts no thread, or too many hang.
    pub(super) fn start(plugin: &str, set: PatternSetV1, patterns: usize) -> Result<Self, String> {
        let asking = Self {
            inner: Some(Arc::new(Inner {
                plugin: plugin.to_owned(),
                set,
                patterns,
                answers: Answers::default(),
                desk: Mutex::default(),
                changed: Condvar::new(),
                late: OncePerBurst::default(),
            })),
        };
        asking.call_another(&mut asking.inner().desk.lock())?;
        Ok(asking)
    }

    fn inner(&self) -> &Arc<Inner> {
        self.inner
            .as_ref()
            .expect("it is there until it is dropped")
    }

    /// The cached answer.
    pub(super) fn known(&self, name: &str) -> Option<Route> {
        self.inner().answers.get(name)
    }

    /// The answer for a name. Blocks if the name is new.
    pub(super) fn answer(&self, name: &str) -> Route {
        if let Some(route) = self.known(name) {
            return route;
        }
        let group = Group::of(1);
        if let Err(reason) = self.ask([name].into_iter(), &group) {
            return self.undecided(&reason);
        }
        let until = Instant::now() + ANSWER_WITHIN;
        while !group.wait(BRIEFLY) && Instant::now() < until {
            self.relieve();
        }
        group.leave().unwrap_or_else(|| self.too_late(name))
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
        group.leave().unwrap_or_else(|| self.too_late(name))
    }

    /// Asks about the new ones among these names, and waits.
    pub(super) async fn prepare<'n>(&self, names: impl Iterator<Item = &'n str>) {
        let mut new: Vec<&str> = names.filter(|name| self.known(name).is_none()).collect();
        new.sort_unstable();
        new.dedup();
        new.truncate(MAX_NAMES);
        // A single name is asked about when it is needed.
        if new.len() < 2 {
            return;
        }
        let group = Group::of(new.len());
        if self.ask(new.into_iter(), &group).is_ok() {
            self.wait(&group).await;
            group.leave();
        }
    }

    async fn wait(&self, group: &Group) {
        let until = Instant::now() + ANSWER_WITHIN;
        while !group.wait_later(BRIEFLY).await && Instant::now() < until {
            self.relieve();
        }
    }

    #[cfg(test)]
    pub(super) fn threads(&self) -> usize {
        self.inner().desk.lock().threads
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.inner().desk.lock().waiting.len()
    }

    #[cfg(test)]
    pub(super) fn keep(&self, name: &str, route: Route) {
        self.inner().answers.keep(name, route);
    }

    fn undecided(&self, reason: &str) -> Route {
        answers::undecided(self.inner().patterns, reason)
    }

    /// The answer for a name that was not decided in time.
    fn too_late(&self, name: &str) -> Route {
        let seconds = ANSWER_WITHIN.as_secs();
        if self.inner().late.begins() {
            tracing::warn!(
                "match plugin {} did not answer within {seconds} s for profile {:?}: its events are refused (logged once per burst)",
                self.inner().plugin,
                evbus_report::foreign_text::line(name, 256)
            );
        }
        self.undecided(&self.no_answer())
    }

    fn no_answer(&self) -> String {
        format!(
            "match plugin {} did not answer within {} s",
            self.inner().plugin,
            ANSWER_WITHIN.as_secs()
        )
    }

    /// Starts another thread if one name takes long.
    fn relieve(&self) {
        let mut desk = self.inner().desk.lock();
        if !desk.waiting.is_empty() {
            // If the call fails, the waiting callers learn that there is no answer.
            let _ = self.call_another(&mut desk);
        }
    }

    /// Queues names, and makes sure that a thread works on them.
    fn ask<'n>(
        &self,
        names: impl ExactSizeIterator<Item = &'n str>,
        group: &Arc<Group>,
    ) -> Result<(), String> {
        let inner = self.inner();
        let mut desk = inner.desk.lock();
        while (desk.waiting.front()).is_some_and(|(_, group)| group.is_given_up()) {
            desk.waiting.pop_front();
        }
        let hanging = (desk.at_work.iter())
            .filter(|at_work| at_work.since.elapsed() >= ANSWER_WITHIN)
            .count();
        if hanging >= MAX_THREADS {
            return Err(format!(
                "match plugin {} hangs on {hanging} other profiles and is not asked again until it answers",
                inner.plugin
            ));
        }
        let is_one = names.len() == 1;
        let before = desk.waiting.len();
        for name in names {
            let same = (desk.at_work.iter_mut()).find(|at_work| *at_work.name == *name);
            match same {
                Some(at_work) if at_work.since.elapsed() < ANSWER_WITHIN => {
                    at_work.groups.push(Arc::clone(group));
                }
                Some(_) if is_one => return Err(self.no_answer()),
                // If the call fails, whoever needs the name learns it then.
                Some(_) => group.settle_one(None),
                None => desk.waiting.push_back((name.into(), Arc::clone(group))),
            }
        }
        if desk.waiting.len() == before {
            return Ok(());
        }
        inner.changed.notify_one();
        let called = self.call_another(&mut desk);
        if called.is_err() {
            // No thread will take these names.
            desk.waiting.truncate(before);
        }
        called
    }

    /// Starts a thread if all existing ones have been busy for long.
    fn call_another(&self, desk: &mut Desk) -> Result<(), String> {
        let is_busy = |at_work: &AtWork| at_work.since.elapsed() >= BRIEFLY;
        // A thread that is idle or just starting works on no name.
        let all_at_work = desk.at_work.len() == desk.threads && desk.at_work.iter().all(is_busy);
        if !all_at_work || desk.threads >= MAX_THREADS {
            return Ok(());
        }
        if LEFT_BEHIND.load(Ordering::Relaxed) >= MAX_LEFT_BEHIND {
            return Err(format!(
                "{MAX_LEFT_BEHIND} threads hang in match plugins; remove the hanging plugin and restart the host"
            ));
        }
        let inner = Arc::clone(self.inner());
        std::thread::Builder::new()
            .name("evbus matcher".to_owned())
            .spawn(move || {
                inner.work();
                inner.leave();
            })
            .map_err(|error| {
                format!(
                    "cannot start a thread for the match plugin: {error}; raise the process limit (ulimit -u, TasksMax=)"
                )
            })?;
        desk.threads += 1;
        Ok(())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else {
            return;
        };
        {
            let mut desk = inner.desk.lock();
            desk.is_closed = true;
            LEFT_BEHIND.fetch_add(desk.at_work.len(), Ordering::Relaxed);
        }
        inner.changed.notify_all();
        // Dropping the set runs the plugin's code. If no thread can be started, it runs here.
        let dropping = std::thread::Builder::new().name("evbus matcher".to_owned());
        let _ = dropping.spawn(move || inner.leave());
    }
}

impl Inner {
    /// Asks about one name after the other until nobody uses the router any more.
    fn work(&self) {
        let mut found = MatchesV1::default();
        let mut desk = self.desk.lock();
        loop {
            if desk.is_closed {
                break;
            }
            let Some((name, group)) = desk.waiting.pop_front() else {
                self.changed.wait(&mut desk);
                continue;
            };
            if group.is_given_up() {
                continue;
            }
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
            let route = evbus_plugin::guarded("it matched a profile", &self.plugin, || {
                let decided = self.set.matches(&name, &mut found);
                answers::read(&found, decided, self.patterns)
            });
            self.answers.keep(&name, route.clone());
            desk = self.desk.lock();
            if desk.is_closed {
                LEFT_BEHIND.fetch_sub(1, Ordering::Relaxed);
            }
            let at = desk.at_work.iter().position(|at_work| at_work.name == name);
            if let Some(at) = at {
                for group in desk.at_work.swap_remove(at).groups {
                    group.settle_one(Some(route.clone()));
                }
            }
        }
        desk.threads -= 1;
    }

    /// Releases the set, and drops it if nobody else uses it.
    fn leave(self: Arc<Self>) {
        let plugin = self.plugin.clone();
        evbus_plugin::guarded("it dropped its patterns", &plugin, move || drop(self));
    }
}
