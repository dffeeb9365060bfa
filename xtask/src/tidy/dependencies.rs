//! Who may depend on whom: host and plugins meet at run time only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const HOST: &str = "evbus";
const SDK: &str = "evbus-sdk";
const ABI: &str = "evbus-abi";

/// Crates for other programs.
const CLIENTS: [&str; 3] = ["evbus-client", "evbus-fnmatch", "evbus-wire"];

/// Checks the output of `cargo metadata`. Dependencies of tests are ignored.
pub(super) fn point_the_right_way(metadata: &Value) -> Vec<String> {
    let graph = graph(metadata);
    let mut findings = Vec::new();
    for (name, direct) in &graph {
        let all = reach(&graph, name);
        if *name == HOST {
            for plugin in all.iter().filter(|other| is_plugin(other)) {
                findings.push(format!(
                    "{name}: depends on {plugin}, expected no plugin: the host finds them at run \
                     time"
                ));
            }
        }
        if is_plugin(name) || name.starts_with("fixture-") {
            if all.contains(HOST) {
                findings.push(format!(
                    "{name}: depends on {HOST}, expected {SDK} alone: a plugin is built without the \
                     host"
                ));
            }
            if is_plugin(name) && !direct.contains(SDK) {
                findings.push(format!("{name}: does not depend on {SDK}, expected it to"));
            }
        }
        if CLIENTS.contains(name) {
            let ours = |other: &&&str| [HOST, SDK, ABI].contains(*other) || is_plugin(other);
            for other in all.iter().filter(ours) {
                findings.push(format!(
                    "{name}: depends on {other}, expected neither host nor plugin: programs that \
                     listen and fire are built without them"
                ));
            }
        }
        if *name == ABI && direct.iter().any(|other| *other != "abi_stable") {
            findings.push(format!(
                "{name}: expected abi_stable as its only dependency: everything else would be part \
                 of the contract"
            ));
        }
    }
    findings
}

fn is_plugin(name: &str) -> bool {
    name.starts_with("plugin-")
}

type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

fn graph(metadata: &Value) -> Graph<'_> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter_map(|package| {
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            let names = dependencies
                .filter(|dependency| dependency["kind"] != "dev")
                .filter_map(|dependency| dependency["name"].as_str())
                .collect();
            Some((package["name"].as_str()?, names))
        })
        .collect()
}

fn reach<'a>(graph: &Graph<'a>, name: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = graph.get(name).into_iter().flatten().copied().collect();
    while let Some(name) = next.pop() {
        if found.insert(name) {
            next.extend(graph.get(name).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(packages: &[(&str, &[&str])], expected: &[&str]) {
        let packages: Vec<Value> = packages
            .iter()
            .map(|(name, dependencies)| {
                let dependencies: Vec<Value> = dependencies
                    .iter()
                    .map(|dependency| match dependency.strip_prefix("dev:") {
                        Some(name) => json!({"name": name, "kind": "dev"}),
                        None => json!({"name": dependency, "kind": null}),
                    })
                    .collect();
                json!({"name": name, "dependencies": dependencies})
            })
            .collect();
        let findings = point_the_right_way(&json!({ "packages": packages }));
        let names: Vec<_> = findings
            .iter()
            .filter_map(|finding| finding.split(':').next())
            .collect();
        assert_eq!(names, expected, "{findings:?}");
    }

    #[test]
    fn a_plugin_over_the_sdk_passes() {
        check(
            &[
                ("evbus", &["evbus-abi", "dev:plugin-file"]),
                ("evbus-abi", &["abi_stable"]),
                ("evbus-sdk", &["evbus-abi"]),
                ("plugin-file", &["evbus-sdk", "dev:evbus"]),
            ],
            &[],
        );
    }

    #[test]
    fn a_host_that_knows_a_plugin_is_found() {
        check(&[("evbus", &["plugin-file"])], &["evbus"]);
        check(
            &[("evbus", &["helper"]), ("helper", &["plugin-file"])],
            &["evbus"],
        );
    }

    #[test]
    fn a_plugin_that_knows_the_host_is_found() {
        check(
            &[("plugin-file", &["evbus-sdk", "evbus"])],
            &["plugin-file"],
        );
        check(
            &[("fixture-good", &["helper"]), ("helper", &["evbus"])],
            &["fixture-good"],
        );
    }

    #[test]
    fn a_plugin_without_the_sdk_is_found() {
        check(&[("plugin-file", &["evbus-abi"])], &["plugin-file"]);
    }

    #[test]
    fn a_client_that_knows_the_host_or_a_plugin_is_found() {
        check(
            &[
                ("evbus", &["evbus-client"]),
                ("evbus-client", &["evbus-wire", "tokio", "dev:evbus"]),
            ],
            &[],
        );
        check(&[("evbus-client", &["evbus"])], &["evbus-client"]);
        check(&[("evbus-wire", &["evbus-abi"])], &["evbus-wire"]);
    }

    #[test]
    fn a_contract_with_more_dependencies_is_found() {
        check(&[("evbus-abi", &["abi_stable", "bytes"])], &["evbus-abi"]);
    }
}
