//! Finds what would stop a host from starting, without starting it.

use std::path::PathBuf;

use super::{HostBuilder, StartError};
use crate::deployment::{check_file_limit, names};

use crate::plan::{Plan, Premises};
use evbus_acct::{AcctFile, AcctSource};
use evbus_delivery::InternalQueues;
use evbus_files::usable_dir;
use evbus_plugin::{Catalog, Registry, plugin_dirs};
use evbus_sockets::{SaltMaster, SocketError};
use evbus_store::StateDir;

/// The findings of [`HostBuilder::examine`].
#[derive(Debug)]
pub struct Examination {
    /// The plugins.
    pub catalog: Catalog,
    /// The acct file combined with the plugins; `None` without a file, or if it cannot be read. Its
    /// faults are among `faults`.
    pub plan: Option<Plan>,
    /// Every reason for which a start would fail, as far as that can be seen without connecting.
    pub faults: Vec<StartError>,
    /// Directories that a running host uses now; another host can use them only after it ends.
    pub in_use: Vec<PathBuf>,
    /// What a host would start without, but wait for: one sentence each.
    pub waits: Vec<String>,
}

impl HostBuilder {
    /// Finds every reason for which [`start`](Self::start) would fail, apart from connections. Creates
    /// and changes no files, connects to no far system, and does not disturb a host that uses the same
    /// directories. Loads the plugins that the acct file uses.
    pub async fn examine(self) -> Examination {
        let examining = tokio::task::spawn_blocking(move || self.examine_blocking());
        // The task is never cancelled, and faults of plugins are contained.
        examining.await.expect("an examination ends")
    }

    fn examine_blocking(self) -> Examination {
        // Otherwise every file that cannot be opened would be blamed.
        if let Err(fault) = check_file_limit(0, false) {
            return Examination {
                catalog: Catalog::default(),
                plan: None,
                faults: vec![fault.into()],
                in_use: Vec::new(),
                waits: Vec::new(),
            };
        }
        let mut faults = self.own_faults();
        let mut in_use = Vec::new();
        for dir in &self.socket_dirs {
            match dir.examine(&self.socket_options) {
                Ok(true) => in_use.push(dir.path.clone()),
                Ok(false) => {}
                Err(fault) => faults.push(fault.into()),
            }
        }
        if let Some(dir) = &self.state_dir {
            match StateDir::examine(dir) {
                Ok(()) => match evbus_sockets::examine_control(dir) {
                    Ok(true) => in_use.push(dir.clone()),
                    Ok(false) => {}
                    Err(fault) => faults.push(fault.into()),
                },
                Err(fault) => faults.push(fault.into()),
            }
        }
        // A check does not create a missing directory.
        let copies = self
            .plugin_copies
            .filter(|dir| match usable_dir::look(dir) {
                Ok(found) => found.is_some(),
                Err(source) => {
                    let dir = dir.clone();
                    faults.push(StartError::PluginCopies { dir, source });
                    false
                }
            });
        let waits = self.salt_masters.iter().filter_map(|master| {
            let why = master.why_no_sockets()?;
            Some(format!(
                "a host would wait for the Salt master: {why}; check its sock_dir"
            ))
        });
        let waits = waits.collect();
        let (acct, mut acct_faults) = match self.acct_file.as_ref().map(AcctSource::load) {
            Some(Ok(acct)) => (Some(acct), Vec::new()),
            Some(Err(faults)) => (None, faults),
            None => (None, Vec::new()),
        };
        let catalog = Registry::new(plugin_dirs(&self.plugin_dirs), self.linked)
            .trying(self.isolation_program.clone(), self.state_dir.as_deref())
            .keeping_copies(copies)
            .scan();
        let has_state = self.state_dir.is_some() || self.without_state;
        let plan = acct.map(|acct: AcctFile| {
            // Looked at even where nobody reads them: programs that do may share the file.
            let premises = Premises {
                internal: &InternalQueues::default(),
                program: self.isolation_program.as_ref(),
                accepts_queues_on_disk: has_state,
            };
            Plan::new(&acct, &catalog, premises)
        });
        if let Some(plan) = &plan
            && let Err(fault) = check_file_limit(plan.served().len(), self.state_dir.is_some())
        {
            faults.push(fault.into());
        }
        if let (Some(plan), Some(dir)) = (&plan, &self.state_dir) {
            let stores = names(plan).into_iter();
            let faults_of_stores =
                stores.filter_map(|name| StateDir::examine_store(dir, &name).err());
            faults.extend(faults_of_stores.map(StartError::from));
        }
        acct_faults.extend(plan.iter().flat_map(|plan| plan.errors().to_vec()));
        if !acct_faults.is_empty() {
            faults.insert(0, StartError::Acct(acct_faults));
        }
        Examination {
            catalog,
            plan,
            faults,
            in_use,
            waits,
        }
    }

    /// Contradictions in the description itself.
    pub(super) fn own_faults(&self) -> Vec<StartError> {
        let own = || self.socket_dirs.iter().map(|own| own.path.as_path());
        let twice = (self.socket_dirs.iter().enumerate())
            .filter(|(index, dir)| evbus_sockets::is_among(&dir.path, own().take(*index)))
            .map(|(_, dir)| SocketError::Twice {
                path: dir.path.clone(),
            });
        let followed = self.salt_masters.iter().map(|SaltMaster { dir, .. }| dir);
        let followed = followed.filter(|dir| evbus_sockets::is_among(dir, own()));
        let followed = followed.map(|dir| StartError::OwnDirectory { dir: dir.clone() });
        twice.map(StartError::from).chain(followed).collect()
    }
}
