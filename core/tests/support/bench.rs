//! A directory with an acct file, and `evbus acct` in it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::{evbus, run, stderr};

pub const PLAIN: &str = "kafka:\n  idem-*:\n    connection: {login: guest, password: hunter2}\n";

pub struct Bench {
    dir: TempDir,
    /// A private directory in memory, for edited texts.
    runtime: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("acct.yml"), PLAIN).unwrap();
        Self {
            dir,
            runtime: tempfile::tempdir_in("/dev/shm").unwrap(),
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn runtime(&self) -> &Path {
        self.runtime.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// `evbus acct`, not run yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = evbus(self.dir.path());
        command
            .arg("acct")
            .args(args)
            .current_dir(self.dir.path())
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .env_remove("EDITOR");
        command
    }

    pub fn acct(&self, args: &[&str]) -> Output {
        run(&mut self.command(args), b"")
    }

    /// Encrypts with a new key, which is kept in the file `key`.
    pub fn encrypt(&self, args: &[&str]) -> String {
        let output = self.acct(&[&["encrypt", "acct.yml"], args].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        fs::write(self.path("key"), &output.stdout).unwrap();
        fs::set_permissions(self.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// What is in an encrypted file.
    pub fn data(&self, file: &str) -> Value {
        let key = ["--acct-key-file", "key", "--output", "json"];
        let output = self.acct(&[&["decrypt", file], &key[..]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The permissions of a file.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The exit code and what it says, and that it does not say the password.
#[track_caller]
pub fn check(output: &Output, code: i32, sentence: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(sentence), "expected {sentence:?} in:\n{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}
