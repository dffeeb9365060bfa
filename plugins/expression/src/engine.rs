//! The engine of all expressions: its filters, functions and limits.

use std::sync::LazyLock;

use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use crate::{filters, python};

/// Steps of one evaluation. The data it makes counts too, 64 bytes as a step, so it makes at most 12.2 MiB, within some
/// hundredths of a second.
pub const MAX_STEPS: u64 = 200_000;

/// One for all expressions: they differ in nothing but their text.
pub(crate) static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    // As Salt and Idem set up Jinja2.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(MAX_STEPS));
    python::add_to(&mut environment);
    filters::add_to(&mut environment);
    // It shows every value there is.
    environment.remove_global("debug");
    // Makes errors name the undefined value.
    environment.set_debug(true);
    environment
});
