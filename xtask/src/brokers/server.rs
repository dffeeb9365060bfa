//! One server process: launched, waited for, stopped, killed, and gone at the end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::BrokerError;
use super::keeper::Keeper;

/// How long a server may take to become ready; on a busy machine with two cores it needs much of that.
const START_LIMIT: Duration = Duration::from_mins(2);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Erlang's report of a failed start is long, and begins with the cause.
const TAIL_LINES: usize = 80;

/// A server process and its directory.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    keeper: Keeper,
    child: Option<Child>,
    helpers: Vec<Child>,
}

impl Server {
    /// Makes the directory in which server `name` will live.
    pub(crate) fn new(name: &'static str) -> Result<Self, BrokerError> {
        Ok(Self {
            name,
            keeper: Keeper::start(name)?,
            child: None,
            helpers: Vec::new(),
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.keeper.dir()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir().join("server.log")
    }

    /// The server's process id while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// A command whose process ends with the server's owner.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.keeper.command(program)
    }

    /// Starts `command` beside the server and waits until `ready` says so.
    pub(crate) fn helper(
        &mut self,
        command: Command,
        ready: impl Fn() -> Result<(), String>,
    ) -> Result<(), BrokerError> {
        let mut child = self.spawn(command)?;
        let done = self.wait_for(&mut child, ready);
        self.helpers.push(child);
        done
    }

    /// Starts `command` as the server and waits until `ready` says so.
    pub(crate) fn launch(
        &mut self,
        command: Command,
        ready: impl Fn() -> Result<(), String>,
    ) -> Result<(), BrokerError> {
        let mut child = self.spawn(command)?;
        let done = self.wait_for(&mut child, ready);
        self.child = Some(child);
        done
    }

    fn spawn(&self, mut command: Command) -> Result<Child, BrokerError> {
        let path = self.log();
        let log = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(BrokerError::file("open", &path))?;
        let errors = log.try_clone().map_err(BrokerError::file("open", &path))?;
        command
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(BrokerError::io(format!(
                "start {}",
                command.get_program().to_string_lossy()
            )))
    }

    fn wait_for(
        &self,
        child: &mut Child,
        ready: impl Fn() -> Result<(), String>,
    ) -> Result<(), BrokerError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let Err(answer) = ready() else {
                return Ok(());
            };
            let exited = child
                .try_wait()
                .map_err(BrokerError::io(format!("wait for {}", self.name)))?;
            let why = match exited {
                Some(status) => format!("its process ended ({status})"),
                None if Instant::now() >= deadline => {
                    format!("after {} s: {answer}", START_LIMIT.as_secs())
                }
                None => {
                    std::thread::sleep(POLL);
                    continue;
                }
            };
            return Err(BrokerError::NotReady {
                broker: self.name,
                why,
                log_tail: tail(&self.log()),
            });
        }
    }

    /// Asks the server to end and waits until only its directory is left.
    pub(crate) fn stop(&mut self) -> Result<(), BrokerError> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
        let deadline = Instant::now() + STOP_LIMIT;
        let ended = loop {
            let exited = child
                .try_wait()
                .map_err(BrokerError::io(format!("wait for {}", self.name)))?;
            if exited.is_some() {
                break true;
            }
            if Instant::now() >= deadline {
                break false;
            }
            std::thread::sleep(POLL);
        };
        self.kill()?;
        if ended {
            Ok(())
        } else {
            Err(BrokerError::NotStopped {
                broker: self.name,
                waited: STOP_LIMIT,
            })
        }
    }

    /// Kills the server with all its helpers (SIGKILL); the directory stays.
    pub(crate) fn kill(&mut self) -> Result<(), BrokerError> {
        self.keeper.sweep()?;
        self.reap();
        Ok(())
    }

    /// Leaves the server running without an owner and returns its directory.
    pub(crate) fn leave(mut self) -> Result<PathBuf, BrokerError> {
        self.keeper.leave()?;
        // Nobody waits for them here: init becomes their parent.
        self.child = None;
        self.helpers.clear();
        Ok(self.dir().to_owned())
    }

    fn reap(&mut self) {
        for mut child in self.child.take().into_iter().chain(self.helpers.drain(..)) {
            // The keeper has killed it already, unless the keeper was killed itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.keeper.finish();
        self.reap();
    }
}

/// The last lines of a log, or why it cannot be read.
pub(crate) fn tail(log: &Path) -> String {
    match fs::read(log) {
        Ok(bytes) => last_lines(&String::from_utf8_lossy(&bytes)),
        Err(error) => format!("({}: {error})", log.display()),
    }
}

/// The last lines of a program's output.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
