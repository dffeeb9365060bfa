//! Limits the size of a store's log, which cannot shrink while another process reads the store.
//!
//! `SQLite` truncates a log when all of it is in the file and nobody reads. A reader that does not end,
//! such as `sqlite3` with an open transaction, makes every commit add to the log. Its size beyond the
//! usual counts as disk use of all stores, a warning is logged, and at the limit the disk counts as
//! full: nothing is added until the reader ends, but settled events can still be deleted.

use std::time::{Duration, Instant};

use super::beside;
use super::writer::Writer;
use evbus_report::OncePerBurst;

/// A log is normally truncated to 16 MiB; if it is more than twice as long, somebody reads it, or a commit was very
/// long.
const USUAL: u64 = 32 * MIB;

/// The longest log, if `--state-limit` permits it.
const MOST: u64 = 256 * MIB;

/// Truncating a long log is tried again when it has grown by this much, or after this time.
const STEP: u64 = 8 * MIB;
const AGAIN: Duration = Duration::from_millis(500);

const MIB: u64 = 1024 * 1024;

/// The bound of a log's length.
#[derive(Debug, Default)]
pub(super) struct LogBound {
    /// The length beyond the usual that was reported to the state directory.
    told: u64,
    /// When truncating last failed, and the length then.
    tried: Option<(Instant, u64)>,
    burst: OncePerBurst,
}

impl Writer {
    /// Truncates a long log. Fails if that is not possible and the log must not grow any more.
    pub(super) fn bound_log(&mut self) -> Result<(), String> {
        let len = self.log_len();
        if len <= USUAL {
            self.tell_log(0);
            return Ok(());
        }
        let is_due = self.log.tried.is_none_or(|(when, length)| {
            len >= length.saturating_add(STEP) || when.elapsed() >= AGAIN
        });
        if is_due {
            match self.cut_log_back() {
                Ok(true) => {
                    self.tell_log(0);
                    return Ok(());
                }
                Ok(false) => {}
                // A full or failing disk is reported by the next write.
                Err(_) => return Ok(()),
            }
            self.log.tried = Some((Instant::now(), len));
            if self.log.burst.begins() {
                tracing::warn!(
                    "store {:?}: another process is reading it, so its log cannot be truncated and has {} MiB; end that process, such as an open sqlite3 (logged once per burst)",
                    self.path,
                    len / MIB
                );
            }
        }
        self.tell_log(len - USUAL);
        let most = MOST.min(self.state.max_bytes() / 4).max(USUAL);
        if len < most {
            return Ok(());
        }
        Err(format!(
            "the log of store {} has more than {} MiB; another process is reading the store, so the log cannot be truncated: end that process, such as an open sqlite3",
            self.path.display(),
            most / MIB
        ))
    }

    /// Whether the log is long because somebody reads it.
    pub(super) fn log_is_held(&mut self) -> bool {
        // Nothing is written to the log now, so its length does not matter.
        let _ = self.bound_log();
        self.log.told > 0
    }

    pub(super) fn log_len(&self) -> u64 {
        std::fs::metadata(beside(&self.path, "-wal")).map_or(0, |log| log.len())
    }

    /// Reports the length beyond the usual to the state directory.
    pub(super) fn tell_log(&mut self, beyond: u64) {
        if beyond == 0 {
            self.log.tried = None;
        }
        if beyond != self.log.told {
            self.state.add_logs(beyond, self.log.told);
            self.log.told = beyond;
        }
    }
}
