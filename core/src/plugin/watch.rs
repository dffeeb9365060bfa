//! Notices that a plugin directory changed.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::PluginDir;

/// How long a directory must be quiet before it is scanned: a copy in progress makes many changes.
const QUIET: Duration = Duration::from_millis(150);

/// How often the directories are looked at anyway: some file systems report nothing, and a
/// directory that did not exist cannot be watched.
const PERIOD: Duration = Duration::from_secs(5);

/// Tells when plugin directories may have changed.
pub(crate) struct PluginWatch {
    dirs: Vec<PathBuf>,
    watched: HashSet<PathBuf>,
    watcher: Option<RecommendedWatcher>,
    changes: mpsc::Receiver<()>,
}

impl PluginWatch {
    /// Starts to watch.
    pub(crate) fn new(dirs: &[PluginDir]) -> Self {
        // One waiting message is enough: it says "look", not "what".
        let (sender, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = sender.try_send(());
            }
        })
        .inspect_err(|error| {
            tracing::warn!(
                "changes of plugin directories are noticed within {} s only, since they cannot be watched: {error}",
                PERIOD.as_secs()
            );
        })
        .ok();
        let mut watch = Self {
            dirs: dirs.iter().map(|dir| dir.path.clone()).collect(),
            watched: HashSet::new(),
            watcher,
            changes,
        };
        watch.watch_existing();
        watch
    }

    /// Waits until a scan is worth its while. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        tokio::select! {
            change = self.changes.recv() => {
                if change.is_none() {
                    // No watcher: the period alone counts.
                    tokio::time::sleep(PERIOD).await;
                }
                while let Ok(Some(())) =
                    tokio::time::timeout(QUIET, self.changes.recv()).await {}
            }
            () = tokio::time::sleep(PERIOD) => {}
        }
        self.watch_existing();
    }

    fn watch_existing(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for dir in &self.dirs {
            if !dir.is_dir() {
                self.watched.remove(dir);
            } else if !self.watched.contains(dir)
                && watcher.watch(dir, RecursiveMode::NonRecursive).is_ok()
            {
                self.watched.insert(dir.clone());
            }
        }
    }
}
