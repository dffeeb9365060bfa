//! The plugins of a deployment: looked for, and used where nothing is lost by it.

use super::Deployment;
use super::change::names;
use crate::plugin::{Catalog, PluginState, Registry};

impl Deployment {
    /// Looks at the plugin directories again, and brings the lanes in line with what is new there.
    /// What could not be used is tried again only where it changed, or where that `is_asked`.
    pub(crate) async fn rescan(&mut self, is_asked: bool) {
        let found = self.scan().await;
        let is_new = report(&self.scanned, &found);
        if !is_new && (self.scanned_is_in_use || !is_asked) {
            return;
        }
        self.scanned = found.clone();
        self.scanned_is_in_use = false;
        let mut catalog = found;
        catalog.keep(&self.catalog);
        let acct = self.acct_with_new_providers(&catalog).await;
        let Some(plan) = self.plan(&catalog, acct.as_ref()).await else {
            self.use_catalog(catalog);
            return;
        };
        for error in plan.errors() {
            tracing::error!("{error}");
        }
        let names = names(&plan);
        if let Some((_, lost)) = self.lanes.iter().find(|(name, _)| !names.contains(name)) {
            // A plugin that came while the host runs must not take a working destination away.
            tracing::error!(
                "the changed plugins are not used: destination {} would end with them",
                lost.destination()
            );
            return;
        }
        match self.prepare(plan).await {
            Ok(prepared) => {
                self.commit(prepared, acct);
                self.use_catalog(catalog);
            }
            Err(error) => tracing::error!(
                "the changed plugins are not used, nothing was changed: {error}; run `evbus reload` to try again"
            ),
        }
    }

    fn use_catalog(&mut self, catalog: Catalog) {
        self.seen.note(&catalog);
        self.catalog = catalog;
        self.scanned_is_in_use = true;
    }

    /// Scans on a thread that may block.
    pub(super) async fn scan(&mut self) -> Catalog {
        let mut registry =
            std::mem::replace(&mut self.registry, Registry::new(Vec::new(), Vec::new()));
        let scanning = tokio::task::spawn_blocking(move || {
            let catalog = registry.scan();
            (registry, catalog)
        });
        // The task is never cancelled, and `scan` contains what a plugin file can do to it.
        let (registry, catalog) = scanning.await.expect("a scan ends");
        self.registry = registry;
        catalog
    }
}

/// Writes what changed into the log. Returns whether anything did.
pub(super) fn report(before: &Catalog, after: &Catalog) -> bool {
    for report in after.reports() {
        let Some(file) = report
            .file
            .as_ref()
            .filter(|_| !before.reports().contains(report))
        else {
            continue;
        };
        match &report.state {
            PluginState::Refused { reason } => {
                tracing::warn!("plugin {}: not used: {reason}", file.display());
            }
            PluginState::Discovered { reason } => {
                tracing::info!("plugin {}: not used: {reason}", file.display());
            }
            _ => tracing::info!(
                "plugin {}: {} {} loaded",
                file.display(),
                report.id.as_deref().unwrap_or_default(),
                report.version.as_deref().unwrap_or_default(),
            ),
        }
    }
    before.reports() != after.reports()
}
