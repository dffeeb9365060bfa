//! The environment of the processes that a host starts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Command;

use zeroize::Zeroizing;

/// The variable that holds the key of the acct file. Expressions do not see it either.
pub const KEY_VARIABLE: &str = evbus_expression::HIDDEN_VARIABLE;

/// Passes this process's environment to a command, except for some variables.
///
/// `Command::env_remove` would do the same, but leave a copy of every variable in memory, including the key of
/// the acct file.
pub fn pass_on_all_but(hidden: &[&str], command: &mut Command) {
    command.env_clear();
    for (name, value) in std::env::vars_os() {
        if name == KEY_VARIABLE || hidden.iter().any(|hidden| name == OsStr::new(hidden)) {
            drop(Zeroizing::new(value.into_vec()));
        } else {
            command.env(name, value);
        }
    }
}
