//! The plugin contract and its document change together.

use std::fs;

use sha2::{Digest as _, Sha256};

use super::tree::Tree;
use crate::failure::Failure;

const DOCUMENT: &str = "docs/ABI.md";
const SOURCES: &str = "plugins/abi/src/";
const KEY: &str = "abi-source-sha256: ";

/// Checks that the document contains the hash of the sources that it describes.
pub(super) fn is_described(tree: &Tree) -> Vec<String> {
    let noted = tree.text(DOCUMENT).and_then(noted);
    if noted == Some(hash(tree).as_str()) {
        return Vec::new();
    }
    let found = match noted {
        Some(_) => format!("{SOURCES} has changed since {DOCUMENT} was last updated"),
        None => format!("{DOCUMENT} does not say which state of {SOURCES} it describes"),
    };
    vec![format!(
        "{found}; bring the document up to date, then run: cargo xtask tidy --bless-abi"
    )]
}

/// Writes the hash of the sources into the document.
pub(super) fn bless(tree: &Tree) -> Result<(), Failure> {
    let line = format!("{KEY}{}", hash(tree));
    let text = blessed(tree.text(DOCUMENT), &line);
    let path = tree.root().join(DOCUMENT);
    fs::write(&path, text).map_err(Failure::file("write", &path))
}

fn blessed(document: Option<&str>, line: &str) -> String {
    let document = document.unwrap_or("# The plugin contract\n");
    let kept: Vec<&str> = document
        .lines()
        .filter(|line| !line.starts_with(KEY))
        .collect();
    format!("{}\n\n{line}\n", kept.join("\n").trim_end())
}

fn noted(document: &str) -> Option<&str> {
    document
        .lines()
        .find_map(|line| line.strip_prefix(KEY))
        .map(str::trim)
}

/// Line breaks and blanks before them do not count.
fn hash(tree: &Tree) -> String {
    let mut hash = Sha256::new();
    for (path, text) in tree.rust().filter(|(path, _)| path.starts_with(SOURCES)) {
        hash.update(path);
        hash.update([0]);
        for line in text.lines() {
            hash.update(line.trim_end());
            hash.update("\n");
        }
        hash.update([0]);
    }
    evbus_report::hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "plugins/abi/src/lib.rs";

    fn document(source: &str) -> String {
        let line = format!("{KEY}{}", hash(&Tree::of(&[(SOURCE, source)])));
        blessed(Some("# ABI\n\nWords.\n"), &line)
    }

    #[test]
    fn a_blessed_document_passes_until_a_source_changes() {
        let document = document("pub struct A;\n");
        let check = |source| is_described(&Tree::of(&[(SOURCE, source), (DOCUMENT, &document)]));
        assert_eq!(check("pub struct A;\n"), [""; 0]);
        assert_eq!(check("pub struct A; \r\n"), [""; 0]);
        assert_eq!(
            check("pub struct B;\n"),
            [
                "plugins/abi/src/ has changed since docs/ABI.md was last updated; bring the \
                 document up to date, then run: cargo xtask tidy --bless-abi"
            ]
        );
    }

    #[test]
    fn a_new_source_file_is_a_change() {
        let document = document("mod a;\n");
        let files = [
            (SOURCE, "mod a;\n"),
            ("plugins/abi/src/a.rs", ""),
            (DOCUMENT, &document),
        ];
        assert_eq!(is_described(&Tree::of(&files)).len(), 1);
    }

    #[test]
    fn a_missing_document_is_found() {
        assert_eq!(is_described(&Tree::of(&[(SOURCE, "")])).len(), 1);
    }

    #[test]
    fn blessing_replaces_the_old_line_and_keeps_the_rest() {
        let once = blessed(Some("# ABI\n\nWords.\n"), "abi-source-sha256: 1");
        let twice = blessed(Some(&once), "abi-source-sha256: 2");
        assert_eq!(twice, "# ABI\n\nWords.\n\nabi-source-sha256: 2\n");
        let stub = blessed(None, "abi-source-sha256: 1");
        assert_eq!(stub, "# The plugin contract\n\nabi-source-sha256: 1\n");
    }
}
