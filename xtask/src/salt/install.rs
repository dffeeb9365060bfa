//! How a release gets into its environment.
//!
//! Salt comes as source only, and building a package of it takes a minute, most of it for what the event
//! library does not use. So its source is unpacked into the environment, where Python runs it as it is.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use super::{MARKER, note};
use crate::python::{
    self, PythonError, environment, interpreter, pip, site_packages, step, version,
};

/// What Salt's event library imports, and with `cryptography` and `xxhash` its master and minions. Salt requires some
/// fifty more packages, in versions that are not available for every Python.
pub(super) const REQUIREMENTS: &[&str] = &[
    "cryptography",
    "distro",
    "jinja2",
    "looseversion",
    "msgpack",
    "packaging",
    "psutil",
    "pyyaml",
    "requests",
    "tornado",
    "xxhash",
];
/// What pip needs to read the metadata of a source package, which it does before it caches one.
const BUILD_TOOLS: &[&str] = &[
    "importlib-metadata",
    "looseversion",
    "packaging",
    "setuptools",
    "wheel",
];
/// Imports what a program that listens and fires imports; Salt imports some of it only when it connects.
const TRY: &str = "\
import sys
import salt.utils.event
import salt.transport.tcp
import salt.version
assert salt.version.__version__ == sys.argv[1], salt.version.__version__
";

/// Creates the environments of these releases in parallel.
pub(super) fn install(home: &Path, releases: &[&str]) -> Result<(), PythonError> {
    if releases.is_empty() {
        return Ok(());
    }
    let work =
        tempfile::tempdir_in(home).map_err(PythonError::file("make a directory in", home))?;
    let tools = work.path().join("tools");
    python::environment_with_pip(&tools)?;
    step(
        "install what pip needs to fetch Salt",
        pip(&tools).arg("install").args(BUILD_TOOLS),
    )?;
    thread::scope(|scope| {
        let making: Vec<_> = releases
            .iter()
            .map(|release| scope.spawn(|| make(home, release, &tools, work.path())))
            .collect();
        // Waits for all of them and reports the first error.
        let made: Vec<_> = making
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        made.into_iter()
            .try_for_each(|made| made.expect("what makes an environment does not panic"))
    })
}

fn make(home: &Path, release: &str, tools: &Path, work: &Path) -> Result<(), PythonError> {
    let whole = home.join(release);
    if whole.exists() {
        fs::remove_dir_all(&whole).map_err(PythonError::file("remove the unfinished", &whole))?;
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
    // This also compiles what is imported, so that no test waits for it.
    step(
        &format!("use Salt {release}"),
        Command::new(interpreter(&whole)).args(["-I", "-c", TRY, release]),
    )?;
    let found = version(&whole).ok_or_else(|| PythonError::Step {
        doing: format!("ask {} for its version", interpreter(&whole).display()),
        why: "it did not tell".to_owned(),
    })?;
    let marker = whole.join(MARKER);
    fs::write(&marker, note(release, &found)).map_err(PythonError::file("write", &marker))
}
