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

/// The writer to standard error of commands that must not wait for its reader.
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// The verbosity of the log. Python's names of the levels are accepted too.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum LogLevel {
    /// Failures.
    #[value(alias = "critical")]
    Error,
    /// Faults that do not stop the work.
    #[value(alias = "warning")]
    Warn,
    /// Events of normal operation.
    Info,
    /// Details for plugin authors.
    Debug,
    /// Everything.
    Trace,
}

/// An additional output of the log, under Idem's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogPlugin {
    /// Fire every log line as an idem-logger event
    Event,
}

/// Starts the log. Returns what to attach to the bus if lines become events. If `is_waiting` is false, a
/// separate thread writes to standard error, and nothing waits for its reader.
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

/// Logs a panic, which is a fault of this program, without waiting either.
fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let trace = Backtrace::capture();
    let trace = match trace.status() {
        BacktraceStatus::Captured => format!("\n{trace}"),
        _ => String::new(),
    };
    if let Some(writer) = WRITER.get() {
        // As a log line, because there may be many. Its message may contain foreign text.
        let said = panic.to_string().replacen(":\n", ": ", 1);
        let said = message_line::message(&said);
        writer.line(format!("thread '{name}' {said}{trace}\n").into_bytes());
    }
    // The process may end now.
    flush(Some(LAST_WORDS));
}

/// How long a thread that ends the process waits for earlier lines to be written.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Writes a line to standard error, after all earlier lines.
pub(super) fn line(line: &str) {
    match WRITER.get() {
        Some(writer) => writer.word(format!("{line}\n").into_bytes()),
        None => {
            // There may be no reader any more, such as after a terminal was closed. That does not change how
            // the command ends.
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
