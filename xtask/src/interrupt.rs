//! Waiting that ends: at a time limit, or when a signal asks to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::Failure;

const PAUSE: Duration = Duration::from_millis(20);

/// Notices SIGINT, SIGTERM and SIGHUP, which no longer end the process by themselves.
#[derive(Debug)]
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// Starts to catch signals.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&asked))
                .map_err(Failure::io("watch for signals"))?;
        }
        Ok(Self { asked })
    }

    /// Asks again and again until there is an answer; `None` when the limit passed without one.
    ///
    /// # Errors
    ///
    /// What `probe` fails with, and [`Failure::Interrupted`] when a signal came.
    pub(crate) fn poll<T>(
        &self,
        limit: Duration,
        mut probe: impl FnMut() -> Result<Option<T>, Failure>,
    ) -> Result<Option<T>, Failure> {
        let end = Instant::now() + limit;
        loop {
            if self.asked.load(Ordering::Relaxed) {
                return Err(Failure::Interrupted);
            }
            // Probed once more after the limit: a pause may have taken longer than planned.
            let late = Instant::now() >= end;
            if let Some(answer) = probe()? {
                return Ok(Some(answer));
            }
            if late {
                return Ok(None);
            }
            thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Interrupt {
        Interrupt {
            asked: Arc::default(),
        }
    }

    #[test]
    fn an_answer_ends_the_waiting() {
        let mut rounds = 0;
        let answer = quiet().poll(Duration::from_mins(1), || {
            rounds += 1;
            Ok((rounds == 3).then_some(rounds))
        });
        assert_eq!(answer.expect("no signal came"), Some(3));
    }

    #[test]
    fn the_limit_ends_the_waiting() {
        let answer = quiet().poll(Duration::ZERO, || Ok(None::<()>));
        assert_eq!(answer.expect("no signal came"), None);
    }

    #[test]
    fn a_signal_ends_the_waiting() {
        let interrupt = quiet();
        interrupt.asked.store(true, Ordering::Relaxed);
        let answer = interrupt.poll(Duration::from_mins(1), || Ok(None::<()>));
        assert!(matches!(answer, Err(Failure::Interrupted)));
    }
}
