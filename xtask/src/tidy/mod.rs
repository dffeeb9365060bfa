//! `cargo xtask tidy`: the rules of the project that no compiler checks.
//!
//! Every rule is a function from the checkout's files to findings, one sentence each, with the file
//! and the line where there is one.

mod abi;
mod dependencies;
mod duplicates;
mod english;
mod imports;
mod introductions;
mod layout;
mod links;
mod machines;
mod manifests;
mod once;
mod rust_text;
mod sources;
mod tree;

use serde_json::Value;

use crate::cargo;
use crate::failure::Failure;
use tree::Tree;

/// A rule that needs only the files.
type Rule = fn(&Tree) -> Vec<String>;

const RULES: &[Rule] = &[
    abi::is_described,
    layout::top_level_is_known,
    layout::no_catch_all,
    sources::files_are_short,
    sources::unsafe_is_confined,
    sources::nothing_is_unfinished,
    machines::no_machine_is_named,
    manifests::lints_are_inherited,
    links::lead_somewhere,
    introductions::are_complete,
    english::is_plain,
    once::is_written,
];

/// Checks every rule, or records that the document of the plugin contract is up to date.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let bless = match args {
        [] => false,
        [flag] if flag == "--bless-abi" => true,
        _ => {
            return Err(Failure::Usage(
                "`tidy` takes no argument but --bless-abi".to_owned(),
            ));
        }
    };
    let tree = Tree::of_checkout()?;
    if bless {
        return abi::bless(&tree);
    }
    let mut findings: Vec<String> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    let metadata = metadata()?;
    findings.extend(dependencies::point_the_right_way(&metadata));
    findings.extend(imports::lead_downward(&metadata));
    findings.extend(imports::are_drawn(&tree, &metadata));
    findings.extend(duplicates::are_listed(&tree, &duplicates::listing()?));
    findings.extend(duplicates::are_shared_by_xtask(
        &duplicates::with_features(&["--package", "xtask"])?,
        &duplicates::with_features(&["--workspace"])?,
    ));
    findings.sort();
    for finding in &findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() {
        eprintln!("tidy: {} files are in order", tree.len());
        Ok(())
    } else {
        Err(Failure::Failed(format!(
            "tidy found {} faults; they stand above",
            findings.len()
        )))
    }
}

/// Cargo's description of the packages of the workspace.
fn metadata() -> Result<Value, Failure> {
    let output = cargo::command()
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(Failure::io("start cargo"))?;
    if !output.status.success() {
        return Err(Failure::Failed(format!(
            "cargo metadata failed with {}",
            output.status
        )));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::Failed(format!("cargo metadata printed no JSON: {error}")))
}
