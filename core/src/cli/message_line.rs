//! The last step before standard error: each message becomes one line of bounded length, without line breaks,
//! cursor movements, reversed or hidden text.
//!
//! Messages contain names from the acct file, paths, and texts of plugins and far systems. Texts that were not
//! cleaned at their origin are cleaned here.

use std::borrow::Cow;
use std::io::{self, Write};

use evbus_report::foreign_text;

use super::log_writer::LogWriter;

/// A longer message is cut. This is far more than the limit for texts of plugins, which messages contain.
const MAX_BYTES: usize = 64 * 1024;

/// A message as it may be written, without a line end.
pub(super) fn message(text: &str) -> Cow<'_, str> {
    foreign_text::message(text, MAX_BYTES)
}

/// A log line as it may be written. If the log `is_coloured`, its colours stay; messages cannot contain any,
/// because `tracing_subscriber` escapes them in what it formats.
fn logged(line: &str, is_coloured: bool) -> Vec<u8> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    if !is_coloured {
        return format!("{}\n", message(line)).into_bytes();
    }
    let mut pieces = line.split('\x1b');
    let mut shown = message(pieces.next().unwrap_or_default()).into_owned();
    for piece in pieces {
        let colour = piece.find(|c: char| !matches!(c, '[' | ';' | '0'..='9'));
        let colour = colour.filter(|end| piece[*end..].starts_with('m'));
        shown.push_str(if colour.is_some() { "\x1b" } else { r"\u{1b}" });
        shown.push_str(&message(piece));
    }
    shown.push('\n');
    shown.into_bytes()
}

/// Makes the lines of the log.
#[derive(Debug)]
pub(super) struct LogLines {
    /// The thread that writes them; without one, the logging thread does.
    pub(super) writer: Option<LogWriter>,
    pub(super) is_coloured: bool,
}

/// One log line; `tracing_subscriber` makes one for each event and writes it in one piece.
impl<'l> tracing_subscriber::fmt::MakeWriter<'l> for LogLines {
    type Writer = Line<'l>;

    fn make_writer(&'l self) -> Self::Writer {
        Line {
            lines: self,
            bytes: Vec::new(),
        }
    }
}

/// See [`LogLines`].
#[derive(Debug)]
pub(super) struct Line<'l> {
    lines: &'l LogLines,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let line = logged(
            &String::from_utf8_lossy(&self.bytes),
            self.lines.is_coloured,
        );
        match &self.lines.writer {
            Some(writer) => writer.line(line),
            // The program that started the command may have closed its end; that is not a reason to stop.
            None => drop(io::stderr().write_all(&line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_one_line_with_the_colours_of_the_log_alone() {
        let line = "\x1b[2mnow\x1b[0m \x1b[31mERROR\x1b[0m a\nb\x1b[2Jc\u{202e}d\n";
        for (is_coloured, expected) in [
            (
                true,
                "\x1b[2mnow\x1b[0m \x1b[31mERROR\x1b[0m a\\nb\\u{1b}[2Jc\\u{202e}d\n",
            ),
            (
                false,
                "\\u{1b}[2mnow\\u{1b}[0m \\u{1b}[31mERROR\\u{1b}[0m a\\nb\\u{1b}[2Jc\\u{202e}d\n",
            ),
        ] {
            let shown = String::from_utf8(logged(line, is_coloured)).expect("it is text");
            assert_eq!(shown, expected);
        }
        let long = logged(&"x".repeat(10 * MAX_BYTES), false);
        assert!(long.len() < MAX_BYTES + 100, "{}", long.len());
    }
}
