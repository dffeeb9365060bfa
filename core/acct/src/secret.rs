//! Secrets by reference: `{"$env": NAME}`, `{"$file": PATH}` and `{"$exec": [PROGRAM, ...]}` stand for a
//! text that is not in the acct file.
//!
//! They are read together with their entry, and so again at each reload. No message shows a value, the output of a
//! command or its arguments.

use std::borrow::Cow;
use std::path::Path;

use zeroize::Zeroizing;

use super::commands::{Commands, words};
use super::node::{Node, Value};
use super::place::Place;
use evbus_files::named_file::{self, NotRead};

/// The longest secret that is read, in bytes.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;

const ENV: &str = "$env";
const FILE: &str = "$file";
pub(crate) const EXEC: &str = "$exec";

/// What is wrong with a reference: the path to it, where it is, the sentence.
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// Reads references. Relative file names start from `dir`.
pub(crate) struct Resolver<'d> {
    dir: &'d Path,
    /// Why no command may be run, if so.
    doubt: Option<&'d str>,
    /// What the commands printed, if they have run.
    commands: &'d Commands<'d>,
    read: Vec<Zeroizing<String>>,
    /// Whether the output of a command that has not run yet is missing.
    pub(crate) is_waiting: bool,
    pub(crate) faults: Vec<Fault>,
}

impl<'d> Resolver<'d> {
    pub(crate) fn new(dir: &'d Path, doubt: Option<&'d str>, commands: &'d Commands<'d>) -> Self {
        Self {
            dir,
            doubt,
            commands,
            read: Vec::new(),
            is_waiting: false,
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
            place: node.place,
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
                    None => match words(items).map(|words| self.commands.output(&words)) {
                        Ok(Some(output)) => output,
                        Ok(None) => {
                            self.is_waiting = true;
                            return Value::Null;
                        }
                        Err(message) => Err(message),
                    },
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
            place: node.place,
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

/// Every valid command of a `$exec` in the tree.
pub(crate) fn commands_in<'n>(node: &'n Node, found: &mut Vec<Vec<&'n str>>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| commands_in(item, found)),
        Value::Map(pairs) => match reference(node) {
            Some((EXEC, target)) if pairs.len() == 1 => {
                if let Value::List(items) = &target.value {
                    found.extend(words(items));
                }
            }
            Some(_) => {}
            None => pairs.iter().for_each(|(_, node)| commands_in(node, found)),
        },
        _ => {}
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

/// A mapping's only key that is almost the key of a reference, and that key: the plugin would treat the mapping as a
/// value.
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

fn from_environment(name: &str) -> Result<Zeroizing<String>, String> {
    let refused = |why: &str| {
        Err(format!(
            "environment variable {name:?} {why}; set it to the secret where the host is started"
        ))
    };
    // The message does not repeat the name: it may be the secret itself.
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

/// A secret from a file or from a command's output: one final line break does not count.
pub(crate) fn secret(content: &[u8]) -> Result<Zeroizing<String>, &'static str> {
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
