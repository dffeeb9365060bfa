//! A plugin's process, as the host holds it: started, watched, ended, never left behind.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::oneshot;

use crate::{Caller, Patience, Wait};
use evbus_destination::environment;

/// The command line's name for a plugin's process.
pub(super) const COMMAND: &str = "plugin-child";

/// How long a killed process may take to disappear. Only the kernel can delay it.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// Environment variables that are not passed on. Neither is the acct key, which anybody who can inspect the process
/// could read.
const HOST_VARIABLES: [&str; 2] = ["ACCT_FILE", "EVBUS_SOCK_DIR"];

/// Ends the process at any time, from any thread.
#[derive(Debug, Clone)]
pub(super) struct Killer(Arc<OwnedFd>);

impl Killer {
    /// Kills it if it is still running. Does not wait.
    pub(super) fn kill(&self) {
        // Fails only if the process is gone already.
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }
}

/// A running process. Dropping it kills the process and reaps it, without waiting.
#[derive(Debug)]
pub(super) struct PluginProcess {
    /// `None` once its end is being waited for.
    child: Option<Child>,
    killer: Killer,
}

impl PluginProcess {
    /// Starts `program` for a plugin whose file is `image`, and gives the host's end of the socket.
    ///
    /// Called on a tokio runtime. Secrets are in neither the arguments nor the environment: what
    /// the process needs to know comes over the socket.
    pub(super) fn start(
        program: &Path,
        plugin: &str,
        image: BorrowedFd<'_>,
    ) -> std::io::Result<(Self, tokio::net::UnixStream)> {
        let (mut child, ours) = spawn(program, plugin, image)?;
        ours.set_nonblocking(true)?;
        let ours = tokio::net::UnixStream::from_std(ours)?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(descriptor) => Ok((
                Self {
                    child: Some(child),
                    killer: Killer(Arc::new(descriptor)),
                },
                ours,
            )),
            Err(error) => {
                let _ = child.kill();
                reap(child);
                Err(error.into())
            }
        }
    }

    /// A handle that ends it.
    pub(super) fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Gives it `grace` to end by itself, then kills it. Returns its exit status, if known, and whether it was killed
    /// here.
    pub(super) async fn end(&mut self, grace: Duration) -> (Option<ExitStatus>, bool) {
        let Some(child) = self.child.take() else {
            return (None, false);
        };
        let mut ended = reap(child);
        if let Ok(status) = tokio::time::timeout(grace, &mut ended).await {
            return (status.ok(), false);
        }
        self.killer.kill();
        let status = tokio::time::timeout(KILLED_WITHIN, ended).await;
        (status.ok().and_then(Result::ok), true)
    }
}

impl Drop for PluginProcess {
    fn drop(&mut self) {
        self.killer.kill();
        if let Some(child) = self.child.take() {
            reap(child);
        }
    }
}

/// Starts `program` for a plugin with the file `image`; returns the host's end of the socket. When that is closed, the
/// process ends.
pub(super) fn spawn(
    program: &Path,
    plugin: &str,
    image: BorrowedFd<'_>,
) -> std::io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    // The first byte carries the descriptor; an empty socket takes it without waiting.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut descriptors = SendAncillaryBuffer::new(&mut space);
    descriptors.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(
        &image,
    )));
    sendmsg(
        &ours,
        &[IoSlice::new(b"\n")],
        &mut descriptors,
        SendFlags::NOSIGNAL,
    )?;
    let mut command = Command::new(program);
    command
        .arg0("evbus")
        .args([COMMAND, plugin])
        .stdin(Stdio::from(OwnedFd::from(theirs)));
    environment::pass_on_all_but(&HOST_VARIABLES, &mut command);
    let child = on_lasting_thread(move || command.spawn())?;
    Ok((child, ours))
}

/// Runs `work` on a thread that lives as long as this process: a child that asks to end with its parent ends with the
/// thread that started it.
fn on_lasting_thread<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    static STARTER: OnceLock<Result<Caller, String>> = OnceLock::new();

    let starter = STARTER
        .get_or_init(|| Caller::start("evbus starter"))
        .as_ref()
        .map_err(|reason| std::io::Error::other(reason.clone()))?;
    let doing = "while its process was started";
    let patience = Patience::default();
    starter
        .run("of a process", doing, (&patience, Wait::Sleeping), work)
        .map_err(|_| std::io::Error::other("the system did not start it within 10 s"))?
}

/// Waits for the end of a process on a separate thread.
pub(super) fn reap(mut child: Child) -> oneshot::Receiver<ExitStatus> {
    let (sender, ended) = oneshot::channel();
    let reaping = std::thread::Builder::new()
        .name("evbus reaper".to_owned())
        .spawn(move || {
            if let Ok(status) = child.wait() {
                // Usually nobody waits for the status.
                let _ = sender.send(status);
            }
        });
    if let Err(error) = reaping {
        tracing::debug!(%error, "a plugin's process is reaped when the host ends");
    }
    ended
}

/// One sentence on how it ended.
pub(super) fn describe(status: Option<ExitStatus>) -> String {
    let Some(status) = status else {
        return "the plugin's process has ended".to_owned();
    };
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let hint = if signal == Signal::KILL.as_raw() {
                ", by a user or because memory ran out"
            } else {
                ""
            };
            format!(
                "the plugin's process was killed by signal {signal}{}{hint}",
                name(signal)
            )
        }
        (None, code) => format!(
            "the plugin's process ended with exit code {}",
            code.unwrap_or_default()
        ),
    }
}

/// The names of the signals that end processes.
pub(super) fn name(signal: i32) -> &'static str {
    const NAMES: [(Signal, &str); 12] = [
        (Signal::HUP, " (SIGHUP)"),
        (Signal::INT, " (SIGINT)"),
        (Signal::QUIT, " (SIGQUIT)"),
        (Signal::ILL, " (SIGILL)"),
        (Signal::ABORT, " (SIGABRT)"),
        (Signal::BUS, " (SIGBUS)"),
        (Signal::FPE, " (SIGFPE)"),
        (Signal::KILL, " (SIGKILL)"),
        (Signal::SEGV, " (SIGSEGV)"),
        (Signal::PIPE, " (SIGPIPE)"),
        (Signal::TERM, " (SIGTERM)"),
        (Signal::SYS, " (SIGSYS)"),
    ];
    NAMES
        .iter()
        .find(|(known, _)| known.as_raw() == signal)
        .map_or("", |(_, name)| name)
}

/// Receives the descriptor that [`PluginProcess::start`] sends first.
pub(super) fn receive_image(socket: &UnixStream) -> std::io::Result<OwnedFd> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut received = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        socket.as_fd(),
        &mut [std::io::IoSliceMut::new(&mut byte)],
        &mut received,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    received
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .ok_or_else(|| std::io::Error::other("the host sent no plugin"))
}
