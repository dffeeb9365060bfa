//! Reads the command line, and reports every value in it that is wrong, not only the first.

use std::ffi::OsStr;

use clap::builder::OsStringValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command, Error};

/// What this process was started with. Ends the process if that is wrong, or asks for help.
pub(super) fn read(command: Command) -> ArgMatches {
    let mut command = without_empty_variables(command);
    let mut faults: Vec<Error> = Vec::new();
    let mut wrong = Vec::new();
    loop {
        let error = match command.clone().try_get_matches() {
            Ok(matches) if faults.is_empty() => return matches,
            Ok(_) => break,
            Err(error) => error,
        };
        let argument = wrong_value(&error);
        if argument.as_ref().is_some_and(|it| wrong.contains(it)) {
            // It lacks a value.
            break;
        }
        // Help that was asked for is shown if nothing is wrong.
        if error.use_stderr() || faults.is_empty() {
            faults.push(error);
        }
        let Some(argument) = argument else { break };
        // With this value accepted, the next wrong one is found.
        command = with_any_value(command, &argument);
        wrong.push(argument);
    }
    let last = faults.pop();
    for error in faults {
        let text = error.render().ansi().to_string();
        // How to get help is said by the last one.
        let what = text.split("\n\nFor more information").next();
        anstream::eprintln!("{}", what.unwrap_or_default().trim_end());
    }
    last.map_or_else(|| std::process::exit(2), |error| error.exit())
}

/// The argument whose value was refused, as help texts show it.
fn wrong_value(error: &Error) -> Option<String> {
    let is_value = matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    );
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) if is_value => Some(argument.clone()),
        _ => None,
    }
}

/// The command with any value accepted for an argument.
fn with_any_value(command: Command, argument: &str) -> Command {
    command
        .mut_args(|arg| {
            if is_shown_as(&arg, argument) {
                arg.value_parser(OsStringValueParser::new())
            } else {
                arg
            }
        })
        .mut_subcommands(|command| with_any_value(command, argument))
}

/// Whether an error shows an argument as this text: `--timeout <S>`, `<FILE>`.
fn is_shown_as(arg: &Arg, text: &str) -> bool {
    let name = text.split(' ').next().unwrap_or_default();
    match (arg.get_long(), arg.get_value_names()) {
        (Some(long), _) => name.strip_prefix("--") == Some(long),
        (None, Some([value])) => name.trim_matches(['<', '>', '[', ']', '.']) == value.as_str(),
        (None, _) => false,
    }
}

/// Treats empty environment variables, which units and shells leave behind, as unset.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| match arg.get_env() {
            Some(name) if is_empty(name) => arg.env(None::<&'static str>),
            _ => arg,
        })
        .mut_subcommands(without_empty_variables)
}
