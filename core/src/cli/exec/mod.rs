//! `evbus exec`: runs a command and fires its result.

mod capture;
mod command;
mod report;
mod signal_relay;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};
use evbus::Event;

use super::exit::{Exit, error, note};
use super::target::{Require, TargetOptions, Way};
use signal_relay::SignalRelay;

/// Run a command and fire an idem-exec event with its result
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus exec --sock-dir /run/evbus --ref cron.backup -- /usr/local/bin/backup --all
  0 3 * * *  evbus exec --acct-file /etc/evbus/acct.yml --ref cron.backup -- backup --all

The command inherits standard input, output and error, the environment and the working directory. Output \
that does not go to a terminal is passed on as it arrives, and the end of it is kept for the event; \
--capture changes that. SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on.

The event is acknowledged before evbus exits: with --sock-dir by the host, with --acct-file by the \
destinations. Its message is {\"result\": ..., \"ret\": {...}, \"comment\": ...}, without the arguments of the \
command.

Exit codes: that of the command; 128+N if signal N ended it; 126 if it cannot be executed; 127 if it is \
not found; 2 wrong usage, and nothing was run. If the event is not delivered, an error is printed and the \
exit code stays the same, but with --require-event 1 replaces 0.")]
pub(super) struct ExecArgs {
    /// Tag `ref` of the event, which names its origin
    #[arg(long = "ref", value_name = "R", default_value = "evbus.exec")]
    reference: String,
    /// Run name in the envelope
    #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
    run_name: String,
    /// Which output to keep for the event; kept output passes through evbus on its way to the reader
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    capture: Capture,
    /// Maximum number of bytes of each output in the event; the last ones are kept
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024,
          value_parser = clap::value_parser!(u32).range(..=16 * 1024 * 1024))]
    output_limit: u32,
    /// Exit with 1 if the command succeeded but its event was not delivered or matched no destination
    #[arg(long)]
    require_event: bool,
    #[command(flatten)]
    target: TargetOptions,
    /// Command and its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<OsString>,
}

/// Which outputs of the command are kept for the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Capture {
    /// Output that does not go to a terminal
    Auto,
    /// Both outputs; the command does not see a terminal
    Always,
    /// None; the command writes directly to the outputs of evbus
    Never,
}

pub(super) async fn run(args: ExecArgs) -> Result<(), Exit> {
    // Wrong usage is found before anything is run; nothing else may keep the command from running.
    let way = args.target.way()?;
    let signals = SignalRelay::hold()
        .map_err(|error| Exit::failed(format!("cannot receive signals: {error}")))?;
    let limit = args.output_limit as usize;
    let ended = command::run(&args.command, args.capture, limit, &signals).await?;
    let event = report::event(&args.command[0], &ended)
        .reference(&*args.reference)
        .run_name(&*args.run_name)
        .event();
    let delivered = match event {
        Ok(event) => tokio::select! {
            delivered = deliver(&args, way, event) => delivered,
            () = signals.interrupted() => Err(Exit::failed("a signal arrived while the event was being delivered")),
        },
        Err(error) => Err(Exit::failed(error.to_string())),
    };
    let mut code = ended.end.code();
    if let Err(fault) = delivered {
        // Its message gives the reason; its code does not matter.
        let _ = fault.report();
        error(&format!(
            "the delivery of the command's idem-exec event is not confirmed; the command itself {}",
            ended.end
        ));
        if code == 0 && args.require_event {
            code = 1;
        }
    }
    // The event is fired as soon as the command has ended; processes that it left behind may still write.
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
        // An event that only listeners received is not kept.
        let require = if args.require_event {
            Require::Destination
        } else {
            Require::Nothing
        };
        target.finish(require).await
    };
    // The host may accept the connection and then nothing more.
    let limit = args.target.timeout.saturating_add(GRACE);
    tokio::time::timeout(limit, delivering)
        .await
        .unwrap_or_else(|_| {
            Err(Exit::failed(format!(
                "the event was not acknowledged within {} s (see --timeout)",
                args.target.timeout.as_secs_f64()
            )))
        })
}

/// The time after `--timeout` for ending in order.
const GRACE: Duration = Duration::from_secs(2);
