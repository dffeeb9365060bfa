//! `evbus reload`: makes a running host reload its acct file.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use evbus::control::ControlError;

use super::exit::Exit;
use super::host_place::ControlPlace;
use super::output::{json_line, write};

/// Reload the acct file of a running host, and show what changed
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus reload --sock-dir /run/evbus
  evbus reload --state-dir /var/lib/evbus

Prints one line for each destination that was added, removed or changed, then the numbers. Unlike a change \
that the host notices by itself, a reload may remove every destination. Waits until the host has read the \
secrets and checked the plugins again.

Exit codes: 0 the acct file is in use; 1 nothing was changed, for the reason given, or no host answers; \
2 wrong usage.")]
pub(super) struct ReloadArgs {
    /// Socket directory of the host [env: `EVBUS_SOCK_DIR`]
    #[arg(long, value_name = "D", conflicts_with = "state_dir")]
    sock_dir: Option<PathBuf>,
    /// State directory of the host [env: `EVBUS_STATE_DIR`] [default: as for `evbus run`]
    #[arg(long, value_name = "D")]
    state_dir: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: ReloadArgs) -> Result<(), Exit> {
    let place = ControlPlace::find(args.sock_dir.as_ref(), args.state_dir.as_ref())?;
    let reloading = async { place.connect().await?.reload().await };
    let reloaded = reloading.await.map_err(|error| match error {
        ControlError::Refused(reasons) => Exit::refused("nothing was changed", &reasons),
        error => place.exit(&error),
    })?;
    if args.json {
        return json_line(&reloaded).map(|_| ());
    }
    let mut lines = String::new();
    for (what, destinations) in [
        ("added", &reloaded.added),
        ("removed", &reloaded.removed),
        ("changed", &reloaded.changed),
    ] {
        for destination in destinations {
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{what} {destination}");
        }
    }
    let _ = writeln!(lines, "{reloaded}");
    write(lines.as_bytes()).map(|_| ())
}
