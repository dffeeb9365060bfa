//! The acct file of a deployment: loaded, reloaded, watched.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::Deployment;
use super::ReloadError;
use evbus_acct::{AcctFile, AcctSource};
use evbus_plugin::Catalog;

/// How long a changed file must stay unchanged before it is used: while a program writes it in place, it is empty or
/// incomplete.
const SETTLE: Duration = Duration::from_secs(1);

/// The same for a file that removes destinations, as half a file does.
const SETTLE_REMOVING: Duration = Duration::from_secs(5);

/// How long to wait for a program that has the file open for writing but writes nothing.
const WRITER_PATIENCE: Duration = Duration::from_secs(30);

/// A change of the acct file that may not be complete yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settling {
    stamp: Stamp,
    since: Instant,
    wait: Duration,
}

/// Changes whenever a file's content may have changed.
pub(super) type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Deployment {
    /// Uses a changed acct file once nobody changes it any more. Returns when to check again at the latest, if it may
    /// be incomplete.
    pub(crate) async fn follow_acct_file(&mut self, is_being_written: bool) -> Option<Duration> {
        let file = self.sources.acct_file.as_ref()?.path().to_owned();
        let stamp = stamp(&file);
        // A file that is missing for a moment is being replaced.
        if stamp.is_none() || stamp == self.acct_stamp {
            self.settling = None;
            return None;
        }
        let settling = match self.settling {
            Some(settling) if settling.stamp == stamp => settling,
            _ => Settling {
                stamp,
                since: Instant::now(),
                wait: SETTLE,
            },
        };
        self.settling = Some(settling);
        let wait = if is_being_written {
            WRITER_PATIENCE
        } else {
            settling.wait
        };
        let rest = wait.saturating_sub(settling.since.elapsed());
        if !rest.is_zero() {
            return Some(rest);
        }
        match self.use_settled(settling, &file).await {
            Ok(again) => again,
            Err(error) => {
                error.log();
                None
            }
        }
    }

    async fn use_settled(
        &mut self,
        settling: Settling,
        file: &Path,
    ) -> Result<Option<Duration>, ReloadError> {
        let before = self.acct_stamp;
        let acct = self.read_acct().await?;
        let catalog = self.catalog.clone();
        let Some(plan) = self.plan(&catalog, acct.as_ref()).await? else {
            return Ok(None);
        };
        let removed = self.removed_by(&plan);
        let is_too_soon = !removed.is_empty()
            && plan.errors().is_empty()
            && settling.since.elapsed() < SETTLE_REMOVING;
        if is_too_soon || stamp(file) != settling.stamp {
            self.acct_stamp = before;
            self.settling = Some(Settling {
                wait: SETTLE_REMOVING,
                ..settling
            });
            return Ok(Some(
                SETTLE_REMOVING.saturating_sub(settling.since.elapsed()),
            ));
        }
        self.settling = None;
        if plan.served.is_empty() && plan.errors().is_empty() && !self.lanes.is_empty() {
            tracing::error!(
                "the changed acct file {} contains no destinations; keeping the previous configuration with {} of them; run `evbus reload` or send SIGHUP to remove them all",
                file.display(),
                self.lanes.len()
            );
            return Ok(None);
        }
        let reloaded = self.apply_plan(plan, acct).await?;
        tracing::info!("acct file changed and reloaded: {reloaded}");
        Ok(None)
    }

    /// Reads the acct file on a thread that may block.
    pub(super) async fn read_acct(&mut self) -> Result<Option<AcctFile>, ReloadError> {
        let Some(file) = self.sources.acct_file.clone() else {
            return Ok(None);
        };
        // Stamped before reading, so that a change in between is noticed.
        let read = stamp(file.path());
        let loaded = self.unless_ending(move || file.load()).await?;
        self.acct_stamp = read;
        loaded.map(Some).map_err(ReloadError::Acct)
    }

    /// The acct file in use, read again if a new plugin serves a provider whose section was dropped. If the file has
    /// changed, that is left to the reload that follows from the change.
    pub(super) async fn acct_with_new_providers(&mut self, catalog: &Catalog) -> Option<AcctFile> {
        let acct = self.acct.clone()?;
        let lacking = acct
            .sections()
            .iter()
            .any(|section| section.is_let_go() && catalog.provider(section.provider()).is_some());
        let file = self.sources.acct_file.as_ref().map(AcctSource::path);
        if !lacking {
            return Some(acct);
        }
        if file.and_then(stamp) != self.acct_in_use {
            tracing::info!(
                "the acct file has changed; new plugins will serve their destinations after it is reloaded"
            );
            return Some(acct);
        }
        let read = match self.read_acct().await {
            Ok(Some(read)) if !read.faults().is_empty() => {
                Err(ReloadError::Acct(read.faults().to_vec()))
            }
            read => read,
        };
        match read {
            Ok(read) => read,
            Err(error) => {
                error.log_after(
                    "new plugins are not used, because the acct file cannot be reloaded",
                );
                Some(acct)
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    // A pipe given on the command line can be read only once.
    if !found.is_file() {
        return None;
    }
    Some((
        found.dev(),
        found.ino(),
        found.len(),
        found.mtime().wrapping_mul(1_000_000_000) + found.mtime_nsec(),
        found.ctime().wrapping_mul(1_000_000_000) + found.ctime_nsec(),
    ))
}
