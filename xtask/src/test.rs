//! `cargo xtask test`: everything the tests need, then every test.

use std::num::NonZero;
use std::os::unix::process::CommandExt as _;

use crate::failure::Failure;
use crate::{cargo, fuzz, setup, stage, workspace};

/// How many tests of one program run at a time.
const THREADS: &str = "RUST_TEST_THREADS";

/// Installs, builds, fuzzes for some seconds, and becomes `cargo test`. What tests would build themselves is built
/// before, so that no test waits for a compiler. If tests are selected, nothing is fuzzed.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    setup::run()?;
    let release = args
        .iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg == "--release" || arg == "-r");
    let built = cargo::all_libraries(release)?;
    stage::install_all(&workspace::plugins()?, &built)?;
    if args.is_empty() {
        fuzz::suite()?;
    }

    let mut cargo = cargo::command();
    cargo.args(arguments(args));
    // Most tests wait for other processes most of the time.
    if std::env::var_os(THREADS).is_none() {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        cargo.env(THREADS, (2 * cores).to_string());
    }
    // Its output, its exit code and the signals for it are cargo's own.
    Err(Failure::io("start cargo")(cargo.exec()))
}

fn arguments(args: &[String]) -> Vec<&str> {
    let mut arguments = vec!["test", "--no-fail-fast"];
    let chooses_packages = args
        .iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg.starts_with("-p") || arg.starts_with("--package"));
    if !chooses_packages {
        arguments.push("--workspace");
    }
    arguments.extend(args.iter().map(String::as_str));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &str, expected: &str) {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        assert_eq!(arguments(&args).join(" "), expected);
    }

    #[test]
    fn the_whole_workspace_is_tested_unless_packages_are_chosen() {
        check("", "test --no-fail-fast --workspace");
        check("--doc", "test --no-fail-fast --workspace --doc");
        check("-p evbus lanes", "test --no-fail-fast -p evbus lanes");
        check("--package=evbus", "test --no-fail-fast --package=evbus");
        check("-- -p x", "test --no-fail-fast --workspace -- -p x");
    }
}
