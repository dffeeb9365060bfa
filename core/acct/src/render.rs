//! The render pipe: how a plain acct file's text becomes a tree.
//!
//! A pipe is `jinja|yaml`, `yaml`, `jinja|json` or `json`, as in Idem; a first line such as `#!yaml`
//! names the pipe of its file.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::node::Node;
use super::{AcctError, Location, Position, json, yaml};
use evbus_files::trust::Trust;
use evbus_jinja as jinja;

/// The steps from a text to data; the default is `jinja|yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderPipe {
    /// How often the text is rendered: usually once, or not at all.
    jinja: usize,
    reader: Reader,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Yaml,
    Json,
}

/// The most steps a pipe may have.
const MAX_STEPS: usize = 8;

impl RenderPipe {
    /// YAML that is not a template.
    pub fn yaml() -> Self {
        Self {
            jinja: 0,
            reader: Reader::Yaml,
        }
    }

    /// JSON that is not a template.
    pub fn json() -> Self {
        Self {
            jinja: 0,
            reader: Reader::Json,
        }
    }
}

impl Default for RenderPipe {
    fn default() -> Self {
        Self {
            jinja: 1,
            ..Self::yaml()
        }
    }
}

impl fmt::Display for RenderPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for _ in 0..self.jinja {
            f.write_str("jinja|")?;
        }
        f.write_str(match self.reader {
            Reader::Yaml => "yaml",
            Reader::Json => "json",
        })
    }
}

impl FromStr for RenderPipe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || "expected jinja|yaml, yaml, jinja|json or json".to_owned();
        let steps: Vec<&str> = text.split('|').map(str::trim).collect();
        let (last, before) = steps.split_last().ok_or_else(refused)?;
        let reader = match *last {
            "yaml" => Reader::Yaml,
            "json" => Reader::Json,
            _ => return Err(refused()),
        };
        if before.len() >= MAX_STEPS || before.iter().any(|step| *step != "jinja") {
            return Err(refused());
        }
        Ok(Self {
            jinja: before.len(),
            reader,
        })
    }
}

/// Reads a text through `pipe`, or through the one named in its first line. `dir` is the directory of included
/// templates, and `trust` reads them. Repeated keys are repeated in the result, and each is a fault in `twice`.
///
/// # Errors
///
/// The first fault that ends the reading.
pub(crate) fn read(
    text: &str,
    pipe: &RenderPipe,
    file: &Arc<str>,
    dir: &Path,
    trust: &Trust,
    twice: &mut Vec<AcctError>,
) -> Result<Node, AcctError> {
    let (pipe, text) = match first_line_pipe(text) {
        None => (pipe.clone(), text),
        // For YAML this line is a comment; keeping it preserves the line numbers.
        Some(named) => match named.parse::<RenderPipe>() {
            Ok(pipe) => (pipe, text),
            Err(expected) => {
                let message = format!(
                    "unknown render pipe in the first line, {expected}; correct or remove the line"
                );
                let place = Position { line: 1, column: 1 };
                return Err(AcctError::new(Location::at(file, place), "", &message));
            }
        },
    };
    render(text, &pipe, file, dir, trust, &|place| place, twice)
}

/// What follows `#!` at the beginning of a text.
fn first_line_pipe(text: &str) -> Option<&str> {
    text.strip_prefix("#!")?.lines().next().map(str::trim)
}

/// `moved` translates a position in `text` to one in the file.
fn render(
    text: &str,
    pipe: &RenderPipe,
    file: &Arc<str>,
    dir: &Path,
    trust: &Trust,
    moved: &dyn Fn(Position) -> Position,
    twice: &mut Vec<AcctError>,
) -> Result<Node, AcctError> {
    let Some(left) = pipe.jinja.checked_sub(1) else {
        let mut found = Vec::new();
        let root = match pipe.reader {
            Reader::Yaml => yaml::parse_rendered(text, file, moved, &mut found),
            Reader::Json => json::parse(without_first_line_pipe(text), file, &mut found),
        };
        twice.extend(found.into_iter().map(|fault| fault.moved(moved)));
        let mut root = root.map_err(|error| error.moved(moved))?;
        root.relocate(&moved);
        return Ok(root);
    };
    let rest = RenderPipe {
        jinja: left,
        ..pipe.clone()
    };
    if !jinja::is_template(text) {
        return render(
            jinja::without_last_line_end(text),
            &rest,
            file,
            dir,
            trust,
            moved,
            twice,
        );
    }
    let (rendered, map) = jinja::render(text, file, dir, trust)
        .map_err(|error| AcctError::from(error.moved(moved)))?;
    // Faults in the result are reported at their position in the template.
    let moved = |place| moved(map.place(place));
    render(&rendered, &rest, file, dir, trust, &moved, twice)
}

/// JSON has no comments. The line break stays, so the line numbers stay right.
fn without_first_line_pipe(text: &str) -> &str {
    if !text.starts_with("#!") {
        return text;
    }
    &text[text.find('\n').unwrap_or(text.len())..]
}
