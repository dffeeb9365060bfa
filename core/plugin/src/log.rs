//! Passes log lines of plugins on to the host's log.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use evbus_abi::v1::{HostObjectV1, LevelV1, LinkV1};
use parking_lot::Mutex;
use tracing::Level;
use tracing::level_filters::LevelFilter;

use evbus_destination::Secrets;
use evbus_report::foreign_text::{self, MAX_BYTES};
use evbus_report::{LogRate, counted};

/// The most verbose level that this process logs.
pub fn max_level() -> LevelV1 {
    match LevelFilter::current().into_level() {
        None => LevelV1(0),
        Some(Level::ERROR) => LevelV1::ERROR,
        Some(Level::WARN) => LevelV1::WARN,
        Some(Level::INFO) => LevelV1::INFO,
        Some(Level::DEBUG) => LevelV1::DEBUG,
        Some(Level::TRACE) => LevelV1::TRACE,
    }
}

/// The source of a line.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The plugin's id.
    pub plugin: &'a str,
    /// The pattern of the destination, if it belongs to one.
    pub profile: Option<&'a str>,
}

/// How many lines one speaker may log per second.
const MAX_LINES_A_SECOND: u32 = 500;

/// The limit of lines that an instance may log, so that a flood does not drown the others.
#[must_use]
pub fn instance_rate() -> LogRate {
    LogRate::of(MAX_LINES_A_SECOND)
}

/// Whether a line may be logged. Logs how many were left out before it.
pub fn admits(rate: &LogRate, about: About<'_>) -> bool {
    let Some(left_out) = rate.admit() else {
        return false;
    };
    if left_out > 0 {
        let message = format!(
            "{} dropped: the plugin logs too much",
            counted(left_out, "line", "lines")
        );
        log(LevelV1::WARN, about, "evbus", &message);
    }
    true
}

/// A longer module name is truncated.
const MAX_MODULE_BYTES: usize = 256;

/// Writes a plugin's line into the host's log. The level must be a constant at the call site.
pub fn log(level: LevelV1, about: About<'_>, module: &str, message: &str) {
    let About { plugin, profile } = about;
    let message = foreign_text::line(message, MAX_BYTES);
    let module = &*foreign_text::line(module, MAX_MODULE_BYTES);
    match level {
        LevelV1::ERROR => tracing::error!(plugin, profile, module, "{message}"),
        LevelV1::WARN => tracing::warn!(plugin, profile, module, "{message}"),
        LevelV1::INFO => tracing::info!(plugin, profile, module, "{message}"),
        LevelV1::DEBUG => tracing::debug!(plugin, profile, module, "{message}"),
        _ => tracing::trace!(plugin, profile, module, "{message}"),
    }
}

/// Log lines of a plugin outside of its instances: while it checks a configuration, compiles or matches patterns, or
/// from its own threads.
pub(crate) struct Voice {
    plugin: String,
    rate: LogRate,
    secrets: SecretsShown,
}

/// The secrets of this many configurations are kept.
const MAX_SHOWN: usize = 1024;

/// How many lines a plugin may log per second outside of its instances: each is searched for all secrets.
const MAX_LINES_OF_VOICE: u32 = 50;

/// The secrets of the configurations shown to a plugin, which it may log later.
#[derive(Clone, Default)]
pub(crate) struct SecretsShown(Arc<Mutex<VecDeque<Secrets>>>);

impl SecretsShown {
    /// Records the secrets of a configuration that the plugin is shown.
    pub(crate) fn note(&self, secrets: &Secrets) {
        let mut shown = self.0.lock();
        if secrets.is_empty() || shown.contains(secrets) {
            return;
        }
        if shown.len() == MAX_SHOWN {
            shown.pop_front();
        }
        shown.push_back(secrets.clone());
    }

    fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // A clone, so that nobody waits for the lock during the search.
        let shown = self.0.lock().clone();
        for secrets in &shown {
            if let Cow::Owned(hidden) = secrets.hide(&text) {
                text = hidden;
            }
        }
        text
    }
}

impl fmt::Debug for SecretsShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretsShown({})", self.0.lock().len())
    }
}

impl Voice {
    pub(crate) fn new(plugin: &str, secrets: SecretsShown) -> Self {
        Self {
            plugin: plugin.to_owned(),
            rate: LogRate::of(MAX_LINES_OF_VOICE),
            secrets,
        }
    }
}

impl HostObjectV1 for Voice {
    fn log(&self, level: LevelV1, target: &str, message: &str) {
        let about = About {
            plugin: &self.plugin,
            profile: None,
        };
        if admits(&self.rate, about) {
            log(
                level,
                about,
                &self.secrets.hide(target),
                &self.secrets.hide(message),
            );
        }
    }

    fn link(&self, _: LinkV1, _: &str) {}
}
