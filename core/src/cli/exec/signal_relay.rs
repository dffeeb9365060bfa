//! Signals that are passed on to the command.

use std::io::{self, IsTerminal as _};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// The signals that are passed on. A terminal sends the first two to the command itself.
const PASSED_ON: [Signal; 6] = [
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
];

/// How long after the command's end a signal counts as the one that ended it: a terminal and a service manager
/// send it to both processes, and it must not prevent the event.
const AFTERMATH: Duration = Duration::from_millis(500);

/// The current receiver of signals.
#[derive(Debug, Clone)]
enum Whose {
    /// The command, which is being started.
    Awaited,
    /// The command. A descriptor cannot name another process once the command has ended.
    Command(Arc<OwnedFd>),
    /// This program; the command ended at this moment.
    Ours(Instant),
}

/// Keeps signals from their default action and passes them on to a command.
#[derive(Debug)]
pub(super) struct SignalRelay {
    tasks: Vec<JoinHandle<()>>,
    whose: watch::Sender<Whose>,
    interrupted: Arc<Notify>,
}

impl SignalRelay {
    /// Starts to hold signals back. An ignored signal stays ignored, for the command too, as `nohup` requires.
    pub(super) fn hold() -> io::Result<Self> {
        let ignored = ignored();
        let (whose, _) = watch::channel(Whose::Awaited);
        let interrupted = Arc::new(Notify::new());
        let mut tasks = Vec::new();
        for kind in PASSED_ON {
            if ignored & (1 << (kind.as_raw() - 1)) != 0 {
                continue;
            }
            let arrivals = signal(SignalKind::from_raw(kind.as_raw()))?;
            let passing = pass_on(kind, arrivals, whose.subscribe(), Arc::clone(&interrupted));
            tasks.push(tokio::spawn(passing));
        }
        Ok(Self {
            tasks,
            whose,
            interrupted,
        })
    }

    /// Passes signals on to this child from now on; it must not have been waited for.
    pub(super) fn pass_on_to(&self, child: &Child) -> io::Result<()> {
        let command = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        self.whose.send_replace(Whose::Command(Arc::new(command)));
        Ok(())
    }

    /// Notes that the command has ended: from now on signals are for this program.
    pub(super) fn take_back(&self) {
        self.whose.send_replace(Whose::Ours(Instant::now()));
    }

    /// Resolves when a signal has arrived that would end this program.
    pub(super) async fn interrupted(&self) {
        self.interrupted.notified().await;
    }
}

async fn pass_on(
    kind: Signal,
    mut arrivals: tokio::signal::unix::Signal,
    mut whose: watch::Receiver<Whose>,
    interrupted: Arc<Notify>,
) {
    while arrivals.recv().await.is_some() {
        let now = whose.wait_for(|whose| !matches!(whose, Whose::Awaited));
        let Ok(now) = now.await.map(|whose| whose.clone()) else {
            return;
        };
        match now {
            Whose::Command(command) if !comes_from_terminal(kind) => {
                // The command may have just ended.
                let _ = pidfd_send_signal(&command, kind);
            }
            Whose::Ours(since) if since.elapsed() > AFTERMATH => interrupted.notify_one(),
            Whose::Awaited | Whose::Command(_) | Whose::Ours(_) => {}
        }
    }
}

impl Drop for SignalRelay {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Whether the command has already received this signal: a terminal sends the signals of its keys to all
/// processes in the foreground.
fn comes_from_terminal(kind: Signal) -> bool {
    if kind != Signal::INT && kind != Signal::QUIT {
        return false;
    }
    let stdin = io::stdin();
    stdin.is_terminal()
        && rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// The signals that this process ignores, as the kernel's mask; 0 if it cannot be read.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
