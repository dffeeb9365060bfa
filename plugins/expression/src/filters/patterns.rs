//! Regular expressions: those of the crate `regex`, which never go back in the text. They have no look-around and no
//! references to groups within the pattern.

use std::cell::RefCell;
use std::collections::VecDeque;

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, State};
use regex::{Regex, RegexBuilder};

use crate::fault::ours;

/// How large a pattern may become when it is compiled, in bytes; each is tried in turn, because the crate does not say how
/// large it is, and a text costs more where the pattern is larger.
const SIZES: [usize; 4] = [1024, 4 * 1024, 16 * 1024, 64 * 1024];
/// What a state takes at least when it is compiled, in bytes.
const STATE: usize = 12;
/// What a state costs for a byte of the text, if the worst comes to the worst: one step of the engine for so many.
const STATES_PER_STEP: usize = 512;
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
            let (regex, size) = compiled(state, &flags(pattern, &names)?)?;
            charge(state, text.len(), size)?;
            let with = replacement(with);
            let mut replaced = String::new();
            let mut end = 0;
            for found in regex.captures_iter(text) {
                let Some(whole) = found.get(0) else { continue };
                // Where the match ends says nothing of how far the search has looked.
                charge(state, text.len() - whole.end(), size)?;
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
    let (regex, size) = compiled(state, pattern)?;
    charge(state, text.len(), size)?;
    let Some(found) = regex.captures(text) else {
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

/// Charges the work of a search before it is done.
fn charge(state: &State<'_, '_>, text: usize, size: usize) -> Result<(), Error> {
    let work = text.saturating_mul(size / STATE) / STATES_PER_STEP;
    state.consume_fuel(work as u64).map_err(|_| {
        ours("the text is too long for this regular expression; expected a shorter one, or a simpler expression")
    })
}

/// The pattern, and the size that it fits into.
fn compiled(state: &State<'_, '_>, pattern: &str) -> Result<(Regex, usize), Error> {
    thread_local! {
        /// The one that was used last is at the end.
        static KEPT: RefCell<VecDeque<(String, Regex, usize)>> = const { RefCell::new(VecDeque::new()) };
    }
    KEPT.with_borrow_mut(|kept| {
        let known = kept.iter().position(|(known, ..)| known == pattern);
        let (pattern, regex, size) = match known.and_then(|at| kept.remove(at)) {
            Some(known) => known,
            None => {
                // What compiling takes.
                state.consume_fuel(100 + pattern.len() as u64)?;
                let (regex, size) = compile(pattern)?;
                if kept.len() == MAX_KEPT {
                    kept.pop_front();
                }
                (pattern.to_owned(), regex, size)
            }
        };
        kept.push_back((pattern, regex.clone(), size));
        Ok((regex, size))
    })
}

fn compile(pattern: &str) -> Result<(Regex, usize), Error> {
    let build = |size| {
        let mut builder = RegexBuilder::new(pattern);
        builder
            .size_limit(size)
            .dfa_size_limit(256 * 1024)
            .nest_limit(50);
        builder.build()
    };
    let mut error = None;
    for size in SIZES {
        match build(size) {
            Ok(regex) => return Ok((regex, size)),
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(other) => {
                error = Some(other);
                break;
            }
        }
    }
    Err(ours(match error {
        None => "found a regular expression that is too large; expected fewer repetitions",
        Some(_) => {
            "found a regular expression that cannot be read; look-around and references to groups are not supported"
        }
    }))
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
