//! An acct file combined with the plugins: which plugin serves each entry, and what is wrong.

mod per_event;
mod trial;
mod unserved;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use evbus_destination::{Config, Destination, Isolation, Policy, WhenFull};
use zeroize::Zeroizing;

use evbus_acct::{
    AcctError, AcctFile, Commands, DEFAULT_MATCH_PLUGIN, Entry, Extent, ReadEntry, Section,
};
use evbus_delivery::Connector;
use evbus_delivery::Router;
use evbus_delivery::{INTERNAL, InternalQueues};
use evbus_plugin::{Catalog, CompileError, Isolated, LINKED};

pub use per_event::Given;
pub use trial::Trial;

/// Loads the plugins that an acct file uses. Blocks as [`Catalog::load_used`] does.
pub(crate) fn load_used(acct: &AcctFile, catalog: &Catalog) {
    let providers = acct.sections().iter().map(Section::provider);
    catalog.load_used(providers, acct.match_plugin());
}

/// An entry that a plugin serves.
#[derive(Debug)]
pub struct Planned {
    pub(crate) entry: Entry,
    pub(crate) connector: Connector,
}

impl Planned {
    /// Which destination it is.
    pub fn destination(&self) -> Destination {
        Destination {
            provider: self.entry.provider.clone(),
            pattern: self.entry.pattern.clone(),
            index: self.entry.index,
        }
    }

    /// Its policy: how the host queues, batches and retries for it.
    pub fn policy(&self) -> &Policy {
        &self.entry.policy
    }

    /// The id of the plugin that serves it.
    pub fn plugin_id(&self) -> &str {
        self.connector.id()
    }

    /// The plugin's configuration as JSON text.
    pub fn config(&self) -> Arc<Zeroizing<String>> {
        Arc::new(self.entry.config.text())
    }
}

/// An acct file combined with the available plugins: which plugin serves each entry, and what is wrong.
/// Making a plan connects to nothing.
#[derive(Debug)]
pub struct Plan {
    pub(crate) served: Vec<Planned>,
    /// Returns positions in `served`.
    pub(crate) router: Router,
    pub(crate) unserved: Vec<String>,
    /// Those of them that are faults.
    faulty: BTreeSet<String>,
    pub(crate) errors: Vec<AcctError>,
    /// Entries with a fault, whose patterns are checked nevertheless.
    refused: Vec<Entry>,
}

/// The host that a plan is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Premises<'a> {
    pub(crate) internal: &'a InternalQueues,
    /// What runs isolated plugins.
    pub(crate) program: Option<&'a Arc<Path>>,
    /// Whether destinations that ask for a queue on disk are accepted.
    pub(crate) accepts_queues_on_disk: bool,
}

impl Plan {
    /// Combines an acct file with plugins, for inspection. Finds all faults, not only the first; commands of `$exec`
    /// are run only if there are none. Loads the plugins that the file uses ([`Catalog::load_used`]), and blocks
    /// meanwhile.
    pub fn of(acct: &AcctFile, catalog: &Catalog) -> Self {
        let premises = Premises {
            internal: &InternalQueues::default(),
            program: None,
            accepts_queues_on_disk: true,
        };
        Self::new(acct, catalog, premises)
    }

    /// The entries that are served and have no fault, in file order.
    pub fn served(&self) -> &[Planned] {
        &self.served
    }

    /// Converts the plan into its served entries.
    pub fn into_served(self) -> Vec<Planned> {
        self.served
    }

    /// Providers that no plugin serves: they belong to other tools, or their plugin is missing.
    pub fn unserved(&self) -> &[String] {
        &self.unserved
    }

    /// Whether an unserved provider is an error, because it hardly belongs to another tool.
    #[must_use]
    pub fn is_faulty(&self, provider: &str) -> bool {
        self.faulty.contains(provider)
    }

    /// Everything that is wrong with the file.
    pub fn errors(&self) -> &[AcctError] {
        &self.errors
    }

    /// The destinations that an event fired under `profile` reaches, in file order.
    pub fn route(&self, profile: &str) -> Vec<Destination> {
        self.router
            .route(profile)
            .matches
            .iter()
            .filter_map(|position| self.served.get(*position as usize))
            .map(Planned::destination)
            .collect()
    }

    /// Combines them, as [`of`](Self::of) does; entries with a fault are left out of `served`.
    pub(crate) fn new(acct: &AcctFile, catalog: &Catalog, premises: Premises<'_>) -> Self {
        load_used(acct, catalog);
        let mut served = Vec::new();
        let mut unserved = Vec::new();
        for section in acct.sections() {
            let is_internal = section.provider() == INTERNAL;
            let connector = if section.is_let_go() {
                None
            } else if is_internal {
                let queues = premises.internal;
                (queues.has_reader()).then(|| Connector::Internal(queues.clone()))
            } else {
                catalog.provider(section.provider()).map(Connector::Plugin)
            };
            match connector {
                Some(connector) => served.push((section, connector)),
                None => unserved.push(section.provider().to_owned()),
            }
        }
        let look = |commands: &Commands<'_>| {
            let mut plan = Self {
                served: Vec::new(),
                router: Router::empty(),
                unserved: unserved.clone(),
                faulty: BTreeSet::new(),
                errors: acct.faults().to_vec(),
                refused: Vec::new(),
            };
            for (section, connector) in &served {
                let (entries, errors) = section.read(commands);
                plan.errors.extend(errors);
                for read in entries {
                    let connector = isolate(&read.entry, connector, premises.program);
                    plan.add(read, connector, premises.accepts_queues_on_disk);
                }
            }
            plan.compile(acct, catalog);
            let (faults, unusable) = unserved::faults(acct, catalog, &plan.unserved);
            plan.errors.extend(faults);
            plan.faulty = unusable;
            AcctError::sort(&mut plan.errors);
            plan
        };
        let sections = served.iter().map(|(section, _)| *section);
        let is_well = |plan: &Self| plan.errors.is_empty();
        let (mut plan, unrun) = Commands::unless_faulty(sections, look, is_well);
        if unrun > 0 {
            plan.errors.push(acct.unrun(unrun));
        }
        plan
    }

    fn add(&mut self, read: ReadEntry, connector: Connector, accepts_queues_on_disk: bool) {
        let ReadEntry {
            entry,
            faults: mut own,
            extent,
            is_earlier,
        } = read;
        let is_well = own.is_empty() && matches!(extent, Extent::Whole);
        let check = |config: &Config| match &connector {
            Connector::Plugin(plugin) => plugin.check_config(config.text(), entry.secrets()),
            Connector::Isolated(isolated) => {
                (isolated.plugin()).check_config(config.text(), entry.secrets())
            }
            Connector::Internal(_) => InternalQueues::check(config),
        };
        let mut faults = match extent {
            Extent::Nothing => Vec::new(),
            Extent::Whole | Extent::Part(_) => check(&entry.config),
        };
        if let Extent::Part(guesses) = extent {
            for guessed in guesses {
                if !faults.is_empty() {
                    let others = check(&guessed);
                    faults.retain(|fault| others.contains(fault));
                }
            }
        }
        if !accepts_queues_on_disk {
            faults.extend(queue_on_disk(&entry.policy));
        }
        if entry.policy.isolate == Isolation::Process && !can_isolate(&connector) {
            faults.push(("evbus.isolate".to_owned(), LINKED.to_owned()));
        }
        if is_well && faults.is_empty() && !is_earlier {
            self.served.push(Planned { entry, connector });
            return;
        }
        let faults = faults.iter();
        own.extend(faults.map(|(path, message)| entry.fault(path, message)));
        if is_earlier {
            own.retain(|fault| !self.errors.contains(fault));
        } else {
            self.refused.push(entry);
        }
        self.errors.extend(own);
    }

    /// Compiles the patterns; those with a fault are reported and removed.
    fn compile(&mut self, acct: &AcctFile, catalog: &Catalog) {
        let Some(plugin) = catalog.matcher(acct.match_plugin()) else {
            // Without a destination there is nothing to match.
            let has_pattern = !self.served.is_empty() || !self.refused.is_empty();
            if has_pattern || acct.match_plugin() != DEFAULT_MATCH_PLUGIN {
                self.errors
                    .push(acct.match_plugin_fault(&no_matcher(acct, catalog)));
            }
            self.served.clear();
            return;
        };
        let refused: Vec<&str> = (self.refused.iter())
            .map(|entry| entry.pattern.as_str())
            .collect();
        // Why the plugin itself cannot be used is reported below.
        if !refused.is_empty()
            && let Err(CompileError::Patterns(faults)) = Router::compile(&plugin, &refused)
        {
            for (index, reason) in faults {
                let entry = self.refused.get(index);
                (self.errors).extend(entry.map(|entry| pattern_fault(entry, acct, &reason)));
            }
        }
        let faults = match Router::compile(&plugin, &self.patterns()) {
            Ok(router) => {
                self.router = router;
                return;
            }
            Err(CompileError::Patterns(faults)) => faults,
            Err(CompileError::Plugin(reason)) => {
                self.errors.push(acct.match_plugin_fault(&format!(
                    "match plugin {} cannot be used: {reason}",
                    acct.match_plugin()
                )));
                self.served.clear();
                return;
            }
        };
        let mut left_out = BTreeSet::new();
        for (index, reason) in faults {
            if let Some(planned) = self.served.get(index) {
                (self.errors).push(pattern_fault(&planned.entry, acct, &reason));
                left_out.insert(index);
            }
        }
        let mut index = 0..;
        self.served
            .retain(|_| index.next().is_none_or(|index| !left_out.contains(&index)));
        match Router::compile(&plugin, &self.patterns()) {
            Ok(router) if !left_out.is_empty() => self.router = router,
            _ => {
                // A plugin that names no pattern, or still reports faults, is unusable.
                self.errors.push(acct.match_plugin_fault(&format!(
                    "match plugin {} cannot compile the patterns of this file",
                    acct.match_plugin()
                )));
                self.served.clear();
            }
        }
    }

    fn patterns(&self) -> Vec<&str> {
        self.served
            .iter()
            .map(|planned| planned.entry.pattern.as_str())
            .collect()
    }
}

/// The fault of a destination that needs a queue on disk, for a host without a state directory.
fn queue_on_disk(policy: &Policy) -> Option<(String, String)> {
    let (key, value) = match policy.when_full {
        Some(WhenFull::Spill) => ("when_full", "`when_full: spill`"),
        _ if policy.durable => ("durable", "`durable`"),
        _ => return None,
    };
    Some((
        format!("evbus.{key}"),
        format!("{value} needs a state directory; give --state-dir, or change the key"),
    ))
}

fn pattern_fault(entry: &Entry, acct: &AcctFile, reason: &str) -> AcctError {
    let message = format!(
        "{:?} is not a valid pattern for match plugin {}: {reason}",
        entry.pattern,
        acct.match_plugin()
    );
    entry.fault("", &message)
}

/// The connector, isolated if the entry wants it.
fn isolate(entry: &Entry, connector: &Connector, program: Option<&Arc<Path>>) -> Connector {
    match (connector, entry.policy.isolate) {
        (Connector::Plugin(plugin), Isolation::Process) => {
            Connector::Isolated(Isolated::new(Arc::clone(plugin), program.cloned()))
        }
        _ => connector.clone(),
    }
}

/// Whether there is a file that another process can load.
fn can_isolate(connector: &Connector) -> bool {
    match connector {
        Connector::Isolated(isolated) => isolated.plugin().image().is_some(),
        _ => false,
    }
}

fn no_matcher(acct: &AcctFile, catalog: &Catalog) -> String {
    let known: Vec<&str> = catalog.matcher_names().collect();
    let known = if known.is_empty() {
        "no match plugins were found; give the plugin directory with --plugin-dir".to_owned()
    } else {
        format!("expected one of: {}", known.join(", "))
    };
    let why = catalog
        .vanished(acct.match_plugin())
        .map_or_else(|| catalog.refusals(), |why| format!(" ({why})"));
    format!(
        "no loaded plugin provides match plugin {:?}; {known}{why}",
        acct.match_plugin()
    )
}
