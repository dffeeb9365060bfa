//! Jinja templates, as far as they need no Python.
//!
//! What a template may consume is limited: see [`FUEL`]. Messages never show a value, because it may be a
//! secret; so the engine's own words are passed on only if they consist of names.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Enumerator, Object, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, context};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::position::position_of;
use crate::source_map::SourceMap;
use crate::{Location, Position, TemplateError};
use evbus_destination::environment::KEY_VARIABLE;
use evbus_expression::words::{is_name, reason};
use evbus_files::named_file::NotRead;
use evbus_files::trust::{Denied, Trust};

/// Steps of one rendering. The data it produces counts too, 64 bytes as a step, so a template produces at most 64 MiB,
/// within a second or two.
const FUEL: u64 = 1_000_000;
/// The deepest nesting of macro calls.
const MAX_RECURSION: usize = 100;
/// The largest result, in bytes.
const MAX_RENDERED: u64 = 16 * 1024 * 1024;
/// The largest included template, in bytes.
const MAX_INCLUDE: u64 = 1024 * 1024;

/// Whether a text contains anything to render.
#[must_use]
pub fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|sign| text.contains(sign))
}

/// The text without its final line end, which a template loses.
#[must_use]
pub fn without_last_line_end(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

/// Renders a text. Templates that it includes are in `dir` or below, and `trust` reads them.
///
/// # Errors
///
/// The template's first fault.
pub fn render(
    text: &str,
    file: &Arc<str>,
    dir: &Path,
    trust: &Trust,
) -> Result<(Zeroizing<String>, SourceMap), TemplateError> {
    render_with(text, file, dir, trust, |_, _| {})
}

/// Like [`render`], with an environment that `set_up` extends; its functions report errors in their own
/// words through the [`Refusal`].
///
/// # Errors
///
/// Those of [`render`].
pub fn render_with(
    text: &str,
    file: &Arc<str>,
    dir: &Path,
    trust: &Trust,
    set_up: impl FnOnce(&mut Environment<'static>, &Refusal),
) -> Result<(Zeroizing<String>, SourceMap), TemplateError> {
    let refused = Refusal::default();
    let mut environment = environment(dir, refused.clone(), trust.clone());
    set_up(&mut environment, &refused);
    let name: &str = file;
    environment
        .template_from_named_str(name, text)
        .and_then(|template| template.render_with_spans(context! { params => context! {} }))
        .map_err(|error| fault(&error, text, file, dir, refused.take()))
        .and_then(|(rendered, spans)| {
            let rendered = Zeroizing::new(rendered);
            if rendered.len() as u64 > MAX_RENDERED {
                let message =
                    "the template renders to more than 16 MiB; check its loops and ranges";
                return Err(TemplateError::new(Location::whole(file), message));
            }
            let map = SourceMap::new(text, rendered.clone(), spans, name);
            Ok((rendered, map))
        })
}

/// The last error of one of our own functions, in its own words.
#[derive(Clone, Default)]
pub struct Refusal(Arc<Mutex<Option<String>>>);

impl Refusal {
    /// An error for the engine; the template's fault will have this message.
    pub fn error(&self, message: String) -> Error {
        *self.0.lock() = Some(message);
        Error::from(ErrorKind::InvalidOperation)
    }

    fn take(&self) -> Option<String> {
        self.0.lock().take()
    }
}

fn environment(dir: &Path, refused: Refusal, trust: Trust) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_RECURSION);
    // Makes errors name the undefined variable.
    environment.set_debug(true);
    evbus_expression::add_python_to(&mut environment);
    environment.add_filter("b64encode", |text: &str| STANDARD.encode(text));
    let decoding = refused.clone();
    environment.add_filter("b64decode", move |text: &str| {
        let decoded = STANDARD.decode(text).ok();
        decoded
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| {
                decoding.error(
                    "found a value that b64decode cannot decode, expected base64 text; correct the value".to_owned(),
                )
            })
    });
    environment.add_global("env", Value::from_object(Variables));
    environment.set_loader(loader(dir, refused, trust));
    environment
}

/// Loads templates to include from `dir` or below; `None` if there is no template with that name.
pub fn loader(
    dir: &Path,
    refused: Refusal,
    trust: Trust,
) -> impl Fn(&str) -> Result<Option<String>, Error> + Send + Sync + 'static {
    let dir = if dir.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        dir.to_owned()
    };
    move |name| include(&dir, name, &trust).map_err(|message| refused.error(message))
}

/// The text of a template to include; `None` if it does not exist. Messages show the position of the include, not the
/// name, which an expression may have computed from a secret.
fn include(dir: &Path, name: &str, trust: &Trust) -> Result<Option<String>, String> {
    let outside = || {
        "found a template outside the directory of the file that includes it, expected one in that directory or below; move it there".to_owned()
    };
    let relative = Path::new(name);
    let inside = relative
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if !inside {
        return Err(outside());
    }
    let unreadable =
        |error: &dyn Display| format!("the template cannot be read ({error}); check its mode");
    let named = dir.join(relative);
    let path = match named.canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    };
    // A link must not lead out of the directory either.
    if !dir.canonicalize().is_ok_and(|dir| path.starts_with(dir)) {
        return Err(outside());
    }
    let mut content = Zeroizing::new(Vec::new());
    // Opened by its name, so that every link on the way is checked.
    trust
        .read(&named, MAX_INCLUDE, &mut content)
        .map_err(|denied| match denied {
            Denied::Distrusted(sentence) => sentence,
            Denied::NotRead(NotRead::TooLarge) => {
                "the file to include is larger than 1 MiB; check that it is a template".to_owned()
            }
            Denied::NotRead(NotRead::Is(kind)) => format!(
                "found {kind} instead of a template, expected a regular file; check its name"
            ),
            Denied::NotRead(error @ NotRead::NoneLeft(_)) => error.to_string(),
            Denied::NotRead(error) => unreadable(&error),
        })?;
    let text = std::str::from_utf8(&content).map_err(|error| unreadable(&error))?;
    Ok(Some(text.replace("\r\n", "\n").replace('\r', "\n")))
}

/// The environment of the process: `env.NAME`, or `env("NAME", "used if there is none")`.
#[derive(Debug)]
struct Variables;

fn variable(name: &str) -> Option<Value> {
    // The key is hidden from templates.
    if name == KEY_VARIABLE {
        return None;
    }
    std::env::var(name).ok().map(Value::from)
}

impl Object for Variables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        variable(key.as_str()?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (name, default): (&str, Option<Value>) = minijinja::value::from_args(args)?;
        Ok(variable(name).or(default).unwrap_or(Value::UNDEFINED))
    }
}

/// The engine's error in words that contain no value.
fn fault(
    error: &Error,
    text: &str,
    file: &Arc<str>,
    dir: &Path,
    refused: Option<String>,
) -> TemplateError {
    let error = innermost(error);
    let detail = error.detail().unwrap_or_default();
    let range = error.range();
    let source = error.template_source().unwrap_or(text);
    let message = refused.unwrap_or_else(|| match error.kind() {
        ErrorKind::OutOfFuel => format!(
            "the template does not end or produces too much: more than {FUEL} steps or 64 MiB of data; check its loops and ranges"
        ),
        ErrorKind::UndefinedError => {
            let name = range
                .clone()
                .and_then(|range| source.get(range))
                .filter(|name| is_name(name));
            match name {
                Some(name) if name.split('.').next() == Some("hub") => "found the name `hub`, which exists only in Idem; remove it from the template".to_owned(),
                Some(name) => format!("undefined name `{name}`; set it in the template, use the filter `default`, or read an environment variable with `env`"),
                None => "undefined value; set it in the template, or use the filter `default`".to_owned(),
            }
        }
        ErrorKind::TemplateNotFound => "template to include not found, expected it next to the file; check its name".to_owned(),
        ErrorKind::UnknownFilter
        | ErrorKind::UnknownTest
        | ErrorKind::UnknownFunction
        | ErrorKind::UnknownMethod => format!("found a name that is not a filter, test or function of Jinja2 ({}); check its spelling", named(detail)),
        ErrorKind::SyntaxError => format!("found text that is not a Jinja template{}; put {{% raw %}} and {{% endraw %}} around text that is not to be rendered, or use the render pipe yaml", reason(detail)),
        ErrorKind::InvalidOperation if detail.contains("too many elements") => "found a range of more than 100000 numbers; check its bounds".to_owned(),
        ErrorKind::InvalidOperation if detail.contains("recursion limit") => format!("macros or includes call each other more than {MAX_RECURSION} levels deep; check where they end"),
        kind => format!("found an expression that cannot be evaluated ({kind}); check types and arguments"),
    });
    let position = match range {
        Some(range) if source.is_char_boundary(range.start) => {
            Some(position_of(source, range.start))
        }
        _ => error.line().map(|line| Position { line, column: 1 }),
    };
    let file = match error.name() {
        Some(name) if name != &**file => path_of(dir, name),
        _ => Arc::clone(file),
    };
    TemplateError::new(Location::at(&file, position), &message)
}

/// The name of an included template in errors.
pub fn path_of(dir: &Path, name: &str) -> Arc<str> {
    Arc::from(dir.join(name).display().to_string())
}

/// An error in an included template is the cause of the error at the include.
fn innermost(error: &Error) -> &Error {
    let mut error = error;
    while let Some(source) = std::error::Error::source(error).and_then(|it| it.downcast_ref()) {
        error = source;
    }
    error
}

/// The name in the engine's message; `unknown` if it is not a plain name.
fn named(detail: &str) -> &str {
    if is_name(&detail.replace(' ', "_")) {
        detail
    } else {
        "unknown"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected text of each expression is Jinja2's.
    #[test]
    fn methods_of_texts_lists_and_mappings_are_those_of_python() {
        let cases = include_str!("../fixtures/methods.jsonl");
        let mut wrong = Vec::new();
        for case in cases.lines() {
            let (template, expected): (String, String) =
                serde_json::from_str(case).expect("a case is two texts");
            let (file, dir, trust) = (Arc::from("f"), Path::new(""), Trust::unchecked());
            let found =
                crate::render(&template, &file, dir, &trust).map(|(text, _)| text.to_string());
            if found.as_ref().ok() != Some(&expected) {
                wrong.push(format!("{template}: {found:?}, expected {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(cases.lines().count() > 80);
    }
}
