//! The real Idem, with the providers of its event bus and with this project's Python packages, in a virtual
//! environment for the tests.
//!
//! It is made under Cargo's target directory, in `idem/`, and made anew when a package changed. Every
//! call blocks; inside an async test call it through `spawn_blocking`.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::python::{PythonError, environment_with_pip, interpreter, lock, pip, step, version};
use crate::system::{self, Need};
use crate::target_dir;

/// The release of Idem that the tests run.
pub const VERSION: &str = "25.0.1";

/// Idem, its event bus, and the providers of that bus with which the host's are compared.
const REQUIREMENTS: &[&str] = &[
    "idem==25.0.1",
    "pop-evbus==7.0.1",
    "evbus-pika==5.0.0",
    "evbus-kafka==5.0.0",
    // Needed by the event library and to build both packages.
    "msgpack",
    "hatchling",
    // Checks their type annotations.
    "mypy",
];

/// This project's packages, in the order of their dependencies.
const PACKAGES: &[&str] = &["python", "idem"];

/// The name of the files that mark finished work. They are written last.
const MARKER: &str = "complete";
const PACKAGES_MARKER: &str = "packages";

/// Makes the environment unless it is there; blocks for up to a minute then, and for a few seconds when only
/// this project's packages changed. Processes that come meanwhile wait.
///
/// # Errors
///
/// When Python is missing, or pip cannot fetch what it takes.
pub fn prepare() -> Result<(), PythonError> {
    python().map(|_| ())
}

/// The Python of the environment; makes it first if need be. Run it with `-E`, so that it sees nothing of
/// the developer's. Its programs, `idem` among them, are in the same directory.
///
/// # Errors
///
/// Those of [`prepare`].
pub fn python() -> Result<PathBuf, PythonError> {
    system::check(&[Need::Python])?;
    let home = target_dir().join("idem");
    let _lock = lock(&home)?;
    let environment = home.join("environment");
    let python = interpreter(&environment);
    if !is_noted(&environment.join(MARKER), &note(&environment)) {
        make(&environment)?;
    }
    let sources = digest()?;
    let marker = environment.join(PACKAGES_MARKER);
    if !is_noted(&marker, &sources) {
        step(
            "install this project's Python packages",
            pip(&environment)
                .args([
                    "install",
                    "--force-reinstall",
                    "--no-deps",
                    "--no-build-isolation",
                ])
                .args(PACKAGES.iter().map(|name| clients().join(name))),
        )?;
        fs::write(&marker, sources).map_err(PythonError::file("write", &marker))?;
    }
    Ok(python)
}

fn make(environment: &Path) -> Result<(), PythonError> {
    if environment.exists() {
        fs::remove_dir_all(environment)
            .map_err(PythonError::file("remove the unfinished", environment))?;
    }
    environment_with_pip(environment)?;
    step(
        &format!("install Idem {VERSION}"),
        pip(environment).arg("install").args(REQUIREMENTS),
    )?;
    let marker = environment.join(MARKER);
    fs::write(&marker, note(environment)).map_err(PythonError::file("write", &marker))
}

/// The content of a complete environment's marker: a newer Python does not find what was installed.
fn note(environment: &Path) -> String {
    let python = version(environment).unwrap_or_default();
    format!("{} for Python {python}\n", REQUIREMENTS.join(" "))
}

fn is_noted(marker: &Path, expected: &str) -> bool {
    fs::read_to_string(marker).is_ok_and(|noted| noted == expected)
}

fn clients() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../clients"))
}

/// Changes with every file of a package.
fn digest() -> Result<String, PythonError> {
    let mut files = Vec::new();
    for name in PACKAGES {
        collect(&clients().join(name), &mut files)?;
    }
    files.sort();
    let mut digest = Sha256::new();
    for file in files {
        let bytes = fs::read(&file).map_err(PythonError::file("read", &file))?;
        digest.update(file.to_string_lossy().as_bytes());
        digest.update(Sha256::digest(bytes));
    }
    Ok(format!("{:x?}\n", digest.finalize()))
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), PythonError> {
    let unreadable = || PythonError::file("list", dir);
    for entry in fs::read_dir(dir).map_err(unreadable())? {
        let path = entry.map_err(unreadable())?.path();
        if path.is_dir() {
            if !path.ends_with("__pycache__") {
                collect(&path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}
