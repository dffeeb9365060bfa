//! Which tags a listener wants: Salt's match types.

use clap::ValueEnum;
use regex::Regex;

/// How a listener's tag is compared with an event's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum MatchType {
    /// The event's tag begins with it.
    Startswith,
    /// The event's tag ends with it.
    Endswith,
    /// The event's tag contains it.
    Find,
    /// It is a regular expression that is found somewhere in the event's tag.
    Regex,
    /// It is a shell pattern (*, ?, [seq], [!seq]) for the whole of the event's tag.
    Fnmatch,
}

/// A compiled filter.
#[derive(Debug)]
pub(super) enum TagFilter {
    Startswith(String),
    Endswith(String),
    Find(String),
    Regex(Regex),
}

impl TagFilter {
    /// Compiles a filter; the empty tag with the match type `startswith` lets everything pass.
    pub(super) fn new(tag: &str, match_type: MatchType) -> Result<Self, String> {
        let regex = |pattern: &str| {
            Regex::new(pattern)
                .map(Self::Regex)
                .map_err(|error| format!("--tag {tag:?} is no regular expression: {error}"))
        };
        match match_type {
            MatchType::Startswith => Ok(Self::Startswith(tag.to_owned())),
            MatchType::Endswith => Ok(Self::Endswith(tag.to_owned())),
            MatchType::Find => Ok(Self::Find(tag.to_owned())),
            MatchType::Regex => regex(tag),
            MatchType::Fnmatch => regex(&fnmatch_to_regex(tag)),
        }
    }

    /// Whether an event's tag passes.
    pub(super) fn passes(&self, tag: &str) -> bool {
        match self {
            Self::Startswith(wanted) => tag.starts_with(wanted),
            Self::Endswith(wanted) => tag.ends_with(wanted),
            Self::Find(wanted) => tag.contains(wanted),
            Self::Regex(wanted) => wanted.is_match(tag),
        }
    }
}

/// As Python's `fnmatch.translate`: `*` crosses everything, an unclosed `[` is literal.
fn fnmatch_to_regex(pattern: &str) -> String {
    let mut out = String::from(r"(?s)\A");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => {
                // The first character of a class may be a literal `]`.
                let body = rest.strip_prefix('!').unwrap_or(rest);
                let first = body.chars().next().map_or(0, char::len_utf8);
                match body.get(first..).and_then(|tail| tail.find(']')) {
                    Some(end) => {
                        let class = &body[..first + end];
                        out.push('[');
                        if body.len() < rest.len() {
                            out.push('^');
                        }
                        for c in class.chars() {
                            if matches!(c, '[' | ']' | '\\' | '^' | '&' | '~') {
                                out.push('\\');
                            }
                            out.push(c);
                        }
                        out.push(']');
                        rest = &body[first + end + 1..];
                    }
                    None => out.push_str(r"\["),
                }
            }
            c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push_str(r"\z");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_match_type_compares_as_salt_does() {
        for (filter, match_type, tag, expected) in [
            ("", MatchType::Startswith, "anything", true),
            ("salt/", MatchType::Startswith, "salt/auth", true),
            ("auth", MatchType::Startswith, "salt/auth", false),
            ("auth", MatchType::Endswith, "salt/auth", true),
            ("t/a", MatchType::Find, "salt/auth", true),
            ("^salt/(auth|key)$", MatchType::Regex, "salt/key", true),
            ("key", MatchType::Regex, "salt/key/x", true),
            ("salt/*/x", MatchType::Fnmatch, "salt/a/b/x", true),
            ("salt/?", MatchType::Fnmatch, "salt/ab", false),
            ("[!ab]x", MatchType::Fnmatch, "cx", true),
            ("[!ab]x", MatchType::Fnmatch, "ax", false),
            ("[]x]", MatchType::Fnmatch, "]", true),
            ("a[b", MatchType::Fnmatch, "a[b", true),
            ("a.b", MatchType::Fnmatch, "axb", false),
        ] {
            let compiled = TagFilter::new(filter, match_type).expect("the filter is valid");
            assert_eq!(
                compiled.passes(tag),
                expected,
                "{filter:?} {match_type:?} {tag:?}"
            );
        }
    }

    #[test]
    fn a_bad_regular_expression_is_named() {
        let error = TagFilter::new("(", MatchType::Regex).expect_err("the group is not closed");
        assert!(error.contains("--tag \"(\""), "{error}");
    }
}
