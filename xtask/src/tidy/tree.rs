//! The files of the checkout.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::workspace;

/// Larger files are not read: nobody writes such files by hand.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// All files that are, or would be, under version control.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    /// By path from the root, with `/`; the text is empty if it is not a regular file.
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the checkout. Git lists the files.
    pub(super) fn of_checkout() -> Result<Self, Failure> {
        let root = workspace::root();
        let output = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(&root)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(Failure::io("start git, which knows the project's files"))?;
        if !output.status.success() {
            return Err(Failure::Failed(format!(
                "git could not list the files of {}; expected a clone of the repository",
                root.display()
            )));
        }
        let mut files = BTreeMap::new();
        for path in String::from_utf8_lossy(&output.stdout).split_terminator('\0') {
            let file = root.join(path);
            // A file that was removed but not committed is still listed.
            let Ok(metadata) = fs::metadata(&file) else {
                continue;
            };
            let text = if metadata.is_file() && metadata.len() <= READ_BYTES {
                let bytes = fs::read(&file).map_err(Failure::file("read", &file))?;
                String::from_utf8(bytes).unwrap_or_default()
            } else {
                String::new()
            };
            files.insert(path.to_owned(), text);
        }
        Ok(Self { root, files })
    }

    /// A tree for tests.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            root: PathBuf::new(),
            files: files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        }
    }

    /// The checkout's directory.
    pub(super) fn root(&self) -> &PathBuf {
        &self.root
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Path and text of every file, in the order of the paths.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Like [`Tree::files`], but only Rust files.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.with_extension("rs")
    }

    /// Like [`Tree::files`], but only files with this extension.
    pub(super) fn with_extension(&self, extension: &str) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(move |(path, _)| {
            path.rsplit_once('.')
                .is_some_and(|(_, found)| found == extension)
        })
    }

    /// The text of one file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether there is such a file, or a file in such a directory.
    pub(super) fn has(&self, path: &str) -> bool {
        let below = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self
                .files
                .range(below.clone()..)
                .next()
                .is_some_and(|(next, _)| next.starts_with(&below))
    }
}
