//! The operator's editor.

use std::future::poll_fn;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use evbus_report::system_text;
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::signal::unix::{self, SignalKind, signal};

use super::super::exit::Exit;

/// How long an editor may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
/// A signal meant for the editor may arrive after the editor has ended. Nobody answers a question faster.
const LATE: Duration = Duration::from_millis(500);
/// Arguments that keep vim and its relatives from writing to other files: no swap file, no history, no copies.
const VIM_ARGS: [&str; 5] = [
    "-n",
    "-i",
    "NONE",
    "-c",
    "set noundofile nobackup nowritebackup",
];

/// How an editor ended.
pub(super) enum Ended {
    Itself(ExitStatus),
    /// A signal ended this process.
    BySignal,
}

/// The signals that reach this process while an editor runs. While this exists, none ends the process before
/// it has cleaned up.
pub(super) struct EditorSignals {
    end: Vec<unix::Signal>,
    /// The terminal sends these to the editor as well, which handles them.
    from_keyboard: Vec<unix::Signal>,
}

impl EditorSignals {
    pub(super) fn new() -> Result<Self, Exit> {
        let all = |kinds: &[SignalKind]| {
            kinds
                .iter()
                .map(|kind| signal(*kind))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| Exit::failed(format!("cannot receive signals: {error}")))
        };
        Ok(Self {
            end: all(&[
                SignalKind::terminate(),
                SignalKind::hangup(),
                SignalKind::user_defined1(),
                SignalKind::user_defined2(),
                SignalKind::alarm(),
            ])?,
            from_keyboard: all(&[SignalKind::interrupt(), SignalKind::quit()])?,
        })
    }

    /// Resolves when the process is to end.
    pub(super) async fn end(&mut self) {
        poll_fn(|context| arrived(&mut self.end, context)).await;
    }

    /// As [`end`](Self::end), after the editor has ended: signals from the keyboard then end this process too,
    /// except those that arrive at once, which were meant for the editor.
    pub(super) async fn end_or_keyboard(&mut self) {
        let begin = Instant::now();
        poll_fn(|context| {
            if arrived(&mut self.end, context).is_ready() {
                return Poll::Ready(());
            }
            while arrived(&mut self.from_keyboard, context).is_ready() {
                if begin.elapsed() > LATE {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
    }
}

/// Ready when one of the signals has arrived.
fn arrived(signals: &mut [unix::Signal], context: &mut Context<'_>) -> Poll<()> {
    let any = signals
        .iter_mut()
        .any(|signal| signal.poll_recv(context).is_ready());
    if any { Poll::Ready(()) } else { Poll::Pending }
}

/// The terminal's settings before the editor changes them.
struct Terminal(Option<Termios>);

impl Terminal {
    fn now() -> Self {
        Self(tcgetattr(stdin()).ok())
    }

    /// Restores the settings, for an editor that could not. In the background this does nothing, because the
    /// system would stop this process.
    fn restore(&self) {
        let is_ours = tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp());
        if let Some(before) = self.0.as_ref().filter(|_| is_ours) {
            // A terminal that is gone needs no restoring.
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// Opens a file in an editor and waits for the editor to end. `editor` may have arguments, split as by a shell;
/// `temporary` is the directory for the editor's own files.
pub(super) async fn run(
    editor: &str,
    file: &Path,
    temporary: &Path,
    signals: &mut EditorSignals,
) -> Result<Ended, Exit> {
    let unusable = |why: &str| {
        Exit::usage(format!(
            "cannot start the editor {editor:?}: {why}; change --editor or EDITOR"
        ))
    };
    let words = shlex::split(editor).filter(|words| !words.is_empty());
    let Some(words) = words else {
        return Err(unusable("expected a program and its arguments"));
    };
    let mut command = Command::new(&words[0]);
    if is_vim(&words[0]) {
        command.args(VIM_ARGS);
    }
    let terminal = Terminal::now();
    let mut child = command
        .args(&words[1..])
        .arg(file)
        .env("TMPDIR", temporary)
        .env_remove("ACCT_KEY")
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => unusable("no such program"),
            _ => unusable(&system_text(&error)),
        })?;
    let pid = Pid::from_child(&child);
    let mut waiting = tokio::task::spawn_blocking(move || child.wait());
    let ended = tokio::select! {
        ended = &mut waiting => ended,
        () = signals.end() => {
            // The child was not waited for, so its process id is still its own.
            let _ = kill_process(pid, Signal::TERM);
            if tokio::time::timeout(GRACE, &mut waiting).await.is_err() {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waiting.await;
            }
            terminal.restore();
            return Ok(Ended::BySignal);
        }
    };
    match ended {
        Ok(Ok(status)) => {
            if status.signal().is_some() {
                terminal.restore();
            }
            Ok(Ended::Itself(status))
        }
        Ok(Err(error)) => Err(Exit::failed(format!("cannot wait for the editor: {error}"))),
        Err(error) => Err(Exit::failed(format!("cannot wait for the editor: {error}"))),
    }
}

/// Whether a program is vim under any name: on most systems `vi` is a link to it.
fn is_vim(program: &str) -> bool {
    let path = if program.contains('/') {
        Some(PathBuf::from(program))
    } else {
        std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path)
                .map(|dir| dir.join(program))
                .find(|path| path.is_file())
        })
    };
    let name = path
        .and_then(|path| path.canonicalize().ok())
        .and_then(|path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        });
    name.is_some_and(|name| {
        let stem = name.split('.').next().unwrap_or_default();
        ["vim", "nvim", "gvim"].contains(&stem)
    })
}
