//! Each crate of `core/` says what it is for, what it never does, and who its API is for.

use super::tree::Tree;

/// Words that show the limits of a crate's subject.
const BOUNDS: &[&str] = &[" not ", " no ", " nothing ", " never ", " nor ", " none"];

/// The documentation of a crate of `core/` has a heading sentence, a bound and an API boundary.
pub(super) fn are_complete(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust().filter(|(path, _)| is_root(path)) {
        let said: String = text
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .collect();
        let mut lack = |what: &str| {
            findings.push(format!(
                "{path}: the crate's documentation does not say {what}; add it to the first lines"
            ));
        };
        if said.trim().is_empty() {
            lack("what the crate is for");
            continue;
        }
        if !BOUNDS.iter().any(|bound| said.contains(bound)) {
            lack("what the crate never does");
        }
        if !said.contains("API boundary:") {
            lack("who its API is for (`API boundary:`)");
        }
    }
    findings
}

/// Whether a file is the root of a crate below `core/`.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts[..], ["core", name, "src", "lib.rs"] if name != "fuzz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_does_not_introduce_itself_is_found() {
        let check = |text: &str, expected: usize| {
            let found = are_complete(&Tree::of(&[("core/store/src/lib.rs", text)]));
            assert_eq!(found.len(), expected, "{found:?}");
        };
        check("mod a;\n", 1);
        check("//! Stores events.\n", 2);
        check("//! Stores events. It does not deliver them.\n", 1);
        check(
            "//! Stores events. It does not deliver them.\n//!\n//! API boundary: for all.\n",
            0,
        );
        let elsewhere = Tree::of(&[("core/store/src/wal.rs", ""), ("xtask/src/lib.rs", "")]);
        assert!(are_complete(&elsewhere).is_empty());
    }
}
