//! A Python program that a test runs in the environment with this project's packages and Idem.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use crate::support::{PATIENCE, wait_for};

/// The environment's Python.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| xtask::idem::python().expect("Idem can be installed"))
}

/// A command that sees nothing of the developer's settings.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in [
        "ACCT_FILE",
        "ACCT_KEY",
        "EVBUS_SOCK_DIR",
        "PYTHONPATH",
        "PYTHONHOME",
    ] {
        command.env_remove(name);
    }
    command
        .env("PYTHONUTF8", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    command
}

/// A running script. It is killed when dropped.
pub struct Script {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    said: Option<JoinHandle<String>>,
}

impl Script {
    /// Starts a script. What it warns of is an error.
    pub fn start(script: &Path, args: &[&str]) -> Self {
        let mut command = command(python());
        command
            .args(["-s", "-u", "-W", "error"])
            .arg(script)
            .args(args);
        Self::run(&mut command)
    }

    /// Starts a script with another Python.
    pub fn start_with(python: &Path, script: &Path, args: &[&str]) -> Self {
        let mut command = command(python);
        command.args(["-E", "-s"]).arg(script).args(args);
        Self::run(&mut command)
    }

    fn run(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python can be started");
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let said = std::thread::spawn(move || {
            let mut said = String::new();
            // Text that cannot be read is ignored.
            let _ = stderr.read_to_string(&mut said);
            said
        });
        Self {
            stdin: child.stdin.take().unwrap(),
            child,
            lines,
            said: Some(said),
        }
    }

    /// The next line that it prints.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("no line came ({error}): {}", self.end()),
        }
    }

    /// Lets it go on from where it waits for a line.
    pub fn go(&mut self) {
        self.stdin.write_all(b"\n").expect("the script reads");
    }

    /// Waits until it ends; it must have gone well, and said nothing.
    #[track_caller]
    pub fn finish(mut self) {
        let status = wait_for("the script to end", || self.child.try_wait().unwrap());
        let said = self.end();
        assert!(status.success() && said.is_empty(), "{status}: {said}");
    }

    /// Ends it, and returns its output.
    fn end(&mut self) -> String {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.said
            .take()
            .map_or_else(String::new, |said| said.join().unwrap())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.end();
    }
}
