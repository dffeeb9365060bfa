//! Builds the workspace's plugins for the tests that load them.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tempfile::TempDir;

/// The shared library of a workspace package, built if it is not up to date.
///
/// Uses the profile and the target directory of the running test, so a plain `cargo test` builds
/// what it needs. Asks cargo once per process and package; blocks while cargo works. Panics with
/// cargo's words when the build fails.
pub fn built(package: &str) -> PathBuf {
    built_all(&[package]).remove(0)
}

/// A directory with copies of the shared libraries of workspace packages, as an operator would
/// install them: the directory is 0755, the files are 0644. It is removed when dropped.
pub fn plugin_dir(packages: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("it belongs to the test");
    for library in built_all(packages) {
        let name = library.file_name().expect("a library has a file name");
        let copy = dir.path().join(name);
        fs::copy(&library, &copy).expect("a built library can be copied");
        fs::set_permissions(&copy, Permissions::from_mode(0o644)).expect("it belongs to the test");
    }
    dir
}

/// The shared libraries of several packages, in their order: as [`built`], but cargo is asked once.
pub fn built_all(packages: &[&str]) -> Vec<PathBuf> {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);

    // If another test's build panics, the map is merely incomplete.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !built.contains_key(*package))
        .collect();
    if !missing.is_empty() {
        let libraries = run_cargo();
        for package in missing {
            let library = libraries
                .get(&package.replace('-', "_"))
                .unwrap_or_else(|| panic!("the package {package} has no cdylib"));
            built.insert(package.to_owned(), library.clone());
        }
    }
    packages
        .iter()
        .map(|package| built[*package].clone())
        .collect()
}

/// Builds the workspace; returns the shared libraries by library name. A single package may need other features of
/// shared crates, which would be compiled again.
fn run_cargo() -> HashMap<String, PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--workspace", "--lib"])
        .arg("--message-format=json-render-diagnostics")
        .arg("--manifest-path")
        .arg(manifest);
    if let Some((target_dir, profile)) = this_build() {
        cargo.arg("--profile").arg(profile);
        cargo.arg("--target-dir").arg(target_dir);
    }
    // Build scripts that watch these variables would run again needlessly.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    let output = cargo.output().expect("cargo can be started");
    assert!(
        output.status.success(),
        "cannot build the workspace's libraries:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| library(&serde_json::from_str(line).ok()?))
        .collect()
}

/// The name and the file of the shared library that a message of cargo reports, if any.
fn library(message: &Value) -> Option<(String, PathBuf)> {
    let name = message["target"]["name"].as_str()?.replace('-', "_");
    let file = message["filenames"]
        .as_array()?
        .iter()
        .filter_map(|file| Some(PathBuf::from(file.as_str()?)))
        .find(|file| file.extension().is_some_and(|extension| extension == "so"))?;
    Some((name, file))
}

/// The target directory and the profile of the running executable, if it is where cargo puts test executables.
fn this_build() -> Option<(PathBuf, String)> {
    let executable = std::env::current_exe().ok()?;
    let dir = executable.parent()?;
    let dir = match dir.file_name()?.to_str()? {
        "deps" | "examples" => dir.parent()?,
        _ => dir,
    };
    let target_dir = dir.parent()?;
    if !target_dir.join("CACHEDIR.TAG").exists() {
        return None;
    }
    let profile = match dir.file_name()?.to_str()? {
        "debug" => "dev",
        profile => profile,
    };
    Some((target_dir.to_owned(), profile.to_owned()))
}
