//! Running one fuzz target, and reporting the result.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::out;
use crate::cargo::Built;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// The longest input, in bytes: frames are short, and long ones are made by the targets.
const MAX_LEN: &str = "-max_len=4096";

/// How long one input may take, in seconds: longer than the targets' own limits.
const TIMEOUT: &str = "-timeout=40";

/// The memory limit in MiB. The targets need about 50, and a frame may announce 100 that never arrive.
const MEMORY: &str = "-rss_limit_mb=160";

/// How long after its time limit a program may take to read the corpus and to end.
const GRACE: Duration = Duration::from_mins(5);

/// A fuzz target, built.
pub(super) struct Program {
    target: &'static str,
    executable: PathBuf,
    log: PathBuf,
    crashes: PathBuf,
}

/// A program at work.
pub(super) struct Running {
    child: Child,
    /// For files that the program leaves behind, because libFuzzer ends it without cleaning up.
    _temporary: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    pub(super) fn new(target: &'static str, built: &Built) -> Result<Self, Failure> {
        let crashes = out(target, "crashes")?;
        Ok(Self {
            target,
            executable: built.executable(&format!("fuzz-{target}"))?.to_owned(),
            log: crashes.with_file_name("log.txt"),
            crashes,
        })
    }

    pub(super) fn target(&self) -> &'static str {
        self.target
    }

    /// Starts to fuzz with the inputs in the directories, and stores new ones in the first.
    pub(super) fn fuzz(&self, limit: Duration, corpora: &[&Path]) -> Result<Running, Failure> {
        eprintln!("fuzz: {} for {} s", self.target, limit.as_secs());
        let limit = format!("-max_total_time={}", limit.as_secs());
        self.start(&[&limit, "-print_final_stats=1"], corpora)
    }

    /// Copies into the first directory the fewest inputs that reach everything reached by the others.
    pub(super) fn merge(
        &self,
        into: &Path,
        from: &[&Path],
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        // Counters depend on timing and would keep thousands of inputs.
        let options = ["-set_cover_merge=1", "-use_counters=0"];
        let running = self.start(&options, &[&[into], from].concat())?;
        self.wait(running, GRACE, interrupt).map(|_| ())
    }

    fn start(&self, options: &[&str], corpora: &[&Path]) -> Result<Running, Failure> {
        let temporary = tempfile::tempdir().map_err(Failure::io("make a temporary directory"))?;
        let log = || File::create(&self.log).map_err(Failure::file("write", &self.log));
        let log = log()?;
        let other = log.try_clone().map_err(Failure::file("write", &self.log))?;
        let child = Command::new(&self.executable)
            .args([MAX_LEN, TIMEOUT, MEMORY])
            .arg(format!("-artifact_prefix={}/", self.crashes.display()))
            .args(options)
            .args(corpora)
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(other)
            .spawn()
            .map_err(Failure::file("start", &self.executable))?;
        Ok(Running {
            child,
            _temporary: temporary,
        })
    }

    /// Waits until a program that fuzzes has ended, and says what it did.
    pub(super) fn finish(
        &self,
        running: Running,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let log = self.wait(running, limit + GRACE, interrupt)?;
        let [inputs, places, peak] = [
            "stat::number_of_executed_units:",
            "cov:",
            "stat::peak_rss_mb:",
        ]
        .map(|name| last(&log, name).unwrap_or("?"));
        eprintln!(
            "fuzz: {} was given {inputs} inputs, which reached {places} places of the code and took \
             {peak} MiB at most; nothing is wrong",
            self.target
        );
        Ok(())
    }

    /// Waits until a program has succeeded; returns its output.
    fn wait(
        &self,
        mut running: Running,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<String, Failure> {
        let ended = interrupt.poll(limit, || {
            let ended = running.child.try_wait();
            ended.map_err(Failure::io("wait for a fuzz target"))
        })?;
        let log = fs::read(&self.log).map_err(Failure::file("read", &self.log))?;
        let log = String::from_utf8_lossy(&log).into_owned();
        match ended {
            Some(status) if status.success() => Ok(log),
            Some(status) => Err(self.failure(status, &log)),
            None => Err(Failure::Failed(format!(
                "the fuzz target {} did not end in time; {} has what it said",
                self.target,
                self.log.display()
            ))),
        }
    }

    fn failure(&self, status: ExitStatus, log: &str) -> Failure {
        let input = log.lines().find_map(|line| {
            let (_, file) = line.split_once("Test unit written to ")?;
            Some(file.trim())
        });
        let why = panic_of(log);
        let (target, log, program) = (self.target, self.log.display(), self.executable.display());
        Failure::Failed(match input {
            Some(input) => format!(
                "the fuzz target {target} found an input that breaks a promise: {why}\n\
                 the input is {input}; `{program} {input}` gives it again, and {log} has the whole \
                 output"
            ),
            None => format!("the fuzz target {target} failed with {status}; {log} has its output"),
        })
    }
}

/// The message of a panic or of libFuzzer itself, on one line.
fn panic_of(log: &str) -> String {
    let mut lines = log.lines();
    let panic = lines.by_ref().find(|line| line.contains("panicked at"));
    let said = match panic {
        Some(_) => lines.next(),
        None => log.lines().find(|line| line.starts_with("SUMMARY:")),
    };
    let said = said.unwrap_or("it does not say what");
    said.chars().take(300).collect()
}

/// The last word that follows a name.
fn last<'a>(log: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = log.rsplit_once(name)?;
    after.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_last_that_libfuzzer_told() {
        let log = "#2 INITED cov: 9 ft: 9\n#8 DONE   cov: 12 ft: 33\n\
                   stat::number_of_executed_units: 8\n";
        assert_eq!(last(log, "cov:"), Some("12"));
        assert_eq!(last(log, "stat::number_of_executed_units:"), Some("8"));
        assert_eq!(last(log, "stat::peak_rss_mb:"), None);
    }

    #[test]
    fn a_failure_says_what_the_panic_said() {
        let log = "#2 INITED\n\nthread '<unnamed>' (7) panicked at a.rs:1:2:\nit is wrong\nnote: x\n\
                   SUMMARY: libFuzzer: deadly signal\n";
        assert_eq!(panic_of(log), "it is wrong");
        let log = "SUMMARY: libFuzzer: out-of-memory\n";
        assert_eq!(panic_of(log), "SUMMARY: libFuzzer: out-of-memory");
        assert_eq!(panic_of(""), "it does not say what");
    }
}
