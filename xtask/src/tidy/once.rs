//! What is written once is not written again elsewhere.

use super::rust_text::RustText;
use super::tree::Tree;

/// Code that may exist only once: what to search for, where it belongs, what to use instead.
const ONCE: &[(&str, &str, &str)] = &[
    ("fn fnmatch", "clients/fnmatch/", "the crate evbus-fnmatch"),
    (
        "parse_duration",
        "plugins/duration/",
        "the crate evbus-duration, or TimeSpan of the SDK",
    ),
    ("fn hex(", "core/report/src/hex.rs", "evbus_report::hex"),
    (
        "struct LogRate",
        "core/report/src/log_rate.rs",
        "evbus_report::LogRate",
    ),
    (
        "struct OncePerBurst",
        "core/report/src/once_per_burst.rs",
        "evbus_report::OncePerBurst",
    ),
    (
        "struct AcctOptions",
        "core/src/cli/acct_options.rs",
        "cli::acct_options",
    ),
    ("struct Signals", "core/src/cli/signals.rs", "cli::signals"),
];

/// Finds second copies outside of tests. Plugins are built without the crates of `core/`, so they may have their own
/// copy of what is there.
pub(super) fn is_written(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust().filter(|(path, _)| !path.contains("/tests/")) {
        let code = RustText::of(text).code;
        let is_plugin = path.starts_with("plugin-") || path.starts_with("plugins/");
        let others = ONCE.iter().filter(|(_, place, _)| {
            !(path.starts_with(place) || is_plugin && place.starts_with("core/"))
        });
        for (pattern, place, instead) in others {
            for (index, line) in code.lines().enumerate() {
                if line.contains(pattern) {
                    findings.push(format!(
                        "{path}:{}: found a second `{pattern}`, expected it only in {place}; use {instead}",
                        index + 1
                    ));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_copy_is_found() {
        let check = |path: &str, text: &str, expected: usize| {
            let found = is_written(&Tree::of(&[(path, text)]));
            assert_eq!(found.len(), expected, "{path}: {found:?}");
        };
        let fnmatch = "pub fn fnmatch(name: &str, pattern: &str) -> bool {\n    false\n}\n";
        check("clients/fnmatch/src/lib.rs", fnmatch, 0);
        check("core/sockets/src/a.rs", fnmatch, 1);
        check("plugin-glob/src/a.rs", fnmatch, 1);
        check("core/store/src/a.rs", "fn hex(bytes: &[u8]) {}\n", 1);
        check("core/store/src/a.rs", "// fn hex(bytes: &[u8])\n", 0);
        check("core/report/src/hex.rs", "pub fn hex(bytes: &[u8]) {}\n", 0);
    }
}
