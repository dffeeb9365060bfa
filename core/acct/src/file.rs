//! The acct file as a whole: its match plugin and the sections of its providers.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::entry::ReadEntry;
use super::key::Key;
use super::node::{Node, Value};
use super::syntax::NO_KEY;
use super::{AcctError, Commands, Entry, Location, commands, policy_reader, secret};

/// The match plugin of a file that names none.
pub const DEFAULT_MATCH_PLUGIN: &str = "glob";

const MATCH_PLUGIN: &str = "match_plugin";
/// The key of an entry that has the host's own keys.
const HOST_KEYS: &str = "evbus";
const REQUIRED: &str = "required";
/// How often an entry with repeated keys is read at most: each reading is a copy of all of it.
const MAX_READINGS: usize = 5;
/// Keys at the top of the file that belong to Idem's acct and name no provider.
const NOT_PROVIDERS: [&str; 3] = ["default", "backend_key", "acct-backends"];

/// An acct file that was read: the match plugin and a section per provider.
///
/// A provider that no plugin serves (`aws`, `azure`) may have any structure, so a section is inspected only
/// when its [`Section::entries`] are requested.
#[derive(Debug, Clone)]
pub struct AcctFile {
    name: Arc<str>,
    match_plugin: String,
    /// Where the file names the match plugin; the file as a whole if it names none.
    pub(crate) match_plugin_location: Location,
    sections: Vec<Section>,
    faults: Vec<AcctError>,
}

impl AcctFile {
    /// Splits a tree as far as possible, and finds every fault above the sections. An empty file has no sections.
    pub(crate) fn examine_tree(root: Node, file: &Arc<str>) -> (Option<Self>, Vec<AcctError>) {
        let pairs = match root.value {
            Value::Map(pairs) => pairs,
            Value::Null => Vec::new(),
            other => {
                let message = format!(
                    "found {} at the top of the file, expected a mapping of providers; begin with a provider's name and a colon",
                    other.kind()
                );
                let fault = AcctError::new(root.place.within(file), "", &message);
                return (None, vec![fault]);
            }
        };
        let mut faults = Vec::new();
        let mut read = Self {
            name: Arc::clone(file),
            match_plugin: DEFAULT_MATCH_PLUGIN.to_owned(),
            match_plugin_location: Location::whole(file),
            sections: Vec::new(),
            faults: Vec::new(),
        };
        for (key, node) in pairs {
            let location = key.place.within(file);
            if is_missing(&key) {
                faults.push(AcctError::new(location, "", NO_KEY));
            } else if key.name == MATCH_PLUGIN {
                match match_plugin(&node, &location) {
                    Ok(name) => read.match_plugin = name,
                    Err(fault) => faults.push(fault),
                }
                read.match_plugin_location = location;
            } else if let Some(message) = misplaced(&key.name) {
                faults.push(AcctError::new(location, &key.name, message));
            } else if !NOT_PROVIDERS.contains(&key.name.as_str()) {
                read.sections.push(Section {
                    provider: key.name,
                    location,
                    node: Some(Arc::new(node)),
                    dir: Arc::from(Path::new("")),
                    doubt: None,
                });
            }
        }
        (Some(read), faults)
    }

    pub(crate) fn with_faults(mut self, faults: Vec<AcctError>) -> Self {
        self.faults = faults;
        self
    }

    /// What is wrong with the file above its entries. A file with faults is to be used for nothing but finding
    /// those of its entries.
    pub fn faults(&self) -> &[AcctError] {
        &self.faults
    }

    /// Relative file names in it start from this directory, not from the process's own. If it is doubtful who wrote
    /// the file, nothing in it is executed.
    pub(crate) fn in_dir(mut self, dir: &Path, doubt: Option<String>) -> Self {
        let dir: Arc<Path> = dir.into();
        let doubt: Option<Arc<str>> = doubt.map(Into::into);
        for section in &mut self.sections {
            section.dir = Arc::clone(&dir);
            section.doubt.clone_from(&doubt);
        }
        self
    }

    /// The plugin that matches profile names against patterns, for the whole file.
    pub fn match_plugin(&self) -> &str {
        &self.match_plugin
    }

    /// A fault of the match plugin's name, for a caller that does not find this plugin.
    pub fn match_plugin_fault(&self, message: &str) -> AcctError {
        AcctError::new(self.match_plugin_location.clone(), MATCH_PLUGIN, message)
    }

    /// The fault of a file with other faults, for which `count` commands of `$exec` were not run.
    pub fn unrun(&self, count: usize) -> AcctError {
        AcctError::new(Location::whole(&self.name), "", &commands::unrun(count))
    }

    /// Drops the content of these providers' sections, and wipes it unless a clone of this file holds it.
    pub fn let_go(&mut self, providers: &[String]) {
        for section in &mut self.sections {
            if providers.contains(&section.provider) {
                section.node = None;
            }
        }
    }

    /// The sections in file order, whether or not a plugin serves them. Names are distinct in a file without faults.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }
}

/// Why a top-level name is probably a misplaced key of the host, which would have no effect as a provider.
fn misplaced(name: &str) -> Option<&'static str> {
    let plain = name.to_lowercase().replace(['-', ' '], "_");
    if strsim::damerau_levenshtein(&plain, MATCH_PLUGIN) <= 2 {
        return Some(
            "found an unknown key, expected the name of a provider; did you mean `match_plugin`?",
        );
    }
    (strsim::damerau_levenshtein(&plain, HOST_KEYS) <= 1).then_some(
        "found host settings at the top of the file, expected them in an entry, next to the keys of its plugin; write PROVIDER: {PATTERN: {evbus: {durable: true}}}",
    )
}

fn match_plugin(node: &Node, location: &Location) -> Result<String, AcctError> {
    match &node.value {
        Value::Text(name) if !name.is_empty() => Ok(name.to_string()),
        other => {
            let found = match other {
                Value::Text(_) => "empty text",
                other => other.kind(),
            };
            let message = format!(
                "found {found}, expected the name of a match plugin such as glob or regex; name one or remove the key"
            );
            Err(AcctError::new(location.clone(), MATCH_PLUGIN, &message))
        }
    }
}

/// One provider's part of the file.
#[derive(Clone)]
pub struct Section {
    provider: String,
    location: Location,
    /// `None` if it was dropped.
    node: Option<Arc<Node>>,
    dir: Arc<Path>,
    doubt: Option<Arc<str>>,
}

impl Section {
    /// The directory of relative file names in the section.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Why nothing named in the section may be executed, if so.
    pub(crate) fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// The provider's name as written in the file.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Whether its content was dropped; it has no entries then.
    pub fn is_let_go(&self) -> bool {
        self.node.is_none()
    }

    /// Where the provider's key is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// A fault of the section as a whole, for a caller that cannot serve it.
    pub fn fault(&self, message: &str) -> AcctError {
        AcctError::new(self.location.clone(), &self.provider, message)
    }

    /// Location and key of the first entry with `evbus: {required: true}`. It reads no secret, so it can be
    /// called for a section that no plugin serves.
    pub fn required(&self) -> Option<(Location, String)> {
        let (pattern, _) = self.profiles().into_iter().find(|(_, entry)| {
            let required = value_of(entry, HOST_KEYS).and_then(|host| value_of(host, REQUIRED));
            required.is_some_and(|required| matches!(required.value, Value::Bool(true)))
        })?;
        Some((
            pattern.place.within(&self.location.file),
            format!("{}.{}.{HOST_KEYS}.{REQUIRED}", self.provider, pattern.name),
        ))
    }

    /// The section's entries in file order; none if the provider's key has no value. Secrets given by
    /// reference are read now, so this call blocks for files and commands.
    ///
    /// # Errors
    ///
    /// Every fault of the section: it is not a mapping of patterns or a list of such mappings, an entry is
    /// not a mapping, a value has no JSON form, an `evbus:` key has a fault, or a secret cannot be read. Commands of
    /// `$exec` are run only if there is no other fault.
    pub fn entries(&self) -> Result<Vec<Entry>, Vec<AcctError>> {
        let look = |commands: &Commands<'_>| {
            let (read, mut faults) = self.read(commands);
            let mut entries = Vec::new();
            let read = read.into_iter().filter(|read| !read.is_earlier);
            for ReadEntry {
                entry, faults: own, ..
            } in read
            {
                faults.extend(own);
                entries.push(entry);
            }
            AcctError::sort(&mut faults);
            (entries, faults)
        };
        let is_well = |(_, faults): &(_, Vec<AcctError>)| faults.is_empty();
        let ((entries, mut faults), unrun) = Commands::unless_faulty([self], look, is_well);
        if unrun > 0 {
            let place = Location::whole(&self.location.file);
            faults.push(AcctError::new(place, "", &commands::unrun(unrun)));
        }
        if faults.is_empty() {
            Ok(entries)
        } else {
            Err(faults)
        }
    }

    /// The commands of the section's `$exec` references.
    pub(crate) fn commands(&self) -> Vec<Vec<&str>> {
        let mut found = Vec::new();
        for (_, value) in self
            .profiles()
            .into_iter()
            .filter_map(|(_, entry)| pairs(entry))
            .flatten()
        {
            secret::commands_in(value, &mut found);
        }
        found
    }

    /// The patterns and their values.
    fn profiles(&self) -> Vec<&(Key, Node)> {
        match self.node.as_deref().map(|node| &node.value) {
            Some(Value::Map(profiles)) => profiles.iter().collect(),
            Some(Value::List(items)) => items.iter().filter_map(pairs).flatten().collect(),
            _ => Vec::new(),
        }
    }

    /// Like [`entries`](Self::entries), but also returns the entries with faults, and the faults that
    /// belong to no entry. An entry that has a key several times is there once for each of its values, the last one
    /// first, up to five times. The commands of the section have run before.
    pub fn read(&self, commands: &Commands<'_>) -> (Vec<ReadEntry>, Vec<AcctError>) {
        let mut found = Profiles::default();
        match self.node.as_ref().map_or(&Value::Null, |node| &node.value) {
            Value::Null => {}
            Value::Map(profiles) => found.take(self, profiles, commands),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    match &item.value {
                        Value::Map(profiles) => found.take(self, profiles, commands),
                        other => found.faults.push(AcctError::new(
                            item.place.within(&self.location.file),
                            &format!("{}[{index}]", self.provider),
                            &format!(
                                "found {}, expected a mapping with a profile pattern; write `- PATTERN:` and the configuration below it",
                                other.kind()
                            ),
                        )),
                    }
                }
            }
            other => found.faults.push(self.fault(&format!(
                "found {}, expected a mapping of patterns or a list of such mappings; write `PATTERN:` below the provider",
                other.kind()
            ))),
        }
        (found.entries, found.faults)
    }
}

/// A mapping's keys and values.
fn pairs(node: &Node) -> Option<&Vec<(Key, Node)>> {
    match &node.value {
        Value::Map(pairs) => Some(pairs),
        _ => None,
    }
}

/// A `:` without a key before it, which makes a key that nothing matches.
fn is_missing(key: &Key) -> bool {
    key.plain && key.name.is_empty()
}

fn value_of<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let (_, value) = pairs(node)?.iter().find(|(key, _)| key.name == name)?;
    Some(value)
}

/// What has been found in a section so far.
#[derive(Default)]
struct Profiles {
    count: usize,
    entries: Vec<ReadEntry>,
    faults: Vec<AcctError>,
}

impl Profiles {
    fn take(&mut self, section: &Section, profiles: &[(Key, Node)], commands: &Commands<'_>) {
        for (key, node) in profiles {
            if policy_reader::is_policy(key, node) {
                self.faults.push(AcctError::new(
                    key.place.within(&section.location.file),
                    &format!("{}.{}", section.provider, key.name),
                    "found host settings in place of a profile pattern, expected them one level below, in an entry; write PATTERN: {evbus: ...}, next to the keys of the plugin",
                ));
                continue;
            }
            if is_missing(key) {
                let location = key.place.within(&section.location.file);
                self.faults
                    .push(AcctError::new(location, &section.provider, NO_KEY));
                continue;
            }
            let read = |node: &Node| Entry::read(section, key, node, self.count, commands);
            let readings = node.readings();
            if readings == 1 {
                self.entries.push(read(node));
            }
            for nth in (0..readings)
                .rev()
                .take(MAX_READINGS)
                .take_while(|_| readings > 1)
            {
                self.entries.push(ReadEntry {
                    is_earlier: nth + 1 < readings,
                    ..read(&node.reading(nth))
                });
            }
            self.count += 1;
        }
    }
}

/// Leaves the values out: they may be secrets.
impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section")
            .field("provider", &self.provider)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}
