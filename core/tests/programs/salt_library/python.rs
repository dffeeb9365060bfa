//! Python with a release of Salt, in a process that the test controls line by line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};
use xtask::salt::RELEASES;

use crate::support::PATIENCE;

/// What every program that uses the event library starts with.
const IMPORT: &str = "import salt.utils.event";

/// The Python of a release, which ignores the developer's settings and writes nothing beside the tests.
pub(super) fn command(release: &str) -> Command {
    static PYTHONS: OnceLock<[PathBuf; 3]> = OnceLock::new();
    let pythons = PYTHONS.get_or_init(|| {
        RELEASES.map(|release| xtask::salt::python(release).expect("Salt can be installed"))
    });
    let index = RELEASES.iter().position(|it| *it == release);
    let python = &pythons[index.expect("it is one of the releases")];
    let mut command = Command::new(python);
    command
        .args(["-E", "-s", "-B", "-u"])
        .env("PYTHONUTF8", "1")
        .stdin(Stdio::null());
    command
}

/// A Python process in which Salt's event library is imported. It is killed when dropped.
pub(super) struct Python {
    pub(super) release: &'static str,
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
    /// An answer that has arrived and was not taken yet.
    ready: Option<String>,
    said: Arc<Mutex<String>>,
}

impl Python {
    /// Starts one; [`Python::finish`] then waits until it is ready.
    fn begin_with(release: &'static str, sock_dir: &Path) -> Self {
        let script = PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/programs/salt_library/interpreter.py"
        ));
        let mut child = command(release)
            .arg(script)
            .arg(sock_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python can be started");
        let (send, answers) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let said = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let sink = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut said = sink.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        let mut python = Self {
            release,
            stdin: child.stdin.take().unwrap(),
            child,
            answers,
            ready: None,
            said,
        };
        python.begin(IMPORT);
        python
    }

    /// Starts one for each release, and waits until all are ready.
    pub(super) fn start_all(sock_dir: impl Fn(&str) -> PathBuf) -> [Self; 3] {
        let mut all = RELEASES.map(|release| Self::begin_with(release, &sock_dir(release)));
        for python in &mut all {
            python.finish();
        }
        all
    }

    /// Runs Python: returns the value of an expression, or null for statements.
    #[track_caller]
    pub(super) fn run(&mut self, source: &str) -> Value {
        self.begin(source);
        self.finish()
    }

    /// Runs Python that fails, and returns the exception as `"TypeError: ..."`.
    #[track_caller]
    pub(super) fn fails(&mut self, source: &str) -> String {
        self.begin(source);
        match self.answer()["raised"].as_str() {
            Some(raised) => raised.to_owned(),
            None => panic!("Salt {}: {source} did not fail", self.release),
        }
    }

    /// Runs Python that may fail.
    pub(super) fn try_run(&mut self, source: &str) {
        self.begin(source);
        self.answer();
    }

    /// As [`Python::run`], without waiting for the end.
    pub(super) fn begin(&mut self, source: &str) {
        writeln!(self.stdin, "{}", json!(source)).expect("Python reads");
    }

    /// Waits for the end of the code that was started.
    #[track_caller]
    pub(super) fn finish(&mut self) -> Value {
        let mut answer = self.answer();
        if let Some(raised) = answer["raised"].as_str() {
            panic!("Salt {}: {raised}\n{}", self.release, self.said());
        }
        answer["value"].take()
    }

    #[track_caller]
    fn answer(&mut self) -> Value {
        let line = match self.ready.take() {
            Some(line) => line,
            None => match self.answers.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(error) => panic!(
                    "Salt {}: no answer, {error}:\n{}",
                    self.release,
                    self.said()
                ),
            },
        };
        serde_json::from_str(&line).unwrap()
    }

    /// Whether the code that was started is still running.
    pub(super) fn is_busy(&mut self) -> bool {
        if self.ready.is_none() {
            self.ready = self.answers.try_recv().ok();
        }
        self.ready.is_none()
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
