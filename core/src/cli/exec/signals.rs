//! Signals for the command.

use std::io::{self, IsTerminal as _};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// What is passed on. A terminal sends the first two to the command itself.
const PASSED_ON: [Signal; 6] = [
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
];

/// How long after the command's end a signal is taken for the one that ended it: a terminal and a
/// service manager send it to both, and the event that tells of it must not be lost by it.
const AFTERMATH: Duration = Duration::from_millis(500);

/// What signals are for at the moment.
#[derive(Debug, Clone)]
enum Whose {
    /// The command's, which is about to be there.
    Awaited,
    /// The command's. A descriptor cannot name another process once it has ended.
    Command(Arc<OwnedFd>),
    /// This program's own: the command ended at this moment.
    Ours(Instant),
}

/// Holds signals back from their default action, from its making on, and passes them on to a command.
#[derive(Debug)]
pub(super) struct Signals {
    tasks: Vec<JoinHandle<()>>,
    whose: watch::Sender<Whose>,
    interrupted: Arc<Notify>,
}

impl Signals {
    /// Begins to hold them back. A signal that is ignored stays ignored, for the command too: that
    /// is what `nohup` asks for.
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

    /// Passes them on to this child from now on; it has not been waited for yet.
    pub(super) fn pass_on_to(&self, child: &Child) -> io::Result<()> {
        let command = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        self.whose.send_replace(Whose::Command(Arc::new(command)));
        Ok(())
    }

    /// The command has ended: they are this program's own from now on.
    pub(super) fn take_back(&self) {
        self.whose.send_replace(Whose::Ours(Instant::now()));
    }

    /// Resolves when one has come that would end this program.
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
                // It may have ended in this moment.
                let _ = pidfd_send_signal(&command, kind);
            }
            Whose::Ours(since) if since.elapsed() > AFTERMATH => interrupted.notify_one(),
            Whose::Awaited | Whose::Command(_) | Whose::Ours(_) => {}
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Whether the command got this signal already: the terminal sends what its keys stand for to all
/// processes in the foreground.
fn comes_from_terminal(kind: Signal) -> bool {
    if kind != Signal::INT && kind != Signal::QUIT {
        return false;
    }
    let stdin = io::stdin();
    stdin.is_terminal()
        && rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// The signals that this process ignores, as the kernel's mask; nothing where it cannot be read.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
