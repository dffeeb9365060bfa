//! The host's log on standard error.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;

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

/// Starts the log.
pub(super) fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
