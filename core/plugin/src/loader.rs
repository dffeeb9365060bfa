//! The thread that loads plugins.
//!
//! It lives as long as the process: some allocators assume that the thread that loads them is the main
//! thread, and their plugin crashes once that thread has ended. A single thread loads all files. A
//! constructor that hangs, although it did not during the probe, ends the process, because it holds a
//! lock that every thread needs sooner or later.

use std::sync::OnceLock;
use std::time::Instant;

use super::caller::{AtWork, Caller, NoAnswer, Wait};
use super::patience::{GLANCE, LIMIT, Over, Patience};
use super::{exit_guard, linker};

static LOADER: OnceLock<Result<Caller, String>> = OnceLock::new();

/// Whether the thread is in a plugin's code now, and may hold a lock of the dynamic linker.
pub(crate) fn is_at_work() -> bool {
    matches!(LOADER.get(), Some(Ok(loader)) if loader.is_at_work())
}

/// Runs `work` on the loader's thread; `doing` and `who` say what is done with which plugin, as in "while it was
/// loaded". Blocks until it is done, or as long as `patience` lasts; `late` says what did not happen then.
///
/// # Errors
///
/// One sentence: nobody waits any longer, another plugin hangs there, or the work panicked.
pub(crate) fn run<T: Send + 'static>(
    who: &str,
    (doing, late): (&'static str, &'static str),
    patience: &Patience,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let loader = LOADER
        .get_or_init(|| Caller::start("evbus loader"))
        .as_ref()
        .map_err(ToOwned::to_owned)?;
    let began = Instant::now();
    let no_answer = match loader.run(who, doing, (patience, Wait::Polling), work) {
        Ok(done) => return Ok(done),
        Err(no_answer) => no_answer,
    };
    if matches!(no_answer, NoAnswer::Over(Over::Ending)) {
        // A host that is shutting down does not wait for plugins, but it needs the dynamic linker's lock too.
        while linker::is_opening() && began.elapsed() < LIMIT {
            std::thread::sleep(GLANCE);
        }
    }
    if !matches!(no_answer, NoAnswer::Failed(_)) && linker::is_opening() {
        let hanging = (loader.hanging()).map_or_else(|| who.to_owned(), |at_work| at_work.who);
        exit_guard::end_hanging(&hanging, LIMIT.as_secs());
    }
    Err(match no_answer {
        NoAnswer::Over(over) => over.sentence(late),
        NoAnswer::Behind(other) => behind(&other),
        NoAnswer::Failed(reason) => reason,
    })
}

fn behind(other: &AtWork) -> String {
    format!(
        "it cannot be loaded, because plugin {} has hung for {} s {}; remove that file and restart \
         the host",
        other.who,
        other.since.elapsed().as_secs(),
        other.doing
    )
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
        // Called from another thread, it runs on the same loader; a job may also start another job.
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
