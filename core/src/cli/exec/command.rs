//! The command: its streams, its life, its end.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::net::unix::pipe::Receiver;

use super::super::exit::Exit;
use super::Capture;
use super::capture::Tee;
use super::signal_relay::SignalRelay;

/// How long to wait for the rest of the output of a command that has ended.
const REST: Duration = Duration::from_secs(1);

/// A command that has ended.
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) duration: Duration,
    pub(super) streams: Streams,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Exit(u8),
    /// By a signal.
    Signal(u8),
    /// It never ran: the exit code that shells give, and the reason.
    NotRun(u8, String),
}

impl End {
    /// The exit code that shells give.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Exit(code) | Self::NotRun(code, _) => *code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }

    fn of(status: ExitStatus) -> Self {
        let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exit(byte(code)),
            (None, signal) => Self::Signal(byte(signal.unwrap_or_default())),
        }
    }

    fn not_run(error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::NotFound {
            127
        } else {
            126
        };
        Self::NotRun(code, error.to_string())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::NotRun(127, _) => f.write_str("was not found"),
            Self::NotRun(_, reason) => write!(f, "could not be executed: {reason}"),
        }
    }
}

/// The captured outputs of a command.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) stdout: Option<Tee>,
    pub(super) stderr: Option<Tee>,
    /// Both outputs go to one reader and are kept together, in order, as standard output.
    pub(super) together: bool,
}

impl Streams {
    /// Resolves when all outputs have ended.
    pub(super) async fn finish(mut self) {
        self.ended().await;
    }

    async fn ended(&mut self) {
        for tee in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            tee.ended().await;
        }
    }
}

/// Runs a command to its end.
pub(super) async fn run(
    command: &[OsString],
    capture: Capture,
    limit: usize,
    signals: &SignalRelay,
) -> Result<Ended, Exit> {
    let failed = |what: &str, error: io::Error| Exit::failed(format!("{what}: {error}"));
    let start = Instant::now();
    let spawned = spawn(command, capture, limit)
        .map_err(|error| failed("cannot create a pipe for the command's output", error))?;
    let (mut child, mut streams) = match spawned {
        Ok(spawned) => spawned,
        Err(error) => {
            let end = End::not_run(&error);
            signals.take_back();
            super::error(&format!("the command {:?} {end}", command[0].display()));
            return Ok(Ended {
                end,
                duration: start.elapsed(),
                streams: Streams::default(),
            });
        }
    };
    if let Err(error) = signals.pass_on_to(&child) {
        super::note(&format!("cannot pass signals on to the command: {error}"));
    }
    let status = tokio::task::spawn_blocking(move || child.wait())
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| failed("cannot wait for the command", error))?;
    let duration = start.elapsed();
    signals.take_back();
    // Its output is in the pipes; a process that it left behind may keep them open forever.
    let _ = tokio::time::timeout(REST, streams.ended()).await;
    Ok(Ended {
        end: End::of(status),
        duration,
        streams,
    })
}

/// Starts the command; the inner error is the command's own.
fn spawn(
    command: &[OsString],
    capture: Capture,
    limit: usize,
) -> io::Result<io::Result<(Child, Streams)>> {
    let kept = |terminal: bool| match capture {
        Capture::Auto => !terminal,
        Capture::Always => true,
        Capture::Never => false,
    };
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let (keep_out, keep_err) = (kept(stdout.is_terminal()), kept(stderr.is_terminal()));
    let together = keep_out && keep_err && same(&stdout, &stderr);
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]);
    let mut streams = Streams {
        together,
        ..Streams::default()
    };
    // The receiving ends are created before the command, so that a failure leaves no command behind.
    let mut out = None;
    let mut err = None;
    if keep_out {
        let (ours, theirs) = pipe()?;
        if together {
            process.stderr(Stdio::from(theirs.try_clone()?));
        }
        process.stdout(Stdio::from(theirs));
        out = Some(ours);
    }
    if keep_err && !together {
        let (ours, theirs) = pipe()?;
        process.stderr(Stdio::from(theirs));
        err = Some(ours);
    }
    let child = process.spawn();
    // It holds the command's ends of the pipes, which would otherwise never end.
    drop(process);
    let child = match child {
        Ok(child) => child,
        Err(error) => return Ok(Err(error)),
    };
    streams.stdout = out.map(|out| Tee::start(out, tokio::io::stdout(), limit));
    streams.stderr = err.map(|err| Tee::start(err, tokio::io::stderr(), limit));
    Ok(Ok((child, streams)))
}

fn pipe() -> io::Result<(Receiver, OwnedFd)> {
    let (ours, theirs) = io::pipe()?;
    Ok((Receiver::from_owned_fd(ours.into())?, theirs.into()))
}

/// Whether two outputs go to the same file, pipe or terminal.
fn same(one: impl AsFd, other: impl AsFd) -> bool {
    match (rustix::fs::fstat(one), rustix::fs::fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}
