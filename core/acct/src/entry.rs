//! One destination of the acct file.

use std::fmt;

use super::key::Key;
use super::node::{Node, Value};
use super::policy_reader::{self, HOST_KEY};
use super::secret::Resolver;
use super::secret_keys;
use super::{AcctError, Commands, Location, Position, Section};
use evbus_destination::Secrets;
use evbus_destination::{Config, Policy};

/// One profile of one provider: the pattern, the plugin's configuration and the host's policy.
#[derive(Clone)]
pub struct Entry {
    /// The provider's name as written in the file.
    pub provider: String,
    /// The pattern that profile names are matched against.
    pub pattern: String,
    /// The entry's number among those of its section, in file order, from 0.
    pub index: usize,
    /// The plugin's configuration: a JSON object, without the host's `evbus` key. It may hold secrets.
    pub config: Config,
    /// What the host does for this destination.
    pub policy: Policy,
    secrets: Secrets,
    location: Location,
    position: Option<Position>,
    /// For the positions of keys; without values.
    node: Node,
}

/// An entry and its faults. An entry with a fault must not be served.
#[derive(Debug)]
pub struct ReadEntry {
    /// The entry.
    pub entry: Entry,
    /// Its faults.
    pub faults: Vec<AcctError>,
    /// How far the configuration could be read.
    pub extent: Extent,
    /// The entry has a key several times, and this is another of its values than the last: it is read for its
    /// faults alone, after the entry with the last one, which may have the same faults.
    pub is_earlier: bool,
}

/// How far the configuration of an entry could be read.
#[derive(Debug)]
pub enum Extent {
    /// It is complete.
    Whole,
    /// Values that could not be read are null, which counts as missing. Here they are a text instead, so that a fault
    /// found in both cases does not depend on them.
    Part(Config),
    /// None of it.
    Nothing,
}

impl Entry {
    pub(crate) fn read(
        section: &Section,
        key: &Key,
        node: &Node,
        index: usize,
        commands: &Commands,
    ) -> ReadEntry {
        let file = &section.location().file;
        let path = format!("{}.{}", section.provider(), key.name);
        let location = Location::at(file, key.position);
        let mut faults = Vec::new();
        let (mut is_whole, mut is_mapping) = (true, true);
        let pairs: &[(Key, Node)] = match &node.value {
            Value::Null => &[],
            Value::Map(pairs) => pairs,
            other => {
                let message = format!(
                    "found {}, expected a mapping of the provider's keys, or nothing; write the keys below the pattern",
                    other.kind()
                );
                faults.push(AcctError::new(location.clone(), &path, &message));
                is_mapping = false;
                &[]
            }
        };
        let mut policy = Policy::default();
        let mut config = serde_json::Map::new();
        let mut resolver = Resolver::new(section.dir(), section.doubt(), commands);
        for (key, value) in pairs {
            if key.name == HOST_KEY {
                match policy_reader::read(key, value, file, &path) {
                    Ok(read) => policy = read,
                    Err(found) => faults.extend(found),
                }
                continue;
            }
            if let Some((place, found)) = policy_reader::find(value, &key.name) {
                faults.push(AcctError::new(
                    Location::at(file, found.position),
                    &join(&path, &place),
                    &format!(
                        "found host settings inside `{}`, expected them in the entry itself; move `evbus` up, next to `{}`",
                        key.name, key.name
                    ),
                ));
                is_whole = false;
                config.insert(key.name.clone(), serde_json::Value::Null);
                continue;
            }
            match resolver.resolve(value, &key.name).to_json() {
                Ok(value) => {
                    config.insert(key.name.clone(), value);
                }
                Err(unfit) => {
                    let unfit = unfit.under(&key.name);
                    let message = format!(
                        "found {}, expected a value that JSON can hold; quote it if it is text",
                        unfit.what
                    );
                    let location = Location::at(file, unfit.position);
                    faults.push(AcctError::new(
                        location,
                        &join(&path, &unfit.path),
                        &message,
                    ));
                    is_whole = false;
                    config.insert(key.name.clone(), serde_json::Value::Null);
                }
            }
        }
        is_whole &= resolver.faults.is_empty();
        let extent = match (is_mapping, is_whole) {
            (false, _) => Extent::Nothing,
            (true, false) => Extent::Part(Config::new(guessed(pairs, &config))),
            (true, true) => Extent::Whole,
        };
        let mut secrets = secret_keys::of(&config);
        // In a `Config`, so that it is wiped even if there are faults.
        let config = Config::new(config);
        for fault in resolver.faults.drain(..) {
            let location = Location::at(file, fault.position);
            let path = join(&path, &fault.path);
            faults.push(AcctError::new(location, &path, &fault.message));
        }
        secrets.extend(resolver.into_read());
        let entry = Self {
            provider: section.provider().to_owned(),
            pattern: key.name.clone(),
            index,
            config,
            policy,
            secrets: Secrets::new(&secrets),
            location,
            position: key.position,
            node: node.outline(),
        };
        ReadEntry {
            entry,
            faults,
            extent,
            is_earlier: false,
        }
    }

    /// The secrets that the file gives by reference, and those that are recognized by their keys.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Where the entry's pattern is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The location of a key of the configuration, or of its nearest parent that the file contains.
    ///
    /// `path` has the form that `serde_path_to_error` and `serde_ignored` print: `connection.acks`,
    /// `topics[1]`, `.` for the whole. Keys that contain dots themselves (`librdkafka.linger.ms`) are found too.
    pub(crate) fn locate(&self, path: &str) -> Location {
        Location::at(&self.location.file, self.node.locate(path, self.position))
    }

    /// A fault that a plugin found under `path` of the configuration, in the form that `serde_path_to_error` and
    /// `serde_ignored` print. The secrets of the entry are hidden in the message.
    pub fn fault(&self, path: &str, message: &str) -> AcctError {
        let entry = format!("{}.{}", self.provider, self.pattern);
        AcctError::new(
            self.locate(path),
            &join(&entry, path),
            &self.secrets.hide(message),
        )
    }
}

/// The configuration in which each value that could not be read is a text.
fn guessed(
    pairs: &[(Key, Node)],
    read: &serde_json::Map<String, serde_json::Value>,
) -> serde_json::Map<String, serde_json::Value> {
    let mut guessed = read.clone();
    for (key, node) in pairs {
        if let Some(value) = guessed.get_mut(&key.name) {
            guess(node, value);
        }
    }
    guessed
}

fn guess(node: &Node, read: &mut serde_json::Value) {
    match (&node.value, read) {
        (Value::Null, _) => {}
        (_, read @ serde_json::Value::Null) => *read = "unread".into(),
        (Value::Map(pairs), serde_json::Value::Object(read)) => {
            for (key, node) in pairs {
                if let Some(value) = read.get_mut(&key.name) {
                    guess(node, value);
                }
            }
        }
        (Value::List(items), serde_json::Value::Array(read)) => {
            items
                .iter()
                .zip(read)
                .for_each(|(item, read)| guess(item, read));
        }
        _ => {}
    }
}

/// Appends a path to a key.
fn join(key: &str, path: &str) -> String {
    match path.trim_start_matches('.') {
        "" | "?" => key.to_owned(),
        path if path.starts_with('[') => format!("{key}{path}"),
        path => format!("{key}.{path}"),
    }
}

/// Leaves the configuration out: it may hold secrets.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("provider", &self.provider)
            .field("pattern", &self.pattern)
            .field("index", &self.index)
            .field("policy", &self.policy)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}
