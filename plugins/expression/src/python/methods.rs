//! Methods of Python's texts, lists and mappings that the engine lacks, or accepts fewer arguments for.

use minijinja::value::{Rest, Tuple, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;

/// Calls a method of a value: one of these, otherwise the engine's.
pub(crate) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if let (Some(text), "format" | "format_map") = (value.as_str(), method) {
        check_widths(text)?;
    }
    let found = match (value.kind(), value.as_str()) {
        (ValueKind::String, Some(text)) => of_text(state, text, method, args)?,
        (ValueKind::Seq, _) => of_list(value, method, args)?,
        (ValueKind::Map, _) if method == "copy" => {
            let () = from_args(args)?;
            Some(value.clone())
        }
        _ => None,
    };
    match found {
        Some(found) => Ok(found),
        None => pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// Refuses widths and precisions that fill the memory.
fn check_widths(format: &str) -> Result<(), Error> {
    let mut digits = 0;
    let mut depth = 0_u32;
    for c in format.chars() {
        digits = if c.is_ascii_digit() { digits + 1 } else { 0 };
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if digits > 4 && depth > 0 {
            return Err(invalid("a width or precision of a format is too large"));
        }
    }
    Ok(())
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

fn of_list(list: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match method {
        // Lists cannot be changed in place, so a list can be its own copy.
        "copy" => {
            let () = from_args(args)?;
            Ok(Some(list.clone()))
        }
        "index" => {
            let (item, start, end): (&Value, Option<i64>, Option<i64>) = from_args(args)?;
            let items: Vec<Value> = list.try_iter()?.collect();
            let (start, end) = slice(items.len(), start, end);
            let index = (start..end).find(|index| items[*index] == *item);
            index
                .map(|index| Some(Value::from(index)))
                .ok_or_else(|| invalid("the item is not in the list"))
        }
        _ => Ok(None),
    }
}

/// The range that `[start:end]` selects.
fn slice(length: usize, start: Option<i64>, end: Option<i64>) -> (usize, usize) {
    let offset = |index: i64| {
        let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        if index < 0 {
            length.saturating_sub(distance)
        } else {
            distance
        }
    };
    (
        start.map_or(0, offset),
        end.map_or(length, offset).min(length),
    )
}

fn of_text(
    state: &State<'_, '_>,
    text: &str,
    method: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "find" | "rfind" | "index" | "rindex" => {
            let found = find(text, args, method.starts_with('r'))?;
            match found {
                Some(index) => Value::from(index),
                None if method.ends_with("find") => Value::from(-1),
                None => return Err(invalid("the text is not in the other")),
            }
        }
        "count" => {
            let (part, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
            let within = within(text, start, end).map(|(_, within)| within);
            let count = within.map_or(0, |within| within.matches(part).count());
            Value::from(count)
        }
        "startswith" | "endswith" if args.len() > 1 => {
            let (parts, start, end): (&Value, Option<i64>, Option<i64>) = from_args(args)?;
            let parts: Vec<String> = match parts.as_str() {
                Some(part) => vec![part.to_owned()],
                None => parts.try_iter()?.map(|part| part.to_string()).collect(),
            };
            let within = within(text, start, end);
            Value::from(within.is_some_and(|(_, within)| {
                parts.iter().any(|part| {
                    if method == "startswith" {
                        within.starts_with(part.as_str())
                    } else {
                        within.ends_with(part.as_str())
                    }
                })
            }))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            if separator.is_empty() {
                return Err(invalid("the separator is empty"));
            }
            let parts = if method == "partition" {
                let found = text.split_once(separator);
                found.map_or([text, "", ""], |(left, right)| [left, separator, right])
            } else {
                let found = text.rsplit_once(separator);
                found.map_or(["", "", text], |(left, right)| [left, separator, right])
            };
            Value::from(Tuple::from(parts.map(Value::from)))
        }
        "split" | "rsplit" => {
            let (separator, most): (Option<&str>, Option<i64>) = from_args(args)?;
            let most = most.and_then(|most| usize::try_from(most).ok());
            let parts = match separator {
                Some("") => return Err(invalid("the separator is empty")),
                Some(separator) => split(text, separator, most, method == "rsplit"),
                None => split_at_blanks(text, most, method == "rsplit"),
            };
            parts.into_iter().map(Value::from).collect()
        }
        "removeprefix" => {
            let (part,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(part).unwrap_or(text))
        }
        "removesuffix" => {
            let (part,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(part).unwrap_or(text))
        }
        "ljust" | "rjust" | "center" | "zfill" => Value::from(pad(state, text, method, args)?),
        "expandtabs" => {
            let (size,): (Option<i64>,) = from_args(args)?;
            let size = usize::try_from(size.unwrap_or(8)).unwrap_or(0);
            charge(state, text.matches('\t').count().saturating_mul(size))?;
            Value::from(expand_tabs(text, size))
        }
        "splitlines" => {
            let (keep,): (Option<bool>,) = from_args(args)?;
            lines(text, keep.unwrap_or(false))
                .into_iter()
                .map(Value::from)
                .collect()
        }
        _ => {
            let Some(found) = simple(text, method) else {
                return Ok(None);
            };
            let () = from_args(args)?;
            found
        }
    }))
}

/// Methods without arguments.
fn simple(text: &str, method: &str) -> Option<Value> {
    Some(match method {
        // Case folding differs from lower case in a few characters; only the sharp s is in common use.
        "casefold" => Value::from(
            text.to_lowercase()
                .replace('\u{df}', "ss")
                .replace('\u{3c2}', "\u{3c3}"),
        ),
        "swapcase" => Value::from(swap_case(text)),
        "isdecimal" => Value::from(!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())),
        "isidentifier" => {
            let mut chars = text.chars();
            let start = |c: char| c == '_' || c.is_alphabetic();
            Value::from(
                chars.next().is_some_and(start) && chars.all(|c| c == '_' || c.is_alphanumeric()),
            )
        }
        "isprintable" => Value::from(
            text.chars()
                .all(|c| c == ' ' || !(c.is_control() || c.is_whitespace())),
        ),
        "istitle" => Value::from(is_title(text)),
        _ => return None,
    })
}

/// The part of a text that `[start:end]` selects, and how many characters precede it; `None` if it begins after the
/// end.
fn within(text: &str, start: Option<i64>, end: Option<i64>) -> Option<(usize, &str)> {
    let length = text.chars().count();
    let (start, end) = slice(length, start, end);
    if start > end {
        return None;
    }
    let byte = |index: usize| {
        let found = text.char_indices().nth(index);
        found.map_or(text.len(), |(at, _)| at)
    };
    Some((start, &text[byte(start)..byte(end)]))
}

fn find(text: &str, args: &[Value], from_right: bool) -> Result<Option<usize>, Error> {
    let (part, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
    Ok(within(text, start, end).and_then(|(before, within)| {
        let at = if from_right {
            within.rfind(part)
        } else {
            within.find(part)
        };
        at.map(|at| before + within[..at].chars().count())
    }))
}

fn split<'t>(text: &'t str, separator: &str, most: Option<usize>, right: bool) -> Vec<&'t str> {
    match (most, right) {
        (None, _) => text.split(separator).collect(),
        (Some(most), false) => text.splitn(most.saturating_add(1), separator).collect(),
        (Some(most), true) => {
            let mut parts: Vec<_> = text.rsplitn(most.saturating_add(1), separator).collect();
            parts.reverse();
            parts
        }
    }
}

/// After the last split, the rest keeps its blanks on the far side.
fn split_at_blanks(text: &str, most: Option<usize>, right: bool) -> Vec<&str> {
    let mut rest = if right {
        text.trim_end()
    } else {
        text.trim_start()
    };
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let found = match most {
            Some(most) if parts.len() >= most => None,
            _ if right => rest
                .rsplit_once(char::is_whitespace)
                .map(|(left, word)| (word, left.trim_end())),
            _ => rest
                .split_once(char::is_whitespace)
                .map(|(word, right)| (word, right.trim_start())),
        };
        let (part, left) = found.unwrap_or((rest, ""));
        parts.push(part);
        rest = left;
    }
    if right {
        parts.reverse();
    }
    parts
}

fn charge(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel((bytes / 64) as u64)
}

fn pad(state: &State<'_, '_>, text: &str, method: &str, args: &[Value]) -> Result<String, Error> {
    let (width, rest): (i64, Rest<Value>) = from_args(args)?;
    let fill = match (&rest[..], method) {
        ([], "zfill") => '0',
        ([], _) => ' ',
        ([fill], "ljust" | "rjust" | "center") => {
            let mut chars = fill.as_str().unwrap_or_default().chars();
            match (chars.next(), chars.next()) {
                (Some(fill), None) => fill,
                _ => return Err(invalid("the fill is not one character")),
            }
        }
        _ => return Err(Error::from(ErrorKind::TooManyArguments)),
    };
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(text.chars().count());
    charge(state, missing.saturating_mul(fill.len_utf8()))?;
    let (sign, digits) = match text.chars().next() {
        Some('+' | '-') if method == "zfill" => text.split_at(1),
        _ => ("", text),
    };
    let left = match method {
        "ljust" => 0,
        // If the width is odd, Python puts the extra space on the left.
        "center" => missing / 2 + (missing & width & 1),
        _ => missing,
    };
    let filled = |count: usize| std::iter::repeat_n(fill, count);
    Ok(sign
        .chars()
        .chain(filled(left))
        .chain(digits.chars())
        .chain(filled(missing - left))
        .collect())
}

fn expand_tabs(text: &str, size: usize) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut column = 0;
    for c in text.chars() {
        if c == '\t' {
            let blanks = if size == 0 { 0 } else { size - column % size };
            expanded.extend(std::iter::repeat_n(' ', blanks));
            column += blanks;
        } else {
            expanded.push(c);
            column = if matches!(c, '\n' | '\r') {
                0
            } else {
                column + 1
            };
        }
    }
    expanded
}

fn lines(text: &str, keep: bool) -> Vec<&str> {
    const ENDS: &[char] = &[
        '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}',
        '\u{2029}',
    ];
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ENDS) {
        let end = match rest[at..].strip_prefix("\r\n") {
            Some(_) => at + 2,
            None => at + rest[at..].chars().next().map_or(0, char::len_utf8),
        };
        lines.push(&rest[..if keep { end } else { at }]);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

fn swap_case(text: &str) -> String {
    let mut swapped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_uppercase() {
            swapped.extend(c.to_lowercase());
        } else {
            swapped.extend(c.to_uppercase());
        }
    }
    swapped
}

fn is_title(text: &str) -> bool {
    let (mut inside, mut any) = (false, false);
    for c in text.chars() {
        if c.is_uppercase() && inside || c.is_lowercase() && !inside {
            return false;
        }
        inside = c.is_uppercase() || c.is_lowercase();
        any |= inside;
    }
    any
}
