//! How many destinations the limit of open files allows.

use rustix::process::{Resource, getrlimit};

use crate::host::ReloadError;

/// Open files of a destination at least: its output or connection, and its runtime.
const OF_A_DESTINATION: u64 = 2;

/// Open files of its store: the file, its log and the log's index.
const OF_A_STORE: u64 = 3;

/// Open files of a host without destinations, at least.
const OF_A_HOST: u64 = 32;

/// Refuses more destinations than this process may have files open for, before any of them is touched.
pub(crate) fn check_file_limit(destinations: usize, has_state: bool) -> Result<(), ReloadError> {
    let each = OF_A_DESTINATION + if has_state { OF_A_STORE } else { 0 };
    let needed = (destinations as u64).saturating_mul(each) + OF_A_HOST;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => Err(ReloadError::OpenFiles {
            destinations,
            needed,
            limit,
        }),
        _ => Ok(()),
    }
}
