//! Standard output: JSON lines and tables.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use anstyle::Style;
use comfy_table::{CellAlignment, ContentArrangement, Row, Table, presets};
use evbus_report::{foreign_text, system_text};
use rustix::fs::{FileType, fstat, major};
use serde::Serialize;

use super::exit::Exit;

/// Whether the reader of standard output is still there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reader {
    There,
    Gone,
}

/// Writes one line of JSON. A reader that went away (`| head -1`) is not an error.
pub(super) fn json_line(value: &impl Serialize) -> Result<Reader, Exit> {
    let mut line = serde_json::to_vec(value)
        .map_err(|error| Exit::failed(format!("cannot write the output as JSON: {error}")))?;
    line.push(b'\n');
    write(&line)
}

/// Writes indented JSON.
pub(super) fn json_pretty(value: &impl Serialize) -> Result<Reader, Exit> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| Exit::failed(format!("cannot write the output as JSON: {error}")))?;
    text.push(b'\n');
    write(&text)
}

/// Writes bytes and flushes.
pub(super) fn write(bytes: &[u8]) -> Result<Reader, Exit> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Exit::failed(format!(
            "cannot write to standard output: {}; check where it is redirected to",
            system_text(&error)
        ))),
    }
}

/// Whether standard output is lost: it is `/dev/null` or another memory device. A program that is started with
/// standard output closed gets `/dev/null` in its place before `main`.
pub(super) fn is_discarded() -> bool {
    /// The major number of `/dev/null`, `/dev/zero` and their like.
    const MEMORY: u32 = 1;
    fstat(io::stdout()).map_or(true, |found| {
        FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
            && major(found.st_rdev) == MEMORY
    })
}

/// Writes a table with aligned columns, a header and no frames, so that `awk` can read it too.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Exit> {
    let lines = columns(header, &[], rows, None);
    let mut text = String::new();
    let bold = Style::new().bold();
    for (number, line) in lines.iter().enumerate() {
        let line = without_margins(line);
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

/// The lines of some columns, the header first, all equally wide and with a space on either side, so that
/// groups of columns can be joined. The columns at the indices `numbers` are right-aligned. Text that does not
/// fit into `width` is cut.
pub(super) fn columns(
    header: &[&str],
    numbers: &[usize],
    rows: Vec<Vec<String>>,
    width: Option<u16>,
) -> Vec<String> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().map(|title| title.to_uppercase()));
    if let Some(width) = width {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    }
    for cells in rows {
        let mut row = Row::from(cells.into_iter().map(one_line));
        row.max_height(1);
        table.add_row(row);
    }
    for place in numbers {
        if let Some(column) = table.column_mut(*place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().collect()
}

/// A table's line as it is printed.
pub(super) fn without_margins(line: &str) -> &str {
    let line = line.trim_end();
    line.strip_prefix(' ').unwrap_or(line)
}

/// Shows control characters as text: a message of a far system must not move a terminal's cursor or break a
/// line of a table.
pub(super) fn one_line(text: String) -> String {
    match foreign_text::shown(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(shown) => shown,
    }
}

/// Columns and rows of the terminal on standard output, if it is one.
pub(super) fn terminal_size() -> Option<(u16, u16)> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    // Terminals that do not know their size report 0.
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Whether standard output supports colours and the user wants them.
pub(super) fn wants_colour() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_numbers_to_the_right_and_control_characters_shown() {
        let rows = vec![
            vec!["a".to_owned(), "7".to_owned(), "x\ny\u{1b}[2J".to_owned()],
            vec!["long".to_owned(), "1000".to_owned(), String::new()],
        ];
        let lines = columns(&["name", "n", "error"], &[1], rows, None);
        let lines: Vec<&str> = lines.iter().map(|line| without_margins(line)).collect();
        assert_eq!(
            lines,
            [
                "NAME     N  ERROR",
                "a        7  x\\ny\\u{1b}[2J",
                "long  1000"
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_cut_to_one_line() {
        let rows = vec![vec!["no route to host, tried three times".to_owned()]];
        let lines = columns(&["last error"], &[], rows, Some(20));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[1].chars().count() <= 20, "{lines:?}");
        assert!(lines[1].starts_with(" no route to"), "{lines:?}");
    }
}
