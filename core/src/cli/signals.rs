//! Signals of `evbus run`, received by a separate thread, so that a host with hung threads obeys them too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evbus::plugin::ExitGuard;
use parking_lot::{Condvar, Mutex};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::sync::watch;

use super::exit::Exit;
use super::logging;

/// How long a host may take to obey a signal that takes effect at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long a host may take to end after the time for delivering, before it is forced to. Writing the events
/// left in memory to a slow disk does not count as a hang.
const ENDS_WITHIN: Duration = Duration::from_mins(1);

/// The error of a host that a second signal ends.
pub(super) const SECOND_SIGNAL: &str =
    "ended at once by a second signal; events queued only in memory were not delivered";

/// What a signal asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    End,
    Reload,
}

/// How often each was asked for so far.
#[derive(Debug, Default, Clone, Copy)]
struct Heard {
    ends: u32,
    reloads: u32,
}

/// The receiving end, for the host.
#[derive(Debug)]
pub(super) struct Signals {
    heard: watch::Receiver<Heard>,
    ends: u32,
    reloads: u32,
    ending: Arc<Ending>,
}

impl Signals {
    /// Starts the threads. From here on no signal has its default action.
    pub(super) fn receive() -> Result<Self, Exit> {
        let failed = |error| Exit::failed(format!("cannot receive signals: {error}"));
        let mut signals =
            signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
        let (sender, heard) = watch::channel(Heard::default());
        let ending = Arc::new(Ending::default());
        let theirs = Arc::clone(&ending);
        spawn("evbus signals", move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    sender.send_modify(|heard| heard.reloads += 1);
                } else {
                    theirs.hear();
                    sender.send_modify(|heard| heard.ends += 1);
                }
            }
        })
        .map_err(failed)?;
        let theirs = Arc::clone(&ending);
        // Started first: a thread that is started while something hangs may hang too.
        spawn("evbus end", move || theirs.run()).map_err(failed)?;
        Ok(Self {
            heard,
            ends: 0,
            reloads: 0,
            ending,
        })
    }

    /// Notes that the host has started; at its end it may take `drain` to deliver queued events.
    pub(super) fn started(&self, drain: Duration) {
        self.ending.change(|state| state.drains = Some(drain));
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Asked {
        let (ends, reloads) = (self.ends, self.reloads);
        let heard = self
            .heard
            .wait_for(|heard| heard.ends > ends || heard.reloads > reloads);
        let Ok(heard) = heard.await.map(|heard| *heard) else {
            // The thread never ends; if it did, no signal would arrive.
            return std::future::pending().await;
        };
        if heard.ends > ends {
            self.ends += 1;
            return Asked::End;
        }
        // Several signals at once cause one reload.
        self.reloads = heard.reloads;
        Asked::Reload
    }

    /// Resolves when the process is to end. A reload requested meanwhile is kept for `next`.
    pub(super) async fn end(&mut self) {
        let ends = self.ends;
        if self
            .heard
            .wait_for(|heard| heard.ends > ends)
            .await
            .is_err()
        {
            // As above.
            std::future::pending::<()>().await;
        }
        self.ends += 1;
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(work).map(drop)
}

/// Ends the process if the host does not end in time.
#[derive(Debug, Default)]
struct Ending {
    state: Mutex<EndingState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct EndingState {
    /// When the host was told to end, each time.
    told: Vec<Instant>,
    /// How long it may take to deliver queued events, once it has started.
    drains: Option<Duration>,
}

impl EndingState {
    /// When to force the end, and the error to report.
    fn limit(&self) -> Option<(Instant, &'static str)> {
        match (&self.told[..], self.drains) {
            ([], _) => None,
            ([first], None) => Some((
                *first + AT_ONCE,
                "forced to end: the host hung while starting",
            )),
            ([first], Some(drain)) => Some((
                first.checked_add(drain.saturating_add(ENDS_WITHIN))?,
                "forced to end: the shutdown took too long; events queued only in memory were not delivered",
            )),
            ([_, second, ..], _) => Some((*second + AT_ONCE, SECOND_SIGNAL)),
        }
    }
}

impl Ending {
    fn change(&self, change: impl FnOnce(&mut EndingState)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    fn hear(&self) {
        self.change(|state| {
            if state.told.len() < 2 {
                state.told.push(Instant::now());
            }
        });
    }

    /// Waits for the limit, which a second signal or the end of the start changes.
    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            match state.limit() {
                None => self.changed.wait(&mut state),
                Some((limit, why)) if Instant::now() >= limit => {
                    evbus::acct::end_commands();
                    logging::flush(Some(AT_ONCE));
                    // A hanging writer may hold the thread that writes the log.
                    ExitGuard::say(&format!("error: {why}"));
                    ExitGuard::end_at_once(1);
                }
                Some((limit, _)) => {
                    self.changed.wait_until(&mut state, limit);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals() -> (Signals, watch::Sender<Heard>) {
        let (sender, heard) = watch::channel(Heard::default());
        let signals = Signals {
            heard,
            ends: 0,
            reloads: 0,
            ending: Arc::default(),
        };
        (signals, sender)
    }

    #[tokio::test]
    async fn a_reload_that_is_asked_for_during_another_is_not_forgotten() {
        let (mut signals, sender) = signals();
        sender.send_modify(|heard| heard.reloads = 2);
        assert_eq!(signals.next().await, Asked::Reload);
        sender.send_modify(|heard| heard.reloads = 3);
        tokio::select! {
            biased;
            () = signals.end() => panic!("nobody asked for the end"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(signals.next().await, Asked::Reload);
        sender.send_modify(|heard| heard.ends = 2);
        assert_eq!(signals.next().await, Asked::End);
        signals.end().await;
    }

    #[test]
    fn a_host_has_a_second_while_it_starts_and_the_time_to_drain_afterwards() {
        let mut state = EndingState::default();
        assert!(state.limit().is_none());
        let told = Instant::now();
        state.told.push(told);
        let at = |state: &EndingState| state.limit().expect("it was told").0 - told;
        assert_eq!(at(&state), AT_ONCE);
        state.drains = Some(Duration::from_secs(10));
        assert_eq!(at(&state), Duration::from_secs(70));
        state.told.push(told + Duration::from_secs(5));
        assert_eq!(at(&state), Duration::from_secs(6));
        state.told.truncate(1);
        state.drains = Some(Duration::MAX);
        assert!(state.limit().is_none(), "it may take for ever");
    }
}
