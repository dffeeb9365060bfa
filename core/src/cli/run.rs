//! `evbus run`: the host.

use std::path::{Path, PathBuf};

use clap::Args;
use evbus::{LaneStatus, LogEvents};
use evbus_report::counted;

use super::exit::{Exit, error, note};
use super::host_options::{DescribedHost, HostOptions, not_started, raise_file_limit};
use super::host_place::StatePlace;
use super::logging::{self, LogPlugin};
use super::signals::{Asked, SECOND_SIGNAL, Signals};

/// Run the host: deliver events from the event sockets to the destinations of the acct file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus run --acct-file acct.yml --sock-dir /run/evbus
  evbus put --sock-dir /run/evbus idem-status '\"FINISHED\"'
  evbus run --acct-file acct.yml --from-salt /var/run/salt/master --salt-tag 'salt/job/*/ret/*'

Prints the line `ready` on standard error when the sockets accept. On SIGTERM or SIGINT it takes no
more events, delivers what it has within --drain-timeout, and says what remained and where. On
SIGHUP, and when the acct file or a plugin changes, it goes on with what they say then.")]
pub(super) struct RunArgs {
    /// The acct file: destinations, their patterns and connections
    #[arg(long, value_name = "F", env = "ACCT_FILE")]
    acct_file: Option<PathBuf>,
    #[command(flatten)]
    host: HostOptions,
}

impl RunArgs {
    pub(super) fn log_plugin(&self) -> Option<LogPlugin> {
        self.host.log_plugin
    }
}

/// Says where what waits is kept, and what it means where it is not.
fn tell_state(state: Option<&StatePlace>) {
    if let Some(place) = state {
        tracing::info!(
            "queued events and dead letters are kept in {} ({})",
            place.path.display(),
            place.named_by.text()
        );
    } else {
        tracing::info!(
            "no state directory: queued events and dead letters are in memory only and are lost when the host ends, and a destination whose queue is full delays the programs that fire; use --state-dir"
        );
    }
}

pub(super) async fn run(args: RunArgs, log_events: Option<LogEvents>) -> Result<(), Exit> {
    // Before anything else, so that no signal finds its default action.
    let mut signals = Signals::receive()?;
    raise_file_limit();
    let drain_timeout = args.host.drain_timeout;
    let has_way_in = args.host.has_way_in();
    let DescribedHost {
        builder,
        state,
        faults,
    } = args.host.describe(args.acct_file);
    Exit::of_all(faults)?;
    if !has_way_in {
        // What is wrong beside that is told first, as for any other host.
        let found = tokio::select! {
            found = builder.examine() => found.faults,
            () = signals.end() => return Ok(()),
        };
        Exit::of_all(
            (found.into_iter())
                .map(|fault| not_started(fault, state.as_ref()))
                .collect(),
        )?;
        return Err(Exit::usage(
            "no way in for events given: use --sock-dir for event sockets, or --from-salt for those of a Salt master; with --state-dir a host without either delivers what is left there",
        ));
    }
    let host = tokio::select! {
        host = builder.start() => host.map_err(|error| not_started(error, state.as_ref()))?,
        () = signals.end() => return Ok(()),
    };
    tell_state(state.as_ref());
    if let Some(log_events) = &log_events {
        log_events.attach(host.bus());
    }
    signals.started(drain_timeout);
    logging::line("ready");

    while let Asked::Reload = signals.next().await {
        tracing::info!("SIGHUP: reading the acct file again");
        tokio::select! {
            reloaded = host.reload() => if let Err(error) = reloaded {
                // Each fault of an acct file is one line.
                for sentence in error.to_string().lines() {
                    tracing::error!("the reload changed nothing: {sentence}");
                }
            },
            // It may wait for something that hangs; ending the host ends the waiting.
            () = signals.end() => break,
        }
    }
    tracing::info!("ending: delivering what is queued");
    if let Some(log_events) = &log_events {
        // The bus takes nothing more once the host ends.
        log_events.flush().await;
    }
    tokio::select! {
        left = host.shutdown(drain_timeout) => remaining(&left, state.as_ref().map(|place| &*place.path)),
        () = signals.end() => Err(Exit::failed(SECOND_SIGNAL)),
    }
}

/// Says what remained, and where it is.
fn remaining(lanes: &[LaneStatus], state_dir: Option<&Path>) -> Result<(), Exit> {
    let (mut lost, mut kept) = (0, 0);
    for lane in lanes {
        kept += lane.counts.queued_on_disk;
        lost += lane.gone();
        let reason = lane.disk_fault.as_ref().or(lane.last_error.as_ref());
        let reason = reason.map(|error| format!(" ({error})"));
        let reason = reason.unwrap_or_default();
        if lane.counts.queued > 0 {
            note(&format!(
                "{}: {} not delivered in time{reason}",
                named(lane),
                counted(lane.counts.queued, "event was", "events were"),
            ));
        }
        if lane.gone() > 0 {
            error(&format!(
                "{}: {} lost: {}",
                named(lane),
                counted(lane.gone(), "event is", "events are"),
                how_lost(lane)
            ));
        }
    }
    if let Some(dir) = state_dir.filter(|_| kept > 0) {
        note(&format!(
            "{} kept in {} and delivered after the next start",
            counted(kept, "event is", "events are"),
            dir.display()
        ));
    }
    if lost == 0 {
        return Ok(());
    }
    Err(Exit::failed(format!(
        "{} neither delivered nor kept",
        counted(lost, "event was", "events were")
    )))
}

/// Which destination it is, or how many.
fn named(lane: &LaneStatus) -> String {
    if lane.others == 0 {
        format!("destination {}", lane.destination)
    } else {
        let others = counted(lane.others as u64, "more destination", "more destinations");
        format!("and {others}")
    }
}

/// Says of each event that is lost how that came about.
fn how_lost(lane: &LaneStatus) -> String {
    let ways = [
        (lane.left_in_memory(), "remained in memory"),
        (
            lane.dead_letters_unkept,
            "refused or given up, and no disk kept the dead letter",
        ),
        (lane.lost_since_start, "on a disk that was damaged"),
    ];
    let ways = ways.iter().filter(|(number, _)| *number > 0);
    let ways: Vec<String> = ways
        .map(|(number, way)| format!("{number} {way}"))
        .collect();
    ways.join(", ")
}
