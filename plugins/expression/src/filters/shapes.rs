//! Other shapes of a body: fewer keys, other names, masked values, shorter texts.

use std::collections::HashSet;

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, State};

use crate::fault::ours;
use crate::text::kind;

/// How deeply a value may be nested; bodies are not nested more deeply.
const MAX_DEPTH: usize = 128;
/// How many values are looked at for one step of the engine.
const VALUES_PER_STEP: usize = 4;

pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter(
        "without",
        |state: &State<'_, '_>, value: Value, keys: Rest<Value>| {
            let keys = names(&keys)?;
            let mut walk = Walk::new(state, |_, _| Ok(None));
            walk.dropped = keys;
            walk.walk(&value, 0)
        },
    );
    environment.add_filter(
        "only",
        |state: &State<'_, '_>, value: Value, keys: Rest<Value>| {
            let keys = names(&keys)?;
            let mut steps = Steps::new(state);
            let mut kept = Vec::new();
            for (key, value) in pairs("only", &value)? {
                steps.take()?;
                if key.as_str().is_some_and(|key| keys.contains(key)) {
                    kept.push((key, value));
                }
            }
            Ok::<_, Error>(Value::from_pairs(kept))
        },
    );
    environment.add_filter(
        "mask",
        |state: &State<'_, '_>, value: Value, keys: Rest<Value>, options: Kwargs| {
            let keys = names(&keys)?;
            let with = if options.has("with") {
                options.get("with")?
            } else {
                Value::from("***")
            };
            options.assert_all_used()?;
            let mut walk = Walk::new(state, |key, _| {
                let masked = key.is_some_and(|key| keys.contains(key));
                Ok(masked.then(|| with.clone()))
            });
            walk.walk(&value, 0)
        },
    );
    environment.add_filter(
        "shorten",
        |state: &State<'_, '_>, value: Value, length: usize, options: Kwargs| {
            let end: Option<&str> = options.get("end")?;
            options.assert_all_used()?;
            let end = end.unwrap_or("...");
            let mut walk = Walk::new(state, |_, value| {
                let Some(text) = value.as_str() else {
                    return Ok(None);
                };
                let Some((at, _)) = text.char_indices().nth(length) else {
                    return Ok(None);
                };
                state.consume_fuel(((at + end.len()) / 64 + 1) as u64)?;
                Ok(Some(Value::from(format!("{}{end}", &text[..at]))))
            });
            walk.walk(&value, 0)
        },
    );
    environment.add_filter(
        "flatten",
        |state: &State<'_, '_>, value: Value, separator: Option<&str>, options: Kwargs| {
            let named: Option<&str> = options.get("separator")?;
            options.assert_all_used()?;
            let mut flat = Vec::new();
            pairs("flatten", &value)?;
            let separator = named.or(separator).unwrap_or(".");
            flatten(&mut Steps::new(state), "", separator, &value, &mut flat, 0)?;
            Ok::<_, Error>(Value::from_pairs(flat))
        },
    );
    environment.add_filter(
        "rename",
        |state: &State<'_, '_>, value: Value, renamed: Option<Value>, options: Kwargs| {
            let mut steps = Steps::new(state);
            let mut named = Vec::new();
            for (key, value) in pairs("rename", &value)? {
                steps.take()?;
                let text = key.as_str().unwrap_or_default();
                let other = if options.has(text) {
                    options.get(text)?
                } else {
                    let given = renamed
                        .as_ref()
                        .and_then(|renamed| renamed.get_item(&key).ok());
                    given.filter(|given| !given.is_undefined()).unwrap_or(key)
                };
                named.push((other, value));
            }
            Ok::<_, Error>(Value::from_pairs(named))
        },
    );
}

/// The keys that are given one by one, or as lists.
fn names(keys: &[Value]) -> Result<HashSet<String>, Error> {
    let mut names = HashSet::new();
    for key in keys {
        if let Some(name) = key.as_str() {
            names.insert(name.to_owned());
            continue;
        }
        let unfit = || ours("found a key of another kind, expected the names of keys");
        for key in key.try_iter().map_err(|_| unfit())? {
            names.insert(key.as_str().ok_or_else(unfit)?.to_owned());
        }
    }
    Ok(names)
}

fn pairs(filter: &str, value: &Value) -> Result<Vec<(Value, Value)>, Error> {
    if value.kind() != ValueKind::Map {
        let found = kind(value.kind());
        return Err(ours(format!(
            "found {found} for {filter}, expected a mapping"
        )));
    }
    (value.try_iter()?)
        .map(|key| Ok((key.clone(), value.get_item(&key)?)))
        .collect()
}

/// Counts the values that are looked at.
struct Steps<'s, 'a, 'b> {
    state: &'s State<'a, 'b>,
    values: usize,
}

impl<'s, 'a, 'b> Steps<'s, 'a, 'b> {
    fn new(state: &'s State<'a, 'b>) -> Self {
        Self { state, values: 0 }
    }

    fn take(&mut self) -> Result<(), Error> {
        self.values += 1;
        if self.values.is_multiple_of(VALUES_PER_STEP) {
            self.state.consume_fuel(1)?;
        }
        Ok(())
    }
}

/// Makes another value of one, from its leaves on.
struct Walk<'s, 'a, 'b, F> {
    steps: Steps<'s, 'a, 'b>,
    dropped: HashSet<String>,
    /// What stands in the place of a value, which may be that of a key.
    other: F,
}

impl<'s, 'a, 'b, F> Walk<'s, 'a, 'b, F>
where
    F: FnMut(Option<&str>, &Value) -> Result<Option<Value>, Error>,
{
    fn new(state: &'s State<'a, 'b>, other: F) -> Self {
        Self {
            steps: Steps::new(state),
            dropped: HashSet::new(),
            other,
        }
    }

    fn walk(&mut self, value: &Value, depth: usize) -> Result<Value, Error> {
        self.steps.take()?;
        if depth > MAX_DEPTH {
            return Err(ours(format!(
                "found a value that is nested more than {MAX_DEPTH} levels deep"
            )));
        }
        match value.kind() {
            ValueKind::Map => {
                let mut made = Vec::new();
                for key in value.try_iter()? {
                    let name = key.as_str();
                    if name.is_some_and(|name| self.dropped.contains(name)) {
                        continue;
                    }
                    let item = value.get_item(&key)?;
                    self.steps.take()?;
                    let item = match (self.other)(name, &item)? {
                        Some(other) => other,
                        None => self.walk(&item, depth + 1)?,
                    };
                    made.push((key, item));
                }
                Ok(Value::from_pairs(made))
            }
            ValueKind::Seq | ValueKind::Iterable => (value.try_iter()?)
                .map(|item| self.item(&item, depth))
                .collect::<Result<Vec<Value>, Error>>()
                .map(Value::from),
            _ => Ok((self.other)(None, value)?.unwrap_or_else(|| value.clone())),
        }
    }

    fn item(&mut self, item: &Value, depth: usize) -> Result<Value, Error> {
        self.steps.take()?;
        match (self.other)(None, item)? {
            Some(other) => Ok(other),
            None => self.walk(item, depth + 1),
        }
    }
}

fn flatten(
    steps: &mut Steps<'_, '_, '_>,
    path: &str,
    separator: &str,
    value: &Value,
    flat: &mut Vec<(Value, Value)>,
    depth: usize,
) -> Result<(), Error> {
    steps.take()?;
    // A long path stands before every value below it.
    steps.state.consume_fuel(path.len() as u64 / 64)?;
    if depth > MAX_DEPTH {
        return Err(ours(format!(
            "found a value that is nested more than {MAX_DEPTH} levels deep"
        )));
    }
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}{separator}{key}")
        }
    };
    match value.kind() {
        ValueKind::Map if value.len() != Some(0) || depth == 0 => {
            for key in value.try_iter()? {
                let item = value.get_item(&key)?;
                flatten(
                    steps,
                    &below(&key.to_string()),
                    separator,
                    &item,
                    flat,
                    depth + 1,
                )?;
            }
        }
        ValueKind::Seq if value.len() != Some(0) => {
            for (position, item) in value.try_iter()?.enumerate() {
                flatten(
                    steps,
                    &below(&position.to_string()),
                    separator,
                    &item,
                    flat,
                    depth + 1,
                )?;
            }
        }
        _ => flat.push((Value::from(path), value.clone())),
    }
    Ok(())
}
