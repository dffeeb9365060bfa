//! Providers of an acct file that no plugin serves: sections of other tools, or destinations that would
//! silently receive nothing.

use std::collections::BTreeSet;

use evbus_acct::{AcctError, AcctFile};
use evbus_delivery::INTERNAL;
use evbus_plugin::Catalog;

/// What this project's plugins serve. Used only to distinguish a destination whose plugin is missing from another
/// tool's section.
const PUBLISHED: [(&str, &str); 5] = [
    ("amqp", "plugin-pika"),
    ("file", "plugin-file"),
    ("kafka", "plugin-kafka"),
    ("pika", "plugin-pika"),
    ("rabbitmq", "plugin-pika"),
];

/// Faults of unserved providers, and these providers. A section that may belong to another tool is not a fault.
pub(super) fn faults(
    acct: &AcctFile,
    catalog: &Catalog,
    unserved: &[String],
) -> (Vec<AcctError>, BTreeSet<String>) {
    // `internal` without a reader here is not a fault of the file, which other programs may share.
    let sections = acct.sections().iter().filter(|section| {
        !section.is_let_go()
            && section.provider() != INTERNAL
            && unserved.iter().any(|name| name == section.provider())
    });
    let (mut faults, mut unusable) = (Vec::new(), BTreeSet::new());
    for section in sections.clone() {
        let name = section.provider();
        if catalog.is_empty() {
            // One line covers all of them.
            let fault = section.fault(&format!(
                "no plugin serves it, because no plugins were found; give the plugin directory with --plugin-dir or EVBUS_PLUGIN_PATH{}",
                catalog.refusals()
            ));
            let all = sections.map(|section| section.provider().to_owned());
            return (vec![fault], all.collect());
        }
        let before = faults.len();
        if let Some(why) = catalog.vanished(name) {
            faults.push(section.fault(&format!("no plugin serves it: {why}")));
        } else if let Some((location, key)) = section.required() {
            faults.push(AcctError::new(
                location,
                &key,
                &format!(
                    "the destination is required, but no plugin serves {name}; install one, or give its directory with --plugin-dir{}",
                    catalog.refusals()
                ),
            ));
        } else if let Some((_, plugin)) = PUBLISHED.iter().find(|(known, _)| *known == name) {
            faults.push(section.fault(&format!(
                "no plugin serves it; install {plugin}, or give its directory with --plugin-dir{}",
                catalog.refusals()
            )));
        } else if name.contains('*') {
            faults.push(section.fault(
                "no plugin serves it, and it looks like a pattern; indent it below the name of its provider",
            ));
        } else if let Some(known) = near(name, catalog) {
            faults.push(section.fault(&format!("no plugin serves it; did you mean `{known}`?")));
        }
        if faults.len() > before {
            unusable.insert(name.to_owned());
        }
    }
    (faults, unusable)
}

/// The provider that a misspelt name probably means.
fn near<'a>(name: &str, catalog: &'a Catalog) -> Option<&'a str> {
    let name = &plain(name);
    // Short names resemble many others.
    let limit = if name.len() <= 4 { 1 } else { 2 };
    catalog
        .provider_names()
        .chain(PUBLISHED.map(|(known, _)| known))
        .find(|known| strsim::damerau_levenshtein(&plain(known), name) <= limit)
}

/// The part of a name that remains if the usual differences in spelling are ignored.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' '));
    letters.flat_map(char::to_lowercase).collect()
}
