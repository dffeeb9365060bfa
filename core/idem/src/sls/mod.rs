//! SLS files that fire events: Jinja templates with Idem's `hub.idem.event`.
//!
//! A file is rendered as Idem renders it. What Idem does next, reading and running the states in the result, is not
//! done here.

mod hub;
mod statement;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use minijinja::{Output, State, Value};
use parking_lot::Mutex;
use statement::Insertions;

use evbus_event::Event;
use evbus_event::python_float;
use evbus_files::trust::Trust;
use evbus_jinja::{Position, Refusal, TemplateError, loader, path_of, render_with};

/// The hub call that fires an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firing {
    /// `put`: waits for room.
    Put,
    /// `put_nowait`: does not wait.
    PutNowait,
}

/// Renders the template `text` of the file `path`, and passes each event that it fires to `fire`.
/// Included templates are in the directory of the file or below. `run_name` is the run name of the events.
///
/// These forms fire, with positional and keyword arguments as in Idem, also in loops and conditions:
///
/// ```text
/// {%- hub.idem.event.put_nowait(body={"message": "event content"}, profile="default", tags={}) %}
/// {% do hub.idem.event.put(body, "idem-custom") %}
/// {% set fired = hub.idem.event.put_nowait(body=[1, 2]) %}
/// {{ hub.evbus.broker.put_nowait(body="without an envelope", profile="raw") }}
/// ```
///
/// Blocks while it renders and fires; needs no runtime unless `fire` does. What a template may consume
/// is limited: a million steps, 64 MiB of data, 16 MiB of output.
///
/// # Errors
///
/// The first fault of the template, with its place: it is not a template, something in it is not defined,
/// it does not end, an event cannot be created, or `fire` refused one with a sentence. Events
/// that were fired before the fault are not taken back.
pub fn render(
    text: &str,
    path: &Path,
    run_name: &str,
    fire: impl Fn(Event, Firing) -> Result<(), String> + Send + Sync + 'static,
) -> Result<String, TemplateError> {
    let text = text.replace('\r', "");
    let (text, lines_before) = match without_pipe(&text) {
        Some((rest, false)) => return Ok(rest.to_owned()),
        Some((rest, true)) => (rest, 1),
        None => (&*text, 0),
    };
    let (text, insertions) = statement::with_do(text);
    let dir = path.parent().unwrap_or(Path::new("."));
    let name: Arc<str> = path.display().to_string().into();
    let bus = hub::Firer::new(run_name, fire);
    let included = Included::default();
    let rendered = render_with(
        &text,
        &name,
        dir,
        &Trust::unchecked(),
        |environment, refused| {
            environment.set_formatter(print);
            environment.set_loader(included.clone().loader(dir, refused));
            environment.add_global("hub", hub::Hub::root(bus, refused.clone()));
        },
    );
    let (rendered, _) = rendered.map_err(|error| {
        let named = Arc::clone(&error.location().file);
        error.moved(|position| {
            if named != name {
                return included.original(&named, position);
            }
            let mut original = insertions.original(position);
            original.line += lines_before;
            original
        })
    })?;
    Ok(rendered.to_string())
}

/// The statements that were inserted into included templates, by file.
#[derive(Clone, Default)]
struct Included(Arc<Mutex<BTreeMap<Arc<str>, Insertions>>>);

impl Included {
    fn loader(
        self,
        dir: &Path,
        refused: &Refusal,
    ) -> impl Fn(&str) -> Result<Option<String>, minijinja::Error> + Send + Sync + 'static {
        let load = loader(dir, refused.clone(), Trust::unchecked());
        let dir = dir.to_owned();
        move |name| {
            let Some(text) = load(name)? else {
                return Ok(None);
            };
            let (text, insertions) = statement::with_do(&text);
            self.0.lock().insert(path_of(&dir, name), insertions);
            Ok(Some(text))
        }
    }

    /// The position in the original file.
    fn original(&self, file: &str, position: Position) -> Position {
        let all = self.0.lock();
        all.get(file)
            .map_or(position, |insertions| insertions.original(position))
    }
}

/// The text after a first line such as `#!jinja|yaml`, and whether that line requests a template. A line without a
/// pipe, such as `#!require:a`, does.
fn without_pipe(text: &str) -> Option<(&str, bool)> {
    let (first, rest) = text.strip_prefix("#!")?.split_once('\n')?;
    let mut steps = first.split(';').filter(|part| !part.contains(':'));
    let is_template = steps
        .next_back()
        .is_none_or(|pipe| pipe.split('|').any(|step| step.trim() == "jinja"));
    Some((rest, is_template))
}

/// Writes a value as Python does.
fn print(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    let number;
    let written = if value.is_none() {
        "None"
    } else if let Some(value) = float(value) {
        number = python_float(value);
        &number
    } else if value.kind() == minijinja::value::ValueKind::Bool {
        if value.is_true() { "True" } else { "False" }
    } else {
        return minijinja::escape_formatter(out, state, value);
    };
    out.write_str(written).map_err(minijinja::Error::from)
}

fn float(value: &Value) -> Option<f64> {
    if value.kind() != minijinja::value::ValueKind::Number || value.is_integer() {
        return None;
    }
    f64::try_from(value.clone()).ok()
}
