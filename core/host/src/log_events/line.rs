//! One line of the log.

use std::fmt::{self, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use evbus_event::now_unix_ns;
use evbus_idem::LoggerEvent;

/// A line's text is truncated to this many bytes.
const MAX_BYTES: usize = 8 * 1024;

/// A line as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) module: String,
    pub(super) level: &'static str,
    pub(super) time_unix_ns: u64,
    pub(super) text: String,
}

impl Line {
    /// Reads an event of `tracing`.
    pub(super) fn read(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let target = fields.target.as_deref().unwrap_or(metadata.target());
        Self {
            module: fields.module.unwrap_or_else(|| module_of(target)),
            level: level_name(*metadata.level()),
            time_unix_ns: now_unix_ns(),
            text: cut(fields.message + &fields.others),
        }
    }

    /// A line about the log events themselves.
    pub(super) fn own(level: Level, text: String) -> Self {
        Self {
            module: "evbus::log_events".to_owned(),
            level: level_name(level),
            time_unix_ns: now_unix_ns(),
            text,
        }
    }

    /// Its event, without a run name.
    pub(super) fn event(&self) -> LoggerEvent {
        LoggerEvent::new(
            &self.module,
            self.level,
            &asctime(self.time_unix_ns),
            // References on Idem's hub have dots.
            &self.module.replace("::", "."),
            self.text.as_str(),
        )
    }
}

/// The host's crates appear as modules of one crate: readers need not know how it is divided.
fn module_of(target: &str) -> String {
    match target.strip_prefix("evbus_") {
        Some(rest) => format!("evbus::{rest}"),
        None => target.to_owned(),
    }
}

/// Python's name of a level, which readers of these events know.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// The form of Python's `asctime`, in UTC: `2026-11-23 00:17:28,301`.
fn asctime(unix_ns: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_nanos(unix_ns);
    let text = humantime::format_rfc3339_millis(time).to_string();
    text.trim_end_matches('Z')
        .replacen('T', " ", 1)
        .replacen('.', ",", 1)
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_BYTES {
        let end = text.floor_char_boundary(MAX_BYTES);
        let left_out = text.len() - end;
        text.truncate(end);
        // Writing to a String cannot fail.
        let _ = write!(text, "... ({left_out} more bytes)");
    }
    text
}

/// The fields of a line.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
    /// The module of a plugin's line.
    module: Option<String>,
    /// The target of a line that came through the crate `log`.
    target: Option<String>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "module" => self.module = Some(value.to_owned()),
            "log.target" => self.target = Some(value.to_owned()),
            "message" => self.message.push_str(value),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            // Positions in the source; the target already names the module.
            name if name.starts_with("log.") => Ok(()),
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_pythons_form() {
        assert_eq!(asctime(0), "1970-01-01 00:00:00,000");
        assert_eq!(
            asctime(1_795_392_328_301_999_999),
            "2026-11-23 00:05:28,301"
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let text = "\u{20ac}".repeat(MAX_BYTES);
        let short = cut(text.clone());
        assert!(short.len() < MAX_BYTES + 40);
        assert!(short.ends_with(&format!(
            "... ({} more bytes)",
            text.len() - MAX_BYTES / 3 * 3
        )));
        assert_eq!(cut("short".to_owned()), "short");
    }
}
