//! The directory that a templated path never leaves, and the names in it that events may choose.
//!
//! Whoever fires an event chooses what a template gives. So the directory is what the operator has written before the
//! first expression, up to the last `/`; without one, it is the working directory. What follows must be a plain name
//! below it; [`Place`](crate::place::Place) makes sure that no link leads out of it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use evbus_sdk::{Event, Outcome, Template};

use crate::outcome::Failure;
use crate::{Config, Rotate};

/// The most bytes of a file's name, and of a path with its end.
const MAX_NAME: usize = 255;
const MAX_PATH: usize = 4096;

/// A directory, and the template of the paths in it.
#[derive(Debug)]
pub(crate) struct Base {
    directory: Arc<Path>,
    template: Template,
    /// How much of the template's text names the directory.
    given: usize,
    rotate: Option<Rotate>,
}

impl Base {
    /// Finds the directory; creates it if it is missing and the configuration says so.
    pub(crate) fn open(config: &Config) -> Result<Self, Failure> {
        let given = directory_of(config.path.prefix());
        let named = Path::new(if given.is_empty() { "." } else { given });
        let failed = |error| Failure::new("open", named, error);
        let directory = std::path::absolute(named).map_err(failed)?;
        if config.create_dirs {
            crate::regular::create_directories(&directory)?;
        }
        if !fs::metadata(&directory).map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self {
            directory: directory.into(),
            template: config.path.clone(),
            given: given.len(),
            rotate: config.rotate,
        })
    }

    pub(crate) fn directory(&self) -> &Arc<Path> {
        &self.directory
    }

    /// The path of a name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The name that an event chooses, relative to the directory.
    ///
    /// # Errors
    ///
    /// The outcome of an event that chooses none, or one that it must not choose.
    pub(crate) fn name(&self, event: Event<'_>) -> Result<String, Outcome> {
        let text = self.template.text(event);
        let text = text.map_err(|fault| fault.outcome("path"))?;
        // The text begins with what is constant.
        let name = text.get(self.given..).unwrap_or_default();
        let fault = fault(name).or_else(|| {
            let length = self.directory.as_os_str().len() + 1 + name.len();
            if length >= MAX_PATH {
                Some("a path of more than 4095 bytes")
            } else if self.rotate.is_some_and(|rotate| is_rotated(name, rotate.keep)) {
                Some("the name of a file that `rotate` keeps; let it end in a constant such as `.log`")
            } else {
                None
            }
        });
        match fault {
            None => Ok(name.to_owned()),
            Some(fault) => Err(Outcome::rejected(format!(
                "the template of `path` gives {fault}"
            ))),
        }
    }
}

/// The directory in a path's beginning, with the `/` behind it; empty if there is none.
pub(crate) fn directory_of(prefix: &str) -> &str {
    prefix.rfind('/').map_or("", |end| &prefix[..=end])
}

/// Whether it names the root directory.
pub(crate) fn is_root(directory: &str) -> bool {
    let mut components = Path::new(directory).components();
    components.next() == Some(Component::RootDir) && components.all(|it| it == Component::ParentDir)
}

/// What is wrong with a name that an event has chosen.
fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("no file name");
    }
    if name.chars().any(char::is_control) {
        return Some("a file name with a control character, such as a line break or NUL");
    }
    if name.ends_with('/') {
        return Some("the name of a directory, which ends in `/`");
    }
    name.split('/').find_map(|component| match component {
        "" => Some("a path with `/` at its beginning or twice in a row"),
        "." | ".." => Some("a path with `.` or `..` in it"),
        _ if component.len() > MAX_NAME => Some("a file name of more than 255 bytes"),
        _ => None,
    })
}

/// Whether it is what the rotation calls one of the old files of another name.
fn is_rotated(name: &str, keep: u32) -> bool {
    let number = name
        .rsplit_once('.')
        .and_then(|(_, number)| number.parse().ok());
    number.is_some_and(|number| (1..=keep).contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_below_its_directory() {
        for good in [
            "a",
            "a/b.log",
            "..a",
            "a..",
            "...",
            "größe",
            "-",
            &"x".repeat(255),
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/..",
            "a/../b",
            "a/./b",
            "a\nb",
            "a\0b",
            "a\u{85}b",
            &"x".repeat(256),
        ] {
            assert!(fault(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_kept_file_of_the_rotation_is_not_a_name() {
        assert!(is_rotated("a.log.1", 5) && is_rotated("a.5", 5));
        assert!(!is_rotated("a.log.6", 5) && !is_rotated("a.1.log", 5) && !is_rotated("1", 5));
    }

    #[test]
    fn the_directory_is_what_is_constant_up_to_the_last_slash() {
        for (prefix, directory) in [("", ""), ("a-", ""), ("a/b-", "a/"), ("/v/l/", "/v/l/")] {
            assert_eq!(directory_of(prefix), directory);
        }
        assert!(is_root("/") && is_root("//") && is_root("/../"));
        assert!(!is_root("") && !is_root("./") && !is_root("/v/"));
    }
}
