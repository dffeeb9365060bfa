//! `cargo xtask fuzz`: the fuzz targets of `core/fuzz`, with libFuzzer and the stable compiler.

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use xtask::system::{self, Need};

use crate::cargo::{self, Built};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::workspace;
use program::Program;

/// One program each; what they check is in `core/fuzz/src`.
const TARGETS: [&str; 3] = ["expressions", "frames", "pull"];

/// How long each target is fuzzed without `--seconds`.
const SECONDS: u64 = 300;

/// How long each target is fuzzed by `cargo xtask test`.
const SUITE_SECONDS: u64 = 15;

/// The options of the command line.
#[derive(Debug, PartialEq)]
struct Order {
    targets: Vec<&'static str>,
    seconds: u64,
    keep: bool,
}

/// Fuzzes the named targets, or all, one after the other.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let order = read(args)?;
    let interrupt = Interrupt::watch()?;
    system::ensure(&[Need::Cc, Need::Cxx])?;
    let built = build()?;
    for target in order.targets {
        let program = Program::new(target, &built)?;
        let found = out(target, "found")?;
        let limit = Duration::from_secs(order.seconds);
        let running = program.fuzz(limit, &[&found, &corpus(target)])?;
        program.finish(running, limit, &interrupt)?;
        if order.keep {
            keep(&program, &found, &interrupt)?;
        }
    }
    Ok(())
}

/// For `cargo xtask test`: gives every target all stored inputs, and then some seconds of new inputs, all targets at
/// once. New inputs are not stored.
pub(crate) fn suite() -> Result<(), Failure> {
    let interrupt = Interrupt::watch()?;
    let built = build()?;
    let limit = Duration::from_secs(SUITE_SECONDS);
    let mut running = Vec::new();
    for target in TARGETS {
        let program = Program::new(target, &built)?;
        let new = out(target, "suite")?;
        clear(&new)?;
        let child = program.fuzz(limit, &[&new, &corpus(target)])?;
        running.push((program, child));
    }
    for (program, child) in running {
        program.finish(child, limit, &interrupt)?;
    }
    Ok(())
}

/// Builds the programs. Only what is fuzzed is compiled with instrumentation; because of the compiler wrapper, cargo
/// stores the result separately, so ordinary builds are not affected.
fn build() -> Result<Built, Failure> {
    let wrapper = workspace::root().join("core/fuzz/instrumented-rustc");
    let output = cargo::command()
        .args(["build", "--package", "evbus-fuzz", "--bins"])
        .args(["--features", "libfuzzer", cargo::TELL])
        // Optimized like the dependencies, because inputs per second count.
        .args(["--config", "profile.dev.opt-level=1"])
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
        .stderr(Stdio::inherit())
        .output()
        .map_err(Failure::io("start cargo"))?;
    if output.status.success() {
        Ok(Built::read(&String::from_utf8_lossy(&output.stdout)))
    } else {
        Err(Failure::Failed(
            "cargo could not build the fuzz targets".to_owned(),
        ))
    }
}

/// Reduces the corpus to the fewest inputs that reach everything that it and the new inputs reach.
fn keep(program: &Program, found: &Path, interrupt: &Interrupt) -> Result<(), Failure> {
    let kept = corpus(program.target());
    let merged = out(program.target(), "merged")?;
    clear(&merged)?;
    program.merge(&merged, &[&kept, found], interrupt)?;
    clear(&kept)?;
    let mut count = 0;
    for file in files(&merged)? {
        let name = file.file_name().unwrap_or_default();
        fs::copy(&file, kept.join(name)).map_err(Failure::file("keep", &file))?;
        count += 1;
    }
    eprintln!("fuzz: {} has {count} inputs now", kept.display());
    Ok(())
}

/// The stored inputs of a target.
fn corpus(target: &str) -> PathBuf {
    workspace::root().join("core/fuzz/corpus").join(target)
}

/// A directory for the results of a run.
fn out(target: &str, what: &str) -> Result<PathBuf, Failure> {
    let dir = workspace::target_dir().join("fuzz").join(target).join(what);
    fs::create_dir_all(&dir).map_err(Failure::file("make", &dir))?;
    Ok(dir)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let listing = fs::read_dir(dir).map_err(Failure::file("list", dir))?;
    Ok(listing
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect())
}

fn clear(dir: &Path) -> Result<(), Failure> {
    for file in files(dir)? {
        fs::remove_file(&file).map_err(Failure::file("remove", &file))?;
    }
    Ok(())
}

fn read(args: &[String]) -> Result<Order, Failure> {
    let mut order = Order {
        targets: Vec::new(),
        seconds: SECONDS,
        keep: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--keep" => order.keep = true,
            "--seconds" => {
                let text = args.next();
                order.seconds = text
                    .and_then(|text| text.parse().ok())
                    .filter(|seconds| *seconds > 0)
                    .ok_or_else(|| {
                        Failure::Usage(
                            "--seconds takes a whole number above 0; expected `--seconds 60`"
                                .to_owned(),
                        )
                    })?;
            }
            name => {
                let target = TARGETS.into_iter().find(|target| *target == name);
                order.targets.push(target.ok_or_else(|| {
                    Failure::Usage(format!(
                        "there is no fuzz target `{name}`; expected {}, --seconds N or --keep",
                        TARGETS.join(", ")
                    ))
                })?);
            }
        }
    }
    if order.targets.is_empty() {
        order.targets = TARGETS.to_vec();
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Result<Order, Failure> {
        let args: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        read(&args)
    }

    #[test]
    fn targets_time_and_keeping_are_read_and_nothing_else_is() {
        let order = |targets: &[&'static str], seconds, keep| Order {
            targets: targets.to_vec(),
            seconds,
            keep,
        };
        for (text, expected) in [
            ("", order(&TARGETS, SECONDS, false)),
            ("pull", order(&["pull"], SECONDS, false)),
            ("--seconds 7 frames --keep", order(&["frames"], 7, true)),
        ] {
            assert_eq!(given(text).expect("it is right"), expected, "{text}");
        }
        for wrong in [
            "push",
            "--seconds",
            "--seconds 0",
            "--seconds long",
            "--kept",
        ] {
            assert!(matches!(given(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
