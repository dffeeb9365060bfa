//! Filters and functions of Jinja2 whose arguments the engine takes in another way.

use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error, ErrorKind, State};

/// Takes the arguments as Jinja2 does.
pub(crate) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter(
        "truncate",
        |state: &mut State<'_, '_>, value: &Value, positional: Rest<Value>, names: Kwargs| {
            let together = by_name(
                ["length", "killwords", "end", "leeway"],
                &positional,
                &names,
            )?;
            minijinja_contrib::filters::truncate(state, value, together)
        },
    );
    environment.add_filter(
        "wordwrap",
        |value: &Value, positional: Rest<Value>, names: Kwargs| {
            let together = by_name(
                [
                    "width",
                    "break_long_words",
                    "wrapstring",
                    "break_on_hyphens",
                ],
                &positional,
                &names,
            )?;
            minijinja_contrib::filters::wordwrap(value, together)
        },
    );
    // minijinja's own filter takes a single list.
    environment.add_function("cycler", |items: Rest<Value>| {
        minijinja_contrib::globals::cycler(items.to_vec())
    });
}

fn by_name(parameters: [&str; 4], positional: &[Value], names: &Kwargs) -> Result<Kwargs, Error> {
    if positional.len() > parameters.len() {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let mut together: Vec<(&str, Value)> = Vec::with_capacity(parameters.len());
    for name in names.args() {
        together.push((name, names.get(name)?));
    }
    for (parameter, value) in parameters.into_iter().zip(positional) {
        if names.has(parameter) {
            return Err(Error::from(ErrorKind::TooManyArguments));
        }
        together.push((parameter, value.clone()));
    }
    Ok(together.into_iter().collect())
}
