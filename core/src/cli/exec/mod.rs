//! `evbus exec`: runs a command and fires what became of it.

mod capture;
mod command;
mod report;
mod signals;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};
use evbus::Event;

use super::exit::{Exit, error, note};
use super::target::{Require, TargetOptions, Way};
use signals::Signals;

/// Run a command and fire an idem-exec event that says what became of it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus exec --sock-dir /run/evbus --ref cron.backup -- /usr/local/bin/backup --all
  0 3 * * *  evbus exec --acct-file /etc/evbus/acct.yml --ref cron.backup -- backup --all

The command has this program's standard input, output and error, its environment and its directory. The
part of its output that does not go to a terminal is passed on as it comes, and its end is kept for the
event; --capture changes that. SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on.

The event is acknowledged before this ends: with --sock-dir by the host, with --acct-file by the
destinations. Its message is {\"result\": ..., \"ret\": {...}, \"comment\": ...}; the command's arguments are
not in it.

Exit codes: the command's; 128+N when signal N ended it; 126 when it cannot be executed, 127 when it is
not found; 2 wrong use, and nothing was run. That the event was not delivered is said on standard error and
changes nothing of that, unless --require-event is given: then 1 takes the place of 0.")]
pub(super) struct ExecArgs {
    /// Who fires: the tag `ref` of the event
    #[arg(long = "ref", value_name = "R", default_value = "evbus.exec")]
    reference: String,
    /// The run name in the envelope
    #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
    run_name: String,
    /// Whose output is kept for the event, and so does not go straight from the command to its reader
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    capture: Capture,
    /// How many bytes of each output the event has: the last ones
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024,
          value_parser = clap::value_parser!(u32).range(..=16 * 1024 * 1024))]
    output_limit: u32,
    /// End with 1 when the command succeeded and its event was not delivered, or with --acct-file
    /// matched no destination
    #[arg(long)]
    require_event: bool,
    #[command(flatten)]
    target: TargetOptions,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<OsString>,
}

/// Which outputs of the command are kept for the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Capture {
    /// Those that do not go to a terminal
    Auto,
    /// Both; the command sees no terminal there
    Always,
    /// None; the command writes straight to this program's own
    Never,
}

pub(super) async fn run(args: ExecArgs) -> Result<(), Exit> {
    // Wrong use is found before anything is run; everything else must not keep the command from it.
    let way = args.target.way()?;
    let signals = Signals::hold()
        .map_err(|error| Exit::failed(format!("signals cannot be received: {error}")))?;
    let limit = args.output_limit as usize;
    let ended = command::run(&args.command, args.capture, limit, &signals).await?;
    let event = report::event(&args.command[0], &ended)
        .reference(&*args.reference)
        .run_name(&*args.run_name)
        .event();
    let delivered = match event {
        Ok(event) => tokio::select! {
            delivered = deliver(&args, way, event) => delivered,
            () = signals.interrupted() => Err(Exit::failed("a signal came while it was delivered")),
        },
        Err(error) => Err(Exit::failed(error.to_string())),
    };
    let mut code = ended.end.code();
    if let Err(fault) = delivered {
        // What it says is the reason; its code is another matter.
        let _ = fault.report();
        error(&format!(
            "the idem-exec event of the command was not delivered; the command itself {}",
            ended.end
        ));
        if code == 0 && args.require_event {
            code = 1;
        }
    }
    // The event is there as soon as the command has ended; what it left behind may go on writing.
    tokio::select! {
        () = ended.streams.finish() => {}
        () = signals.interrupted() => {}
    }
    if code == 0 {
        Ok(())
    } else {
        Err(Exit::passed_on(code))
    }
}

async fn deliver(args: &ExecArgs, way: Way<'_>, event: Event) -> Result<(), Exit> {
    let delivering = async {
        let mut target = way.open().await?;
        target.put(event).await?;
        // An event that only listeners got is kept nowhere.
        let require = if args.require_event {
            Require::Destination
        } else {
            Require::Nothing
        };
        target.finish(require).await
    };
    // The host may take the connection and then nothing more.
    let limit = args.target.timeout.saturating_add(GRACE);
    tokio::time::timeout(limit, delivering)
        .await
        .unwrap_or_else(|_| {
            Err(Exit::failed(format!(
                "the event was not taken within {} s",
                args.target.timeout.as_secs_f64()
            )))
        })
}

/// What `--timeout` leaves for ending in order.
const GRACE: Duration = Duration::from_secs(2);
