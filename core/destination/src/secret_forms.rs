//! The forms in which programs write a text: quoted, escaped, encoded.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::config;
use evbus_report::foreign_text;

/// A shorter part of a secret, such as a line, a directory or a name, is not treated as a secret.
const MIN_PART: usize = 8;

/// A longer secret is a key, a certificate or a file: storing all of its forms would take a hundred times its size.
const LONG: usize = 1024;

/// A text with more components is not a path but base64.
const MAX_STEPS: usize = 16;

/// In any order, possibly with duplicates.
pub(crate) type Forms = Vec<Zeroizing<String>>;

/// Adds every form of a secret, and of its parts that are secrets too.
pub(crate) fn add(secret: &str, forms: &mut Forms) {
    if secret.len() > LONG {
        return add_long(secret, forms);
    }
    of_text(secret, forms);
    of_bytes(secret, forms);
    if secret.trim() != secret {
        of_text(secret.trim(), forms);
    }
    for line in secret.lines().filter(|line| *line != secret) {
        if line.len() >= MIN_PART {
            of_text(line, forms);
        }
        let trimmed = line.trim();
        if trimmed.len() >= MIN_PART && trimmed != line {
            of_text(trimmed, forms);
        }
    }
    for part in userinfo(secret) {
        of_text(&part, forms);
        of_bytes(&part, forms);
    }
    if secret.contains('/') && secret.lines().count() == 1 {
        for part in paths(secret) {
            if part.len() >= MIN_PART {
                of_text(&part, forms);
            }
        }
    }
}

/// Adds a long secret and its lines, unchanged and as string literals. A program that prints such a secret prints it
/// line by line, or truncated.
fn add_long(secret: &str, forms: &mut Forms) {
    let mut add = |text: &str| {
        let json = json(text);
        for form in [text, &*json] {
            forms.push(Zeroizing::new(
                foreign_text::line(form, usize::MAX).into_owned(),
            ));
            forms.push(Zeroizing::new(form.to_owned()));
        }
    };
    add(secret);
    let lines = secret.lines().map(str::trim);
    lines
        .filter(|line| line.len() >= MIN_PART && !line.starts_with("-----"))
        .for_each(&mut add);
}

/// What a URL has before the `@` of its host that must not be shown: the password, or the user where
/// there is none; as written and decoded. The same of an address without a scheme, `user:password@host`,
/// and of each in a list; one that has but a user may be a mail address, which is shown.
#[must_use]
pub fn userinfo(text: &str) -> Vec<Zeroizing<String>> {
    let mut found = Vec::new();
    let mut take = |secret: &str| {
        if !secret.is_empty() {
            found.push(Zeroizing::new(decoded(secret)));
            found.push(Zeroizing::new(secret.to_owned()));
        }
    };
    // The whole text too, because a password may contain the separators.
    let addresses = text.split([',', ';', ' ', '\n']).chain([text]);
    for address in addresses.filter(|address| !address.contains("://")) {
        let password =
            (address.rsplit_once('@')).and_then(|(userinfo, _)| userinfo.split_once(':'));
        if let Some((_, password)) = password {
            take(password);
        }
    }
    for (_, rest) in text
        .match_indices("://")
        .map(|(at, it)| text.split_at(at + it.len()))
    {
        let authority = rest
            .split(['/', '?', '#', ' ', '\n'])
            .next()
            .unwrap_or(rest);
        // A password may contain an `@`, or an unencoded `/`, which ends the authority.
        let Some((userinfo, _)) = authority.rsplit_once('@').or_else(|| {
            // But not if it is a port and the path contains an `@`.
            let (_, password) = authority.split_once(':')?;
            let is_port = password.bytes().all(|byte| byte.is_ascii_digit());
            (!is_port).then(|| rest.rsplit_once('@')).flatten()
        }) else {
            continue;
        };
        take(match userinfo.split_once(':') {
            Some((_, password)) => password,
            None => userinfo,
        });
    }
    found
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = (*first == b'%')
            .then(|| after.get(..2).and_then(|two| std::str::from_utf8(two).ok()))
            .flatten()
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(hex.unwrap_or(*first));
        rest = if hex.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The shorter forms of a path, the directories above it, and its name.
fn paths(text: &str) -> Vec<Zeroizing<String>> {
    let mut found = Vec::new();
    for above in [false, true] {
        let mut steps: Vec<&str> = Vec::new();
        for step in text.split('/').filter(|step| !matches!(*step, "" | ".")) {
            if above && step == ".." {
                steps.pop();
            } else {
                steps.push(step);
            }
        }
        found.extend(steps.last().map(|name| Zeroizing::new((*name).to_owned())));
        if steps.len() > MAX_STEPS {
            continue;
        }
        let root = if text.starts_with('/') { "/" } else { "" };
        for length in 2..=steps.len() {
            found.push(Zeroizing::new(format!(
                "{root}{}",
                steps[..length].join("/")
            )));
        }
        let whole = steps.join("/");
        found.push(Zeroizing::new(format!("{root}{whole}")));
    }
    found
}

/// A text as languages, shells and URLs quote and escape it, always on one line.
fn of_text(text: &str, forms: &mut Forms) {
    let debug = unquoted(&Zeroizing::new(format!("{text:?}")));
    let json = json(text);
    let mut written = vec![
        unquoted(&Zeroizing::new(format!("{:?}", *debug))),
        self::json(&json),
        Zeroizing::new(text.escape_default().to_string()),
        Zeroizing::new(text.as_bytes().escape_ascii().to_string()),
        ascii_json(text),
        debug,
        json,
        Zeroizing::new(text.replace('\'', "''")),
        Zeroizing::new(text.replace('\'', "\\'")),
        Zeroizing::new(text.replace('\'', "'\\''")),
        Zeroizing::new(text.replace('"', "\\\"")),
        Zeroizing::new(text.replace('\n', "\r\n")),
        Zeroizing::new(text.replace(['\r', '\n'], "")),
        Zeroizing::new(text.split_whitespace().collect::<Vec<_>>().join(" ")),
        Zeroizing::new(text.to_owned()),
    ];
    if let Ok(quoted) = shlex::try_quote(text) {
        written.push(unquoted(&quoted));
        written.push(Zeroizing::new(quoted.into_owned()));
    }
    for keep in ["", "-._~", "-._~/", "-._~!$&'()*+,", "-._~!$&'()*+,;=:@/"] {
        written.push(percent(text, keep, true, false));
        written.push(percent(text, keep, false, false));
        written.push(percent(text, keep, true, true));
    }
    for form in written {
        let line = foreign_text::line(&form, usize::MAX).into_owned();
        forms.push(Zeroizing::new(line));
        forms.push(form);
    }
}

/// The bytes of a text: in base64 at any offset, in hexadecimal, as escapes, as numbers.
fn of_bytes(text: &str, forms: &mut Forms) {
    for before in 0..3 {
        let mut bytes = Zeroizing::new(vec![0; before]);
        bytes.extend_from_slice(text.as_bytes());
        // The first and the last characters also depend on the neighbouring bytes.
        let begin = (8 * before).div_ceil(6);
        let end = 8 * bytes.len() / 6;
        for encoded in [
            Zeroizing::new(STANDARD_NO_PAD.encode(&*bytes)),
            Zeroizing::new(URL_SAFE_NO_PAD.encode(&*bytes)),
        ] {
            if before == 0 {
                forms.push(encoded.clone());
            }
            if let Some(inner) = encoded.get(begin..end).filter(|it| it.len() >= MIN_PART) {
                forms.push(Zeroizing::new(inner.to_owned()));
            }
        }
    }
    if text.len() < MIN_PART / 2 {
        return;
    }
    for before in ["", "%", "\\x", "\\u00"] {
        forms.push(every_byte(text, before, false));
        forms.push(every_byte(text, before, true));
    }
    let numbers = Zeroizing::new(format!("{:?}", text.as_bytes()));
    forms.push(Zeroizing::new(numbers.trim_matches(['[', ']']).to_owned()));
    forms.push(Zeroizing::new(
        numbers.trim_matches(['[', ']']).replace(' ', ""),
    ));
}

/// In hexadecimal, with the same prefix before every byte.
fn every_byte(text: &str, before: &str, upper: bool) -> Zeroizing<String> {
    let mut written = Zeroizing::new(String::with_capacity((before.len() + 2) * text.len()));
    for byte in text.bytes() {
        // Writing to a String cannot fail.
        let _ = if upper {
            write!(written, "{before}{byte:02X}")
        } else {
            write!(written, "{before}{byte:02x}")
        };
    }
    written
}

/// Without the quotes around it.
fn unquoted(text: &str) -> Zeroizing<String> {
    let inner = ['"', '\''].into_iter().find_map(|quote| {
        text.strip_prefix(quote)
            .and_then(|text| text.strip_suffix(quote))
    });
    Zeroizing::new(inner.unwrap_or(text).to_owned())
}

fn json(text: &str) -> Zeroizing<String> {
    let value = Value::from(text);
    let written = unquoted(&Zeroizing::new(value.to_string()));
    config::wipe(value);
    written
}

/// As JSON in ASCII.
fn ascii_json(text: &str) -> Zeroizing<String> {
    let mut written = Zeroizing::new(String::with_capacity(text.len()));
    for c in json(text).chars() {
        if c.is_ascii() {
            written.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(written, "\\u{unit:04x}");
            }
        }
    }
    written
}

/// Percent-encoded except for letters, digits and `keep`; with `plus`, a blank becomes `+`.
fn percent(text: &str, keep: &str, upper: bool, plus: bool) -> Zeroizing<String> {
    let mut written = Zeroizing::new(String::with_capacity(3 * text.len()));
    for byte in text.bytes() {
        let c = char::from(byte);
        // Writing to a String cannot fail.
        let _ = match byte {
            b' ' if plus => write!(written, "+"),
            _ if c.is_ascii_alphanumeric() || (byte.is_ascii() && keep.contains(c)) => {
                write!(written, "{c}")
            }
            _ if upper => write!(written, "%{byte:02X}"),
            _ => write!(written, "%{byte:02x}"),
        };
    }
    written
}
