//! One destination of the acct file.

use std::fmt;

use serde_json::{Value as Json, json};

use super::key::Key;
use super::node::{Node, Value};
use super::place::Place;
use super::policy_reader::{self, HOST_KEY};
use super::secret::Resolver;
use super::secret_keys;
use super::{AcctError, Commands, Location, Section};
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
    place: Place,
    /// For the positions of keys; without values.
    node: Node,
}

/// An entry and its faults. An entry with a fault, or of which only a part could be read, must not be served.
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
    /// Values that could not be read, or whose commands have not run, are null, which counts as missing. Here they are
    /// a text, and something that no key takes, so that what a plugin finds in all of these does not depend on them.
    Part([Config; 2]),
    /// None of it.
    Nothing,
}

impl Entry {
    pub(crate) fn read(
        section: &Section,
        key: &Key,
        node: &Node,
        index: usize,
        commands: &Commands<'_>,
    ) -> ReadEntry {
        let file = &section.location().file;
        let path = format!("{}.{}", section.provider(), key.name);
        let location = key.place.within(file);
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
                    found.place.within(file),
                    &join(&path, &place),
                    &format!(
                        "found host settings inside `{}`, expected them in the entry itself; move `evbus` up, next to `{}`",
                        key.name, key.name
                    ),
                ));
                is_whole = false;
                config.insert(key.name.clone(), Json::Null);
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
                    let location = unfit.place.within(file);
                    faults.push(AcctError::new(
                        location,
                        &join(&path, &unfit.path),
                        &message,
                    ));
                    is_whole = false;
                    config.insert(key.name.clone(), Json::Null);
                }
            }
        }
        is_whole &= resolver.faults.is_empty() && !resolver.is_waiting;
        let extent = match (is_mapping, is_whole) {
            (false, _) => Extent::Nothing,
            (true, false) => Extent::Part(
                [json!("unread"), json!([[]])].map(|it| Config::new(guessed(pairs, &config, &it))),
            ),
            (true, true) => Extent::Whole,
        };
        let mut secrets = secret_keys::of(&config);
        // In a `Config`, so that it is wiped even if there are faults.
        let config = Config::new(config);
        for fault in resolver.faults.drain(..) {
            let location = fault.place.within(file);
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
            place: key.place,
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
        self.node
            .locate(path, self.place)
            .within(&self.location.file)
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
    read: &serde_json::Map<String, Json>,
    substitute: &Json,
) -> serde_json::Map<String, Json> {
    let mut guessed = read.clone();
    for (key, node) in pairs {
        if let Some(value) = guessed.get_mut(&key.name) {
            guess(node, value, substitute);
        }
    }
    guessed
}

fn guess(node: &Node, read: &mut Json, substitute: &Json) {
    match (&node.value, read) {
        (Value::Null, _) => {}
        (_, read @ Json::Null) => *read = substitute.clone(),
        (Value::Map(pairs), Json::Object(read)) => {
            for (key, node) in pairs {
                if let Some(value) = read.get_mut(&key.name) {
                    guess(node, value, substitute);
                }
            }
        }
        (Value::List(items), Json::Array(read)) => {
            items
                .iter()
                .zip(read)
                .for_each(|(item, read)| guess(item, read, substitute));
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
