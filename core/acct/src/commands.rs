//! The commands of `{"$exec": [PROGRAM, ...]}`: run side by side, each once, and only for a file without other faults.
//!
//! All of them together have one deadline, so that a file whose commands hang is read within it.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::Section;
use super::node::{Node, Value};
use super::running::RunningCommand;
use super::secret::{EXEC, MAX_SECRET_BYTES, secret};
use evbus_destination::environment;
use evbus_report::counted;

/// How long the commands of a file that print secrets may take, all together.
pub const SECRET_TIMEOUT: Duration = Duration::from_secs(10);
/// How many commands run at a time.
const AT_ONCE: usize = 32;
/// How long the output may stay open after the command has ended.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);
/// How often to check whether the command has ended while its output is open.
const LOOK: Duration = Duration::from_millis(50);

/// A secret, or the sentence that says why there is none.
type Output = Result<Zeroizing<String>, String>;

/// The commands of some sections of one file, and what they printed if they have run; kept for one reading of the file.
#[derive(Default)]
pub struct Commands<'s> {
    /// In the order of the file, with the directory that they are started from.
    waiting: Vec<(Vec<String>, &'s Path)>,
    outputs: HashMap<Vec<String>, Output>,
}

impl<'s> Commands<'s> {
    /// Calls `look` with commands that have not run and, if `is_well` is true of what it returns, again after they
    /// have run: nothing of a file that cannot be used anyway is run. Returns the last result, and how many commands
    /// were not run. Blocks until they have ended, [`SECRET_TIMEOUT`] at most.
    pub fn unless_faulty<T>(
        sections: impl IntoIterator<Item = &'s Section>,
        mut look: impl FnMut(&Self) -> T,
        is_well: impl FnOnce(&T) -> bool,
    ) -> (T, usize) {
        let commands = Self::of(sections);
        let found = look(&commands);
        match commands.waiting.len() {
            0 => (found, 0),
            unrun if !is_well(&found) => (found, unrun),
            _ => (look(&commands.run()), 0),
        }
    }

    /// The commands of these sections, each once. None has run.
    fn of(sections: impl IntoIterator<Item = &'s Section>) -> Self {
        let mut waiting = Vec::new();
        let mut known = HashSet::new();
        for section in sections.into_iter().filter(|it| it.doubt().is_none()) {
            for words in section.commands() {
                let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
                if known.insert(words.clone()) {
                    waiting.push((words, section.dir()));
                }
            }
        }
        Self {
            waiting,
            outputs: HashMap::new(),
        }
    }

    /// Runs them side by side.
    fn run(mut self) -> Self {
        let mut waiting = std::mem::take(&mut self.waiting);
        // Threads take from the end: the first command of the file must be last.
        waiting.reverse();
        let count = waiting.len().min(AT_ONCE);
        let queue = Mutex::new(Queue {
            waiting,
            until: Instant::now() + SECRET_TIMEOUT,
            outputs: HashMap::new(),
        });
        thread::scope(|scope| {
            for _ in 1..count {
                // If a thread cannot be started, fewer commands run at a time.
                let _ = thread::Builder::new().spawn_scoped(scope, || Queue::work(&queue));
            }
            Queue::work(&queue);
        });
        self.outputs = queue.into_inner().outputs;
        self
    }

    /// What a command printed; none if it has not run.
    pub(crate) fn output(&self, words: &[&str]) -> Option<Output> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        self.outputs.get(&words).cloned()
    }
}

/// The sentence about commands that were not run.
pub(crate) fn unrun(count: usize) -> String {
    format!(
        "{} not run because of the faults above; mend those first",
        counted(count, "`$exec` command was", "`$exec` commands were")
    )
}

/// The commands that have not been started, and the results of the others.
struct Queue<'s> {
    waiting: Vec<(Vec<String>, &'s Path)>,
    until: Instant,
    outputs: HashMap<Vec<String>, Output>,
}

impl Queue<'_> {
    fn work(queue: &Mutex<Self>) {
        loop {
            let (next, until) = {
                let mut queue = queue.lock();
                (queue.waiting.pop(), queue.until)
            };
            let Some((words, dir)) = next else {
                return;
            };
            let output = if Instant::now() < until {
                from_command(&words, dir, until)
            } else {
                Err(format!(
                    "cannot get the secret from {:?}: it was not run, because the commands before it took {} s, which is the limit for all commands of a file; mend those first",
                    words[0],
                    SECRET_TIMEOUT.as_secs()
                ))
            };
            queue.lock().outputs.insert(words, output);
        }
    }
}

/// The sentence for a command that gives no secret.
fn unread(program: &str, why: &str) -> String {
    format!("cannot get the secret from {program:?}: {why}; run it by hand to see its messages")
}

/// The reason for a command that was still running at the common deadline.
fn late() -> String {
    format!(
        "it did not end; all commands of a file have {} s together",
        SECRET_TIMEOUT.as_secs()
    )
}

pub(crate) fn words(items: &[Node]) -> Result<Vec<&str>, String> {
    let words: Option<Vec<&str>> = items
        .iter()
        .map(|item| match &item.value {
            Value::Text(word) => Some(word.as_str()),
            _ => None,
        })
        .collect();
    match words {
        Some(words) if words.first().is_some_and(|program| !program.is_empty()) => Ok(words),
        Some(_) => Err(format!(
            "found no program under `{EXEC}`, expected a program and its arguments; name the program first"
        )),
        None => Err(format!(
            "found a list under `{EXEC}` that is not a command, expected a program and its arguments, all text; put numbers and the like in quotes"
        )),
    }
}

/// Large enough for the longest secret, so that it never moves and leaves a copy behind.
fn buffer() -> Zeroizing<Vec<u8>> {
    let longest = usize::try_from(MAX_SECRET_BYTES).unwrap_or(usize::MAX / 2);
    Zeroizing::new(Vec::with_capacity(2 * longest))
}

fn from_command(words: &[String], dir: &Path, until: Instant) -> Output {
    let program = words[0].as_str();
    let refused = |why: String| unread(program, &why);
    // A path is relative to the acct file's directory; a bare name is looked up on PATH.
    let path: PathBuf = if program.contains('/') {
        dir.join(program)
    } else {
        program.into()
    };
    let mut command = Command::new(path);
    environment::pass_on_all_but(&[], &mut command);
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut running = RunningCommand::start(&mut command).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!(
            "cannot get the secret from {program:?}: no such program; check its name, and the PATH of the host"
        ),
        _ => refused(format!("it cannot be started ({error})")),
    })?;
    let content = output(&mut running, until).map_err(|error| match error {
        Unread::Open => format!(
            "cannot get the secret from {program:?}: it ended, but a process that it started keeps its standard output open; redirect the output of background processes, for example to /dev/null"
        ),
        Unread::Late => refused(late()),
        Unread::System(error) => refused(format!("its output cannot be read ({error})")),
    })?;
    if content.len() as u64 > MAX_SECRET_BYTES {
        return Err(refused("its output is larger than 64 KiB".to_owned()));
    }
    match running.ended(until) {
        None => Err(refused(late())),
        Some(status) if !status.success() => Err(refused(format!("it ended with {status}"))),
        Some(_) => secret(&content).map_err(|found| refused(format!("its output is {found}"))),
    }
}

/// Why there is no output.
enum Unread {
    /// The command has ended, but a process that it started keeps the output open.
    Open,
    Late,
    System(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// The output of a command, up to one byte more than a secret may have. When this returns, nothing waits on the pipe,
/// whoever holds its other end.
fn output(command: &mut RunningCommand, until: Instant) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let mut content = buffer();
    let Some(mut stdout) = command.stdout() else {
        return Ok(content);
    };
    let most = usize::try_from(MAX_SECRET_BYTES).unwrap_or(usize::MAX - 1) + 1;
    let mut piece = Zeroizing::new([0; 4096]);
    let (mut output_until, mut has_ended) = (until, false);
    while content.len() < most {
        if Instant::now() >= output_until {
            return Err(if has_ended {
                Unread::Open
            } else {
                Unread::Late
            });
        }
        if !readable(&stdout)? {
            if !has_ended && command.has_ended() {
                has_ended = true;
                output_until = until.min(Instant::now() + OUTPUT_GRACE);
            }
            continue;
        }
        let room = piece.len().min(most - content.len());
        match stdout.read(&mut piece[..room]) {
            Ok(0) => break,
            Ok(read) => content.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(content)
}

/// Whether a read would not block, because there is data or the end. Waits for that for a moment.
fn readable(stdout: &ChildStdout) -> io::Result<bool> {
    let moment = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(LOOK.subsec_nanos()),
    };
    match poll(&mut [PollFd::new(stdout, PollFlags::IN)], Some(&moment)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
