//! Calling cargo, and finding what it built.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::failure::Failure;
use crate::workspace;

/// The cargo that runs this program.
pub(crate) fn program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Cargo in the checkout's directory.
pub(crate) fn command() -> Command {
    prepare(Command::new(program()))
}

/// Makes a cargo command run in the checkout's directory, without the variables that the cargo running this program
/// has set: build scripts that watch them would run again needlessly.
pub(crate) fn prepare(mut cargo: Command) -> Command {
    cargo.current_dir(workspace::root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Runs cargo to its end; its output goes where this program's goes.
pub(crate) fn run(args: &[&str]) -> Result<(), Failure> {
    run_with(args, &[])
}

/// As [`run`], with additions to its environment.
pub(crate) fn run_with(args: &[&str], environment: &[(&str, String)]) -> Result<(), Failure> {
    let status = command()
        .args(args)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .status()
        .map_err(Failure::io("start cargo"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Failed(format!(
            "cargo {} failed with {status}",
            args.join(" ")
        )))
    }
}

/// Makes `cargo build` list on standard output what it built.
pub(crate) const TELL: &str = "--message-format=json-render-diagnostics";

/// Builds what the arguments choose.
fn build(args: &[&str], release: bool) -> Result<Built, Failure> {
    let mut cargo = command();
    cargo.args(["build", TELL]).args(args);
    if release {
        cargo.arg("--release");
    }
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .map_err(Failure::io("start cargo"))?;
    if !output.status.success() {
        return Err(Failure::Failed(format!(
            "cargo build {} failed with {}",
            args.join(" "),
            output.status
        )));
    }
    Ok(Built::read(&String::from_utf8_lossy(&output.stdout)))
}

/// Builds the shared libraries of packages, one after the other: a plugin's content must not depend on what else is
/// built at the same time.
pub(crate) fn libraries(packages: &[String], release: bool) -> Result<Vec<PathBuf>, Failure> {
    packages
        .iter()
        .map(|package| {
            let built = build(&["--lib", "--package", package], release)?;
            built.library(package).map(Path::to_owned)
        })
        .collect()
}

/// Builds the shared libraries of all packages at once, as the tests do, so that shared crates are not compiled again
/// with other features.
pub(crate) fn all_libraries(release: bool) -> Result<Built, Failure> {
    build(&["--workspace", "--lib"], release)
}

/// Builds the release of a package's program of the same name, with the features of the whole workspace.
pub(crate) fn release_program(package: &str) -> Result<PathBuf, Failure> {
    let built = build(&["--workspace", "--bin", package], true)?;
    built.executable(package).map(Path::to_owned)
}

/// What cargo built.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// By the name of the target.
    libraries: BTreeMap<String, PathBuf>,
    executables: BTreeMap<String, PathBuf>,
}

impl Built {
    /// Reads cargo's output in the format requested by [`TELL`].
    pub(crate) fn read(messages: &str) -> Self {
        let mut built = Self::default();
        for message in messages.lines() {
            let Ok(message) = serde_json::from_str::<Value>(message) else {
                continue;
            };
            let Some(name) = message["target"]["name"].as_str() else {
                continue;
            };
            if let Some(executable) = message["executable"].as_str() {
                built.executables.insert(name.to_owned(), executable.into());
            }
            let library = message["filenames"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(PathBuf::from)
                .find(|file| file.extension().is_some_and(|extension| extension == "so"));
            if let Some(library) = library {
                built.libraries.insert(name.replace('-', "_"), library);
            }
        }
        built
    }

    /// The shared library of a package.
    pub(crate) fn library(&self, package: &str) -> Result<&Path, Failure> {
        self.libraries
            .get(&package.replace('-', "_"))
            .map(PathBuf::as_path)
            .ok_or_else(|| {
                Failure::Failed(format!(
                    "the package {package} has no shared library; expected crate-type \"cdylib\" \
                     in its Cargo.toml"
                ))
            })
    }

    /// The program of that name.
    pub(crate) fn executable(&self, name: &str) -> Result<&Path, Failure> {
        self.executables
            .get(name)
            .map(PathBuf::as_path)
            .ok_or_else(|| Failure::Failed(format!("cargo built no program named {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_programs_are_found_in_cargos_messages() {
        let built = Built::read(
            r#"{"reason":"compiler-artifact","target":{"name":"serde_derive"},"filenames":["/t/deps/libserde_derive-1.so"],"executable":null}
{"reason":"compiler-artifact","target":{"name":"plugin_glob"},"filenames":["/t/libplugin_glob.so","/t/libplugin_glob.rlib"],"executable":null}
{"reason":"compiler-artifact","target":{"name":"evbus"},"filenames":["/t/evbus"],"executable":"/t/evbus"}
{"reason":"build-finished","success":true}"#,
        );
        let glob = built.library("plugin-glob").expect("it was built");
        assert_eq!(glob, Path::new("/t/libplugin_glob.so"));
        let evbus = built.executable("evbus").expect("it was built");
        assert_eq!(evbus, Path::new("/t/evbus"));
        assert!(built.library("plugin-kafka").is_err());
        assert!(built.executable("plugin_glob").is_err());
    }
}
