//! The real Salt, each release in a virtual environment of its own, for the tests of the event sockets, and a
//! recorded run of its master and minions.
//!
//! What is here depends on nothing that is installed beside it, and is made once: under Cargo's target
//! directory, in `salt/`. Every call blocks; inside an async test call it through `spawn_blocking`.

mod install;
mod recording;

use std::path::{Path, PathBuf};

use crate::python::{PythonError, interpreter, lock, version};
use crate::system::{self, Need};
use crate::target_dir;

pub use recording::{RECORDED, recording};

/// The releases of Salt that the event sockets are tested with: one of each series that has users.
/// The first one listens to length-prefixed frames, the others to bare ones.
pub const RELEASES: [&str; 3] = ["3006.30", "3007.13", "3008.5"];

/// The name of the file that marks a complete environment. It is written last.
const MARKER: &str = "complete";

/// Installs every release that is not there yet; blocks for up to a minute or two then, and for a moment
/// otherwise. Processes that come meanwhile wait.
///
/// # Errors
///
/// When Python is missing, or pip cannot fetch what it takes.
pub fn prepare() -> Result<(), PythonError> {
    system::check(&[Need::Python])?;
    let home = home();
    if missing(&home).is_empty() {
        return Ok(());
    }
    let _lock = lock(&home)?;
    install::install(&home, &missing(&home))
}

/// The Python in whose environment a release is installed; installs it first if need be. Run it with
/// `-E`, so that it sees nothing of the developer's.
///
/// # Errors
///
/// Those of [`prepare`].
///
/// # Panics
///
/// When the release is not one of [`RELEASES`].
pub fn python(release: &str) -> Result<PathBuf, PythonError> {
    assert!(
        RELEASES.contains(&release),
        "found Salt {release}, expected one of {}",
        RELEASES.join(", ")
    );
    prepare()?;
    Ok(interpreter(&home().join(release)))
}

fn home() -> PathBuf {
    target_dir().join("salt")
}

fn missing(home: &Path) -> Vec<&'static str> {
    let whole = |release: &&'static str| is_whole(&home.join(release), release);
    RELEASES.into_iter().filter(|it| !whole(it)).collect()
}

/// Whether an environment is complete, was made by this version of the recipe, and has the Python that it was made
/// for: a newer one does not find what was installed.
fn is_whole(environment: &Path, release: &str) -> bool {
    let noted = std::fs::read_to_string(environment.join(MARKER));
    noted.is_ok_and(|noted| version(environment).is_some_and(|it| noted == note(release, &it)))
}

/// The content of a complete environment's marker.
fn note(release: &str, python: &str) -> String {
    let requirements = install::REQUIREMENTS.join(" ");
    format!("salt {release}, {requirements}, for Python {python}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_without_its_marker_or_with_another_one_is_not_whole() {
        let [release, other, ..] = RELEASES;
        prepare().expect("the environments can be made");
        let made = home().join(release);
        assert!(is_whole(&made, release));
        assert!(!is_whole(&made, other));

        let dir = tempfile::tempdir().expect("there is room for a directory");
        let half = dir.path().join(release);
        crate::python::environment(&half).expect("Python makes environments");
        assert!(!is_whole(&half, release), "it was not made to its end");
        let python = version(&half).expect("it has a Python");
        let marker = half.join(MARKER);
        std::fs::write(&marker, note(release, "2.7")).expect("is written");
        assert!(!is_whole(&half, release), "Python is another one now");
        std::fs::write(&marker, note(release, &python)).expect("is written");
        assert!(is_whole(&half, release));
    }
}
