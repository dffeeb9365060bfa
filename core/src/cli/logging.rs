//! The host's log on standard error.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use evbus::LogEvents;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;

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

/// Starts the log. Gives what is to be attached to the bus, where lines are to become events.
pub(super) fn start(level: LogLevel, plugin: Option<LogPlugin>) -> Option<LogEvents> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let log_events = plugin.map(|LogPlugin::Event| LogEvents::new(level));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(level)
        .with(lines)
        .with(log_events.clone())
        .init();
    log_events
}
