//! Regular expressions: those of the crate `regex`, which never go back in the text. They have no look-around and no
//! references to groups within the pattern.

use std::cell::RefCell;
use std::collections::VecDeque;

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, State};
use regex::{Regex, RegexBuilder};

use crate::fault::ours;

/// How large a pattern may become when it is compiled, in bytes: about 2,500 states.
const MAX_COMPILED: usize = 64 * 1024;
/// A smaller size; whatever fits into it costs less for each byte of the text.
const SMALL: usize = 8 * 1024;
/// What a state costs for a byte of the text: one step of the engine for so many.
const STATES_PER_STEP: usize = 256;
/// How many patterns a thread keeps compiled.
const MAX_KEPT: usize = 8;

pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter(
        "regex_search",
        |state: &State<'_, '_>, text: &str, pattern: &str, names: Kwargs| {
            groups(state, text, &flags(pattern, &names)?)
        },
    );
    environment.add_filter(
        "regex_match",
        |state: &State<'_, '_>, text: &str, pattern: &str, names: Kwargs| {
            groups(state, text, &format!(r"\A(?:{})", flags(pattern, &names)?))
        },
    );
    environment.add_filter(
        "regex_replace",
        |state: &State<'_, '_>, text: &str, pattern: &str, with: &str, names: Kwargs| {
            let found = compiled(state, &flags(pattern, &names)?, text)?;
            let with = replacement(with);
            let mut replaced = String::new();
            let mut end = 0;
            for found in found.captures_iter(text) {
                let Some(whole) = found.get(0) else { continue };
                replaced.push_str(&text[end..whole.start()]);
                let before = replaced.len();
                found.expand(&with, &mut replaced);
                // What is put in may be longer than what it stands for, many times over.
                state.consume_fuel(((replaced.len() - before) / 64 + 1) as u64)?;
                end = whole.end();
            }
            replaced.push_str(&text[end..]);
            Ok::<_, Error>(replaced)
        },
    );
}

/// The pattern, with the flags that Salt's filters know by name.
fn flags(pattern: &str, names: &Kwargs) -> Result<String, Error> {
    let mut flags = String::new();
    for (name, flag) in [("ignorecase", 'i'), ("multiline", 'm')] {
        if names.get::<Option<bool>>(name)? == Some(true) {
            flags.push(flag);
        }
    }
    names.assert_all_used()?;
    Ok(if flags.is_empty() {
        pattern.to_owned()
    } else {
        format!("(?{flags}:{pattern})")
    })
}

/// The groups of the first match, or the match itself where there are none; `none` if there is no match.
fn groups(state: &State<'_, '_>, text: &str, pattern: &str) -> Result<Value, Error> {
    let Some(found) = compiled(state, pattern, text)?.captures(text) else {
        return Ok(Value::from(()));
    };
    let first = usize::from(found.len() > 1);
    Ok((first..found.len())
        .map(|group| {
            found
                .get(group)
                .map_or(Value::from(()), |it| it.as_str().into())
        })
        .collect())
}

/// The pattern for a search in a text, whose work is charged before it is done.
fn compiled(state: &State<'_, '_>, pattern: &str, text: &str) -> Result<Regex, Error> {
    thread_local! {
        static KEPT: RefCell<VecDeque<(String, Regex, usize)>> = const { RefCell::new(VecDeque::new()) };
    }
    let (regex, size) = KEPT.with_borrow_mut(|kept| {
        if let Some(at) = kept.iter().position(|(known, ..)| known == pattern) {
            let (_, regex, size) = &kept[at];
            return Ok((regex.clone(), *size));
        }
        // What compiling takes.
        state.consume_fuel(100 + pattern.len() as u64)?;
        let (regex, size) = compile(pattern)?;
        if kept.len() == MAX_KEPT {
            kept.pop_front();
        }
        kept.push_back((pattern.to_owned(), regex.clone(), size));
        Ok::<_, Error>((regex, size))
    })?;
    // A state takes at least a dozen bytes.
    let states = size / 12;
    state.consume_fuel((text.len().saturating_mul(states) / STATES_PER_STEP) as u64)?;
    Ok(regex)
}

fn compile(pattern: &str) -> Result<(Regex, usize), Error> {
    let build = |size| {
        (RegexBuilder::new(pattern)
            .size_limit(size)
            .dfa_size_limit(4 * MAX_COMPILED)
            .nest_limit(50))
        .build()
    };
    let small = build(SMALL).map(|regex| (regex, SMALL));
    small
        .or_else(|_| build(MAX_COMPILED).map(|regex| (regex, MAX_COMPILED)))
        .map_err(|error| {
            ours(match error {
                regex::Error::CompiledTooBig(_) => {
                    "found a regular expression that is too large; expected fewer repetitions"
                }
                _ => "found a regular expression that cannot be read; look-around and references to groups are not supported",
            })
        })
}

/// Python's `\1` and `\g<name>` in the words of the crate.
fn replacement(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '$' {
            written.push_str("$$");
            continue;
        }
        if c != '\\' {
            written.push(c);
            continue;
        }
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let named = rest
            .strip_prefix("g<")
            .and_then(|rest| rest.split_once('>'));
        if let Some((name, after)) = named {
            written.push_str(&format!("${{{name}}}"));
            rest = after;
        } else if digits > 0 {
            let (number, after) = rest.split_at(digits.min(2));
            written.push_str(&format!("${{{number}}}"));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('\\') {
            written.push('\\');
            rest = after;
        } else {
            written.push('\\');
        }
    }
    written
}
