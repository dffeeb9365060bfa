//! The body of an event as a value: parsed once, for all expressions about the event.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use minijinja::Value;

/// The largest body that expressions read, in bytes. One that says nothing but zeros takes thirty times as much memory
/// while it is parsed.
pub const MAX_BODY: usize = 4 * 1024 * 1024;

/// How many bytes of bodies are kept parsed at a time, in this program or plugin. Whatever comes on top is parsed for each
/// expression that refers to it.
const MAX_KEPT: usize = 8 * 1024 * 1024;

static KEPT: AtomicUsize = AtomicUsize::new(0);

/// The place where the parsed body of an event is kept, once an expression has referred to it, until the event is dropped.
/// All events of a program together keep at most 8 MiB of bodies.
#[derive(Default)]
pub struct Parsed(Mutex<Option<Box<Kept>>>);

struct Kept {
    value: Result<Value, String>,
    _room: Room,
}

/// Bytes of bodies that are kept parsed.
struct Room(usize);

impl Room {
    fn take(bytes: usize) -> Option<Self> {
        let before = KEPT.fetch_add(bytes, Ordering::Relaxed);
        let room = Self(bytes);
        (before + bytes <= MAX_KEPT).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.0, Ordering::Relaxed);
    }
}

impl Parsed {
    /// Forgets the parsed body: nobody is expected to refer to it soon.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The body as a value, or why it cannot be read.
    pub(crate) fn value(&self, content_type: &str, body: &[u8]) -> Result<Value, String> {
        // Whoever else wants the same body waits, rather than parse it, too.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &*kept {
            return kept.value.clone();
        }
        let value = parse(content_type, body);
        if let Some(room) = Room::take(body.len()) {
            *kept = Some(Box::new(Kept {
                value: value.clone(),
                _room: room,
            }));
        }
        value
    }
}

impl fmt::Debug for Parsed {
    // Bodies may contain anything, so they are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parsed(..)")
    }
}

fn parse(content_type: &str, body: &[u8]) -> Result<Value, String> {
    if body.len() > MAX_BODY {
        return Err(format!(
            "the body has {} bytes; expressions read bodies of up to {MAX_BODY}",
            body.len()
        ));
    }
    match content_type {
        "application/json" => serde_json::from_slice(body)
            .map_err(|_| "the body is not JSON, or nested too deeply to be read".to_owned()),
        "application/msgpack" => rmp_serde::from_slice(body)
            .map_err(|_| "the body is not msgpack, or nested too deeply to be read".to_owned()),
        // What `without` and its like would find nothing in, and let out.
        _ => Err(
            "the body is a text, in the serial form `str`; expressions read JSON and msgpack"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_parsed_once_until_it_is_forgotten() {
        let parsed = Parsed::default();
        let value = |body: &str| parsed.value("application/json", body.as_bytes());
        assert_eq!(value("1"), Ok(Value::from(1)));
        assert_eq!(value("2"), Ok(Value::from(1)));
        parsed.forget();
        assert_eq!(value("2"), Ok(Value::from(2)));
    }

    #[test]
    fn bodies_that_cannot_be_read_are_a_fault_of_the_evaluation() {
        for (content_type, body) in [
            ("application/json", &b"{\"a\":"[..]),
            ("application/json", &[b'['; 5000]),
            ("application/msgpack", b"\xdc\xff"),
            ("text/plain", b"{'password': 'x'}"),
        ] {
            let value = Parsed::default().value(content_type, body);
            assert!(value.is_err(), "{content_type}");
        }
        let large = format!("\"{}\"", "x".repeat(MAX_BODY));
        let value = Parsed::default().value("application/json", large.as_bytes());
        assert!(value.is_err());
    }
}
