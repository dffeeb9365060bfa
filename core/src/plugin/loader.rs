//! The thread that loads plugins and makes the first calls into them.
//!
//! It lives as long as the process: some allocators take the thread that loads them for the main thread
//! of the process, and their plugin crashes once that has ended. There is one, so that any number of
//! files takes one thread. A call that hangs on it is left behind: whoever waits is told at its deadline,
//! and whoever comes later is told at once what hangs. A constructor that hangs, though it did not when
//! the file was tried, ends the process: it holds a lock that every thread needs sooner or later.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, TryRecvError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{exit_guard, linker};

/// How long a plugin may take for being loaded, and for each call that only asks who it is.
const LIMIT: Duration = Duration::from_secs(10);

/// After this time it is said whom the host waits for.
const SAID_AFTER: Duration = Duration::from_secs(5);

/// How often whoever waits looks up.
const GLANCE: Duration = Duration::from_millis(50);

/// How often it is looked for an answer of the loader's thread.
const POLL: Duration = Duration::from_millis(2);

/// How long plugins are waited for: [`LIMIT`] each, and no longer at all once the host ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience(Arc<AtomicBool>);

impl Patience {
    /// Waits for nobody any more.
    pub(crate) fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Begins to wait for `who`.
    pub(crate) fn wait<'a>(&'a self, who: &'a str, doing: &'static str) -> Waiting<'a> {
        Waiting {
            patience: self,
            who,
            doing,
            since: Instant::now(),
            is_said: false,
        }
    }
}

/// A wait for one plugin.
pub(crate) struct Waiting<'a> {
    patience: &'a Patience,
    who: &'a str,
    doing: &'static str,
    since: Instant,
    is_said: bool,
}

impl Waiting<'_> {
    /// To be called every now and then.
    ///
    /// # Errors
    ///
    /// The wait is over, in words that go behind "it ": there was no answer within the limit, or the
    /// host ends.
    pub(crate) fn glance(&mut self) -> Result<Duration, Over> {
        if self.patience.0.load(Ordering::Relaxed) {
            return Err(Over::Ending);
        }
        let waited = self.since.elapsed();
        if waited >= LIMIT {
            return Err(Over::Late);
        }
        if waited >= SAID_AFTER && !self.is_said {
            self.is_said = true;
            let (who, doing, seconds) = (self.who, self.doing, SAID_AFTER.as_secs());
            let line = format!("plugin {who} has not answered for {seconds} s ({doing})");
            if linker::is_opening() {
                exit_guard::say(&format!("warning: {line}\n"));
            } else {
                tracing::warn!("{line}");
            }
        }
        Ok(GLANCE)
    }
}

/// Why nobody waits any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Late,
    Ending,
}

impl Over {
    /// One sentence, where `late` says what did not happen "within 10 s".
    pub(crate) fn sentence(self, late: &str) -> String {
        match self {
            Self::Late => format!("{late} within {} s", LIMIT.as_secs()),
            Self::Ending => "the host ends before it was loaded".to_owned(),
        }
    }
}

/// What the thread is at.
#[derive(Debug, Clone)]
struct AtWork {
    who: String,
    doing: &'static str,
    since: Instant,
}

struct Job {
    at_work: AtWork,
    /// Nobody waits for it.
    is_abandoned: Arc<AtomicBool>,
    work: Box<dyn FnOnce() + Send>,
}

struct Loader {
    jobs: mpsc::Sender<Job>,
    thread: ThreadId,
}

static LOADER: OnceLock<Result<Loader, String>> = OnceLock::new();

static AT_WORK: Mutex<Option<AtWork>> = Mutex::new(None);

/// What runs there longer than anybody waits.
fn hanging() -> Option<AtWork> {
    (AT_WORK.lock().clone()).filter(|at_work| at_work.since.elapsed() >= LIMIT)
}

/// Whether the thread is inside of a plugin now, and may hold a lock of the dynamic linker.
pub(super) fn is_at_work() -> bool {
    // Called while the process ends, by whichever thread.
    AT_WORK.try_lock().is_none_or(|at_work| at_work.is_some())
}

/// Runs `work` on the loader's thread: `doing` what with plugin `who`, as in "while it was loaded".
/// Blocks until it is done, or as long as `patience` lasts; `late` says what did not happen then.
///
/// # Errors
///
/// One sentence: nobody waits any longer, another plugin hangs there, or the work panicked.
pub(super) fn run<T: Send + 'static>(
    who: &str,
    (doing, late): (&'static str, &'static str),
    patience: &Patience,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let loader = LOADER
        .get_or_init(start)
        .as_ref()
        .map_err(ToOwned::to_owned)?;
    if loader.thread == std::thread::current().id() {
        return Ok(work());
    }
    let (sender, answer) = mpsc::sync_channel(1);
    let is_abandoned = Arc::new(AtomicBool::new(false));
    let job = Job {
        at_work: AtWork {
            who: who.to_owned(),
            doing,
            since: Instant::now(),
        },
        is_abandoned: Arc::clone(&is_abandoned),
        work: Box::new(move || drop(sender.send(work()))),
    };
    let gone = || "the thread that loads plugins has ended".to_owned();
    if let Some(other) = hanging() {
        return Err(behind(&other));
    }
    loader.jobs.send(job).map_err(|_| gone())?;
    let mut waiting = patience.wait(who, doing);
    loop {
        let over = match waiting.glance() {
            Ok(_) => match answer.try_recv() {
                Ok(done) => return Ok(done),
                Err(TryRecvError::Empty) => {
                    // Waiting for the answer itself needs a thread-local: see `linker::is_opening`.
                    std::thread::sleep(POLL);
                    continue;
                }
                Err(TryRecvError::Disconnected) => {
                    return Err(format!("it failed unexpectedly {doing}"));
                }
            },
            Err(Over::Late) if linker::is_opening() => {
                let hanging = hanging().map_or_else(|| who.to_owned(), |at_work| at_work.who);
                exit_guard::end_hanging(&hanging, LIMIT.as_secs());
            }
            Err(over) => over,
        };
        is_abandoned.store(true, Ordering::Relaxed);
        return Err(match hanging() {
            Some(other) if other.who != who => behind(&other),
            _ => over.sentence(late),
        });
    }
}

fn behind(other: &AtWork) -> String {
    format!(
        "it cannot be loaded, since plugin {} has hung for {} s {}; remove that file and restart the \
         host",
        other.who,
        other.since.elapsed().as_secs(),
        other.doing
    )
}

fn start() -> Result<Loader, String> {
    let (jobs, queue) = mpsc::channel::<Job>();
    let thread = std::thread::Builder::new()
        .name("evbus loader".to_owned())
        .spawn(move || {
            // The sender is a static: this never ends.
            while let Ok(job) = queue.recv() {
                if job.is_abandoned.load(Ordering::Relaxed) {
                    continue;
                }
                *AT_WORK.lock() = Some(AtWork {
                    since: Instant::now(),
                    ..job.at_work
                });
                // Whoever waits learns it from the answer that is dropped.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job.work));
                *AT_WORK.lock() = None;
            }
        })
        .map_err(|error| format!("no thread to load plugins can be started: {error}"))?;
    Ok(Loader {
        jobs,
        thread: thread.thread().id(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOING: (&str, &str) = ("while it was tried", "it did not end");

    #[test]
    fn whatever_is_loaded_is_loaded_on_one_thread_that_stays() {
        let name = || std::thread::current().name().map(str::to_owned);
        let patience = Patience::default();
        let first = run("a", DOING, &patience, move || {
            (std::thread::current().id(), name())
        });
        let (id, name) = first.expect("it ends");
        assert_eq!(name.as_deref(), Some("evbus loader"));
        // Another waiting thread, the same loader; and it may ask itself.
        let again = std::thread::spawn(move || {
            let patience = Patience::default();
            run("b", DOING, &patience.clone(), move || {
                let inner = run("c", DOING, &patience, || std::thread::current().id());
                (std::thread::current().id(), inner)
            })
        });
        let again = again.join().expect("no panic").expect("it ends");
        assert_eq!(again, (id, Ok(id)));
        let panicked = run("d", DOING, &Patience::default(), || panic!("for the test"));
        let panicked: Result<(), String> = panicked;
        assert_eq!(
            panicked,
            Err("it failed unexpectedly while it was tried".to_owned())
        );
        assert!(!is_at_work());
    }
}
