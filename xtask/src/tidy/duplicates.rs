//! Crates that are compiled more than once, in several versions or with several sets of features.
//!
//! Each of them is listed in docs/ARCHITECTURE.md with the reason, so that a build grows only on purpose.

use std::collections::BTreeSet;
use std::process::Stdio;

use super::tree::Tree;
use crate::cargo;
use crate::failure::Failure;

const PAGE: &str = "docs/ARCHITECTURE.md";

/// The section of the page with the table, whose first column names the crates.
const SECTION: &str = "## Crates that are compiled more than once";

/// The table lists the crates in `listing`, which [`listing`] gets from cargo, and no others.
pub(super) fn are_listed(tree: &Tree, listing: &str) -> Vec<String> {
    let page = tree.text(PAGE).unwrap_or_default();
    let listed = listed(page);
    let compiled: BTreeSet<&str> = (listing.lines())
        .filter(|line| !line.starts_with('['))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let new = compiled.difference(&listed).map(|name| {
        format!(
            "{PAGE}: {name} is compiled more than once; align its versions and features (`cargo tree --workspace --duplicates` shows who needs it), \
             or add it to the section `{SECTION}` with the reason"
        )
    });
    let stale = listed.difference(&compiled).map(|name| {
        format!("{PAGE}: {name} is compiled only once; remove it from the section `{SECTION}`")
    });
    new.chain(stale).collect()
}

/// The names in the first column of the section's table.
fn listed(page: &str) -> BTreeSet<&str> {
    let section = page.lines().skip_while(|line| *line != SECTION).skip(1);
    section
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .skip(1)
        .flat_map(|cell| cell.split(", "))
        .map(str::trim)
        .collect()
}

/// What cargo says about crates that are compiled more than once: a line for each.
pub(super) fn listing() -> Result<String, Failure> {
    cargo_tree(&[
        "--workspace",
        "--duplicates",
        "--depth",
        "0",
        "--format",
        "{p}",
    ])
}

/// Every crate that xtask is built from is compiled with the features it has in builds of the whole workspace, so that
/// `cargo xtask` and all that it starts compile each crate once. Both listings are of [`with_features`].
pub(super) fn are_shared_by_xtask(xtask: &str, workspace: &str) -> Vec<String> {
    let everywhere = distinct(workspace);
    let lines = distinct(xtask);
    let alone = lines.difference(&everywhere);
    alone
        .map(|line| {
            let (name, features) = line.split_once('|').unwrap_or((line, ""));
            format!(
                "xtask/Cargo.toml: {name} is compiled once more for xtask, with the features [{features}]; \
                 name there those it has in the workspace"
            )
        })
        .collect()
}

/// The crates that a selection of packages is built from, each with its features: `NAME vVERSION|FEATURE,...`.
pub(super) fn with_features(selection: &[&str]) -> Result<String, Failure> {
    let format = ["--edges", "normal,build", "--format", "{p}|{f}"];
    cargo_tree(&[selection, &format].concat())
}

/// The lines, each once, without the mark of those that cargo has shown before.
fn distinct(listing: &str) -> BTreeSet<&str> {
    (listing.lines())
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| !line.is_empty())
        .collect()
}

fn cargo_tree(arguments: &[&str]) -> Result<String, Failure> {
    let output = cargo::command()
        .args(["tree", "--locked", "--prefix", "none"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .map_err(Failure::io("start cargo"))?;
    if !output.status.success() {
        return Err(Failure::Failed(format!(
            "cargo tree failed with {}",
            output.status
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listing: &str, expected: &[&str]) {
        let page = format!(
            "# Page\n\n| crate | why |\n|---|---|\n| serde | elsewhere |\n\n{SECTION}\n\n| crates | held back by |\n|---|---|\n\
             | aes, cbc | lapin, ring |\n| syn | abi_stable |\n\n## Next\n\n| a | b |\n|---|---|\n| tokio | other |\n"
        );
        let found = are_listed(&Tree::of(&[(PAGE, &page)]), listing);
        let named: Vec<_> = (found.iter())
            .filter_map(|finding| finding.split(' ').nth(1))
            .collect();
        assert_eq!(named, expected, "{found:?}");
    }

    #[test]
    fn a_crate_that_is_compiled_twice_and_not_listed_is_found() {
        let known = "aes v0.8.4\n\naes v0.9.4\n\ncbc v0.1.2\n\ncbc v0.2.1\n\n[dev-dependencies]\nsyn v1.0.1\n\nsyn v2.0.1\n";
        check(known, &[]);
        check(
            &format!("{known}\nserde v1.0.0\n\nserde v1.0.0 (proc-macro)\n"),
            &["serde"],
        );
        check(&format!("{known}\ntokio v1.0.0\n"), &["tokio"]);
    }

    #[test]
    fn a_listed_crate_that_is_compiled_once_is_found() {
        check("aes v0.8.4\n\naes v0.9.4\n\nsyn v1.0.1\n", &["cbc"]);
    }

    #[test]
    fn a_crate_with_other_features_for_xtask_is_found() {
        let workspace = "evbus v0.1.0 (/evbus/core)|default\nserde_json v1.0.0|default,raw_value\nsyn v2.0.1|\nsyn v2.0.1| (*)\n";
        let check = |xtask: &str, expected: &[&str]| {
            let found = are_shared_by_xtask(xtask, workspace);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (finding, name) in found.iter().zip(expected) {
                assert!(
                    finding.starts_with(&format!("xtask/Cargo.toml: {name} ")),
                    "{finding}"
                );
            }
        };
        check(
            "serde_json v1.0.0|default,raw_value (*)\nsyn v2.0.1|\n",
            &[],
        );
        check("serde_json v1.0.0|default\nsyn v2.0.1|\n", &["serde_json"]);
    }
}
