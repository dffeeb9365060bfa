//! The record of plugin files that passed a probe: a small file in the state directory.
//!
//! A file is probed in a process of its own before it is loaded into the host. Files that passed are
//! recorded by their content, so that a normal start probes nothing.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

/// The file's name in the state directory.
const FILE: &str = "plugins-tried";

/// What another version of evbus has tried is tried again, and so is what was tried at fewer moments: the number
/// grows with them.
const HEAD: &str = concat!(
    "plugin files tried by evbus ",
    env!("CARGO_PKG_VERSION"),
    " (2)"
);

/// How many contents are remembered; the oldest is forgotten first.
const MAX_HASHES: usize = 1024;

/// A longer file is not one of ours.
const MAX_BYTES: u64 = 128 * 1024;

/// The memory of one state directory.
#[derive(Debug)]
pub(crate) struct Tried(PathBuf);

impl Tried {
    /// For a state directory, which need not exist: then nothing is remembered.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self(state_dir.join(FILE))
    }

    /// Whether the file with this hash has passed.
    pub(crate) fn has(&self, hash: &str) -> bool {
        self.read().iter().any(|known| known == hash)
    }

    /// Remembers that the file with this hash has passed. Where that fails it is tried again at the
    /// next start.
    pub(crate) fn add(&self, hash: &str) {
        let mut hashes = self.read();
        hashes.retain(|known| known != hash);
        hashes.push(hash.to_owned());
        let forgotten = hashes.len().saturating_sub(MAX_HASHES);
        let text = format!("{HEAD}\n{}\n", hashes[forgotten..].join("\n"));
        let Some(dir) = self.0.parent().filter(|dir| dir.is_dir()) else {
            return;
        };
        // The temporary file has mode 0600.
        let written = tempfile::Builder::new()
            .prefix(".plugins-tried-")
            .tempfile_in(dir)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                Ok(file.persist(&self.0)?)
            });
        if let Err(error) = written {
            tracing::debug!("{} cannot be written: {error}", self.0.display());
        }
    }

    /// What is remembered; nothing where somebody else could have written it.
    fn read(&self) -> Vec<String> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = open(&self.0, flags, Mode::empty()).map(File::from) else {
            return Vec::new();
        };
        let us = rustix::process::geteuid().as_raw();
        let is_ours = file.metadata().is_ok_and(|found| {
            found.is_file()
                && found.uid() == us
                && found.mode() & 0o022 == 0
                && found.len() <= MAX_BYTES
        });
        let mut text = String::new();
        if !is_ours || file.take(MAX_BYTES).read_to_string(&mut text).is_err() {
            return Vec::new();
        }
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return Vec::new();
        }
        lines.map(ToOwned::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_passed_is_remembered_within_bounds_and_only_where_nobody_else_can_write() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let tried = Tried::new(dir.path());
        assert!(!tried.has("0"));
        for number in 0..MAX_HASHES + 5 {
            tried.add(&number.to_string());
        }
        assert!(!tried.has("4"), "the oldest are forgotten");
        assert!(tried.has("5") && tried.has(&(MAX_HASHES + 4).to_string()));
        let file = dir.path().join(FILE);
        let mode = fs::metadata(&file).expect("it is there").mode() & 0o7777;
        assert_eq!(mode, 0o600);

        fs::set_permissions(&file, fs::Permissions::from_mode(0o622)).expect("it is ours");
        assert!(!tried.has("5"), "others could have written it");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
        assert!(tried.has("5"));
        let text = fs::read_to_string(&file).expect("readable");
        let other = text.replacen(env!("CARGO_PKG_VERSION"), "0.0.0", 1);
        fs::write(&file, other).expect("it is ours");
        assert!(!tried.has("5"), "another version tried it");
        Tried::new(&dir.path().join("absent")).add("7");
        assert!(!dir.path().join("absent").exists());
    }
}
