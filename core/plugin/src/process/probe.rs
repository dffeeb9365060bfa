//! Tries a plugin file in a process of its own before the host loads it.
//!
//! A damaged file, or one whose constructor hangs or ends the process, does that there. The process
//! says what it is about to do, so that its end tells what the plugin did.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use evbus_abi::v1::{HostObjectV1, HostV1, LevelV1, LinkV1};
use tokio_util::codec::LengthDelimitedCodec;
use zeroize::Zeroizing;

use super::outbox::Outbox;
use super::spawn::{name, reap, spawn};
use super::wire::{self, ToChild, ToHost, one_line};
use crate::{Over, Patience, Plugin, probing};
use evbus_destination::Secrets;
use evbus_report::foreign_text;

/// The process sends nothing longer.
const MAX_FRAME: usize = 64 * 1024;

/// How long a process that closed its socket may take to end by itself.
const DYING: Duration = Duration::from_secs(2);

/// How often to check whether it has ended.
const GLANCE: Duration = Duration::from_millis(5);

/// What is being done with the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// The process has not started its work.
    Starting = 0,
    Loading = 1,
    Names = 2,
    Schema = 3,
    Checking = 4,
    Compiling = 5,
    Attaching = 6,
}

impl Stage {
    fn of(number: u8) -> Self {
        match number {
            1 => Self::Loading,
            2 => Self::Names,
            3 => Self::Schema,
            4 => Self::Checking,
            5 => Self::Compiling,
            6 => Self::Attaching,
            _ => Self::Starting,
        }
    }

    /// Follows "it ended the process".
    fn doing(self) -> &'static str {
        match self {
            Self::Starting => "before it was loaded",
            Self::Loading => "while it was loaded",
            Self::Names => "while it was asked for its names",
            Self::Attaching => "while it was connected to the log",
            Self::Schema => "while it was asked for its schema",
            Self::Checking => "while it checked an empty configuration",
            Self::Compiling => "while it compiled an empty set of patterns",
        }
    }

    /// Precedes "within 10 s".
    fn late(self) -> &'static str {
        match self {
            Self::Starting => "the process to probe it in did not start",
            Self::Loading => "its constructor did not return",
            Self::Names => "it did not return its names",
            Self::Attaching => "it did not return when it was connected to the log",
            Self::Schema => "it did not return its schema",
            Self::Checking => "it did not check an empty configuration",
            Self::Compiling => "it did not compile an empty set of patterns",
        }
    }
}

/// Tries the plugin `id`, whose file is `path`, of which `image` is a copy, in a process of `program`.
/// Blocks until it has answered, for ten seconds at most.
///
/// # Errors
///
/// One sentence on what the plugin did.
pub(crate) fn probe(
    program: &Path,
    path: &Path,
    id: &str,
    image: BorrowedFd<'_>,
    patience: &Patience,
) -> Result<(), String> {
    let failed = |error: std::io::Error| {
        format!(
            "it cannot be probed in a process of {}: {error}",
            program.display()
        )
    };
    let (child, mut socket) = spawn(program, id, image).map_err(failed)?;
    let mut probing = Probing {
        program,
        child: Some(child),
        has_greeted: false,
        stage: Stage::Starting,
        frames: wire::frames(MAX_FRAME),
        received: BytesMut::new(),
    };
    let shown = path.display().to_string();
    let probe = ToChild::Probe { path: &shown };
    let request = wire::opening(&probe).map_err(|error| error.to_string())?;
    // Whether the process is gone shows when its answer is read.
    let _ = socket.write_all(&request);
    probing.outcome(&mut socket, &shown, patience)
}

/// A process that probes a plugin. Dropping it ends the process.
struct Probing<'a> {
    program: &'a Path,
    /// `None` once it has ended.
    child: Option<Child>,
    has_greeted: bool,
    stage: Stage,
    frames: LengthDelimitedCodec,
    received: BytesMut,
}

impl Probing<'_> {
    fn outcome(
        &mut self,
        socket: &mut UnixStream,
        path: &str,
        patience: &Patience,
    ) -> Result<(), String> {
        let mut waiting = patience.wait(path, "while it was probed in a process of its own");
        loop {
            let glance = match waiting.glance() {
                Ok(glance) => glance,
                Err(over @ Over::Late) => return Err(over.sentence(self.stage.late())),
                Err(over @ Over::Ending) => return Err(over.sentence("")),
            };
            let has_ended = self.has_ended();
            let is_over = self.read(socket, glance) || has_ended.is_some();
            while let Some(said) = self.said()? {
                match said {
                    ToHost::Stage(stage) => self.stage = Stage::of(stage),
                    ToHost::Probed => return Ok(()),
                    ToHost::Failed { reason, .. } => {
                        return Err(
                            foreign_text::line(&reason, foreign_text::MAX_BYTES).into_owned()
                        );
                    }
                    _ => return Err(nonsense()),
                }
            }
            if is_over {
                return Err(self.ended(has_ended));
            }
        }
    }

    fn said(&mut self) -> Result<Option<ToHost<'static>>, String> {
        if !self.has_greeted {
            let Some(first) = self.frame()? else {
                return Ok(None);
            };
            if let Some(other) = wire::other_version(&first) {
                return Err(wire::refused_program(self.program, &other));
            }
            self.has_greeted = true;
        }
        match self.frame()? {
            Some(frame) => wire::message(&frame).map(Some).map_err(|_| nonsense()),
            None => Ok(None),
        }
    }

    fn frame(&mut self) -> Result<Option<BytesMut>, String> {
        wire::next_frame(&mut self.frames, &mut self.received).map_err(|_| nonsense())
    }

    /// Reads what has come. Returns whether no more will.
    fn read(&mut self, socket: &mut UnixStream, within: Duration) -> bool {
        let mut some = [0; 4096];
        let read = (socket.set_read_timeout(Some(within))).and_then(|()| socket.read(&mut some));
        match read {
            Ok(0) => true,
            Ok(length) => {
                self.received.extend_from_slice(&some[..length]);
                false
            }
            Err(error) => !matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
            ),
        }
    }

    fn has_ended(&mut self) -> Option<ExitStatus> {
        let ended = self.child.as_mut()?.try_wait().ok().flatten();
        if ended.is_some() {
            self.child = None;
        }
        ended
    }

    /// What the end of the process tells.
    fn ended(&mut self, status: Option<ExitStatus>) -> String {
        let since = Instant::now();
        let mut status = status;
        while status.is_none() && since.elapsed() < DYING {
            std::thread::sleep(GLANCE);
            status = self.has_ended();
        }
        let doing = self.stage.doing();
        let Some(status) = status else {
            return format!("it closed the connection to the host {doing}");
        };
        match (status.signal(), status.code()) {
            (Some(signal), _) => format!(
                "it ended the process with signal {signal}{} {doing}; if the file is damaged, copy it again",
                name(signal)
            ),
            // The plugin's code has not run yet.
            (None, code) if self.stage == Stage::Starting => format!(
                "the process to probe it in exited with status {}; its standard error shows why",
                code.unwrap_or_default()
            ),
            (None, code) => format!("it called exit({}) {doing}", code.unwrap_or_default()),
        }
    }
}

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only if the process is gone already.
            let _ = child.kill();
            reap(child);
        }
    }
}

fn nonsense() -> String {
    "the process that probed it did not report a valid result".to_owned()
}

/// Ignores what a plugin reports: the host that loads it will receive that.
struct Unheard;

impl HostObjectV1 for Unheard {
    fn log(&self, _: LevelV1, _: &str, _: &str) {}

    fn link(&self, _: LinkV1, _: &str) {}
}

/// Tries the plugin, in the process for that: calls all that the host calls before it connects, in the
/// order in which the host does.
pub(super) fn serve(image: OwnedFd, path: &Path, outbox: &Outbox) {
    probing();
    let begin = |stage: Stage| outbox.answer(&ToHost::Stage(stage as u8));
    let fail = |reason: &str| {
        let reason = one_line(reason);
        outbox.answer(&ToHost::Failed {
            permanent: true,
            reason,
        });
    };
    begin(Stage::Loading);
    let plugin = match Plugin::of_image(image, path, || begin(Stage::Names)) {
        Ok(plugin) => plugin,
        Err(reason) => return fail(&reason),
    };
    begin(Stage::Attaching);
    // At this level a plugin does the most.
    plugin.attach(HostV1::new(Unheard, LevelV1::TRACE));
    begin(Stage::Schema);
    if let Err(reason) = plugin.config_schema() {
        return fail(&reason);
    }
    begin(Stage::Checking);
    drop(plugin.check_config(Zeroizing::new("{}".to_owned()), &Secrets::default()));
    if plugin.is_matcher() {
        begin(Stage::Compiling);
        // Faults of an empty set are reported by the host, with the patterns of the acct file.
        drop(plugin.compile(&[]));
    }
    outbox.answer(&ToHost::Probed);
}
