//! The identity of a plugin, read before any of its code runs.

use evbus_abi::{MANIFEST_ABI, MANIFEST_FORMAT};
use serde::Deserialize;

use evbus_report::foreign_text;

/// A longer id or name is refused.
const MAX_NAME_BYTES: usize = 128;

/// A longer version is refused.
const MAX_VERSION_BYTES: usize = 64;

/// More names are refused.
const MAX_NAMES: usize = 256;

/// The manifest of a plugin file, checked: see `evbus_abi::Manifest`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Manifest {
    /// The format of the rest.
    #[serde(rename = "manifest")]
    format: u32,
    abi: String,
    pub id: String,
    pub version: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub providers: Vec<String>,
    #[serde(default)]
    pub matchers: Vec<String>,
}

impl Manifest {
    /// Reads a manifest; NULs may follow it.
    ///
    /// # Errors
    ///
    /// One sentence on what was found and what was expected.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let end = bytes.iter().rposition(|byte| *byte != 0);
        let json = &bytes[..end.map_or(0, |end| end + 1)];
        // Checked before the fields, which another format may define differently.
        let Format { manifest } = serde_json::from_slice(json).map_err(|error| unusable(&error))?;
        if manifest != MANIFEST_FORMAT {
            return Err(format!(
                "its manifest has format {manifest}, but this host supports {MANIFEST_FORMAT}; \
                 rebuild it with this host's evbus-sdk or use a newer host"
            ));
        }
        let found: Self = serde_json::from_slice(json).map_err(|error| unusable(&error))?;
        found.check()?;
        Ok(Self {
            description: foreign_text::line(&found.description, foreign_text::MAX_BYTES)
                .into_owned(),
            ..found
        })
    }

    fn check(&self) -> Result<(), String> {
        let major = |version: &str| version.split('.').next().map(str::to_owned);
        if major(&self.abi) != major(MANIFEST_ABI) {
            return Err(format!(
                "it was built for plugin ABI {}, but this host supports {MANIFEST_ABI}; rebuild it \
                 with this host's evbus-sdk or use a newer host",
                foreign_text::line(&self.abi, MAX_VERSION_BYTES)
            ));
        }
        check_name("id", &self.id, MAX_NAME_BYTES)?;
        check_name("version", &self.version, MAX_VERSION_BYTES)?;
        for (what, names) in [("providers", &self.providers), ("matchers", &self.matchers)] {
            if names.len() > MAX_NAMES {
                return Err(format!(
                    "its manifest lists {} {what}; expected at most {MAX_NAMES}",
                    names.len()
                ));
            }
            for name in names {
                check_name(what, name, MAX_NAME_BYTES)?;
            }
        }
        Ok(())
    }
}

/// The one field that every format has.
#[derive(Deserialize)]
struct Format {
    manifest: u32,
}

fn check_name(what: &str, name: &str, max: usize) -> Result<(), String> {
    let fault = if name.is_empty() {
        "an empty string".to_owned()
    } else if name.len() > max {
        format!("{} bytes", name.len())
    } else if name.contains(foreign_text::is_unclean) {
        "a control character".to_owned()
    } else {
        return Ok(());
    };
    Err(format!(
        "its manifest has {fault} under {what}; expected 1 to {max} bytes without control characters"
    ))
}

fn unusable(error: &serde_json::Error) -> String {
    let error = error.to_string();
    format!(
        "its manifest cannot be read ({}); rebuild it with this host's evbus-sdk",
        foreign_text::line(&error, 256)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Result<Manifest, String> {
        Manifest::parse(json.as_bytes())
    }

    #[test]
    fn a_manifest_written_by_hand_is_read_and_what_is_unknown_in_it_ignored() {
        let found = parsed(
            "{\"manifest\": 1, \"abi\": \"1.7\", \"id\": \"k\", \"version\": \"2\", \"sources\": [\"s\"],\n \
             \"description\": \"two\\nlines\", \"providers\": [\"a\", \"b\"], \"more\": {\"x\": []}}\0\0\0",
        )
        .expect("it is a manifest");
        assert_eq!((&*found.id, &*found.version), ("k", "2"));
        assert_eq!(found.description, "two lines");
        assert_eq!(found.providers, ["a", "b"]);
        assert!(found.matchers.is_empty());
    }

    #[test]
    fn what_is_no_manifest_is_refused_in_one_short_line() {
        let with = |field: &str| {
            format!("{{\"manifest\":1,\"abi\":\"1.0\",\"id\":\"k\",\"version\":\"1\",{field}}}")
        };
        let long = "x".repeat(60_000);
        for (json, expected) in [
            (String::new(), "cannot be read"),
            ("\0\0".to_owned(), "cannot be read"),
            ("[1]".to_owned(), "cannot be read"),
            ("{\"manifest\":1}".to_owned(), "missing field `abi`"),
            ("{\"manifest\":2,\"id\":[]}".to_owned(), "has format 2"),
            (with("\"x\":1").replace("1.0", "2.0"), "plugin ABI 2.0"),
            (with("\"x\":1").replace("1.0", &long), "(cut: it has"),
            (
                with("\"x\":1").replace("\"k\"", "\"\""),
                "an empty string under id",
            ),
            (
                with("\"x\":1").replace("\"k\"", "\"a\\u001b[31m\""),
                "a control character under id",
            ),
            (
                with("\"x\":1").replace("\"k\"", &format!("{long:?}")),
                "60000 bytes under id",
            ),
            (
                with("\"providers\":[\"\"]"),
                "an empty string under providers",
            ),
            (
                with("\"matchers\":[\"a\\n\"]"),
                "a control character under matchers",
            ),
            (with("\"matchers\":7"), "cannot be read"),
            (
                with(&format!("\"providers\":{:?}", vec!["x"; 300])),
                "300 providers; expected at most 256",
            ),
            (format!("{}1", with("\"x\":1")), "trailing characters"),
            (
                format!("{{\"manifest\":1,\"x\":{}}}", "[".repeat(50_000)),
                "cannot be read",
            ),
        ] {
            let reason = parsed(&json).expect_err(&json);
            assert!(reason.contains(expected), "{reason}");
            assert!(reason.len() < 400, "{reason}");
            assert!(!reason.contains(foreign_text::is_unclean), "{reason}");
        }
        let reason = Manifest::parse(b"{\"manifest\":1,\"id\":\"\xff\"}").expect_err("not UTF-8");
        assert!(reason.contains("cannot be read"), "{reason}");
    }
}
