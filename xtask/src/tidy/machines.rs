//! The project is self-contained: it names no developer's machine and no package registry.

use super::tree::Tree;

/// In pieces, because this file is checked too.
const HOMES: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("C:\\Us", "ers\\"),
];
const REGISTRIES: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("maven", ".org"),
    concat!("maven.apache", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("deb.debian", ".org"),
];

/// Written by cargo, with the address of its registry.
const LOCK: &str = "Cargo.lock";

/// No home directories and no package registries.
pub(super) fn no_machine_is_named(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.files() {
        for (index, line) in text.lines().enumerate() {
            let mut find = |names: &[&str], why| {
                if let Some(name) = names.iter().find(|name| line.contains(**name)) {
                    let line = index + 1;
                    findings.push(format!("{path}:{line}: found {name}, {why}"));
                }
            };
            find(HOMES, "expected no path of one machine");
            if path.rsplit('/').next() != Some(LOCK) {
                find(
                    REGISTRIES,
                    "expected no host of a package registry: which one is used is the machine's \
                     choice",
                );
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, text: &str) -> usize {
        no_machine_is_named(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn homes_and_registries_are_found() {
        for name in HOMES.iter().chain(REGISTRIES) {
            assert_eq!(faults("docs/A.md", &format!("see {name}x")), 1, "{name}");
        }
        assert_eq!(faults("docs/A.md", "see /usr/lib/evbus and ~/.local"), 0);
    }

    #[test]
    fn the_lock_file_may_name_its_registry_but_no_home() {
        assert_eq!(faults("Cargo.lock", REGISTRIES[0]), 0);
        assert_eq!(faults("Cargo.lock", HOMES[0]), 1);
    }
}
