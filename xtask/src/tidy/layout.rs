//! Where things are, and what they are called.

use std::collections::BTreeSet;

use super::tree::Tree;

const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".editorconfig",
    ".gitattributes",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "clients",
    "clippy.toml",
    "core",
    "deny.toml",
    "docs",
    "plugins",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "xtask",
];

/// The top level is fixed; only plugins are added to it.
pub(super) fn top_level_is_known(tree: &Tree) -> Vec<String> {
    let entries: BTreeSet<&str> = tree
        .files()
        .filter_map(|(path, _)| path.split('/').next())
        .collect();
    entries
        .into_iter()
        .filter(|entry| !TOP_LEVEL.contains(entry) && !entry.starts_with("plugin-"))
        .map(|entry| {
            format!(
                "{entry}: found at the top level, expected only the known entries and plugin-NAME; \
                 move it below one of them"
            )
        })
        .collect()
}

/// A file is named for its subject.
pub(super) fn no_catch_all(tree: &Tree) -> Vec<String> {
    tree.files()
        .map(|(path, _)| path)
        .filter(|path| {
            path.split('/').any(|part| {
                let stem = part.split('.').next().unwrap_or(part);
                matches!(stem, "utils" | "util")
            })
        })
        .map(|path| format!("{path}: the name says nothing; name it for its subject"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(rule: fn(&Tree) -> Vec<String>, path: &str) -> usize {
        rule(&Tree::of(&[(path, "")])).len()
    }

    #[test]
    fn plugins_may_be_added_at_the_top_and_nothing_else() {
        assert_eq!(faults(top_level_is_known, "plugin-redis/src/lib.rs"), 0);
        assert_eq!(faults(top_level_is_known, "core/src/lib.rs"), 0);
        assert_eq!(faults(top_level_is_known, "README.md"), 0);
        assert_eq!(faults(top_level_is_known, "notes.txt"), 1);
        assert_eq!(faults(top_level_is_known, "tools/x"), 1);
    }

    #[test]
    fn nothing_is_called_after_no_subject() {
        assert_eq!(faults(no_catch_all, "core/src/utils.rs"), 1);
        assert_eq!(faults(no_catch_all, "core/src/util/mod.rs"), 1);
        assert_eq!(faults(no_catch_all, "core/src/utility_bill.rs"), 0);
    }
}
