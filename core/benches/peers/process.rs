//! A program at work: ended when dropped, asked for its processor time, memory and allocations while it runs.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::allocations::Allocations;
use crate::table::Round;

const START_LIMIT: Duration = Duration::from_secs(30);
/// Far longer than a round takes.
const WORK_LIMIT: Duration = Duration::from_mins(2);
/// `USER_HZ`, which is 100 on all architectures but Alpha.
const TICKS_PER_SECOND: u64 = 100;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A program at work.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: std::path::PathBuf,
    /// If they are counted.
    allocations: Option<Allocations>,
}

impl Process {
    /// Starts it in `dir`, where its output goes to a file.
    pub(crate) fn start(name: &str, command: Command, dir: &Path) -> Self {
        Self::spawn(name, command, dir, None)
    }

    /// As [`start`](Self::start), with its allocations counted, which slows it down.
    pub(crate) fn start_counted(name: &str, mut command: Command, dir: &Path) -> Self {
        let allocations = Allocations::of(&mut command, dir);
        Self::spawn(name, command, dir, Some(allocations))
    }

    fn spawn(
        name: &str,
        mut command: Command,
        dir: &Path,
        allocations: Option<Allocations>,
    ) -> Self {
        let log = dir.join(format!("{name}.log"));
        let output = File::create(&log).unwrap();
        let child = command
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
            allocations,
        }
    }

    /// Writes a line to its standard input.
    pub(crate) fn tell(&self, line: impl std::fmt::Display) {
        let mut input = self.child.stdin.as_ref().expect("it is a pipe");
        writeln!(input, "{line}").unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// What it takes, and what it needs, for so many events.
    pub(crate) fn measure(&mut self, events: u64, work: impl FnOnce(&mut Self)) -> Round {
        let count = |process: &Self| process.allocations.as_ref().map(Allocations::count);
        let allocations = count(self);
        let processor = self.processor_time();
        let start = Instant::now();
        work(self);
        Round {
            events,
            took: start.elapsed(),
            processor: self.processor_time() - processor,
            peak_memory: Some(self.peak_memory()),
            allocations: allocations.and_then(|before| Some(count(self)? - before)),
        }
    }

    /// Waits until the condition holds.
    pub(crate) fn until(&mut self, what: &str, condition: impl FnMut() -> bool) {
        self.wait(what, START_LIMIT, condition);
    }

    /// Waits until all of a round's work is done.
    pub(crate) fn until_done(&mut self, condition: impl FnMut() -> bool) {
        self.wait("all events at their destination", WORK_LIMIT, condition);
    }

    fn wait(&mut self, what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
        let start = Instant::now();
        while !condition() {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || start.elapsed() > limit {
                // What writes to it must not wait for ever.
                let _ = self.child.kill();
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                panic!(
                    "{}: waited for {what} in vain ({ended:?}); it said: {log}",
                    self.name
                );
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// What it has used of the processors.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        // utime and stime, the 14th and 15th field.
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }

    /// Its resident memory now, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    /// Its resident memory at its highest, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status("VmHWM:") * 1024
    }

    /// Its threads.
    pub(crate) fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    fn status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only where it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
