//! How long plugins are waited for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{exit_guard, linker};

/// How long loading a plugin may take, and each call that only returns information.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// After this time, the host logs what it waits for.
const SAID_AFTER: Duration = Duration::from_secs(5);

/// How often a waiting thread checks.
pub(crate) const GLANCE: Duration = Duration::from_millis(50);

/// How long plugins are waited for: `LIMIT` each, and no longer once the host ends. Clones share one
/// state.
#[derive(Debug, Clone)]
pub struct Patience(Arc<watch::Sender<bool>>);

impl Default for Patience {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Patience {
    /// Ends all waits for plugins.
    pub fn end(&self) {
        self.0.send_replace(true);
    }

    /// Resolves when all waits have been ended.
    pub async fn ended(&self) {
        // The sender is in `self`, so this cannot fail.
        let _ = self.0.subscribe().wait_for(|ended| *ended).await;
    }

    /// Begins to wait for `who`.
    pub fn wait<'a>(&'a self, who: &'a str, doing: &'static str) -> Waiting<'a> {
        Waiting {
            patience: self,
            who,
            doing,
            since: Instant::now(),
            is_said: false,
        }
    }
}

/// A wait for one plugin.
pub struct Waiting<'a> {
    patience: &'a Patience,
    who: &'a str,
    doing: &'static str,
    since: Instant,
    is_said: bool,
}

impl Waiting<'_> {
    /// Must be called repeatedly while waiting.
    ///
    /// # Errors
    ///
    /// The wait is over: there was no answer within the limit, or the host is shutting down.
    pub(crate) fn glance(&mut self) -> Result<Duration, Over> {
        if *self.patience.0.borrow() {
            return Err(Over::Ending);
        }
        let waited = self.since.elapsed();
        if waited >= LIMIT {
            return Err(Over::Late);
        }
        if waited >= SAID_AFTER && !self.is_said {
            self.is_said = true;
            let (who, doing, seconds) = (self.who, self.doing, SAID_AFTER.as_secs());
            let line = format!("plugin {who} has not answered for {seconds} s ({doing})");
            if linker::is_opening() {
                exit_guard::say(&format!("warning: {line}"));
            } else {
                tracing::warn!("{line}");
            }
        }
        Ok(GLANCE)
    }
}

/// Why a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It took longer than the limit.
    Late,
    /// The host is shutting down.
    Ending,
}

impl Over {
    /// One sentence, where `late` says what did not happen "within 10 s".
    pub fn sentence(self, late: &str) -> String {
        match self {
            Self::Late => format!("{late} within {} s", LIMIT.as_secs()),
            Self::Ending => "the host is shutting down before the plugin has answered".to_owned(),
        }
    }
}
