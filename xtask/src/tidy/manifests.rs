//! What every crate's Cargo.toml has.

use super::tree::Tree;

/// The lints are the workspace's.
pub(super) fn lints_are_inherited(tree: &Tree) -> Vec<String> {
    tree.files()
        .filter(|(path, _)| path.ends_with("/Cargo.toml"))
        .filter(|(_, text)| !inherits(text))
        .map(|(path, _)| {
            format!("{path}: expected the workspace's lints; add: [lints] workspace = true")
        })
        .collect()
}

fn inherits(manifest: &str) -> bool {
    let mut section = "";
    manifest.lines().map(str::trim).any(|line| {
        if line.starts_with('[') {
            section = line;
        }
        let plain: String = line.split_whitespace().collect();
        section == "[lints]" && plain == "workspace=true"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: usize) {
        let tree = Tree::of(&[("core/Cargo.toml", text), ("Cargo.toml", "[workspace]")]);
        assert_eq!(lints_are_inherited(&tree).len(), expected, "{text}");
    }

    #[test]
    fn a_crate_with_lints_of_its_own_is_found() {
        check("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n", 0);
        check("[lints]\nworkspace=true", 0);
        check("[package]\nname = \"a\"\n", 1);
        check("[lints.rust]\nunsafe_code = \"allow\"\n", 1);
        check("[lints]\n\n[dependencies]\nworkspace = true\n", 1);
        check("[lints]\n# workspace = true\n", 1);
    }
}
