//! A running host that all releases of Salt can use at once.

use std::path::PathBuf;

use evbus_testkit::plugin_dir;
use serde_json::Value;
use tempfile::TempDir;

use super::python::Python;
use crate::support::{RunningHost, lines_of, wait_for};

const ACCT: &str = "file:\n  '*':\n    path: '{dir}/out.jsonl'\n";

/// A host with a directory for bare frames, one for prefixed ones, and a file as its destination.
pub(super) struct Bus {
    pub(super) host: RunningHost,
    plugins: TempDir,
    prefixed: TempDir,
}

impl Bus {
    pub(super) fn start() -> Self {
        let plugins = plugin_dir(&["plugin-file", "plugin-glob"]);
        let prefixed = tempfile::tempdir().unwrap();
        Self {
            host: Self::host(tempfile::tempdir().unwrap(), &plugins, &prefixed),
            plugins,
            prefixed,
        }
    }

    fn host(dir: TempDir, plugins: &TempDir, prefixed: &TempDir) -> RunningHost {
        let prefixed = prefixed.path().to_str().unwrap();
        let more = ["--prefixed-sock-dir", prefixed];
        RunningHost::start_in(dir, ACCT, plugins.path(), &more)
    }

    /// Stops the host and starts another one; `meanwhile` runs while there is none.
    pub(super) fn restart(self, meanwhile: impl FnOnce()) -> Self {
        let (status, log, dir) = self.host.stop_and_keep();
        assert!(status.success(), "{log}");
        meanwhile();
        Self {
            host: Self::host(dir, &self.plugins, &self.prefixed),
            ..self
        }
    }

    /// The socket directory with the framing of a release of Salt.
    pub(super) fn sock_dir(&self, release: &str) -> PathBuf {
        if release.starts_with("3006.") {
            self.prefixed.path().to_owned()
        } else {
            self.host.path("s")
        }
    }

    /// Python with each release of Salt.
    pub(super) fn pythons(&self) -> [Python; 3] {
        Python::start_all(|release| self.sock_dir(release))
    }

    /// Python with each release, each with a listener that has connected, called `event`.
    pub(super) fn listeners(&self) -> [Python; 3] {
        let mut all = self.pythons();
        for python in &mut all {
            python.run("event = salt.utils.event.MasterEvent(SOCK_DIR)");
        }
        all
    }

    /// The events at the destination once there are `count`, without their ids and times.
    pub(super) fn delivered(&self, count: usize) -> Vec<Value> {
        let out = self.host.path("out.jsonl");
        let mut lines = wait_for(&format!("{count} events at the destination"), || {
            let lines = lines_of(&out);
            (lines.len() >= count).then_some(lines)
        });
        assert_eq!(lines.len(), count, "{lines:?}");
        for line in &mut lines {
            let line = line.as_object_mut().expect("a line is an object");
            line.remove("id").expect("an event has an id");
            line.remove("time").expect("an event has a time");
        }
        lines
    }
}
