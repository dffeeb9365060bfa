//! The tree of an acct file: values with the positions at which they were written.

use std::collections::HashMap;
use std::fmt;

use serde_json::Number;
use zeroize::Zeroizing;

use super::Position;
use super::key::Key;
use super::place::Place;

/// A value and its position; without a position if it was not read from a text.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// What a node holds. Mappings keep the file's order; their keys are distinct where the file has no fault.
#[derive(Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    /// Wiped when it is dropped, because it may be a password.
    Text(Zeroizing<String>),
    /// A value that YAML can express but JSON cannot. It is an error only if it is used, because a section that no
    /// plugin serves may contain anything.
    NotJson(Foreign),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A value that JSON does not have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Foreign {
    /// A whole number of more than 64 bits, as it was written.
    TooBig(Zeroizing<String>),
    /// `.inf`, `-.inf` or `.nan`.
    NotFinite(f64),
    Binary(Zeroizing<Vec<u8>>),
    /// A set, which YAML writes as keys without values.
    Set(Vec<Key>),
    /// A value of a type that only certain Python programs use.
    Extension,
}

impl Foreign {
    /// What it is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::TooBig(_) => "a whole number of more than 64 bits",
            Self::NotFinite(_) => "a number that is not finite",
            Self::Binary(_) => "binary data",
            Self::Set(_) => "a set",
            Self::Extension => "an extension value",
        }
    }
}

/// A value that cannot become JSON: the path to it, where it is and what it is.
#[derive(Debug)]
pub(crate) struct NotJson {
    pub(crate) path: String,
    pub(crate) place: Place,
    pub(crate) what: &'static str,
}

impl Value {
    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(Zeroizing::new(text.into()))
    }

    /// What this is, in words, without the value itself.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::NotJson(foreign) => foreign.kind(),
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// The value as JSON; order of keys is kept.
    pub(crate) fn to_json(&self) -> Result<serde_json::Value, NotJson> {
        Ok(match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(number) => number.clone().into(),
            Value::Text(text) => text.as_str().into(),
            Value::NotJson(foreign) => {
                return Err(NotJson {
                    path: String::new(),
                    place: self.place,
                    what: foreign.kind(),
                });
            }
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| item.to_json().map_err(|e| e.under(&format!("[{index}]"))))
                .collect::<Result<Vec<_>, _>>()?
                .into(),
            Value::Map(pairs) => pairs
                .iter()
                .map(|(key, node)| {
                    let value = node.to_json().map_err(|e| e.under(&key.name))?;
                    Ok((key.name.clone(), value))
                })
                .collect::<Result<serde_json::Map<_, _>, _>>()?
                .into(),
        })
    }

    /// The largest number of times that one key is repeated in a mapping of the tree; at least 1.
    pub(crate) fn readings(&self) -> usize {
        match &self.value {
            Value::List(items) => items.iter().map(Self::readings).max().unwrap_or(1),
            Value::Map(pairs) => {
                let mut counts: HashMap<&str, usize> = HashMap::new();
                let each = pairs.iter().map(|(key, node)| {
                    let count = counts.entry(&key.name).or_default();
                    *count += 1;
                    node.readings().max(*count)
                });
                each.max().unwrap_or(1)
            }
            _ => 1,
        }
    }

    /// The tree with each key once, and of one that is there several times the value at this position among
    /// them, or else the last.
    pub(crate) fn reading(&self, nth: usize) -> Self {
        let value = match &self.value {
            Value::List(items) => Value::List(items.iter().map(|it| it.reading(nth)).collect()),
            Value::Map(pairs) => {
                let mut seen: HashMap<&str, (usize, usize)> = HashMap::new();
                let mut kept: Vec<(Key, Self)> = Vec::new();
                for (key, node) in pairs {
                    let (count, place) = seen.entry(&key.name).or_insert((0, kept.len()));
                    *count += 1;
                    match kept.get_mut(*place) {
                        None => kept.push((key.clone(), node.reading(nth))),
                        Some(pair) if *count <= nth + 1 => *pair = (key.clone(), node.reading(nth)),
                        Some(_) => {}
                    }
                }
                Value::Map(kept)
            }
            value => value.clone(),
        };
        Self {
            value,
            place: self.place,
        }
    }

    /// The tree's lists, keys and positions, without a value of it.
    pub(crate) fn outline(&self) -> Self {
        let value = match &self.value {
            Value::List(items) => Value::List(items.iter().map(Self::outline).collect()),
            Value::Map(pairs) => Value::Map(
                pairs
                    .iter()
                    .map(|(key, node)| (key.clone(), node.outline()))
                    .collect(),
            ),
            _ => Value::Null,
        };
        Self {
            value,
            place: self.place,
        }
    }

    /// Translates every position of the tree.
    pub(crate) fn relocate(&mut self, moved: &impl Fn(Position) -> Position) {
        self.place = self.place.moved(moved);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.relocate(moved)),
            Value::Map(pairs) => {
                for (key, node) in pairs {
                    key.place = key.place.moved(moved);
                    node.relocate(moved);
                }
            }
            _ => {}
        }
    }

    /// The position of the key named by a dotted path, or of its nearest parent that exists.
    ///
    /// Paths are what `serde_path_to_error` prints (`connection.acks`, `topics[1]`, `.` for the root)
    /// or `serde_ignored` (`topics.1`, `?` for an optional layer). Keys may hold dots themselves.
    pub(crate) fn locate(&self, path: &str, root: Place) -> Place {
        self.deepest(path, root).1
    }

    /// The deepest place below this node that `path` reaches, and how many bytes of it remain unused.
    fn deepest(&self, path: &str, here: Place) -> (usize, Place) {
        let path = path.strip_prefix('.').unwrap_or(path);
        let mut best = (path.len(), here);
        let mut offer = |found: (usize, Place)| {
            if found.0 < best.0 {
                best = found;
            }
        };
        if let Some(rest) = path.strip_prefix('?') {
            offer(self.deepest(rest, here));
        }
        match &self.value {
            Value::Map(pairs) => {
                for (key, node) in pairs {
                    if let Some(rest) = path.strip_prefix(key.name.as_str())
                        && (rest.is_empty() || rest.starts_with(['.', '[']))
                    {
                        offer(node.deepest(rest, key.place));
                    }
                }
            }
            Value::List(items) => {
                if let Some((index, rest)) = leading_index(path)
                    && let Some(item) = items.get(index)
                {
                    offer(item.deepest(rest, item.place));
                }
            }
            _ => {}
        }
        best
    }
}

/// Splits `[1].x` or `1.x` into the index and what follows it.
fn leading_index(path: &str) -> Option<(usize, &str)> {
    let (index, rest) = match path.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => path.split_at(path.find('.').unwrap_or(path.len())),
    };
    Some((index.parse().ok()?, rest))
}

impl NotJson {
    /// Puts one more step in front of the path.
    pub(crate) fn under(self, step: &str) -> Self {
        let path = match self.path.as_str() {
            "" => step.to_owned(),
            path if path.starts_with('[') => format!("{step}{path}"),
            path => format!("{step}.{path}"),
        };
        Self { path, ..self }
    }
}

/// Shows the kind and the position, but not the value, which may be a secret.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({}", self.value.kind())?;
        if let Some(Position { line, column }) = self.place.position() {
            write!(f, " at {line}:{column}")?;
        }
        f.write_str(")")
    }
}
