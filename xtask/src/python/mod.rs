//! Python environments, apart from the developer's, for the tests of what is used from Python.

mod error;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use error::PythonError;

/// Enough for the cause, which pip prints last.
const TAIL_LINES: usize = 12;

/// Waits until no other process installs; the lock lasts as long as the file is open.
pub(crate) fn lock(home: &Path) -> Result<File, PythonError> {
    fs::create_dir_all(home).map_err(PythonError::file("make", home))?;
    let path = home.join("lock");
    let file = File::create(&path).map_err(PythonError::file("open", &path))?;
    file.lock().map_err(PythonError::file("lock", &path))?;
    Ok(file)
}

/// Makes an environment with pip.
pub(crate) fn environment_with_pip(path: &Path) -> Result<(), PythonError> {
    step(
        "make a Python environment with pip",
        python().args(["-m", "venv"]).arg(path),
    )
}

/// Makes an environment that holds nothing but Python.
pub(crate) fn environment(path: &Path) -> Result<(), PythonError> {
    step(
        "make a Python environment",
        python().args(["-m", "venv", "--without-pip"]).arg(path),
    )
}

/// Where an environment's packages are.
pub(crate) fn site_packages(environment: &Path) -> Result<PathBuf, PythonError> {
    let found = version(environment).unwrap_or_default();
    let path = environment.join(format!("lib/python{found}/site-packages"));
    if path.is_dir() {
        return Ok(path);
    }
    Err(PythonError::Step {
        doing: "make a Python environment".to_owned(),
        why: format!("found no directory {}, expected one", path.display()),
    })
}

fn python() -> Command {
    Command::new("python3")
}

/// An environment's pip.
pub(crate) fn pip(environment: &Path) -> Command {
    let mut command = Command::new(interpreter(environment));
    command.args(["-m", "pip", "--disable-pip-version-check", "--quiet"]);
    command
}

/// Runs a program to its end, without Python's environment variables except those of pip, which may name a package
/// index.
pub(crate) fn step(doing: &str, command: &mut Command) -> Result<(), PythonError> {
    for name in [
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONDONTWRITEBYTECODE",
        "PIP_TARGET",
        "PIP_USER",
    ] {
        command.env_remove(name);
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(PythonError::io(doing))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    Err(PythonError::Step {
        doing: doing.to_owned(),
        why: format!(
            "the program ended with {}; the end of what it said:\n{}",
            output.status,
            lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
        ),
    })
}

/// The version of an environment's Python as `3.11`.
pub(crate) fn version(environment: &Path) -> Option<String> {
    let output = Command::new(interpreter(environment))
        .args(["-ISc", "import sys; print('%d.%d' % sys.version_info[:2])"])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| version.trim().to_owned())
}

/// An environment's Python.
pub(crate) fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_says_what_was_to_be_done_and_the_end_of_what_was_said() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "seq 1 50; echo 'ERROR: no such package' >&2; exit 3"]);
        let error = step("fetch Salt 1.2", &mut command)
            .expect_err("it fails")
            .to_string();
        assert!(
            error.starts_with("could not fetch Salt 1.2: the program ended with exit status: 3;"),
            "{error}"
        );
        assert!(error.ends_with("\n50\nERROR: no such package"), "{error}");
        assert!(!error.contains("\n30\n"), "{error}");
    }
}
