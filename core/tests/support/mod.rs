//! What the tests of the `evbus` command share: a running host, its directories, waiting.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

pub mod bench;
pub mod tmpfs;

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test fails; generous, since machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `condition` gives something.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The program that is tested: what cargo built with the tests, or what `EVBUS_PROGRAM` names, such as
/// a release build.
pub fn program() -> PathBuf {
    std::env::var_os("EVBUS_PROGRAM")
        .map_or_else(|| env!("CARGO_BIN_EXE_evbus").into(), PathBuf::from)
}

/// `evbus` with an environment that holds nothing of the developer's.
pub fn evbus(home: &Path) -> Command {
    let mut command = Command::new(program());
    for name in [
        "ACCT_FILE",
        "ACCT_KEY",
        "EVBUS_PLUGIN_PATH",
        "EVBUS_SOCK_DIR",
        "EVBUS_STATE_DIR",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
    ] {
        command.env_remove(name);
    }
    command.env("HOME", home);
    // Sets the default state directory, which for root would be that of the machine.
    command.env("STATE_DIRECTORY", default_state_dir(home));
    command
}

/// The state directory of an `evbus run` that is not told of any.
pub fn default_state_dir(home: &Path) -> PathBuf {
    home.join("default-state")
}

/// Runs a command to its end with something on its standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("evbus can be started");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // Fails if the command does not read its input.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output, one JSON value per line.
pub fn json_lines(output: &Output) -> Vec<Value> {
    let values: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    values.iter().for_each(assert_exact);
    values
}

/// Asserts that every number is one that programs with 64-bit floating point numbers read exactly.
fn assert_exact(value: &Value) {
    const EXACT: u64 = 1 << 53;
    match value {
        Value::Number(number) => {
            let whole = number.as_u64().or(number.as_i64().map(i64::unsigned_abs));
            assert!(whole.is_none_or(|whole| whole <= EXACT), "{number}");
        }
        Value::Array(values) => values.iter().for_each(assert_exact),
        Value::Object(members) => members.values().for_each(assert_exact),
        _ => {}
    }
}

/// The whole lines of a file so far, as JSON; none where there is no file.
pub fn lines_of(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// A running `evbus run`, killed when dropped.
pub struct RunningHost {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    pub dir: TempDir,
}

impl RunningHost {
    /// For a host with the state directory that it uses by default.
    pub const DEFAULT_STATE: &str = "default state";

    /// Starts a host with this acct file text and plugin directory, and waits for `ready`.
    /// `{dir}` in the text stands for the host's own directory. It has no state directory unless
    /// `more` gives one, or has [`DEFAULT_STATE`](Self::DEFAULT_STATE).
    pub fn start(acct: &str, plugin_dir: &Path, more: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), acct, plugin_dir, more)
    }

    /// As `start`, in a directory that may be another host's.
    pub fn start_in(dir: TempDir, acct: &str, plugin_dir: &Path, more: &[&str]) -> Self {
        write_acct(&dir, acct);
        Self::launch(evbus(dir.path()), dir, plugin_dir, more)
    }

    /// As `start_in`, by a command that is given the host's command as arguments and becomes it.
    pub fn start_through(
        launcher: Command,
        dir: TempDir,
        acct: &str,
        plugin_dir: &Path,
        more: &[&str],
    ) -> Self {
        write_acct(&dir, acct);
        Self::start_again_through(launcher, dir, plugin_dir, more)
    }

    /// As `start_through`, with the acct file that is in the directory.
    pub fn start_again_through(
        mut launcher: Command,
        dir: TempDir,
        plugin_dir: &Path,
        more: &[&str],
    ) -> Self {
        let host = evbus(dir.path());
        launcher.arg(host.get_program());
        for (name, value) in host.get_envs() {
            match value {
                Some(value) => launcher.env(name, value),
                None => launcher.env_remove(name),
            };
        }
        Self::launch(launcher, dir, plugin_dir, more)
    }

    fn launch(command: Command, dir: TempDir, plugin_dir: &Path, more: &[&str]) -> Self {
        let mut host = Self::begin(command, dir, plugin_dir, more);
        wait_for("the host to be ready", || {
            let ended = host.child.try_wait().unwrap();
            assert!(ended.is_none(), "the host ended: {}", host.log());
            host.log().lines().any(|line| line == "ready").then_some(())
        });
        host
    }

    /// Starts a host by a command that becomes it, with the acct file that is in the directory, and does not
    /// wait until it is ready.
    pub fn begin(mut command: Command, dir: TempDir, plugin_dir: &Path, more: &[&str]) -> Self {
        let mut more = more.to_vec();
        if more.contains(&Self::DEFAULT_STATE) {
            more.retain(|arg| *arg != Self::DEFAULT_STATE);
        } else if !more.iter().any(|arg| arg.ends_with("state-dir")) {
            more.push("--no-state-dir");
        }
        let mut child = command
            .arg("run")
            .arg("--acct-file")
            .arg(dir.path().join("acct.yml"))
            .arg("--plugin-dir")
            .arg(plugin_dir)
            .arg("--sock-dir")
            .arg(dir.path().join("s"))
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("evbus can be started");
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let sink = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = sink.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self {
            child,
            log,
            reader: Some(reader),
            dir,
        }
    }

    /// A path in the host's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its socket directory.
    pub fn sock_dir(&self) -> String {
        self.path("s").to_string_lossy().into_owned()
    }

    /// Everything the host has said so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the host has said something.
    pub fn wait_for_log(&self, text: &str) {
        wait_for(
            &format!("the log to say {text:?}, which says\n{}", self.log()),
            || self.log().contains(text).then_some(()),
        );
    }

    /// What `evbus status` says of it.
    pub fn status(&self) -> Value {
        let output = run(
            evbus(self.dir.path())
                .args(["status", "--json", "--sock-dir"])
                .arg(self.path("s")),
            b"",
        );
        assert!(output.status.success(), "{}", stderr(&output));
        let status = serde_json::from_slice(&output.stdout).unwrap();
        assert_exact(&status);
        status
    }

    /// Fires recorded events, one per line, through the host's socket.
    pub fn put_events(&self, lines: &str) {
        let output = run(
            evbus(self.dir.path())
                .args(["put", "--events", "--timeout", "120", "--sock-dir"])
                .arg(self.path("s")),
            lines.as_bytes(),
        );
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// Fires one event.
    pub fn put(&self, profile: &str, body: &str) {
        self.put_events(&format!(
            "{{\"profile\": \"{profile}\", \"body\": {body}}}\n"
        ));
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(self) -> (ExitStatus, String) {
        let (status, log, _) = self.stop_and_keep();
        (status, log)
    }

    /// As `stop`; returns the host's directory for another host.
    pub fn stop_and_keep(mut self) -> (ExitStatus, String, TempDir) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("the host runs");
        let status = wait_for("the host to end", || self.child.try_wait().unwrap());
        let log = self.log();
        (status, log, self.take_dir())
    }

    /// Sends a signal that ends the host and waits for the end; gives all it has said, and its
    /// directory for another one.
    pub fn end(mut self, signal: Signal) -> (ExitStatus, String, TempDir) {
        kill_process(Pid::from_child(&self.child), signal).expect("the host runs");
        let status = wait_for("the host to end", || self.child.try_wait().unwrap());
        self.reader.take().unwrap().join().unwrap();
        (status, self.log(), self.take_dir())
    }

    /// Sends SIGKILL and waits for the end; returns the host's directory for another host.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().expect("the host runs");
        self.child.wait().unwrap();
        self.take_dir()
    }

    fn take_dir(&mut self) -> TempDir {
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }
}

fn write_acct(dir: &TempDir, text: &str) {
    let text = text.replace("{dir}", &dir.path().to_string_lossy());
    fs::write(dir.path().join("acct.yml"), text).unwrap();
}

impl Drop for RunningHost {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
