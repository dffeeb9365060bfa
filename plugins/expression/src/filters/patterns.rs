//! Regular expressions: those of the crate `regex`, which never go back in the text. They have no look-around and no
//! references to groups within the pattern.

use std::cell::RefCell;
use std::collections::VecDeque;

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, State};
use regex::{Regex, RegexBuilder, bytes};

use crate::fault::ours;

/// How large a pattern may become when it is compiled, in bytes. A `\w` takes a tenth of it, because it knows the letters
/// of all scripts.
const MAX_COMPILED: usize = 512 * 1024;
/// How large what is at work at a time may be: about 2,500 states. It is measured as the size of the pattern with the
/// letters of ASCII alone, because a character is in a few states of a class, however large the class is.
const MAX_AT_WORK: usize = 64 * 1024;
/// A smaller size; whatever fits into it costs less for each byte of the text.
const SMALL: usize = 8 * 1024;
/// How deeply groups may be nested.
const MAX_NESTING: u32 = 50;
/// What a state costs for a byte of the text: one step of the engine for so many.
const STATES_PER_STEP: usize = 512;
/// How many patterns a thread keeps compiled, and an evaluation.
const MAX_KEPT: usize = 8;

pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter(
        "regex_search",
        |state: &mut State<'_, '_>, text: &str, pattern: &str, names: Kwargs| {
            groups(state, text, &flags(pattern, &names)?)
        },
    );
    environment.add_filter(
        "regex_match",
        |state: &mut State<'_, '_>, text: &str, pattern: &str, names: Kwargs| {
            groups(state, text, &format!(r"\A(?:{})", flags(pattern, &names)?))
        },
    );
    environment.add_filter(
        "regex_replace",
        |state: &mut State<'_, '_>, text: &str, pattern: &str, with: &str, names: Kwargs| {
            let compiled = compiled(state, &flags(pattern, &names)?)?;
            charge(state, &compiled, text.len())?;
            let with = replacement(with);
            let mut replaced = String::new();
            let mut end = 0;
            for found in compiled.regex.captures_iter(text) {
                let Some(whole) = found.get(0) else { continue };
                // Where the match ends says nothing of how far the search has looked.
                charge(state, &compiled, text.len() - whole.end())?;
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
fn groups(state: &mut State<'_, '_>, text: &str, pattern: &str) -> Result<Value, Error> {
    let compiled = compiled(state, pattern)?;
    charge(state, &compiled, text.len())?;
    let Some(found) = compiled.regex.captures(text) else {
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
fn charge(state: &State<'_, '_>, compiled: &Compiled, text: usize) -> Result<(), Error> {
    // A state takes at least a dozen bytes.
    let work = text.saturating_mul(compiled.at_work / 12) / STATES_PER_STEP;
    state.consume_fuel(work as u64).map_err(|_| {
        ours("the text is too long for this regular expression; expected a shorter one, or a simpler expression")
    })
}

/// A pattern, compiled for this evaluation.
fn compiled(state: &mut State<'_, '_>, pattern: &str) -> Result<Compiled, Error> {
    let used = state.get_extension::<Used>();
    if let Some(compiled) = used.and_then(|used| used.0.get(pattern)) {
        return Ok(compiled);
    }
    let compiled = of_thread(state, pattern)?;
    let used = state.get_or_insert_extension(Used::default());
    used.0.put(pattern, compiled.clone());
    Ok(compiled)
}

/// The last patterns of an evaluation. What is not among them is charged, whether or not the thread has it, so that an
/// evaluation always takes the same steps.
#[derive(Default)]
struct Used(Last);

/// The last patterns, compiled.
#[derive(Default)]
struct Last(VecDeque<(String, Compiled)>);

impl Last {
    fn get(&self, pattern: &str) -> Option<Compiled> {
        let found = self.0.iter().find(|(known, _)| known == pattern);
        found.map(|(_, compiled)| compiled.clone())
    }

    fn put(&mut self, pattern: &str, compiled: Compiled) {
        if self.0.len() == MAX_KEPT {
            self.0.pop_front();
        }
        self.0.push_back((pattern.to_owned(), compiled));
    }
}

#[derive(Clone)]
struct Compiled {
    regex: Regex,
    /// The size of what is at work at a time.
    at_work: usize,
    /// What compiling it takes, in steps.
    cost: u64,
}

/// The compiled pattern, from those that the thread keeps if it is one of them.
fn of_thread(state: &State<'_, '_>, pattern: &str) -> Result<Compiled, Error> {
    thread_local! {
        static KEPT: RefCell<Last> = RefCell::default();
    }
    if let Some(compiled) = KEPT.with_borrow(|kept| kept.get(pattern)) {
        state.consume_fuel(compiled.cost)?;
        return Ok(compiled);
    }
    let compiled = compile(state, pattern)?;
    KEPT.with_borrow_mut(|kept| kept.put(pattern, compiled.clone()));
    Ok(compiled)
}

/// Compiles a pattern; each attempt is charged before it is made.
fn compile(state: &State<'_, '_>, pattern: &str) -> Result<Compiled, Error> {
    let mut cost = 0;
    let mut charge = |steps: u64| {
        cost += steps;
        state.consume_fuel(steps)
    };
    charge(100 + pattern.len() as u64)?;
    let mut at_work = SMALL;
    let mut regex = build(pattern, SMALL);
    if matches!(regex, Err(regex::Error::CompiledTooBig(_))) {
        charge(900)?;
        at_work = if fits_without_unicode(pattern, SMALL) {
            SMALL
        } else {
            MAX_AT_WORK
        };
        regex = build(pattern, MAX_AT_WORK);
    }
    if matches!(regex, Err(regex::Error::CompiledTooBig(_)))
        && fits_without_unicode(pattern, at_work)
    {
        charge(9_000)?;
        regex = build(pattern, MAX_COMPILED);
    }
    let regex = regex.map_err(|error| {
        ours(match error {
            regex::Error::CompiledTooBig(_) => {
                "found a regular expression that is too large; expected fewer repetitions"
            }
            _ => "found a regular expression that cannot be read; look-around and references to groups are not supported",
        })
    })?;
    Ok(Compiled {
        regex,
        at_work,
        cost,
    })
}

fn fits_without_unicode(pattern: &str, size: usize) -> bool {
    (bytes::RegexBuilder::new(pattern).unicode(false))
        .size_limit(size)
        .nest_limit(MAX_NESTING)
        .build()
        .is_ok()
}

fn build(pattern: &str, size: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(size)
        .dfa_size_limit(4 * MAX_AT_WORK)
        .nest_limit(MAX_NESTING)
        .build()
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
            written.extend(["${", name, "}"]);
            rest = after;
        } else if digits > 0 {
            let (number, after) = rest.split_at(digits.min(2));
            written.extend(["${", number, "}"]);
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
