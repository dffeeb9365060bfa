//! A thread that calls into plugins, so that a hanging call is left behind: its caller gets an error at
//! the deadline, and later callers learn at once what hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::patience::{LIMIT, Over, Patience};

/// How often to check for an answer if the thread may hold a lock of the dynamic linker, at first and later.
const POLL_SOON: Duration = Duration::from_micros(100);
const POLL: Duration = Duration::from_millis(2);

/// How many of these checks are early ones.
const SOON: u32 = 50;

/// A call in progress.
#[derive(Debug, Clone)]
pub(crate) struct AtWork {
    pub who: String,
    pub doing: &'static str,
    pub since: Instant,
}

struct Job {
    at_work: AtWork,
    /// Whether nobody waits for it.
    is_abandoned: Arc<AtomicBool>,
    work: Box<dyn FnOnce() + Send>,
}

/// How to wait for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Sleeping until it arrives.
    Sleeping,
    /// Without a thread-local variable: see `linker::is_opening`.
    Polling,
}

/// Why a call got no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The wait is over.
    Over(Over),
    /// Another call hangs on that thread.
    Behind(AtWork),
    /// The work panicked, or the thread has ended.
    Failed(String),
}

/// A thread for calls into plugins, one at a time. It ends when this is dropped, unless a call hangs.
#[derive(Debug)]
pub(crate) struct Caller {
    jobs: mpsc::Sender<Job>,
    thread: ThreadId,
    at_work: Arc<Mutex<Option<AtWork>>>,
}

impl Caller {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// One sentence: the system cannot start a thread.
    pub(crate) fn start(name: &str) -> Result<Self, String> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let at_work = Arc::new(Mutex::new(None));
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn({
                let at_work = Arc::clone(&at_work);
                move || {
                    while let Ok(job) = queue.recv() {
                        if job.is_abandoned.load(Ordering::Relaxed) {
                            continue;
                        }
                        *at_work.lock() = Some(AtWork {
                            since: Instant::now(),
                            ..job.at_work
                        });
                        // A panic drops the sender of the answer, which informs the waiting caller.
                        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job.work));
                        *at_work.lock() = None;
                    }
                }
            })
            .map_err(|error| format!("cannot start a thread for plugins: {error}"))?;
        Ok(Self {
            jobs,
            thread: thread.thread().id(),
            at_work,
        })
    }

    /// Whether the current thread is this one.
    pub(crate) fn is_here(&self) -> bool {
        self.thread == std::thread::current().id()
    }

    /// The call that has run longer than the limit.
    pub(crate) fn hanging(&self) -> Option<AtWork> {
        (self.at_work.lock().clone()).filter(|at_work| at_work.since.elapsed() >= LIMIT)
    }

    /// Whether it is in a plugin's code now.
    pub(crate) fn is_at_work(&self) -> bool {
        // Called while the process ends, from any thread.
        (self.at_work.try_lock()).is_none_or(|at_work| at_work.is_some())
    }

    /// Runs `work` on the thread; `doing` and `who` say what is done with which plugin, as in "while it was loaded".
    /// Blocks until it is done, or as long as `patience` lasts.
    ///
    /// # Errors
    ///
    /// The wait is over, another call hangs there, or the work panicked.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        who: &str,
        doing: &'static str,
        (patience, wait): (&Patience, Wait),
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        if self.is_here() {
            return Ok(work());
        }
        if let Some(other) = self.hanging() {
            return Err(NoAnswer::Behind(other));
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
        (self.jobs.send(job))
            .map_err(|_| NoAnswer::Failed("the thread for plugins has ended".to_owned()))?;
        let mut waiting = patience.wait(who, doing);
        let mut polls = 0;
        loop {
            let glance = match waiting.glance() {
                Ok(glance) => glance,
                Err(over) => {
                    is_abandoned.store(true, Ordering::Relaxed);
                    let other = self.hanging().filter(|other| other.who != who);
                    return Err(other.map_or(NoAnswer::Over(over), NoAnswer::Behind));
                }
            };
            let failed = || NoAnswer::Failed(format!("it failed unexpectedly {doing}"));
            match wait {
                Wait::Sleeping => match answer.recv_timeout(glance) {
                    Ok(done) => return Ok(done),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Err(failed()),
                },
                Wait::Polling => match answer.try_recv() {
                    Ok(done) => return Ok(done),
                    Err(TryRecvError::Empty) => {
                        polls += 1;
                        std::thread::sleep(if polls < SOON { POLL_SOON } else { POLL });
                    }
                    Err(TryRecvError::Disconnected) => return Err(failed()),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_is_told_at_once_to_whoever_comes_later() {
        let caller = Arc::new(Caller::start("evbus test").expect("a thread"));
        let (release, hold) = mpsc::channel::<()>();
        let patience = Patience::default();
        let waiting = std::thread::spawn({
            let (caller, patience) = (Arc::clone(&caller), patience.clone());
            move || {
                caller.run(
                    "a",
                    "while it hung",
                    (&patience, Wait::Sleeping),
                    move || hold.recv(),
                )
            }
        });
        while caller.at_work.lock().is_none() {
            std::thread::yield_now();
        }
        // A host that is shutting down does not wait.
        patience.end();
        let over = waiting.join().expect("no panic");
        assert!(
            matches!(over, Err(NoAnswer::Over(Over::Ending))),
            "{over:?}"
        );
        assert!(caller.hanging().is_none(), "it has not hung for long");
        if let Some(at_work) = caller.at_work.lock().as_mut() {
            at_work.since -= LIMIT;
        }
        let patience = Patience::default();
        let behind = caller.run("b", "while it asked", (&patience, Wait::Sleeping), || ());
        assert!(
            matches!(&behind, Err(NoAnswer::Behind(other)) if other.who == "a"),
            "{behind:?}"
        );
        release.send(()).expect("it waits");
        while caller.is_at_work() {
            std::thread::yield_now();
        }
        let again = caller.run("c", "while it asked", (&patience, Wait::Sleeping), || 7);
        assert!(matches!(again, Ok(7)), "it works again: {again:?}");
    }
}
