//! The last gate to standard error: one message is one line, of bounded length, in which nothing ends a line, moves a
//! cursor, turns text around or hides.
//!
//! Messages hold names of the acct file, paths, and words of plugins and far systems. Each may be cleaned where it
//! comes from; what comes another way is cleaned here.

use std::borrow::Cow;
use std::io::{self, Write};

use evbus_report::foreign_text;

use super::log_writer::LogWriter;

/// A longer message is cut. Far more than what plugins may say, which is part of messages.
const MAX_BYTES: usize = 64 * 1024;

/// A message as it may be written, without a line's end.
pub(super) fn message(text: &str) -> Cow<'_, str> {
    foreign_text::message(text, MAX_BYTES)
}

/// A line of the log as it may be written. Where the log `is_coloured`, its colours are left: whoever speaks in it can
/// have none, since `tracing_subscriber` escapes them in what it formats.
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
    /// Who writes them; without one it is whoever logs.
    pub(super) writer: Option<LogWriter>,
    pub(super) is_coloured: bool,
}

/// One line of the log; `tracing_subscriber` makes one for each, and writes it at once.
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
            // Whoever started the command may have closed its end; that is no reason to stop.
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
