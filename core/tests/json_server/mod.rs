//! A Python program that answers each JSON line of a test with a JSON line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// One process for all questions, in the environment with the real Idem.
pub(crate) struct JsonServer {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Its working directory, in which pop writes a log.
    _dir: TempDir,
}

impl JsonServer {
    /// Starts a program from the directory of the tests.
    pub(crate) fn start(program: &str) -> Self {
        let python = xtask::idem::python().unwrap_or_else(|error| panic!("{error}"));
        let dir = tempfile::tempdir().unwrap();
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let mut child = Command::new(python)
            .arg("-E")
            .arg(tests.join(program))
            .current_dir(dir.path())
            .env_remove("ACCT_FILE")
            .env_remove("ACCT_KEY")
            .env_remove("EVBUS_SOCK_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python can be started");
        Self {
            orders: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
            _dir: dir,
        }
    }

    /// Its answer, which must not be an error.
    #[track_caller]
    pub(crate) fn ask(&mut self, order: &Value) -> Value {
        writeln!(self.orders.as_mut().unwrap(), "{order}").expect("the program reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).expect("the program answers in JSON");
        match answer.get("ok") {
            Some(data) => data.clone(),
            None => panic!("{order}: {answer}"),
        }
    }
}

impl Drop for JsonServer {
    fn drop(&mut self) {
        // Its input ends, and so does it; a test that failed does not wait for that.
        drop(self.orders.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
