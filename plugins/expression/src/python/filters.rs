//! Filters and functions of Jinja2 whose arguments the engine takes in another way.

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, filters};

use super::methods;

/// Takes the arguments as Jinja2 does.
pub(crate) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter(
        "truncate",
        |state: &mut State<'_, '_>, value: &Value, positional: Rest<Value>, names: Kwargs| {
            let parameters = ["length", "killwords", "end", "leeway"];
            let together = by_name(&parameters, &positional, &names)?;
            minijinja_contrib::filters::truncate(state, value, together)
        },
    );
    environment.add_filter(
        "wordwrap",
        |value: &Value, positional: Rest<Value>, names: Kwargs| {
            let parameters = [
                "width",
                "break_long_words",
                "wrapstring",
                "break_on_hyphens",
            ];
            let together = by_name(&parameters, &positional, &names)?;
            minijinja_contrib::filters::wordwrap(value, together)
        },
    );
    for name in ["default", "d"] {
        environment.add_filter(name, default);
    }
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter(
        "sort",
        |state: &State<'_, '_>, value: Value, positional: Rest<Value>, names: Kwargs| {
            let parameters = ["reverse", "case_sensitive", "attribute"];
            filters::sort(state, value, by_name(&parameters, &positional, &names)?)
        },
    );
    environment.add_filter(
        "unique",
        |state: &State<'_, '_>, value: Value, positional: Rest<Value>, names: Kwargs| {
            let parameters = ["case_sensitive", "attribute"];
            filters::unique(state, value, by_name(&parameters, &positional, &names)?)
        },
    );
    environment.add_filter(
        "sum",
        |state: &State<'_, '_>, value: Value, positional: Rest<Value>, names: Kwargs| {
            let together = by_name(&["attribute", "start"], &positional, &names)?;
            filters::sum(state, value, None, None, together)
        },
    );
    environment.add_filter(
        "min",
        |state: &State<'_, '_>, value: Value, positional: Rest<Value>, names: Kwargs| {
            let parameters = ["case_sensitive", "attribute"];
            filters::min(state, value, by_name(&parameters, &positional, &names)?)
        },
    );
    environment.add_filter(
        "max",
        |state: &State<'_, '_>, value: Value, positional: Rest<Value>, names: Kwargs| {
            let parameters = ["case_sensitive", "attribute"];
            filters::max(state, value, by_name(&parameters, &positional, &names)?)
        },
    );
    environment.add_filter(
        "dictsort",
        |state: &State<'_, '_>, value: &Value, positional: Rest<Value>, names: Kwargs| {
            let parameters = ["case_sensitive", "by", "reverse"];
            // The engine's own counts its steps only where it is not called from outside.
            state.consume_fuel(value.len().unwrap_or(0) as u64)?;
            filters::dictsort(value, by_name(&parameters, &positional, &names)?)
        },
    );
    for name in ["escape", "e"] {
        environment.add_filter(name, escape);
    }
    environment.add_filter(
        "center",
        |state: &mut State<'_, '_>, value: &Value, width: Option<i64>| {
            let text = Value::from(value.to_string());
            methods::call(state, &text, "center", &[width.unwrap_or(80).into()])
        },
    );
    environment.add_test("sequence", |value: &Value| {
        // What has a length and items by number or key.
        matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::Map | ValueKind::String
        )
    });
    // minijinja's own filter takes a single list.
    environment.add_function("cycler", |items: Rest<Value>| {
        minijinja_contrib::globals::cycler(items.to_vec())
    });
}

fn default(
    state: &State<'_, '_>,
    value: &Value,
    positional: Rest<Value>,
    names: Kwargs,
) -> Result<Value, Error> {
    let given = by_name(&["default_value", "boolean"], &positional, &names)?;
    let other: Option<Value> = given
        .has("default_value")
        .then(|| given.get("default_value"))
        .transpose()?;
    let boolean: Option<Value> = given.get("boolean")?;
    given.assert_all_used()?;
    let args = [
        other.unwrap_or_else(|| Value::from("")),
        boolean.is_some_and(|it| it.is_true()).into(),
    ];
    filters::default(state, value, Rest(args.to_vec()))
}

/// 0 for whatever cannot be read as a number, unless another default is given.
fn int(
    state: &State<'_, '_>,
    value: &Value,
    positional: Rest<Value>,
    names: Kwargs,
) -> Result<Value, Error> {
    let given = by_name(&["default", "base"], &positional, &names)?;
    let number = number(value);
    let is_endless = |text: &str| text.parse::<f64>().is_ok_and(|it| !it.is_finite());
    if number.as_str().is_some_and(is_endless) {
        return or_default(given, 0.into())?.get("default");
    }
    filters::int(state, &number, None, None, or_default(given, 0.into())?)
}

fn float(
    state: &State<'_, '_>,
    value: &Value,
    positional: Rest<Value>,
    names: Kwargs,
) -> Result<Value, Error> {
    let given = by_name(&["default"], &positional, &names)?;
    filters::float(state, &number(value), None, or_default(given, 0.0.into())?)
}

fn or_default(given: Kwargs, default: Value) -> Result<Kwargs, Error> {
    if given.has("default") {
        return Ok(given);
    }
    by_name(&["default"], &[default], &given)
}

/// A text without what Python allows around and within numbers.
fn number(value: &Value) -> Value {
    let Some(text) = value.as_str() else {
        return value.clone();
    };
    let text = text.trim();
    let is_between_digits = !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
    if is_between_digits {
        Value::from(text.replace('_', ""))
    } else {
        Value::from(text)
    }
}

fn escape(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    if value.is_safe() {
        return Ok(value.clone());
    }
    let text = value.to_string();
    // At most five times as long.
    state.consume_fuel(text.len() as u64 / 16)?;
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&#39;"),
            '"' => escaped.push_str("&#34;"),
            _ => escaped.push(c),
        }
    }
    Ok(Value::from_safe_string(escaped))
}

fn by_name(parameters: &[&str], positional: &[Value], names: &Kwargs) -> Result<Kwargs, Error> {
    if positional.len() > parameters.len() {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let mut together: Vec<(&str, Value)> = Vec::with_capacity(parameters.len());
    for name in names.args() {
        together.push((name, names.get(name)?));
    }
    for (parameter, value) in parameters.iter().zip(positional) {
        if names.has(parameter) {
            return Err(Error::from(ErrorKind::TooManyArguments));
        }
        together.push((parameter, value.clone()));
    }
    for (name, value) in &mut together {
        // The place in a list; the engine finds it by its text.
        if *name == "attribute" && value.is_number() {
            *value = Value::from(value.to_string());
        }
    }
    Ok(together.into_iter().collect())
}
