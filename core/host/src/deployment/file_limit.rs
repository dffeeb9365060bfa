//! How many destinations the limit of open files allows.

use rustix::process::{Resource, getrlimit};

use evbus_report::counted;

/// Open files of a destination at least: its output or connection.
const OF_A_DESTINATION: u64 = 1;

/// Open files of its store: the file, its log and the log's index.
const OF_A_STORE: u64 = 3;

/// Open files of a host without destinations, at least.
const OF_A_HOST: u64 = 32;

/// Too many destinations for this process's limit of open files.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} at least {needed} open files, but this process is limited to {limit}; raise the limit (`ulimit -n`, or LimitNOFILE= of the unit)",
    match destinations {
        0 => "a host needs".to_owned(),
        some => counted(*some, "destination needs", "destinations need"),
    }
)]
pub struct TooFewOpenFiles {
    /// How many destinations there are; 0 if the limit is too low even without any.
    pub destinations: usize,
    /// The least number of open files that they need.
    pub needed: u64,
    /// The limit of open files of this process.
    pub limit: u64,
}

/// Refuses more destinations than this process may have open files for, before any of them is started.
pub(crate) fn check_file_limit(
    destinations: usize,
    has_state: bool,
) -> Result<(), TooFewOpenFiles> {
    let each = OF_A_DESTINATION + if has_state { OF_A_STORE } else { 0 };
    let needed = (destinations as u64).saturating_mul(each) + OF_A_HOST;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => Err(TooFewOpenFiles {
            destinations,
            needed,
            limit,
        }),
        _ => Ok(()),
    }
}
