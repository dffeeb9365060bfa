//! What goes to standard output: JSON lines and tables.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use anstyle::Style;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::exit::Exit;

/// Whether the reader of standard output is still there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reader {
    There,
    Gone,
}

/// Writes one line of JSON. A reader that went away (`| head -1`) is no error.
pub(super) fn json_line(value: &impl Serialize) -> Result<Reader, Exit> {
    let mut line = serde_json::to_vec(value)
        .map_err(|error| Exit::failed(format!("the output cannot be written: {error}")))?;
    line.push(b'\n');
    write(&line)
}

/// Writes indented JSON.
pub(super) fn json_pretty(value: &impl Serialize) -> Result<Reader, Exit> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| Exit::failed(format!("the output cannot be written: {error}")))?;
    text.push(b'\n');
    write(&text)
}

/// Writes bytes and flushes.
pub(super) fn write(bytes: &[u8]) -> Result<Reader, Exit> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Exit::failed(format!("standard output: {error}"))),
    }
}

/// Writes a table: aligned columns, a header, no frames, so that `awk` can read it too.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Exit> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().map(|title| title.to_uppercase()))
        .add_rows(rows);
    let mut text = String::new();
    let bold = Style::new().bold();
    for (number, line) in table.lines().enumerate() {
        let line = line.trim_end();
        let line = line.strip_prefix(' ').unwrap_or(line);
        if number == 0 && io::stdout().is_terminal() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{bold}{line}{bold:#}");
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    write(text.as_bytes()).map(|_| ())
}
