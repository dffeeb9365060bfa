//! A plugin's configuration: JSON that may contain passwords, and is wiped when it is dropped.

use std::fmt;
use std::io;
use std::ops::Deref;

use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

/// The configuration of one entry: a JSON object, read through [`Deref`]. `Debug` does not show it.
#[derive(Clone, PartialEq)]
pub struct Config(Value);

impl Config {
    /// The configuration with these keys and values.
    #[must_use]
    pub fn new(pairs: serde_json::Map<String, Value>) -> Self {
        Self(Value::Object(pairs))
    }

    /// The configuration as the text that is passed to the plugin.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut size = Counter(0);
        // A growing buffer would leave copies behind. Neither writer can fail, because every value is JSON.
        let written = serde_json::to_writer(&mut size, &self.0);
        let mut text = Zeroizing::new(Vec::with_capacity(size.0));
        let written = written.and_then(|()| serde_json::to_writer(&mut *text, &self.0));
        written.expect("memory takes what a JSON value is written as");
        let text = String::from_utf8(std::mem::take(&mut *text));
        Zeroizing::new(text.expect("JSON is UTF-8"))
    }
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Overwrites the text in a value.
pub fn wipe(mut value: Value) {
    wipe_in_place(&mut value);
}

fn wipe_in_place(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe_in_place),
        Value::Object(pairs) => pairs.values_mut().for_each(wipe_in_place),
        _ => {}
    }
}

impl Deref for Config {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        wipe_in_place(&mut self.0);
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Config(..)")
    }
}
