//! Which tags a listener wants: Salt's match types.

use std::fmt;
use std::str::FromStr;

use evbus_fnmatch::Pattern;
use regex::Regex;

use crate::Error;

/// How a wanted tag is compared with an event's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MatchType {
    /// The event's tag starts with it.
    #[default]
    Startswith,
    /// The event's tag ends with it.
    Endswith,
    /// The event's tag contains it.
    Find,
    /// It is a regular expression that matches at the start of the event's tag: as in Salt, a `^` is put
    /// before it, so `a|b` means `^a|b`. The syntax is that of the crate `regex`, which supports neither
    /// look-around nor back-references.
    Regex,
    /// It is a shell pattern (`*`, `?`, `[seq]`, `[!seq]`) for the whole of the event's tag; `*` crosses
    /// slashes.
    Fnmatch,
}

impl MatchType {
    /// All match types.
    pub const ALL: [Self; 5] = [
        Self::Startswith,
        Self::Endswith,
        Self::Find,
        Self::Regex,
        Self::Fnmatch,
    ];

    /// Its name in Salt.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startswith => "startswith",
            Self::Endswith => "endswith",
            Self::Find => "find",
            Self::Regex => "regex",
            Self::Fnmatch => "fnmatch",
        }
    }
}

impl fmt::Display for MatchType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MatchType {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|match_type| match_type.as_str() == name)
            .ok_or_else(|| {
                format!(
                    "unknown match type {name:?}; expected startswith, endswith, find, regex or \
                     fnmatch"
                )
            })
    }
}

/// A compiled selection of tags. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TagFilter(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Startswith(String),
    Endswith(String),
    Find(String),
    Regex(Regex),
    Fnmatch(Pattern),
    AnyOf(Vec<TagFilter>),
}

/// An engine's message on one line: it may draw the pattern and an arrow above its last line.
fn cause(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

impl TagFilter {
    /// Compiles a filter. The empty tag lets every event pass, whatever the match type.
    ///
    /// # Errors
    ///
    /// [`Error::Pattern`]: the tag is not a valid regular expression, or the compiled pattern would exceed
    /// 10 MiB.
    pub fn new(tag: &str, match_type: MatchType) -> Result<Self, Error> {
        if tag.is_empty() {
            return Ok(Self::all());
        }
        let regex = |pattern: &str| {
            Regex::new(pattern)
                .map(Kind::Regex)
                .map_err(|error| Error::Pattern {
                    tag: tag.to_owned(),
                    match_type,
                    reason: cause(&error),
                })
        };
        Ok(Self(match match_type {
            MatchType::Startswith => Kind::Startswith(tag.to_owned()),
            MatchType::Endswith => Kind::Endswith(tag.to_owned()),
            MatchType::Find => Kind::Find(tag.to_owned()),
            MatchType::Regex => regex(&format!("^{tag}"))?,
            MatchType::Fnmatch => Kind::Fnmatch(Pattern::parse(tag)),
        }))
    }

    /// Lets every event pass.
    pub fn all() -> Self {
        Self(Kind::Startswith(String::new()))
    }

    /// Lets an event pass if one of the filters does; without filters, none passes.
    pub fn any_of(filters: impl IntoIterator<Item = TagFilter>) -> Self {
        Self(Kind::AnyOf(filters.into_iter().collect()))
    }

    /// Whether an event with this tag passes.
    pub fn passes(&self, tag: &str) -> bool {
        match &self.0 {
            Kind::Startswith(wanted) => tag.starts_with(wanted),
            Kind::Endswith(wanted) => tag.ends_with(wanted),
            Kind::Find(wanted) => tag.contains(wanted),
            Kind::Regex(wanted) => wanted.is_match(tag),
            Kind::Fnmatch(wanted) => wanted.is_match(tag),
            Kind::AnyOf(filters) => filters.iter().any(|filter| filter.passes(tag)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(match_type: MatchType, cases: &[(&str, &str, bool)]) {
        for (wanted, tag, expected) in cases {
            let filter = TagFilter::new(wanted, match_type).expect("the filter is valid");
            assert_eq!(
                filter.passes(tag),
                *expected,
                "{wanted:?} {match_type} {tag:?}"
            );
        }
    }

    #[test]
    fn each_match_type_compares_as_salt_does() {
        check(
            MatchType::Startswith,
            &[("salt/", "salt/auth", true), ("auth", "salt/auth", false)],
        );
        check(
            MatchType::Endswith,
            &[("auth", "salt/auth", true), ("salt", "salt/auth", false)],
        );
        check(
            MatchType::Find,
            &[("t/a", "salt/auth", true), ("ta", "salt/auth", false)],
        );
        check(
            MatchType::Regex,
            &[
                ("^salt/(auth|key)$", "salt/key", true),
                ("salt/(auth|key)", "salt/key/x", true),
                // Salt's `^` binds to the first branch only.
                ("key", "salt/key", false),
                ("x|key", "salt/key", true),
            ],
        );
    }

    #[test]
    fn shell_patterns_are_pythons() {
        // Judged by CPython 3.11's fnmatch.fnmatchcase(tag, pattern).
        check(
            MatchType::Fnmatch,
            &[
                ("salt/*/x", "salt/a/b/x", true),
                ("salt/*", "a/salt/x", false),
                ("salt/?", "salt/ab", false),
                ("*", "a\nb", true),
                ("[!ab]x", "cx", true),
                ("[!ab]x", "ax", false),
                ("[]x]", "]", true),
                ("[!]x]", "]", false),
                ("a[b", "a[b", true),
                ("a[", "a[", true),
                ("a[]", "a[]", true),
                ("a.b", "axb", false),
                ("[a-c]", "b", true),
                ("[a-c]", "-", false),
                ("[c-a]", "b", false),
                ("[!c-a]", "b", true),
                ("[a-]", "-", true),
                ("[-a]", "-", true),
                ("[a-c-e]", "d", false),
                ("[a-c-e]", "-", true),
                ("[--0]", ".", true),
                ("[^a]", "^", true),
                ("[^a]", "b", false),
                ("[[a]", "[", true),
                ("[&&a]", "&", true),
                ("[a~~b]", "~", true),
                (r"[\]", r"\", true),
                (r"\*", r"\x", true),
                ("[ä-ü]", "ö", true),
            ],
        );
    }

    #[test]
    fn the_empty_tag_lets_everything_pass() {
        for match_type in MatchType::ALL {
            check(match_type, &[("", "anything", true)]);
            assert_eq!(match_type.as_str().parse(), Ok(match_type));
        }
    }

    #[test]
    fn one_filter_of_several_is_enough() {
        let filters =
            ["a", "b"].map(|tag| TagFilter::new(tag, MatchType::Startswith).expect("it is valid"));
        let filter = TagFilter::any_of(filters);
        assert!(filter.passes("a1") && filter.passes("b1") && !filter.passes("c1"));
        assert!(!TagFilter::any_of([]).passes("a"));
    }

    #[test]
    fn a_bad_regular_expression_is_named() {
        let error = TagFilter::new("(", MatchType::Regex).expect_err("the group is not closed");
        assert_eq!(
            error.to_string(),
            "the tag \"(\" is not a valid pattern of the match type regex: unclosed group"
        );
    }
}
