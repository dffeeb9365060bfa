//! The host's log on standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::time::Duration;

use clap::ValueEnum;
use evbus::LogEvents;
use evbus::plugin::ExitGuard;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;

use super::log_writer::LogWriter;
use super::message_line::{self, LogLines};

/// Where a command that must not wait for whoever reads standard error writes to it.
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// How much the log says. Python's names of the levels are taken too.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum LogLevel {
    /// What failed.
    #[value(alias = "critical")]
    Error,
    /// What is wrong while work goes on.
    #[value(alias = "warning")]
    Warn,
    /// What an operator wants to know in normal operation.
    Info,
    /// What an author wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// Where else the log goes; Idem's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogPlugin {
    /// Every line is fired as an idem-logger event, too
    Event,
}

/// Starts the log. Gives what is to be attached to the bus, where lines are to become events. With
/// `is_waiting` false, standard error is written by a thread of its own, and nobody waits for its reader.
pub(super) fn start(
    level: LogLevel,
    plugin: Option<LogPlugin>,
    is_waiting: bool,
) -> Option<LogEvents> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let log_events = plugin.map(|LogPlugin::Event| LogEvents::new(level));
    let is_coloured = io::stderr().is_terminal();
    let writer = (!is_waiting).then(|| {
        std::panic::set_hook(Box::new(panicked));
        ExitGuard::before_end(|| flush(Some(LAST_WORDS)));
        WRITER.get_or_init(LogWriter::default).clone()
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(is_coloured)
        .with_target(false)
        .with_writer(LogLines {
            writer,
            is_coloured,
        });
    tracing_subscriber::registry()
        .with(level)
        .with(lines)
        .with(log_events.clone())
        .init();
    log_events
}

/// A panic is a fault of this program, and its line must not wait either.
fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let trace = Backtrace::capture();
    let trace = match trace.status() {
        BacktraceStatus::Captured => format!("\n{trace}"),
        _ => String::new(),
    };
    if let Some(writer) = WRITER.get() {
        // As a line of the log: there may be many. What it says may hold foreign text.
        let said = panic.to_string().replacen(":\n", ": ", 1);
        let said = message_line::message(&said);
        writer.line(format!("thread '{name}' {said}{trace}\n").into_bytes());
    }
    // It may be the end of the process.
    flush(Some(LAST_WORDS));
}

/// How long a thread that ends the process waits for what was said before.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Writes a line to standard error, behind what was written before.
pub(super) fn line(line: &str) {
    match WRITER.get() {
        Some(writer) => writer.word(format!("{line}\n").into_bytes()),
        None => {
            // Nobody may be there to read it any more, such as behind a terminal that was closed. That
            // changes nothing of how the command ends.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

/// Waits until everything is written, for `limit` at most.
pub(super) fn flush(limit: Option<Duration>) {
    if let Some(writer) = WRITER.get() {
        writer.flush(limit);
    }
}
