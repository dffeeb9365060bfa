//! Recorded events: lines of `{"profile": ..., "body": ...}`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;

/// An event as it was recorded, or as a destination received it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) profile: String,
    pub(super) body: Value,
}

impl Event {
    /// Reads a file of recorded events.
    pub(super) fn read_all(path: &Path) -> Result<Vec<Self>, Failure> {
        let text = fs::read_to_string(path).map_err(Failure::file("read", path))?;
        text.lines()
            .enumerate()
            .map(|(index, line)| {
                Self::parse(line).map_err(|why| {
                    Failure::Failed(format!("{}:{}: {why}", path.display(), index + 1))
                })
            })
            .collect()
    }

    /// Reads one line: a recorded event, or what the file plugin wrote, which has more keys.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let mut event: Value = serde_json::from_str(line)
            .map_err(|error| format!("expected a JSON object on one line, but {error}"))?;
        let profile = event["profile"].as_str().map(str::to_owned);
        let body = event.get_mut("body").map(Value::take);
        match (profile, body) {
            (Some(profile), Some(body)) => Ok(Self { profile, body }),
            _ => Err(format!(
                "expected the keys `profile` and `body`, found {line}"
            )),
        }
    }

    /// A summary of it on one line of at most `width` characters.
    pub(super) fn brief(&self, width: usize) -> String {
        let message = self.body.get("message").unwrap_or(&self.body);
        let text = message.to_string();
        if text.chars().count() <= width {
            return text;
        }
        let cut: String = text.chars().take(width.saturating_sub(3)).collect();
        format!("{cut}...")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_of_the_file_plugin_is_the_event_that_was_fired() {
        let fired = Event::parse(r#"{"profile": "idem-run", "body": {"tags": {}, "n": 1}}"#);
        let written = Event::parse(
            r#"{"id":"1","time":"t","profile":"idem-run","tags":{},"body":{"n":1,"tags":{}}}"#,
        );
        assert_eq!(fired.expect("is one"), written.expect("is one"));
    }

    #[test]
    fn a_line_that_is_no_event_is_refused() {
        assert!(Event::parse("{\"profile\": \"idem-run\"}").is_err());
        assert!(Event::parse("[").is_err());
    }

    #[test]
    fn a_long_message_is_cut() {
        let event = |message| Event {
            profile: String::new(),
            body: json!({ "message": message }),
        };
        assert_eq!(event("GATHERING").brief(11), "\"GATHERING\"");
        assert_eq!(event("GATHERING").brief(10), "\"GATHER...");
    }
}
