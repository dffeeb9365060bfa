//! How often a program asks the C library for memory, counted by a small library in C that is preloaded into it: the
//! peers are finished programs, so nothing else counts the same in all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/allocations.c");

/// The count of one program, and of those that it starts.
pub(crate) struct Allocations {
    file: PathBuf,
}

impl Allocations {
    /// Has the allocations counted of what the command will start. `dir` is where the library and the count are kept.
    pub(crate) fn of(command: &mut Command, dir: &Path) -> Self {
        let library = dir.join("allocations.so");
        let output = Command::new("cc")
            .args(["-O2", "-fno-builtin", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(SOURCE)
            .output()
            .expect("there is a C compiler, because librdkafka is built with it");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let file = dir.join("allocations");
        fs::write(&file, 0_u64.to_ne_bytes()).unwrap();
        command
            .env("LD_PRELOAD", library)
            .env("ALLOCATIONS_FILE", &file);
        Self { file }
    }

    pub(crate) fn count(&self) -> u64 {
        let count = fs::read(&self.file).unwrap();
        u64::from_ne_bytes(count.try_into().expect("it has 8 bytes"))
    }
}
