//! Signals of `evbus run`, received by a thread of its own: a host whose other threads hang obeys them, too.

use std::sync::Arc;
use std::time::Duration;

use evbus::plugin::ExitGuard;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::sync::watch;

use super::exit::{Exit, error};
use super::logging;

/// How long a host may take to notice a signal that it is to obey at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long a host may take to end beyond the time for delivering, until it is ended whatever hangs.
/// Writing to a slow disk what is left in memory is no hanging.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What a signal asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    End,
    Reload,
}

/// What has been asked for so far.
#[derive(Debug, Default, Clone, Copy)]
struct Heard {
    ends: u32,
    reloads: u32,
    /// How long the host may take to end, once it has started.
    drains: Option<Duration>,
}

/// The receiving end, for the host.
#[derive(Debug)]
pub(super) struct Signals {
    heard: watch::Receiver<Heard>,
    sender: Arc<watch::Sender<Heard>>,
    ends: u32,
    reloads: u32,
}

impl Signals {
    /// Starts the thread. From here on no signal has its default action.
    pub(super) fn receive() -> Result<Self, Exit> {
        let failed = |error| Exit::failed(format!("signals cannot be received: {error}"));
        let mut signals =
            signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
        let (sender, heard) = watch::channel(Heard::default());
        let sender = Arc::new(sender);
        let theirs = Arc::clone(&sender);
        std::thread::Builder::new()
            .name("evbus signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    hear(&theirs, signal);
                }
            })
            .map_err(failed)?;
        Ok(Self {
            heard,
            sender,
            ends: 0,
            reloads: 0,
        })
    }

    /// The host has started; it may take `drain` to deliver what it has when it is to end.
    pub(super) fn started(&self, drain: Duration) {
        (self.sender).send_modify(|heard| heard.drains = Some(drain));
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Asked {
        let (ends, reloads) = (self.ends, self.reloads);
        // The sender is in `self`.
        let heard = self
            .heard
            .wait_for(|heard| heard.ends > ends || heard.reloads > reloads);
        let heard = heard.await.map(|heard| *heard).unwrap_or_default();
        if heard.ends > ends {
            self.ends += 1;
            return Asked::End;
        }
        // Several at once ask for one reload.
        self.reloads = heard.reloads;
        Asked::Reload
    }

    /// Resolves when the process is to end.
    pub(super) async fn end(&mut self) {
        while self.next().await != Asked::End {}
    }
}

fn hear(sender: &watch::Sender<Heard>, signal: i32) {
    if signal == SIGHUP {
        sender.send_modify(|heard| heard.reloads += 1);
        return;
    }
    let before = *sender.borrow();
    sender.send_modify(|heard| heard.ends += 1);
    let (limit, why) = match (before.ends, before.drains) {
        (0, None) => (AT_ONCE, "while it was starting, since something hung"),
        (0, Some(drain)) => (
            drain.saturating_add(ENDS_WITHIN),
            "though not everything had ended; what was queued in memory alone is not delivered",
        ),
        (1, _) => (
            AT_ONCE,
            "by a second signal; what was queued in memory alone is not delivered",
        ),
        _ => return,
    };
    let ending = std::thread::Builder::new()
        .name("evbus end".to_owned())
        .spawn(move || {
            std::thread::sleep(limit);
            // The process has not ended, or this thread would be gone.
            error(&format!("ended at once {why}"));
            evbus::acct::end_commands();
            logging::flush(Some(AT_ONCE));
            ExitGuard::end_at_once(1);
        });
    if ending.is_err() && before.ends == 1 {
        ExitGuard::end_at_once(1);
    }
}
