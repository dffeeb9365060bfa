//! The state directory: in some runs on a small file system, which can be filled.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Large enough for what usually waits in a run, and small enough to be filled quickly.
const SIZE: &str = "size=48m,mode=0700";

pub(crate) struct Disk {
    dir: TempDir,
    /// Whether it is a separate file system; mounting one needs root.
    pub(crate) is_small: bool,
    pub(crate) is_full: bool,
}

impl Disk {
    pub(crate) fn new(is_small: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if is_small {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]);
            let mounted = mount.arg(dir.path()).status().unwrap();
            assert!(mounted.success(), "root can mount a tmpfs");
        }
        Self {
            dir,
            is_small,
            is_full: false,
        }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn filler(&self) -> PathBuf {
        self.dir.path().join("filler")
    }

    /// Fills the disk except for `left` bytes.
    pub(crate) fn fill(&mut self, left: u64) {
        assert!(self.is_small, "only a file system of its own is filled");
        let mut filler = fs::File::create(self.filler()).unwrap();
        let chunk = vec![0_u8; 64 * 1024];
        while filler.write_all(&chunk).is_ok() {}
        let len = filler.metadata().unwrap().len();
        filler.set_len(len.saturating_sub(left)).unwrap();
        self.is_full = true;
    }

    pub(crate) fn make_room(&mut self) {
        let _ = fs::remove_file(self.filler());
        self.is_full = false;
    }

    /// The files of stores and their logs.
    pub(crate) fn stores(&self) -> Vec<PathBuf> {
        let Ok(listing) = fs::read_dir(self.state().join("queues")) else {
            return Vec::new();
        };
        let mut stores: Vec<PathBuf> = listing
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file() && is_store(path))
            .collect();
        stores.sort();
        stores
    }
}

fn is_store(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("db" | "db-wal"))
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_small {
            // Lazily, because a host that is being killed may still use it.
            let mut umount = Command::new("umount");
            let _ = umount.arg("-l").arg(self.dir.path()).status();
        }
    }
}
