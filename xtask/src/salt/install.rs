//! How a release gets into its environment.
//!
//! Salt comes as source only, and building a package of it takes a minute, most of it for what the event
//! library does not use. So its source is unpacked into the environment, where Python runs it as it is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::{MARKER, SaltError, interpreter, note, python_version};

/// What Salt's event library imports. Salt asks for some fifty packages more, in versions that not every
/// Python has.
pub(super) const REQUIREMENTS: &[&str] = &[
    "distro",
    "jinja2",
    "looseversion",
    "msgpack",
    "packaging",
    "psutil",
    "pyyaml",
    "requests",
    "tornado",
];
/// What pip needs to read what a source package says of itself; it does so before it keeps one.
const BUILD_TOOLS: &[&str] = &[
    "importlib-metadata",
    "looseversion",
    "packaging",
    "setuptools",
    "wheel",
];
/// Enough for the cause of what pip says; it says it at the end.
const TAIL_LINES: usize = 12;
/// Imports what a program that listens and fires imports, which Salt does partly when it connects.
const TRY: &str = "\
import sys
import salt.utils.event
import salt.transport.tcp
import salt.version
assert salt.version.__version__ == sys.argv[1], salt.version.__version__
";

/// Waits until no other process installs; the lock lasts as long as the file is open.
pub(super) fn lock(home: &Path) -> Result<File, SaltError> {
    fs::create_dir_all(home).map_err(SaltError::file("make", home))?;
    let path = home.join("lock");
    let file = File::create(&path).map_err(SaltError::file("open", &path))?;
    file.lock().map_err(SaltError::file("lock", &path))?;
    Ok(file)
}

/// Makes the environments of these releases, side by side.
pub(super) fn install(home: &Path, releases: &[&str]) -> Result<(), SaltError> {
    if releases.is_empty() {
        return Ok(());
    }
    let work = tempfile::tempdir_in(home).map_err(SaltError::file("make a directory in", home))?;
    let tools = work.path().join("tools");
    step(
        "make a Python environment with pip",
        python().args(["-m", "venv"]).arg(&tools),
    )?;
    step(
        "install what pip needs to fetch Salt",
        pip(&tools).arg("install").args(BUILD_TOOLS),
    )?;
    thread::scope(|scope| {
        let making: Vec<_> = releases
            .iter()
            .map(|release| scope.spawn(|| make(home, release, &tools, work.path())))
            .collect();
        // All are waited for, and the first one's error is told.
        let made: Vec<_> = making
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        made.into_iter()
            .try_for_each(|made| made.expect("what makes an environment does not panic"))
    })
}

fn make(home: &Path, release: &str, tools: &Path, work: &Path) -> Result<(), SaltError> {
    let whole = home.join(release);
    if whole.exists() {
        fs::remove_dir_all(&whole).map_err(SaltError::file("remove the unfinished", &whole))?;
    }
    environment(&whole)?;
    let packages = site_packages(&whole)?;
    step(
        &format!("install what Salt {release} needs"),
        pip(tools)
            .args(["install", "--no-compile", "--target"])
            .arg(&packages)
            .args(REQUIREMENTS),
    )?;
    let fetched = work.join(release);
    step(
        &format!("fetch Salt {release}"),
        pip(tools)
            .args([
                "download",
                "--no-deps",
                "--no-binary",
                "salt",
                "--no-build-isolation",
            ])
            .arg(format!("salt=={release}"))
            .arg("--dest")
            .arg(&fetched),
    )?;
    step(
        &format!("unpack Salt {release}"),
        Command::new("tar")
            .args(["--extract", "--gzip", "--strip-components=1", "--file"])
            .arg(fetched.join(format!("salt-{release}.tar.gz")))
            .arg("--directory")
            .arg(&packages)
            .arg(format!("salt-{release}/salt")),
    )?;
    // It also compiles what is imported, so that no test waits for that.
    step(
        &format!("use Salt {release}"),
        Command::new(interpreter(&whole)).args(["-I", "-c", TRY, release]),
    )?;
    let version = python_version(&whole).ok_or_else(|| SaltError::Step {
        doing: format!("ask {} for its version", interpreter(&whole).display()),
        why: "it did not tell".to_owned(),
    })?;
    let marker = whole.join(MARKER);
    fs::write(&marker, note(release, &version)).map_err(SaltError::file("write", &marker))
}

/// Makes an environment that holds nothing but Python.
pub(super) fn environment(path: &Path) -> Result<(), SaltError> {
    step(
        "make a Python environment",
        python().args(["-m", "venv", "--without-pip"]).arg(path),
    )
}

fn site_packages(environment: &Path) -> Result<PathBuf, SaltError> {
    let version = python_version(environment).unwrap_or_default();
    let path = environment.join(format!("lib/python{version}/site-packages"));
    if path.is_dir() {
        return Ok(path);
    }
    Err(SaltError::Step {
        doing: "make a Python environment".to_owned(),
        why: format!("found no directory {}, expected one", path.display()),
    })
}

fn python() -> Command {
    Command::new("python3")
}

fn pip(environment: &Path) -> Command {
    let mut command = Command::new(interpreter(environment));
    command.args(["-m", "pip", "--disable-pip-version-check", "--quiet"]);
    command
}

/// Runs a program to its end, with nothing of Python's settings but those of pip, which may say where
/// packages come from.
fn step(doing: &str, command: &mut Command) -> Result<(), SaltError> {
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
        .map_err(SaltError::io(doing))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    Err(SaltError::Step {
        doing: doing.to_owned(),
        why: format!(
            "the program ended with {}; the end of what it said:\n{}",
            output.status,
            lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
        ),
    })
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
