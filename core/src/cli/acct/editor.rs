//! The operator's editor.

use std::future::poll_fn;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::signal::unix::{self, SignalKind, signal};

use super::super::exit::Exit;

/// How long an editor may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(2);
/// A signal that was for the editor may arrive when it has ended already. Nobody reads a question faster.
const LATE: Duration = Duration::from_millis(500);
/// What keeps vim and its kin from writing anywhere but to the file: no swap file, no list of what was done,
/// no copies.
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
    /// This process was told to end.
    BySignal,
}

/// The signals that reach this process while an editor runs. From when it is made, none ends the process
/// before it has cleaned up.
pub(super) struct Signals {
    end: Vec<unix::Signal>,
    /// The terminal sends these to the editor as well, and what they mean is the editor's affair.
    from_keyboard: Vec<unix::Signal>,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Exit> {
        let all = |kinds: &[SignalKind]| {
            kinds
                .iter()
                .map(|kind| signal(*kind))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| Exit::failed(format!("signals cannot be received: {error}")))
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

    /// As [`end`](Self::end), for when the editor has ended: what the keyboard sends means this process then,
    /// except that what comes at once was for the editor, and is late.
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

/// The terminal as it is before the editor changes it.
struct Terminal(Option<Termios>);

impl Terminal {
    fn now() -> Self {
        Self(tcgetattr(stdin()).ok())
    }

    /// Makes it as it was, for an editor that could not do that itself. Nothing is done from the
    /// background, where the terminal is another's, and this process would be stopped.
    fn restore(&self) {
        let is_ours = tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp());
        if let Some(before) = self.0.as_ref().filter(|_| is_ours) {
            // A terminal that has gone away needs nothing.
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// Opens a file in an editor and waits for its end. `editor` may have arguments, as a shell splits
/// them; `temporary` is where it may put files of its own.
pub(super) async fn run(
    editor: &str,
    file: &Path,
    temporary: &Path,
    signals: &mut Signals,
) -> Result<Ended, Exit> {
    let unusable = |why: &str| {
        Exit::usage(format!(
            "found the editor {editor:?}, {why}; change --editor or EDITOR"
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
        .map_err(|error| unusable(&format!("which cannot be started ({error})")))?;
    let pid = Pid::from_child(&child);
    let mut waiting = tokio::task::spawn_blocking(move || child.wait());
    let ended = tokio::select! {
        ended = &mut waiting => ended,
        () = signals.end() => {
            // It was not waited for to its end, so the number is still its own.
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
        Ok(Err(error)) => Err(Exit::failed(format!("the editor was lost: {error}"))),
        Err(error) => Err(Exit::failed(format!("the editor was lost: {error}"))),
    }
}

/// Whether a program is vim, under whatever name: `vi` is a link to it in most places.
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
