//! What destinations receive from this project and from pop-evbus, and how that is compared.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use evbus::{Event, EventError, Host, InternalReader, Serial};
use evbus_testkit::plugin_dir;
use regex::Regex;
use serde_json::{Value as Json, json};

use crate::pop_serial::value::Value;
use crate::script::Script;

/// The forms, each with its name in pop-serial.
pub(crate) const FORMS: [Serial; 3] = [Serial::Json, Serial::Msgpack, Serial::Str];

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

pub(crate) fn beside_the_test(name: &str) -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/idem/pop_serial"
    ))
    .join(name)
}

/// What a destination receives in each form; the name of an error if there is one.
pub(crate) type Delivered = [Result<Vec<u8>, String>; 3];

/// What pop-serial delivers for each description.
pub(crate) fn theirs(dir: &Path, descriptions: &[Json]) -> Vec<Delivered> {
    let file = dir.join("values.jsonl");
    let lines: Vec<_> = descriptions.iter().map(Json::to_string).collect();
    fs::write(&file, lines.join("\n")).unwrap();
    let mut script = Script::start(&beside_the_test("dump.py"), &[file.to_str().unwrap()]);
    let delivered = descriptions
        .iter()
        .map(|_| {
            let line: Json = serde_json::from_str(&script.line()).unwrap();
            FORMS.map(|form| {
                let found = line[form.to_string()].as_str().unwrap();
                if found.ends_with("Error") {
                    Err(found.to_owned())
                } else {
                    Ok(unhex(found))
                }
            })
        })
        .collect();
    script.finish();
    delivered
}

/// A host for each form, with a destination that takes every event.
pub(crate) struct Hosts {
    pub(crate) dir: tempfile::TempDir,
    hosts: Vec<(Host, InternalReader)>,
}

impl Hosts {
    pub(crate) async fn start() -> Self {
        let plugins = tokio::task::spawn_blocking(|| plugin_dir(&["plugin-glob"]))
            .await
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let acct = dir.path().join("acct.yml");
        fs::write(&acct, "internal:\n  '*':\n").unwrap();
        let mut hosts = Vec::new();
        for form in FORMS {
            let host = Host::builder()
                .acct_file(&acct)
                .plugin_dir(plugins.path())
                .serial(form)
                .start()
                .await
                .unwrap();
            let reader = host.internal("");
            hosts.push((host, reader));
        }
        Self { dir, hosts }
    }

    /// What this project delivers for an event, which is made for each host.
    pub(crate) async fn ours(
        &mut self,
        event: impl Fn() -> Result<Event, EventError>,
    ) -> Delivered {
        let mut delivered = Vec::new();
        for (host, reader) in &mut self.hosts {
            let event = match event() {
                Ok(event) => event,
                Err(error) => {
                    delivered.push(Err(error.to_string()));
                    continue;
                }
            };
            host.bus().put_event(event).await.unwrap();
            delivered.push(Ok(reader.recv().await.body.to_vec()));
        }
        delivered.try_into().unwrap()
    }

    pub(crate) async fn ours_of(&mut self, value: &Value) -> Delivered {
        self.ours(|| Event::builder("default").unwrapped(value))
            .await
    }
}

fn shown(delivered: &Result<Vec<u8>, String>) -> String {
    match delivered {
        Ok(bytes) => format!("{:?}", bytes.escape_ascii().to_string()),
        Err(error) => format!("the error {error}"),
    }
}

/// A text or a number.
static SCALAR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#""(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"#).unwrap());

/// JSON as a value in which numbers keep all significant digits, and pairs keep their order.
fn json_of(bytes: &[u8]) -> Json {
    fn keep_order(value: Json) -> Json {
        match value {
            Json::Array(items) => items.into_iter().map(keep_order).collect(),
            // Pairs, because equal maps may have different orders.
            Json::Object(pairs) => pairs
                .into_iter()
                .map(|(key, value)| json!([key, keep_order(value)]))
                .collect::<Vec<_>>()
                .into(),
            scalar => scalar,
        }
    }
    // The reader parses integers of more than 64 bits as floating point numbers.
    let text = SCALAR.replace_all(
        std::str::from_utf8(bytes).unwrap(),
        |found: &regex::Captures<'_>| {
            let number = &found[0];
            if number.starts_with('"') || number.contains(['.', 'e', 'E']) || number.len() < 19 {
                number.to_owned()
            } else {
                format!("{{\"integer\":\"{number}\"}}")
            }
        },
    );
    keep_order(serde_json::from_str(&text).unwrap())
}

/// Compares one form of a value: JSON as values, all else byte for byte.
#[track_caller]
pub(crate) fn assert_same(
    form: usize,
    ours: &Delivered,
    theirs: &Delivered,
    about: &dyn std::fmt::Debug,
) {
    let same = match (FORMS[form], &ours[form], &theirs[form]) {
        (Serial::Json, Ok(ours), Ok(theirs)) => json_of(ours) == json_of(theirs),
        (_, ours, theirs) => ours == theirs,
    };
    assert!(
        same,
        "{about:?} as {}: found {}, pop-serial has {}",
        FORMS[form],
        shown(&ours[form]),
        shown(&theirs[form])
    );
}
