//! The running host.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::late;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

const READY_LIMIT: Duration = Duration::from_secs(30);
/// Longer than the ten seconds that the host takes at most to deliver its events.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// `evbus run`. The keeper ends it, unless it is stopped before.
#[derive(Debug)]
pub(super) struct Host {
    process: Child,
    sock_dir: PathBuf,
    took: Duration,
}

impl Host {
    /// Starts it and waits until its sockets accept connections. The rest of its output goes to standard error.
    pub(super) fn start(
        mut evbus: Command,
        acct_file: &Path,
        plugins: &Path,
        sock_dir: &Path,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let begin = Instant::now();
        let mut process = evbus
            .args([
                "run",
                "--log-level",
                "warn",
                "--no-state-dir",
                "--acct-file",
            ])
            .arg(acct_file)
            .arg("--plugin-dir")
            .arg(plugins)
            .arg("--sock-dir")
            .arg(sock_dir)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Failure::io("start evbus run"))?;
        let stderr = process.stderr.take().expect("standard error is piped");
        let (ready, is_ready) = mpsc::channel();
        // Ends when the host closes the other end.
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line == "ready" {
                    // The receiver is gone when the time is up.
                    let _ = ready.send(());
                } else {
                    eprintln!("host: {line}");
                }
            }
        });
        let mut host = Self {
            process,
            sock_dir: sock_dir.to_owned(),
            took: Duration::ZERO,
        };
        interrupt
            .poll(READY_LIMIT, || {
                host.check()?;
                Ok(is_ready.try_recv().ok())
            })?
            .ok_or_else(|| {
                Failure::Failed(format!(
                    "the host was not ready within {} s",
                    READY_LIMIT.as_secs()
                ))
            })?;
        host.took = begin.elapsed();
        Ok(host)
    }

    /// The directory of its sockets.
    pub(super) fn sock_dir(&self) -> &Path {
        &self.sock_dir
    }

    /// How long it took until it was ready.
    pub(super) fn took(&self) -> Duration {
        self.took
    }

    /// Fails if it has ended.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failure::Failed(format!(
                "the host ended by itself with {status}; what it said stands above"
            ))),
            Err(error) => Err(Failure::io("wait for the host")(error)),
        }
    }

    /// Asks it to end and waits until it has; before that, it delivers its remaining events.
    pub(super) fn stop(mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        let ended = self.process.try_wait();
        if ended.map_err(Failure::io("wait for the host"))?.is_some() {
            return Ok(());
        }
        kill_process(Pid::from_child(&self.process), Signal::TERM)
            .map_err(|error| Failure::io("end the host")(error.into()))?;
        let status = interrupt
            .poll(STOP_LIMIT, || {
                self.process
                    .try_wait()
                    .map_err(Failure::io("wait for the host"))
            })?
            .ok_or_else(|| late("the host", STOP_LIMIT))?;
        // The comparison reports what it could not deliver.
        if !status.success() {
            eprintln!("host: ended with {status}");
        }
        Ok(())
    }
}
