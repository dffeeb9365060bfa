//! Links of the documents lead somewhere.

use super::tree::Tree;

/// Every relative link of a Markdown file names a file or a directory of the project.
pub(super) fn lead_somewhere(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.with_extension("md") {
        for (line, link) in links(text) {
            if !resolve(path, link).is_some_and(|target| tree.has(&target)) {
                findings.push(format!(
                    "{path}:{line}: the link to {link} leads nowhere, expected a file or directory \
                     of the project"
                ));
            }
        }
    }
    findings
}

/// The relative links outside code, with their lines.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().flat_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        let line = if in_code || fence { "" } else { line };
        let inline = line.match_indices("](").filter_map(|(at, open)| {
            let in_backticks = line[..at].matches('`').count() % 2 == 1;
            let rest = &line[at + open.len()..];
            let target = rest.split([')', ' ']).next()?;
            (!in_backticks).then_some(target)
        });
        let reference = line
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]: "))
            .map(|(_, target)| target.trim());
        inline
            .chain(reference)
            .filter(|link| is_relative(link))
            .map(move |link| (index + 1, link))
            .collect::<Vec<_>>()
    })
}

fn is_relative(link: &str) -> bool {
    !link.contains("://") && !link.starts_with("mailto:") && !link.starts_with('#')
}

/// The path from the root that a link in a file names; `None` when it leaves the project.
fn resolve(from: &str, link: &str) -> Option<String> {
    let link = link.split('#').next().unwrap_or(link);
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: usize) {
        let tree = Tree::of(&[("docs/A.md", text), ("README.md", ""), ("docs/b/C.md", "")]);
        assert_eq!(lead_somewhere(&tree).len(), expected, "{text}");
    }

    #[test]
    fn links_to_files_and_directories_lead_somewhere() {
        check("[a](A.md) [b](b/) [c](b/C.md#x) [r](../README.md)", 0);
        check("[r]: ../README.md", 0);
        check("[up](..)", 0);
    }

    #[test]
    fn links_elsewhere_are_not_looked_at() {
        check(
            "[a](https://example.org/x) [b](#x) [c](mailto:a@b.example)",
            0,
        );
    }

    #[test]
    fn links_in_code_are_no_links() {
        check("```text\n[a](nowhere)\n```\n", 0);
        check("`[a](nowhere)`", 0);
    }

    #[test]
    fn broken_links_are_found() {
        check("[a](nowhere.md)", 1);
        check("[a](../../outside)", 1);
        check("see [a](A.md) and\n\n[b](b/D.md)", 1);
        check("[r]: nowhere", 1);
        check("```\ncode\n```\n[a](nowhere)", 1);
    }
}
