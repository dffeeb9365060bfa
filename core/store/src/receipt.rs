//! Waiting until an event is on disk.

use tokio::sync::watch;

use super::pending::Progress;

/// Waits until an event is safely on disk.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub(super) seq: u64,
    /// Whether to wait for a disk that accepts nothing, as long as the store is open.
    pub(super) is_patient: bool,
    pub(super) progress: watch::Receiver<Progress>,
}

impl Receipt {
    /// The number of the event.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Resolves when it is on disk, or settled. Cancel safe.
    ///
    /// # Errors
    ///
    /// The reason why the disk does not accept the event.
    pub async fn written(mut self) -> Result<(), String> {
        let seq = self.seq;
        let reached = self
            .progress
            .wait_for(|progress| {
                let is_refused = progress.fault.is_some() && !self.is_patient;
                progress.written_to >= seq || is_refused || progress.closed
            })
            .await;
        match reached {
            Ok(progress) if progress.written_to >= seq => Ok(()),
            Ok(progress) => Err(progress
                .fault
                .as_deref()
                .unwrap_or("the store was closed")
                .to_owned()),
            Err(_) => Err("the store's thread ended unexpectedly".to_owned()),
        }
    }
}
