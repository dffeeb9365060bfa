//! Which crate of `core/` may use which: every import leads downward.
//!
//! The same table stands in docs/ARCHITECTURE.md as a diagram. It shows only what does not follow: where one
//! crate uses another that uses a third, no arrow leads to the third.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::tree::Tree;

/// The crates of `core/` from the bottom up, and which crates of this project each may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("evbus-report", &[]),
    ("evbus-files", &[]),
    (
        "evbus-event",
        &["evbus-abi", "evbus-expression", "evbus-wire"],
    ),
    ("evbus-destination", &["evbus-expression", "evbus-report"]),
    (
        "evbus-jinja",
        &[
            "evbus-destination",
            "evbus-expression",
            "evbus-files",
            "evbus-report",
        ],
    ),
    (
        "evbus-acct",
        &[
            "evbus-destination",
            "evbus-duration",
            "evbus-expression",
            "evbus-files",
            "evbus-jinja",
            "evbus-report",
        ],
    ),
    (
        "evbus-idem",
        &[
            "evbus-event",
            "evbus-files",
            "evbus-jinja",
            "evbus-report",
            "evbus-wire",
        ],
    ),
    (
        "evbus-store",
        &[
            "evbus-abi",
            "evbus-destination",
            "evbus-event",
            "evbus-files",
            "evbus-report",
        ],
    ),
    (
        "evbus-sockets",
        &[
            "evbus-client",
            "evbus-event",
            "evbus-files",
            "evbus-report",
            "evbus-wire",
        ],
    ),
    (
        "evbus-plugin",
        &[
            "evbus-abi",
            "evbus-destination",
            "evbus-files",
            "evbus-report",
        ],
    ),
    (
        "evbus-delivery",
        &[
            "evbus-abi",
            "evbus-destination",
            "evbus-event",
            "evbus-expression",
            "evbus-plugin",
            "evbus-report",
            "evbus-store",
        ],
    ),
    (
        "evbus-host",
        &[
            "evbus-abi",
            "evbus-acct",
            "evbus-delivery",
            "evbus-destination",
            "evbus-event",
            "evbus-expression",
            "evbus-files",
            "evbus-idem",
            "evbus-plugin",
            "evbus-report",
            "evbus-sockets",
            "evbus-store",
            "evbus-wire",
        ],
    ),
    (
        "evbus",
        &[
            "evbus-acct",
            "evbus-client",
            "evbus-delivery",
            "evbus-destination",
            "evbus-duration",
            "evbus-event",
            "evbus-expression",
            "evbus-files",
            "evbus-host",
            "evbus-idem",
            "evbus-plugin",
            "evbus-report",
            "evbus-sockets",
            "evbus-store",
        ],
    ),
    ("evbus-fuzz", &["evbus", "evbus-expression", "evbus-wire"]),
];

/// The page with the diagram.
const PAGE: &str = "docs/ARCHITECTURE.md";

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Checks the output of `cargo metadata` against the table. Dependencies of tests are ignored.
pub(super) fn lead_downward(metadata: &Value) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut findings = Vec::new();
    for (name, used) in core_crates(metadata) {
        let Some(allowed) = allowed.get(&*name) else {
            findings.push(format!(
                "{name}: a crate below core/ that the table of imports does not name; add it in \
                 xtask/src/tidy/imports.rs, and to the diagram in {PAGE}"
            ));
            continue;
        };
        for other in used.iter().filter(|other| !allowed.contains(&&***other)) {
            findings.push(format!(
                "{name}: imports {other}, which the table of imports does not allow; move what it \
                 needs below both, or correct the table in xtask/src/tidy/imports.rs"
            ));
        }
    }
    findings
}

/// The diagram shows the actual dependencies.
pub(super) fn are_drawn(tree: &Tree, metadata: &Value) -> Vec<String> {
    let drawn: BTreeSet<(String, String)> = tree
        .text(PAGE)
        .map(|text| arrows(text).collect())
        .unwrap_or_default();
    let mut graph = core_crates(metadata);
    graph.remove("evbus-fuzz");
    let there = arrows_needed(&graph);
    let missing = there.difference(&drawn).map(|(from, to)| {
        format!("{PAGE}: the diagram of crates lacks `{from} --> {to}`; add the arrow")
    });
    let wrong = drawn.difference(&there).map(|(from, to)| {
        format!(
            "{PAGE}: the diagram of crates has `{from} --> {to}`, which there is not or which \
             follows from others; remove the arrow"
        )
    });
    missing.chain(wrong).collect()
}

/// The crates below `core/` with the crates of this project that each uses.
fn core_crates(metadata: &Value) -> Graph {
    let packages = || metadata["packages"].as_array().into_iter().flatten();
    let core = format!(
        "{}/core/",
        metadata["workspace_root"].as_str().unwrap_or_default()
    );
    let ours: BTreeSet<&str> = packages().filter_map(|it| it["name"].as_str()).collect();
    packages()
        .filter(|package| {
            let manifest = package["manifest_path"].as_str().unwrap_or_default();
            manifest.starts_with(&core)
        })
        .filter_map(|package| {
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            let used = dependencies
                .filter(|dependency| dependency["kind"] != "dev")
                .filter_map(|dependency| dependency["name"].as_str())
                .filter(|name| ours.contains(name))
                .map(str::to_owned)
                .collect();
            Some((package["name"].as_str()?.to_owned(), used))
        })
        .collect()
}

/// The arrows that do not follow from others, named as the diagram names crates.
fn arrows_needed(graph: &Graph) -> BTreeSet<(String, String)> {
    let short = |name: &str| name.strip_prefix("evbus-").unwrap_or(name).to_owned();
    let mut arrows = BTreeSet::new();
    for (from, used) in graph {
        for to in used {
            let follows = (used.iter())
                .filter(|other| *other != to)
                .any(|other| reaches(graph, other, to));
            if !follows {
                arrows.insert((short(from), short(to)));
            }
        }
    }
    arrows
}

fn reaches(graph: &Graph, from: &str, to: &str) -> bool {
    graph.get(from).is_some_and(|used| {
        used.iter()
            .any(|next| next == to || reaches(graph, next, to))
    })
}

/// The arrows of the page's Mermaid diagrams of crates.
fn arrows(text: &str) -> impl Iterator<Item = (String, String)> {
    let mut in_diagram = false;
    text.lines().filter_map(move |line| {
        match line.trim() {
            "```mermaid" => in_diagram = true,
            "```" => in_diagram = false,
            line if in_diagram => {
                let (from, to) = line.split_once(" --> ")?;
                return Some((from.to_owned(), to.to_owned()));
            }
            _ => {}
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(packages: &[(&str, &str, &[&str])]) -> Value {
        let packages: Vec<Value> = (packages.iter())
            .map(|(name, dir, used)| {
                let used: Vec<Value> = (used.iter())
                    .map(|name| match name.strip_prefix("dev:") {
                        Some(name) => json!({"name": name, "kind": "dev"}),
                        None => json!({"name": name, "kind": null}),
                    })
                    .collect();
                json!({"name": name, "manifest_path": format!("/x/{dir}/Cargo.toml"), "dependencies": used})
            })
            .collect();
        json!({ "workspace_root": "/x", "packages": packages })
    }

    #[test]
    fn an_import_against_the_table_is_found() {
        let check = |used: &[&str], expected: usize| {
            let found = lead_downward(&metadata(&[
                ("evbus-store", "core/store", used),
                ("evbus-event", "core/event", &[]),
                ("evbus-plugin", "core/plugin", &[]),
            ]));
            assert_eq!(found.len(), expected, "{found:?}");
        };
        check(&["evbus-event", "serde", "dev:evbus-plugin"], 0);
        check(&["evbus-plugin"], 1);
        let unknown = lead_downward(&metadata(&[("evbus-new", "core/new", &[])]));
        assert!(unknown[0].starts_with("evbus-new: "), "{unknown:?}");
        assert!(lead_downward(&metadata(&[("evbus-sdk", "plugins/sdk", &[])])).is_empty());
    }

    #[test]
    fn a_diagram_that_shows_something_else_is_found() {
        let crates = metadata(&[
            ("evbus", "core", &["evbus-host", "evbus-event"]),
            ("evbus-host", "core/host", &["evbus-event"]),
            ("evbus-event", "core/event", &[]),
        ]);
        let check = |arrows: &str, expected: usize| {
            let page = format!("# Page\n\n```mermaid\ngraph TD\n{arrows}```\n\na --> b\n");
            let found = are_drawn(&Tree::of(&[(PAGE, &page)]), &crates);
            assert_eq!(found.len(), expected, "{found:?}");
        };
        check("    evbus --> host\n    host --> event\n", 0);
        check("    evbus --> host\n", 1);
        check(
            "    evbus --> host\n    host --> event\n    evbus --> event\n",
            1,
        );
    }
}
