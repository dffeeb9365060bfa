//! Notices that a plugin directory or the acct file changed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::PluginDir;

/// How long a directory must be quiet before it is scanned: a copy in progress makes many changes.
const QUIET: Duration = Duration::from_millis(150);

/// How long to wait for quiet at most.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// How often the directories are looked at anyway: some file systems report nothing, and a
/// directory that did not exist cannot be watched.
const PERIOD: Duration = Duration::from_secs(5);

/// Reports when plugins or the acct file may have changed.
pub struct PluginWatch {
    dirs: Vec<PathBuf>,
    watched: HashSet<PathBuf>,
    watcher: Option<RecommendedWatcher>,
    changes: mpsc::Receiver<()>,
    /// Somebody has written to the file and has it still open.
    being_written: Arc<AtomicBool>,
}

/// A watcher that has got its thread. Without one it would panic when it is used or dropped.
fn at_work(mut watcher: RecommendedWatcher) -> notify::Result<RecommendedWatcher> {
    // `configure` is the only call that fails if the watcher has no thread.
    if watcher.configure(notify::Config::default()).is_ok() {
        return Ok(watcher);
    }
    std::mem::forget(watcher);
    Err(notify::Error::generic("cannot start a thread for that"))
}

impl PluginWatch {
    /// Starts watching plugin directories, and one file in a directory that may contain others.
    pub fn new(dirs: &[PluginDir], file: Option<&Path>) -> Self {
        // One waiting message is enough: it means "look", whatever changed.
        let (sender, changes) = mpsc::channel(1);
        let mut dirs: Vec<PathBuf> = dirs.iter().map(|dir| dir.path.clone()).collect();
        let plugin_dirs = dirs.clone();
        let name = file.and_then(Path::file_name).map(ToOwned::to_owned);
        let acct_name = name.clone();
        let matters = move |path: &PathBuf| {
            path.extension().is_some_and(|extension| extension == "so")
                || plugin_dirs.contains(path)
                || path.file_name() == acct_name.as_deref()
        };
        let being_written = Arc::new(AtomicBool::new(false));
        let writing = Arc::clone(&being_written);
        let noticed = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let closed = event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
            if event.kind.is_access() && !closed {
                return;
            }
            let is_file = |path: &PathBuf| path.file_name() == name.as_deref();
            if event.paths.iter().any(is_file) {
                match event.kind {
                    EventKind::Modify(ModifyKind::Data(_)) => {
                        writing.store(true, Ordering::Relaxed);
                    }
                    // A file was closed, or its name now belongs to another file.
                    EventKind::Access(_)
                    | EventKind::Create(_)
                    | EventKind::Remove(_)
                    | EventKind::Modify(ModifyKind::Name(_)) => {
                        writing.store(false, Ordering::Relaxed);
                    }
                    _ => {}
                }
            }
            if event.paths.iter().any(&matters) {
                let _ = sender.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(noticed)
            .and_then(at_work)
            .inspect_err(|error| {
            tracing::warn!(
                "changes to plugins and the acct file are noticed only every {} s, because they cannot be watched: {error}",
                PERIOD.as_secs()
            );
        })
        .ok();
        // The directory is watched, because a replaced file is a different file.
        dirs.extend(file.map(|file| match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        }));
        let mut watch = Self {
            dirs,
            watched: HashSet::new(),
            watcher,
            changes,
            being_written,
        };
        watch.watch_existing();
        watch
    }

    /// Whether a program that has written to the file still has it open, as far as that can be seen.
    pub fn is_being_written(&self) -> bool {
        self.being_written.load(Ordering::Relaxed)
    }

    /// Waits until something may have changed. Cancel safe.
    pub async fn changed(&mut self) {
        tokio::select! {
            change = self.changes.recv() => {
                if change.is_none() {
                    // Without a watcher, only the period applies.
                    tokio::time::sleep(PERIOD).await;
                }
                let patience = tokio::time::Instant::now() + MAX_WAIT;
                while let Ok(Some(())) =
                    tokio::time::timeout(QUIET, self.changes.recv()).await
                    && tokio::time::Instant::now() < patience {}
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
