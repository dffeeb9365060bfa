//! What Jinja2 has from Python and the engine lacks: methods of texts, lists and mappings, arguments of filters.

mod filters;
mod methods;

use minijinja::Environment;

/// Adds the methods and filters to an environment.
pub fn add_to(environment: &mut Environment<'_>) {
    minijinja_contrib::add_to_environment(environment);
    filters::add_to(environment);
    environment.set_unknown_method_callback(methods::call);
}
