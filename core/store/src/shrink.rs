//! Returns freed pages to the file system.
//!
//! A store that was drained or purged is a file full of free pages. They are returned in slices, between
//! commits and reads, so that neither is delayed for longer than a slice takes: all of them when the
//! store has been idle for a moment or the disk is full; while it is busy, it keeps most of its file,
//! because a queue that fills again needs the pages, and because the events in the last pages have to be
//! moved: a store that is drained from its front would move half of them.

use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::writer::Writer;

/// How many pages are given back in one transaction: 1 MiB, which takes a few milliseconds.
const SLICE: u64 = 256;

/// The same on a full disk: the log of a slice this small still fits.
const LEAST_SLICE: u64 = 4;

/// Free pages that a busy store keeps at least, and that a quiet store keeps.
const KEPT_BUSY: u64 = 4096;
const KEPT: u64 = 64;

/// A busy store gives pages back only if all but this part of its file is free.
const BUSY_SHARE: u64 = 8;

/// A store counts as quiet after this time without a commit.
const QUIET: Duration = Duration::from_secs(1);

/// A busy store spends this many times as long on its work as on giving back.
const SHARE: u32 = 4;

/// The wait after the file could not be made smaller, because the disk is full or somebody reads it.
const AGAIN: Duration = Duration::from_millis(500);

/// Bytes of a page; stores are made with this size.
const PAGE: u64 = 4096;

/// When to tidy a store, and what it can give back.
#[derive(Debug)]
pub(super) struct Shrinking {
    /// The next check; `None` if nothing was written since the last.
    next: Option<Instant>,
    committed: Instant,
    slice: u64,
    /// The bytes to give back that were reported to the state directory.
    told: u64,
}

impl Default for Shrinking {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            // Leftovers of a killed host are cleaned up too.
            next: Some(now + QUIET),
            committed: now,
            slice: SLICE,
            told: 0,
        }
    }
}

impl Shrinking {
    /// When `tidy` has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The bytes to give back that were reported to the state directory.
    pub(super) fn told(&self) -> u64 {
        self.told
    }

    pub(super) fn committed(&mut self) {
        self.committed = Instant::now();
        self.next.get_or_insert(self.committed);
    }
}

impl Writer {
    /// Gives back a slice of free pages, if it is time. `refused`: the disk accepts nothing.
    pub(super) fn tidy(&mut self, refused: bool) {
        let now = Instant::now();
        if self.shrinking.next.is_none_or(|next| now < next) {
            return;
        }
        if self.log_is_held() {
            // Giving pages back would make the log longer.
            self.shrinking.next = Some(now + AGAIN);
            return;
        }
        let quiet_at = self.shrinking.committed + QUIET;
        let is_quiet = refused || now >= quiet_at;
        if now >= quiet_at {
            // Nobody drains it any more.
            self.ahead.clear();
        }
        let (free, all) = (self.pages("freelist_count"), self.pages("page_count"));
        self.tell_free(free);
        let kept = if is_quiet {
            KEPT
        } else {
            KEPT_BUSY.max(all - all / BUSY_SHARE)
        };
        self.shrinking.next = if free > kept {
            Some(self.give_back(free - kept, is_quiet))
        } else if !is_quiet {
            Some(quiet_at)
        } else if self.empty_log() {
            None
        } else {
            Some(now + AGAIN)
        };
    }

    /// Gives back as much as fits into a slice; returns when to continue.
    fn give_back(&mut self, pages: u64, is_quiet: bool) -> Instant {
        let started = Instant::now();
        let slice = self.shrinking.slice.min(pages);
        match vacuum(&self.store, slice) {
            Ok(()) => {
                self.shrinking.slice = (slice * 2).clamp(LEAST_SLICE, SLICE);
                self.tell_free(self.pages("freelist_count"));
                let took = started.elapsed();
                let rest = if is_quiet {
                    Duration::ZERO
                } else {
                    took * SHARE
                };
                Instant::now() + rest
            }
            Err(error) => {
                tracing::debug!("store {:?} does not get smaller: {error}", self.path);
                if is_full(&error) {
                    self.shrinking.slice = (slice / 4).max(LEAST_SLICE);
                    self.reuse_log();
                }
                Instant::now() + AGAIN
            }
        }
    }

    /// Copies the log into the file, so that the log's space on disk is reused.
    pub(super) fn reuse_log(&self) {
        // If this fails, the next write reports it.
        let _ = checkpoint(&self.store, "PASSIVE");
    }

    /// Copies the log into the file and truncates both to their content. Does not wait for readers; returns false if
    /// there are any.
    pub(super) fn empty_log(&self) -> bool {
        self.cut_log_back().unwrap_or(false)
    }

    /// The same, but tells a failing disk from a reader.
    pub(super) fn cut_log_back(&self) -> rusqlite::Result<bool> {
        let emptied = (self.store.busy_timeout(Duration::ZERO))
            .and_then(|()| checkpoint(&self.store, "TRUNCATE"));
        // Setting it worked before.
        let _ = self.store.busy_timeout(super::schema::BUSY);
        emptied
    }

    /// Bytes of the file that can be overwritten without using free space of the file system.
    pub(super) fn free_bytes(&self) -> u64 {
        self.pages("freelist_count") * PAGE
    }

    pub(super) fn pages(&self, pragma: &str) -> u64 {
        // A store that cannot answer has nothing to give back.
        self.store
            .pragma_query_value(None, pragma, |row| row.get(0))
            .unwrap_or_default()
    }

    pub(super) fn tell_free(&mut self, free: u64) {
        let bytes = free.saturating_sub(KEPT) * PAGE;
        self.state.add_returning(bytes, self.shrinking.told);
        self.shrinking.told = bytes;
    }
}

/// Gives all free pages back, when nobody waits for the store.
pub(super) fn give_all_back(store: &Connection) -> rusqlite::Result<()> {
    while store.pragma_query_value(None, "freelist_count", |row| row.get::<_, u64>(0))? > 0 {
        vacuum(store, SLICE)?;
    }
    checkpoint(store, "TRUNCATE").map(drop)
}

/// Runs one transaction that gives back this many pages.
fn vacuum(store: &Connection, pages: u64) -> rusqlite::Result<()> {
    // Each step gives back one page, so the statement must run to its end.
    let mut statement = store.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    Ok(())
}

/// Returns whether the whole log is in the file.
fn checkpoint(store: &Connection, how: &str) -> rusqlite::Result<bool> {
    store.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| {
        Ok(row.get::<_, i64>(0)? == 0)
    })
}

/// Whether an error says that the disk is full.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}
