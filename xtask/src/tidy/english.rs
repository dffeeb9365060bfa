//! Words that readers stumble over: phrases that stand for plainer ones.

use super::tree::Tree;

/// What not to write, which words before it make it acceptable, and what to write instead.
const PHRASES: &[(&str, &[&str], &str)] = &[
    (" is no ", &["there", "this"], "is not a"),
    (" are no ", &["there", "these"], "are not"),
    ("may come several times", &[], "may be repeated"),
    ("held against", &[], "validated against"),
    ("looked into", &[], "inspected"),
    ("as it stands there", &[], "unchanged"),
    ("nowhere to", &[], "no ... given"),
    ("told once per burst", &[], "logged once per burst"),
    ("Ends with 1 when", &[], "Exits with status 1 if"),
    ("How much to say", &[], "Log verbosity"),
    ("does without it", &[], "does not use it"),
];

/// Words that make ` is no ` good English if they follow it.
const GOOD_AFTER: &[&str] = &[
    "longer", "more", "less", "slower", "faster", "reader's", "page's", "such", "use",
];

/// Pages, comments and messages do not contain these phrases.
pub(super) fn is_plain(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    let code = tree.rust().map(|(path, text)| (path, text, false));
    let pages = tree
        .with_extension("md")
        .map(|(path, text)| (path, text, true));
    for (path, text, is_page) in code.chain(pages).filter(|(path, ..)| is_read(path)) {
        for (index, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            let is_said = is_page || trimmed.starts_with("//") || line.contains('"');
            if !is_said {
                continue;
            }
            for (phrase, instead) in found(line) {
                findings.push(format!(
                    "{path}:{}: found `{}`, expected plainer words such as `{instead}`",
                    index + 1,
                    phrase.trim()
                ));
            }
        }
    }
    findings
}

/// The changelog keeps its wording; this list itself contains all of the phrases.
fn is_read(path: &str) -> bool {
    path != "CHANGELOG.md" && !path.starts_with("xtask/src/tidy/") && !path.contains("/fixtures/")
}

fn found(line: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    PHRASES.iter().filter_map(move |(phrase, unless, instead)| {
        let is_found = line.match_indices(phrase).any(|(at, _)| {
            let before = line[..at].trim_end().to_lowercase();
            let after = line[at + phrase.len()..].split_whitespace().next();
            // At the beginning of a line, the sentence may have begun on the line before.
            let is_open = matches!(before.trim_start(), "" | "//" | "///" | "//!");
            let is_good = unless.iter().any(|word| before.ends_with(word))
                || (phrase.ends_with(" no ")
                    && (is_open || after.is_none_or(|word| GOOD_AFTER.contains(&word))));
            !is_good
        });
        is_found.then_some((*phrase, *instead))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expected: usize) {
        let findings = is_plain(&Tree::of(&[(path, text)]));
        assert_eq!(findings.len(), expected, "{text}: {findings:?}");
    }

    #[test]
    fn phrases_that_readers_stumble_over_are_found() {
        check("docs/A.md", "A link is no file.", 1);
        check(
            "docs/A.md",
            "There is no file, and it is no longer there.",
            0,
        );
        check("core/src/a.rs", "/// What is no frame.", 1);
        check("core/src/a.rs", "    \"{path} is no socket\"", 1);
        check("core/src/a.rs", "let a = b; // fine", 0);
        check("README.md", "The flag may come several times.", 1);
        check("README.md", "The event is held against the schema.", 1);
        check("CHANGELOG.md", "The flag may come several times.", 0);
    }
}
