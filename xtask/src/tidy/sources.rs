//! What Rust files may hold, and how long files are.

use super::rust_text::RustText;
use super::tree::Tree;

const MAX_LINES: usize = 500;

/// The contract, the SDK over it, the host's crate that opens plugins, and their counterparts in the tests.
const UNSAFE: &[&str] = &[
    "plugins/abi/",
    "plugins/sdk/",
    "core/plugin/",
    "plugins/fixtures/",
];

/// A file is short enough to keep in mind.
pub(super) fn files_are_short(tree: &Tree) -> Vec<String> {
    tree.rust()
        .chain(tree.with_extension("py"))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| {
            format!(
                "{path}: found {lines} lines, expected at most {MAX_LINES}; split it by subject"
            )
        })
        .collect()
}

/// Unsafe code is only in these directories.
pub(super) fn unsafe_is_confined(tree: &Tree) -> Vec<String> {
    tree.rust()
        .filter(|(path, _)| !UNSAFE.iter().any(|place| path.starts_with(place)))
        .flat_map(|(path, text)| {
            words(&RustText::of(text).code, "unsafe")
                .map(move |line| {
                    format!(
                        "{path}:{line}: found unsafe code, expected it only in {}",
                        UNSAFE.join(", ")
                    )
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// What is committed is finished, and every test runs.
pub(super) fn nothing_is_unfinished(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let text = RustText::of(text);
        for (word, after) in [("todo", "!"), ("unimplemented", "!"), ("dbg", "!")] {
            for line in followed(&text.code, word, after) {
                findings.push(format!(
                    "{path}:{line}: found {word}!, expected finished code"
                ));
            }
        }
        for line in ignored(&text.code) {
            findings.push(format!(
                "{path}:{line}: found an ignored test, expected one that runs; mend it or remove it"
            ));
        }
        for word in ["FIXME", "XXX", "TODO"] {
            for line in words(&text.comments, word) {
                findings.push(format!(
                    "{path}:{line}: found {word} in a comment, expected it done"
                ));
            }
        }
    }
    findings
}

/// The lines, counted from 1, that hold a whole word.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    followed(text, word, "")
}

/// Like [`words`], but only if something follows the word.
fn followed<'a>(text: &'a str, word: &'a str, after: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.lines().enumerate().flat_map(move |(index, line)| {
        line.match_indices(word)
            .filter(move |(at, _)| {
                let rest = &line[at + word.len()..];
                !line[..*at].ends_with(part_of_word)
                    && !rest.starts_with(part_of_word)
                    && rest.starts_with(after)
            })
            .map(move |_| index + 1)
    })
}

/// Lines with the attribute `ignore`, with or without a reason.
fn ignored(code: &str) -> impl Iterator<Item = usize> {
    code.lines().enumerate().filter_map(|(index, line)| {
        let attribute: String = line.split_whitespace().collect();
        let rest = attribute.split_once("#[ignore")?.1;
        rest.starts_with([']', '=']).then_some(index + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&Tree) -> Vec<String>, path: &str, text: &str, expected: &[&str]) {
        let findings = rule(&Tree::of(&[(path, text)]));
        let places: Vec<_> = findings
            .iter()
            .filter_map(|finding| finding.split(": ").next())
            .collect();
        assert_eq!(places, expected, "{text}");
    }

    #[test]
    fn a_long_file_is_found() {
        let long = "\n".repeat(MAX_LINES + 1);
        check(files_are_short, "core/src/a.rs", &long, &["core/src/a.rs"]);
        check(files_are_short, "core/src/a.rs", &long[1..], &[]);
        check(files_are_short, "core/data.json", &long, &[]);
        check(files_are_short, "clients/a.py", &long, &["clients/a.py"]);
    }

    #[test]
    fn unsafe_code_is_found_outside_its_places() {
        let code = "fn a() {\n    unsafe { b() }\n}\n";
        check(
            unsafe_is_confined,
            "core/src/bus.rs",
            code,
            &["core/src/bus.rs:2"],
        );
        check(unsafe_is_confined, "core/plugin/src/library.rs", code, &[]);
        check(unsafe_is_confined, "plugins/abi/src/lib.rs", code, &[]);
        let harmless = "#![deny(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\";\n";
        check(unsafe_is_confined, "core/src/bus.rs", harmless, &[]);
    }

    #[test]
    fn unfinished_code_is_found() {
        let check = |text, expected: &[&str]| check(nothing_is_unfinished, "a.rs", text, expected);
        check("fn a() {\n    todo!()\n}", &["a.rs:2"]);
        check("unimplemented!(\"b\")", &["a.rs:1"]);
        check("let a = dbg!(b);", &["a.rs:1"]);
        check("#[test]\n#[ignore]\nfn a() {}", &["a.rs:2"]);
        check("#[ignore = \"slow\"]", &["a.rs:1"]);
        check("// FIXME: b", &["a.rs:1"]);
        check("/* XXX */", &["a.rs:1"]);
        check("#[ignored_by]\nlet todo = \"FIXME todo!()\"; // todos", &[]);
    }
}
