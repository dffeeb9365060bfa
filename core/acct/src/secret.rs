//! Secrets by reference: `{"$env": NAME}`, `{"$file": PATH}` and `{"$exec": [PROGRAM, ...]}` stand for a
//! text that is not in the acct file.
//!
//! They are read together with their entry, and so again at each reload. No message shows a value, the output of a
//! command or its arguments.

use std::borrow::Cow;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::Position;
use super::node::{Node, Value};
use super::running::RunningCommand;
use evbus_destination::environment;
use evbus_files::named_file::{self, NotRead};

/// The longest secret that is read, in bytes.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// How long a command that prints a secret may take.
pub const SECRET_TIMEOUT: Duration = Duration::from_secs(10);
/// How long what a command started may hold its output when the command itself has ended.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);
/// How often it is looked whether it has, while its output is open.
const LOOK: Duration = Duration::from_millis(50);

const ENV: &str = "$env";
const FILE: &str = "$file";
const EXEC: &str = "$exec";

/// What is wrong with a reference: the path to it, where it is, the sentence.
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) position: Option<Position>,
    pub(crate) message: String,
}

/// Reads references. Relative names of files begin in `dir`.
pub(crate) struct Resolver<'d> {
    dir: &'d Path,
    /// Why nothing is run, if so.
    doubt: Option<&'d str>,
    read: Vec<Zeroizing<String>>,
    pub(crate) faults: Vec<Fault>,
}

impl<'d> Resolver<'d> {
    pub(crate) fn new(dir: &'d Path, doubt: Option<&'d str>) -> Self {
        Self {
            dir,
            doubt,
            read: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// The tree with every reference replaced by its text. `path` leads to it.
    pub(crate) fn resolve<'n>(&mut self, node: &'n Node, path: &str) -> Cow<'n, Node> {
        if !has_reference(node) {
            return Cow::Borrowed(node);
        }
        let value = match &node.value {
            Value::List(items) => Value::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        self.resolve(item, &format!("{path}[{index}]")).into_owned()
                    })
                    .collect(),
            ),
            Value::Map(pairs) => match reference(node) {
                Some((kind, target)) => self.read(node, kind, target, path),
                None if let Some((name, meant)) = near_miss(node) => {
                    let message = format!(
                        "found `{name}`, which is not a reference, expected `{ENV}`, `{FILE}` or `{EXEC}`; did you mean `{meant}`?"
                    );
                    self.refuse(node, path, message)
                }
                None => Value::Map(
                    pairs
                        .iter()
                        .map(|(key, node)| {
                            let path = format!("{path}.{}", key.name);
                            (key.clone(), self.resolve(node, &path).into_owned())
                        })
                        .collect(),
                ),
            },
            value => value.clone(),
        };
        Cow::Owned(Node {
            value,
            position: node.position,
        })
    }

    /// The secrets that were read.
    pub(crate) fn into_read(self) -> Vec<Zeroizing<String>> {
        self.read
    }

    fn read(&mut self, node: &Node, kind: &str, target: &Node, path: &str) -> Value {
        let alone = matches!(&node.value, Value::Map(pairs) if pairs.len() == 1);
        let text = if alone {
            match (kind, &target.value) {
                (ENV, Value::Text(name)) => from_environment(name),
                (FILE, Value::Text(name)) => from_file(&self.dir.join(name.as_str())),
                (EXEC, Value::List(items)) => match self.doubt {
                    None => words(items).and_then(|words| from_command(&words, self.dir)),
                    Some(found) => Err(format!(
                        "`{EXEC}` is not allowed in {found}; run `chmod g-w` on it"
                    )),
                },
                (ENV, other) => Err(format!(
                    "found {} under `{ENV}`, expected the name of an environment variable; write one",
                    other.kind()
                )),
                (FILE, other) => Err(format!(
                    "found {} under `{FILE}`, expected the path of a file; write one",
                    other.kind()
                )),
                (_, other) => Err(format!(
                    "found {} under `{EXEC}`, expected a list of the program and its arguments; write [PROGRAM, ARGUMENT]",
                    other.kind()
                )),
            }
        } else {
            Err(format!(
                "found `{kind}` next to other keys, expected it as the only key; move the others out or remove it"
            ))
        };
        match text {
            Ok(text) => {
                self.read.push(text.clone());
                Value::Text(text)
            }
            Err(message) => self.refuse(node, path, message),
        }
    }

    fn refuse(&mut self, node: &Node, path: &str, message: String) -> Value {
        self.faults.push(Fault {
            path: path.to_owned(),
            position: node.position,
            message,
        });
        Value::Null
    }
}

fn has_reference(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => items.iter().any(has_reference),
        Value::Map(pairs) => {
            reference(node).is_some()
                || near_miss(node).is_some()
                || pairs.iter().any(|(_, node)| has_reference(node))
        }
        _ => false,
    }
}

/// The kind of a reference and what it refers to.
fn reference(node: &Node) -> Option<(&str, &Node)> {
    let Value::Map(pairs) = &node.value else {
        return None;
    };
    pairs
        .iter()
        .find(|(key, _)| [ENV, FILE, EXEC].contains(&key.name.as_str()))
        .map(|(key, target)| (key.name.as_str(), target))
}

/// A mapping's only key that is almost that of a reference, and the one that it is almost: the plugin would
/// take the mapping for a value.
fn near_miss(node: &Node) -> Option<(&str, &'static str)> {
    let Value::Map(pairs) = &node.value else {
        return None;
    };
    let [(key, _)] = pairs.as_slice() else {
        return None;
    };
    let name = key.name.to_lowercase();
    let meant = [ENV, FILE, EXEC]
        .into_iter()
        .find(|kind| strsim::damerau_levenshtein(&name, kind) <= 1)?;
    name.starts_with('$').then_some((key.name.as_str(), meant))
}

fn words(items: &[Node]) -> Result<Vec<&str>, String> {
    let words: Option<Vec<&str>> = items
        .iter()
        .map(|item| match &item.value {
            Value::Text(word) => Some(word.as_str()),
            _ => None,
        })
        .collect();
    match words {
        Some(words) if !words.is_empty() && !words[0].is_empty() => Ok(words),
        _ => Err(format!(
            "found a list under `{EXEC}` that is not a command, expected a program and its arguments, all text; put numbers in quotes"
        )),
    }
}

fn from_environment(name: &str) -> Result<Zeroizing<String>, String> {
    let refused = |why: &str| {
        Err(format!(
            "environment variable {name:?} {why}; set it to the secret where the host is started"
        ))
    };
    // Not repeated: it may be the secret itself.
    if !is_variable(name) {
        return Err("found an invalid variable name under `$env`, expected letters, digits and `_`; write the name of the variable, not the secret".to_owned());
    }
    match std::env::var(name).map(Zeroizing::new) {
        Ok(text) if text.is_empty() => refused("is empty"),
        Ok(text) => Ok(text),
        Err(std::env::VarError::NotPresent) => refused("is not set"),
        Err(std::env::VarError::NotUnicode(_)) => refused("is not UTF-8"),
    }
}

/// Whether a shell could have set a variable of this name.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && (name.bytes()).all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn from_file(path: &Path) -> Result<Zeroizing<String>, String> {
    let refused = |why: &str| {
        format!(
            "cannot read the secret from file {}: {why}; check the path and the file",
            path.display()
        )
    };
    let mut content = Zeroizing::new(Vec::new());
    named_file::read(path, MAX_SECRET_BYTES, &mut content).map_err(|error| match error {
        NotRead::Absent => refused("no such file"),
        NotRead::Is(kind) => refused(&format!("it is {kind}")),
        NotRead::Forbidden => refused("this user may not read it"),
        NotRead::TooLarge => refused("it is larger than 64 KiB"),
        NotRead::Endless | NotRead::Drained => refused("it is a pipe"),
        error @ NotRead::NoneLeft(_) => format!("file {}: {error}", path.display()),
        NotRead::Failed(error) => refused(&error.to_string()),
    })?;
    secret(&content).map_err(|found| refused(&format!("it is {found}")))
}

/// Room for the longest secret, so that nothing is left where a smaller buffer was.
fn buffer() -> Zeroizing<Vec<u8>> {
    let longest = usize::try_from(MAX_SECRET_BYTES).unwrap_or(usize::MAX / 2);
    Zeroizing::new(Vec::with_capacity(2 * longest))
}

/// A secret as it was written to a file or printed: one line end behind it does not count.
fn secret(content: &[u8]) -> Result<Zeroizing<String>, &'static str> {
    if content.len() as u64 > MAX_SECRET_BYTES {
        return Err("larger than 64 KiB");
    }
    let text = std::str::from_utf8(content).map_err(|_| "not UTF-8")?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err("empty");
    }
    Ok(Zeroizing::new(text.to_owned()))
}

fn from_command(words: &[&str], dir: &Path) -> Result<Zeroizing<String>, String> {
    let program = words[0];
    let refused = |why: String| {
        format!(
            "cannot get the secret from {program:?}: {why}; it must print the secret within {} s: run it by hand to see its messages",
            SECRET_TIMEOUT.as_secs()
        )
    };
    // A path is one from the acct file; a bare name is looked for on PATH.
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
        io::ErrorKind::NotFound => refused("no such program".to_owned()),
        _ => refused(format!("it cannot be started ({error})")),
    })?;
    let until = Instant::now() + SECRET_TIMEOUT;
    let content = output(&mut running, until).map_err(|error| match error {
        Unread::Open => format!(
            "cannot get the secret from {program:?}: it ended, but a process that it started keeps its standard output open; redirect the output of background processes, for example to /dev/null"
        ),
        Unread::Late => refused("it did not end".to_owned()),
        Unread::System(error) => refused(format!("its output cannot be read ({error})")),
    })?;
    if content.len() as u64 > MAX_SECRET_BYTES {
        return Err(refused("its output is larger than 64 KiB".to_owned()));
    }
    match running.ended(until) {
        None => Err(refused("it did not end".to_owned())),
        Some(status) if !status.success() => Err(refused(format!("it ended with {status}"))),
        Some(_) => secret(&content).map_err(|found| refused(format!("its output is {found}"))),
    }
}

/// Why there is no output.
enum Unread {
    /// The command has ended, and something that it started may still write.
    Open,
    Late,
    System(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// What a command prints, up to one byte more than a secret may have. Nothing waits on the pipe when this returns,
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

/// Whether a read would not wait: there is something, or the end. Waits for it for a moment.
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
