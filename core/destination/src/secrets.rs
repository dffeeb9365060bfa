//! Keeps the secrets of an entry out of the texts of plugins and far systems.
//!
//! Such a text rarely has a secret as it is: it is quoted, escaped, percent-encoded in a URL, part of
//! a login in base64, folded to one line, or a path in its shortest form. So each secret is looked for
//! in all of these forms, which are made once, when the entry is read. They are searched for one by
//! one: an automaton for all of them at once would keep copies that nobody wipes.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use memchr::memmem;
use zeroize::Zeroizing;

use crate::secret_forms;
use evbus_report::foreign_text;

/// What a message shows instead of a secret.
const HIDDEN: &str = "(secret)";
/// Hiding a shorter secret would make every message unreadable.
const MIN_HIDDEN: usize = 3;
/// A shorter beginning of a secret, at the end of a truncated text, reveals nothing.
const MIN_BEGINNING: usize = 3;

/// The secrets of one entry, to be hidden from messages.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    count: usize,
    forms: Arc<[Zeroizing<String>]>,
}

impl Secrets {
    /// The secrets of one entry, written in it or referred to. Secrets of fewer than three bytes are left
    /// out. This computes every form of each secret, so call it once per entry.
    #[must_use]
    pub fn new(secrets: &[Zeroizing<String>]) -> Self {
        let mut secrets: Vec<&str> = (secrets.iter())
            .map(|secret| secret.as_str())
            .filter(|secret| secret.len() >= MIN_HIDDEN)
            .collect();
        secrets.sort_unstable();
        secrets.dedup();
        let mut forms = secret_forms::Forms::new();
        let mut count = 0;
        for secret in secrets {
            secret_forms::add(secret, &mut forms);
            count += 1;
        }
        forms.retain(|form| form.len() >= MIN_HIDDEN);
        forms.sort_by(|one, other| one.as_str().cmp(other));
        forms.dedup_by(|one, other| one.as_str() == other.as_str());
        Self {
            count,
            forms: forms.into(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Hides the secrets, in whatever form, in a text of a plugin or a far system.
    #[must_use]
    pub fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for form in &*self.forms {
            let matches = memmem::find_iter(text.as_bytes(), form.as_bytes());
            found.extend(matches.map(|at| at..at + form.len()));
        }
        if let Some(end) = foreign_text::cut_at(text) {
            found.extend(self.beginning_at(&text[..end]));
        }
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_by_key(|span| (span.start, span.end));
        let mut shown = String::with_capacity(text.len());
        let mut hidden = 0;
        for span in found {
            if span.start >= hidden {
                shown.push_str(&text[hidden..span.start]);
                shown.push_str(HIDDEN);
            }
            // Overlapping secrets are hidden as one.
            hidden = hidden.max(span.end);
        }
        shown.push_str(&text[hidden..]);
        shown.into()
    }

    /// The longest beginning of a secret at the end of a text.
    fn beginning_at(&self, text: &str) -> Option<Range<usize>> {
        let beginnings = self.forms.iter().filter_map(|form| {
            (MIN_BEGINNING..form.len().min(text.len() + 1))
                .rev()
                .find(|length| text.as_bytes().ends_with(&form.as_bytes()[..*length]))
        });
        let start = text.len() - beginnings.max()?;
        text.is_char_boundary(start).then_some(start..text.len())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    fn secrets(secrets: &[&str]) -> Secrets {
        let secrets: Vec<_> = secrets
            .iter()
            .map(|secret| Zeroizing::new((*secret).to_owned()))
            .collect();
        Secrets::new(&secrets)
    }

    #[test]
    fn a_secret_is_hidden_in_every_form_that_programs_write() {
        let secret = "p\"q\\r's %4\tü/ x+=\nsecond-line $(z) é";
        let hidden = secrets(&[secret]);
        let percent = |text: &str, keep: &str| -> String {
            text.bytes()
                .map(|byte| match char::from(byte) {
                    c if c.is_ascii_alphanumeric() || keep.contains(c) => c.to_string(),
                    _ => format!("%{byte:02X}"),
                })
                .collect()
        };
        let escaped_ascii: String = secret
            .encode_utf16()
            .map(|unit| match char::from_u32(unit.into()) {
                Some('"') => "\\\"".to_owned(),
                Some('\\') => "\\\\".to_owned(),
                Some('\n') => "\\n".to_owned(),
                Some('\t') => "\\t".to_owned(),
                Some(c) if c.is_ascii() => c.to_string(),
                _ => format!("\\u{unit:04x}"),
            })
            .collect();
        let mut hex = String::new();
        for byte in secret.bytes() {
            write!(hex, "{byte:02x}").expect("a text takes everything");
        }
        let every_byte = |before: &str| {
            secret.bytes().fold(String::new(), |mut text, byte| {
                write!(text, "{before}{byte:02x}").expect("a text takes everything");
                text
            })
        };
        for said in [
            secret.to_owned(),
            format!("{secret:?}"),
            format!("{:?}", format!("{secret:?}")),
            secret.escape_default().to_string(),
            secret.as_bytes().escape_ascii().to_string(),
            format!("{:?}", secret.as_bytes()),
            serde_json::to_string(secret).unwrap(),
            escaped_ascii,
            shlex::try_quote(secret).unwrap().into_owned(),
            foreign_text::line(secret, 4096).into_owned(),
            foreign_text::line(&format!("{:?}", secret.replace('\n', "\r\n")), 4096).into_owned(),
            percent(secret, "-._~"),
            percent(secret, "-._~")
                .replace("%5C", "%5c")
                .replace("%C3", "%c3")
                .replace("%BC", "%bc")
                .replace("%2F", "%2f")
                .replace("%2B", "%2b")
                .replace("%3D", "%3d")
                .replace("%0A", "%0a")
                .replace("%A9", "%a9"),
            percent(secret, "-._~!$&'()*+,"),
            percent(secret, "-._~ ").replace(' ', "+"),
            STANDARD.encode(secret),
            STANDARD.encode(format!("\0user\0{secret}")),
            STANDARD.encode(format!("\0user1\0{secret}")),
            URL_SAFE_NO_PAD.encode(format!("ab:{secret}!")),
            every_byte("%"),
            every_byte("%").to_uppercase(),
            every_byte("\\x"),
            every_byte("\\u00"),
            hex.to_uppercase(),
            hex,
            "second-line $(z) é".to_owned(),
        ] {
            let text = format!("refused {said} now");
            let shown = hidden.hide(&text);
            assert!(shown.contains(HIDDEN), "{text}");
            // At most the surroundings remain: quotes, a user, a line break.
            for part in ["second", "%4", "x+", "(z)", "7365636f6e64", "c2Vjb25k"] {
                assert!(!shown.contains(part), "{part} of {text} in {shown}");
            }
            assert!(
                shown.starts_with("refused ") && shown.ends_with(" now"),
                "{shown}"
            );
        }
        assert_eq!(hidden.hide("nothing of it"), "nothing of it");
    }

    #[test]
    fn a_path_and_a_url_are_hidden_in_part() {
        let hidden = secrets(&[
            "./data//store-7/../hunter2-file",
            "amqps://me:hunter%203@mq.example:5671/v",
        ]);
        for (said, shown) in [
            ("no file /tmp/data/hunter2-file", "no file /tmp/(secret)"),
            (
                "no directory data/store-7 there",
                "no directory (secret) there",
            ),
            ("in hunter2-file", "in (secret)"),
            ("password hunter%203", "password (secret)"),
            ("password hunter 3", "password (secret)"),
            (
                "cannot reach mq.example:5671",
                "cannot reach mq.example:5671",
            ),
        ] {
            assert_eq!(hidden.hide(said), shown);
        }
    }

    #[test]
    fn secrets_that_overlap_or_are_cut_leave_nothing() {
        let hidden = secrets(&["hunter2-one", "one-two", "secret", "ab"]);
        assert_eq!(hidden.hide("x hunter2-one-two y"), "x (secret) y");
        assert_eq!(hidden.hide("a secret, ab"), "a (secret), ab");
        assert_eq!(hidden.hide("secretsecret"), "(secret)(secret)");
        let cut = foreign_text::line(&format!("{} hunter2-one", "x".repeat(90)), 100).into_owned();
        let hidden_cut = hidden.hide(&cut);
        assert!(cut.contains("hunter2") || !cut.contains("(cut"), "{cut}");
        assert!(!hidden_cut.contains("hunter"), "{hidden_cut}");
        let long = format!("{} hunter2-one {}", "x".repeat(90), "y".repeat(200));
        let cut = foreign_text::line(&long, 99).into_owned();
        assert!(cut.contains(" hunter2- (cut"), "{cut}");
        assert!(hidden.hide(&cut).contains("x (secret) (cut: it has"));
    }
}
