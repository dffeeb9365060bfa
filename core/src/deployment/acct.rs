//! The acct file of a deployment: read, read again, watched.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Deployment;
use crate::acct::{AcctFile, AcctSource};
use crate::host::ReloadError;

/// Changes whenever a file's content may have changed.
pub(super) type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Deployment {
    /// Whether the acct file was changed since it was last read.
    pub(crate) fn acct_file_changed(&self) -> bool {
        let file = self.sources.acct_file.as_ref().map(AcctSource::path);
        let stamp = file.and_then(stamp);
        // A file that is gone for a moment is being replaced.
        stamp.is_some() && stamp != self.acct_stamp
    }

    /// Reads the acct file on a thread that may block.
    pub(super) async fn read_acct(&mut self) -> Result<Option<AcctFile>, ReloadError> {
        let Some(file) = self.sources.acct_file.clone() else {
            return Ok(None);
        };
        // Before it is read: a change in between is then seen as one.
        self.acct_stamp = stamp(file.path());
        let loading = tokio::task::spawn_blocking(move || file.load());
        let loaded = loading.await.expect("a file is read to its end");
        loaded.map(Some).map_err(ReloadError::Acct)
    }

    /// The acct file as it was read; anew, where a plugin came for a provider whose section was let go. A
    /// file that was changed since is left to the reload that follows from that.
    pub(super) async fn acct_with_new_providers(&mut self) -> Option<AcctFile> {
        let acct = self.acct.clone()?;
        let lacking = acct.sections().iter().any(|section| {
            section.is_let_go() && self.catalog.provider(section.provider()).is_some()
        });
        let file = self.sources.acct_file.as_ref().map(AcctSource::path);
        if !lacking {
            return Some(acct);
        }
        if file.and_then(stamp) != self.acct_in_use {
            tracing::info!(
                "new plugins get their destinations when the acct file is read again, since it was changed"
            );
            return Some(acct);
        }
        match self.read_acct().await {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(
                    "new plugins get no destinations, since the acct file cannot be read again: {error}"
                );
                Some(acct)
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.len(),
        found.mtime().wrapping_mul(1_000_000_000) + found.mtime_nsec(),
        found.ctime().wrapping_mul(1_000_000_000) + found.ctime_nsec(),
    ))
}
