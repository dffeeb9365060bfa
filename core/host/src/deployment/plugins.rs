//! The plugins of a deployment: scanned for, and used if no destination is lost by it.

use std::collections::HashSet;
use std::path::PathBuf;

use super::Deployment;
use super::ReloadError;
use super::change::names;
use crate::plan::load_used;
use evbus_acct::AcctFile;
use evbus_plugin::{Catalog, PluginReport, PluginState};

impl Deployment {
    /// Scans the plugin directories again, and applies what changed to the lanes. What could not be used is tried
    /// again only if it changed, or if `is_asked`.
    ///
    /// # Errors
    ///
    /// The host ends meanwhile; what else goes wrong is in the log.
    pub(crate) async fn rescan(&mut self, is_asked: bool) -> Result<(), ReloadError> {
        if is_asked {
            self.registry.forget_refusals();
        }
        let acct = self.acct.clone();
        let found = self.scan(acct).await?;
        let scanned = Scanned::of(&found);
        let is_new = scanned != self.scanned;
        report(&self.scanned, &found);
        if !is_new && (self.scanned_is_in_use || !is_asked) {
            return Ok(());
        }
        self.scanned = scanned;
        self.scanned_is_in_use = false;
        let mut catalog = found;
        catalog.keep(&self.catalog);
        let acct = self.acct_with_new_providers(&catalog).await;
        let Some(plan) = self.plan(&catalog, acct.as_ref()).await? else {
            self.use_catalog(catalog);
            return Ok(());
        };
        for error in plan.errors() {
            tracing::error!("{error}");
        }
        let names = names(&plan);
        if let Some((_, lost)) = self.lanes.iter().find(|(name, _)| !names.contains(name)) {
            // A plugin that arrives while the host runs must not take a working destination away.
            tracing::error!(
                "the changed plugins are not used: they would end destination {}",
                lost.destination()
            );
            return Ok(());
        }
        match self.prepare(plan).await {
            Ok(prepared) => {
                self.commit(prepared, acct);
                self.use_catalog(catalog);
            }
            Err(error) => tracing::error!(
                "the changed plugins are not used; keeping the previous ones: {error}; run `evbus reload` to try again"
            ),
        }
        Ok(())
    }

    fn use_catalog(&mut self, catalog: Catalog) {
        self.seen.note(&catalog);
        self.catalog = catalog;
        self.scanned_is_in_use = true;
    }

    /// Scans, and loads what an acct file uses, on a thread that may block.
    pub(super) async fn scan(&mut self, acct: Option<AcctFile>) -> Result<Catalog, ReloadError> {
        // A host that is shutting down needs no plugins.
        let mut registry = std::mem::take(&mut self.registry);
        let scanning = move || {
            let catalog = registry.scan();
            if let Some(acct) = acct {
                load_used(&acct, &catalog);
            }
            (registry, catalog)
        };
        let (registry, catalog) = self.unless_ending(scanning).await?;
        self.registry = registry;
        Ok(catalog)
    }
}

/// The result of a scan, to be compared with the next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    files: HashSet<Finding>,
    shadowed: Vec<String>,
}

/// A file, its content, and why it is not used. Whether it is loaded is not included, because that changes with the
/// acct file.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Finding {
    file: Option<PathBuf>,
    candidate: Option<u64>,
    reason: Option<String>,
}

impl Finding {
    fn of(report: &PluginReport) -> Self {
        let reason = match &report.state {
            PluginState::Refused { reason } => Some(reason.clone()),
            PluginState::Discovered { reason } => reason.clone(),
            PluginState::Loaded => None,
        };
        Self {
            file: report.file.clone(),
            candidate: report.candidate,
            reason,
        }
    }
}

impl Scanned {
    pub(super) fn of(catalog: &Catalog) -> Self {
        Self {
            files: catalog.reports().iter().map(Finding::of).collect(),
            shadowed: catalog.shadowed().to_vec(),
        }
    }
}

/// Logs what differs from `before`. Plugins that are loaded are logged elsewhere.
pub(super) fn report(before: &Scanned, catalog: &Catalog) {
    for report in catalog.reports() {
        let finding = Finding::of(&report);
        if before.files.contains(&finding) {
            continue;
        }
        let Finding {
            file: Some(file),
            reason: Some(reason),
            ..
        } = finding
        else {
            continue;
        };
        if matches!(report.state, PluginState::Refused { .. }) {
            tracing::warn!("plugin {}: not used: {reason}", file.display());
        } else {
            tracing::info!("plugin {}: not used: {reason}", file.display());
        }
    }
    for sentence in catalog.shadowed() {
        if !before.shadowed.contains(sentence) {
            tracing::warn!("{sentence}");
        }
    }
}
