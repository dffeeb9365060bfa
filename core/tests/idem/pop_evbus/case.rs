//! Acct files with the built-in provider `internal`, and names to fire under, generated from a seed.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::pop_evbus::pattern::{self, Piece, glob, name, regex, word};
use crate::pop_evbus::text::yaml;
use crate::random::Random;

/// One acct file and what is fired at it.
pub(crate) struct Case {
    pub(crate) file: String,
    /// The entries of `internal`: pattern and queue, in file order.
    pub(crate) entries: Vec<(String, String)>,
    pub(crate) names: Vec<String>,
}

/// A profile of `internal`.
struct Profile {
    pattern: String,
    /// None: no routing key.
    key: Option<&'static str>,
}

/// For all cases. Without numbers, because the host accepts only text as a routing key.
pub(crate) const ROUTING_KEYS: &[&str] =
    &["a", "b", "A", "run-events", "two words", "ключ", "7", ""];

/// How many events a case fires.
pub(crate) const NAMES: usize = 20;

impl Case {
    pub(crate) fn new(seed: u64, match_plugin: Option<&str>) -> Self {
        let random = &mut Random::new(seed);
        let make = match match_plugin {
            Some("regex") => regex,
            _ => glob,
        };
        let count = if random.below(10) == 0 {
            60
        } else {
            random.below(12)
        };
        let patterns: Vec<Vec<Piece>> = (0..count).map(|_| make(random)).collect();
        let mut file = String::new();
        let mut profiles = Vec::new();
        let sections = random.below(3);
        let at = random.below(sections + 1);
        for section in 0..=sections {
            if section == at {
                if let Some(plugin) = match_plugin {
                    let _ = writeln!(file, "match_plugin: {plugin}");
                }
                file += &internal(&patterns, random, &mut profiles);
            } else {
                other(section, random, &mut file);
            }
        }
        Self {
            file,
            names: names(&patterns, random),
            entries: profiles
                .into_iter()
                .map(|profile| (profile.pattern, profile.key.unwrap_or_default().to_owned()))
                .collect(),
        }
    }
}

/// The section of `internal`, as a mapping of profiles or as a list of mappings.
fn internal(patterns: &[Vec<Piece>], random: &mut Random, profiles: &mut Vec<Profile>) -> String {
    if patterns.is_empty() {
        // Not without any value: pop-evbus then ends with an AttributeError, while the host simply has no destination.
        return ["", "internal: []\n", "internal: {}\n", "internal:\n- {}\n"][random.index(4)]
            .to_owned();
    }
    let is_list = random.below(2) == 0;
    let is_flow = random.below(4) == 0;
    let mut items: Vec<Vec<String>> = vec![Vec::new()];
    let mut taken = BTreeSet::new();
    for pieces in patterns {
        if is_list && random.below(2) == 0 {
            items.push(Vec::new());
            taken.clear();
        }
        let mut text = pattern::text(pieces);
        if random.below(4) == 0 && !profiles.is_empty() {
            text.clone_from(&profiles[random.index(profiles.len())].pattern);
        }
        // Both refuse a key that is repeated.
        if !taken.insert(text.clone()) {
            continue;
        }
        let key = (random.below(4) > 0).then(|| ROUTING_KEYS[random.index(ROUTING_KEYS.len())]);
        let data = match key {
            // The queue with the empty name, in every spelling.
            None => ["", "~", "{}", "{routing_key: ~}"][random.index(4)].to_owned(),
            Some(key) if is_flow || random.below(2) == 0 => {
                format!("{{routing_key: {}}}", yaml(key, true, random))
            }
            Some(key) => format!("\n      routing_key: {}", yaml(key, false, random)),
        };
        let item = items.last_mut().expect("there is one from the start");
        item.push(format!("{}: {data}", yaml(&text, is_flow, random)));
        profiles.push(Profile { pattern: text, key });
    }
    items.retain(|item| !item.is_empty());
    match (is_list, is_flow) {
        (true, true) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| format!("{{{}}}", item.join(", ")))
                .collect();
            format!("internal: [{}]\n", items.join(",\n  "))
        }
        (false, true) => format!("internal: {{{}}}\n", items.concat().join(",\n  ")),
        (true, false) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| format!("  - {}\n", item.join("\n    ")))
                .collect();
            format!("internal:\n{}", items.concat())
        }
        (false, false) => format!("internal:\n  {}\n", items.concat().join("\n  ")),
    }
}

/// Other content of an acct file, which never is a destination.
fn other(section: u64, random: &mut Random, file: &mut String) {
    // Without the providers of Kafka and RabbitMQ, which pop-evbus would try to reach.
    let _ = match random.below(8) {
        0 => writeln!(
            file,
            "aws{section}:\n  '*': {{id: a, key: b}}\n  default: {{routing_key: a}}"
        ),
        1 => writeln!(
            file,
            "azure{section}:\n- '*':\n    routing_key: b\n- default:"
        ),
        2 => writeln!(file, "gcp{section}: [1, text, ~]"),
        3 => writeln!(file, "vsphere{section}: text"),
        // Ignored, although it begins with the name of a provider.
        4 => writeln!(file, "internal.more{section}:\n  '*': {{routing_key: a}}"),
        5 if section == 0 => writeln!(file, "default: idem-run\nbackend_key: none"),
        5 if section == 1 => writeln!(file, "acct-backends: {{}}\n# '*': {{routing_key: a}}"),
        6 => writeln!(file, "Internal{section}: {{'*': {{routing_key: a}}}}"),
        _ => writeln!(file, "empty{section}:"),
    };
}

fn names(patterns: &[Vec<Piece>], random: &mut Random) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    while names.len() < NAMES {
        let made = match random.below(12) {
            0 => "default".to_owned(),
            1 => format!("{}{}", word(random), word(random)),
            // A repeated name is answered from the cache.
            2 if !names.is_empty() => names[random.index(names.len())].clone(),
            // In a name, the special characters of patterns are ordinary.
            3 if !patterns.is_empty() => pattern::text(&patterns[random.index(patterns.len())]),
            _ if !patterns.is_empty() => name(&patterns[random.index(patterns.len())], random),
            _ => word(random).to_owned(),
        };
        // The host refuses the other names with an error: Salt's event sockets cannot express them.
        if !made.is_empty() && !made.contains("\n\n") {
            names.push(made);
        }
    }
    names
}
