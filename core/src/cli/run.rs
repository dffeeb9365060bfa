//! `evbus run`: the host.

use std::path::{Path, PathBuf};

use clap::Args;
use evbus::{LaneStatus, LogEvents};
use evbus_report::counted;

use super::exit::{Exit, error, note};
use super::host_options::{
    DescribedHost, HostOptions, all_not_started, not_started, raise_file_limit,
};
use super::host_place::StatePlace;
use super::logging::{self, LogPlugin};
use super::signals::{Asked, SECOND_SIGNAL, Signals};

/// Run the host: deliver events from the event sockets to the destinations of the acct file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus run --acct-file acct.yml --sock-dir /run/evbus
  evbus run --acct-file acct.yml --sock-dir /run/evbus --state-dir /var/lib/evbus --log-plugin event
  evbus run --acct-file acct.yml --from-salt /var/run/salt/master --salt-tag 'salt/job/*/ret/*'

Events arrive through --sock-dir, --prefixed-sock-dir, --from-salt and --log-plugin; a host with none of \
them needs --state-dir, and delivers the events stored there.

Prints the line `ready` on standard error when the sockets accept connections. On SIGTERM or SIGINT the \
host accepts no more events, delivers the queued ones within --drain-timeout, and reports which remain \
and where. On SIGHUP, and when the acct file or a plugin changes, it reads them again and applies the \
changes.

Exit codes: 0 every event was delivered, kept on disk or dropped by a policy; 1 events were lost, or a \
second signal ended the host; 2 wrong usage; 70 a plugin called exit; 75 the disk of the state directory \
is full, try again later; 78 invalid configuration.")]
pub(super) struct RunArgs {
    /// Acct file, which defines the destinations [default: none; events reach only listeners]
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

/// Logs where queued events and dead letters are kept, or what it means that they are not.
fn tell_state(state: Option<&StatePlace>) {
    if let Some(place) = state {
        tracing::info!(
            "queued events and dead letters are kept in {} ({})",
            place.path.display(),
            place.named_by.text()
        );
    } else {
        tracing::info!(
            "no state directory: queued events and dead letters are kept in memory only and are lost when the host ends, and a destination with a full queue delays the programs that fire; use --state-dir to keep them on disk"
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
        // Other faults are reported first, as for any other host.
        let found = tokio::select! {
            found = builder.examine() => found.faults,
            () = signals.end() => return Ok(()),
        };
        Exit::of_all(all_not_started(found, state.as_ref()).await)?;
        return Err(Exit::usage(
            "the host has no way to receive events: use --sock-dir for event sockets, --from-salt for those of a Salt master, or --log-plugin for the host's own log; or use --state-dir to deliver only the events stored there",
        ));
    }
    let started = tokio::select! {
        started = builder.start() => started,
        () = signals.end() => return Ok(()),
    };
    let host = match started {
        Ok(host) => host,
        Err(error) => return Err(not_started(error, state.as_ref()).await),
    };
    tell_state(state.as_ref());
    if let Some(log_events) = &log_events {
        log_events.attach(host.bus());
    }
    signals.started(drain_timeout);
    logging::line("ready");
    evbus::plugin::release_startup_code();

    while let Asked::Reload = signals.next().await {
        tracing::info!("SIGHUP: reloading the acct file");
        tokio::select! {
            reloaded = host.reload() => if let Err(error) = reloaded {
                error.log();
            },
            // The reload may wait for something that hangs; ending the host ends the wait.
            () = signals.end() => break,
        }
    }
    tracing::info!("shutting down: delivering queued events");
    let intake = host.intake();
    let untold = || (intake.as_ref()).map_or(0, |counters| counters.counts().untold);
    let before = untold();
    if let Some(log_events) = &log_events {
        // The bus takes nothing more once the host ends.
        log_events.flush().await;
    }
    tokio::select! {
        left = host.shutdown(drain_timeout) => {
            let dir = state.as_ref().map(|place| &*place.path);
            remaining(&left, untold() - before, dir)
        }
        () = signals.end() => Err(Exit::failed(SECOND_SIGNAL)),
    }
}

/// Reports which events remain, and where.
fn remaining(lanes: &[LaneStatus], untold: u64, state_dir: Option<&Path>) -> Result<(), Exit> {
    let (mut lost, mut kept) = (untold, 0);
    if untold > 0 {
        error(&format!(
            "{} not kept at all destinations, and nobody was told, because the programs are Salt's or had left",
            counted(untold, "event was", "events were")
        ));
    }
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
            "{} kept in {} and will be delivered after the next start",
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

/// Names the destination, or the number of destinations that it stands for.
fn named(lane: &LaneStatus) -> String {
    if lane.others == 0 {
        format!("destination {}", lane.destination)
    } else {
        let others = counted(lane.others as u64, "more destination", "more destinations");
        format!("and {others}")
    }
}

/// Lists how many events were lost in which way.
fn how_lost(lane: &LaneStatus) -> String {
    let ways = [
        (lane.left_in_memory(), "in memory only"),
        (
            lane.dead_letters_unkept,
            "as dead letters that could not be stored",
        ),
        (lane.lost_since_start, "to disk damage"),
    ];
    let ways = ways.iter().filter(|(number, _)| *number > 0);
    let ways: Vec<String> = ways
        .map(|(number, way)| format!("{number} {way}"))
        .collect();
    ways.join(", ")
}
