//! The host's reader of YAML compared with Idem's, which is libyaml with rend's changes to `PyYAML`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use evbus::acct::{AcctSource, RenderPipe};
use serde_json::{Value, json};

use crate::json_server::JsonServer;
use crate::python::documents::Documents;

/// How many documents are compared; this variable asks for more.
const DOCUMENTS: u64 = 1000;
const MORE: &str = "EVBUS_YAML_DOCUMENTS";
/// How many are sent at a time.
const BATCH: usize = 500;

/// Whole files, which are changed slightly to make documents.
fn files() -> Vec<String> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("acct/fixtures");
    let mut files = Vec::new();
    for directory in ["acct", "acct_yaml"] {
        for entry in fs::read_dir(fixtures.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yml") {
                files.push(path);
            }
        }
    }
    // The same order on every machine.
    files.sort();
    let read = |path| fs::read_to_string(path).unwrap();
    files.into_iter().map(read).collect()
}

/// Whether a difference is one that `docs/ACCT_FILE.md` describes.
fn is_known(text: &str, ours: &Result<String, String>, theirs: &Value) -> bool {
    let refused = theirs["refused"].as_str();
    match (ours, refused) {
        // The host is more lenient: anchors defined twice, `=` and `<<` as values, merged keys.
        (Ok(_), Some(refused)) => {
            refused.contains("found duplicate anchor")
                || refused.contains("for the tag 'tag:yaml.org,2002:value'")
                || refused.contains("for the tag 'tag:yaml.org,2002:merge'")
                || refused.contains("found conflicting ID") && refused.contains("MERGE")
        }
        // The host is stricter: values that contain themselves, different keys with the same text.
        (Err(refused), None) => {
            refused.contains("found an alias inside the value that it refers to")
                && theirs["itself"] == true
                || refused.contains("which is an unknown tag") && text.contains("!!python/unicode")
                || refused.contains("found unreadable text after this place") && text.contains(',')
                || refused.contains("duplicate key, first on line") && theirs["mixed"] == true
        }
        _ => false,
    }
}

/// The common result of a text, or both results if they differ.
fn difference(text: &str, ours: &Result<String, String>, theirs: &Value) -> Option<String> {
    let agree = match (ours, theirs["refused"].as_str()) {
        (Ok(_), None) => theirs["same"] == true,
        (Err(_), Some(_)) => true,
        _ => is_known(text, ours, theirs),
    };
    (!agree).then(|| format!("{text:?}\n  ours: {ours:?}\n  theirs: {theirs}\n"))
}

#[test]
fn documents_of_every_sort_are_read_as_idem_reads_them_and_written_so_that_it_reads_them_back() {
    let count = std::env::var(MORE).map_or(DOCUMENTS, |count| count.parse().unwrap());
    let files = files();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.yml");
    let mut idem = JsonServer::start("acct/python/yaml_reader.py");
    let mut report = String::new();
    let (mut different, mut read) = (0, 0);
    let seeds: Vec<u64> = (0..count).collect();
    for seeds in seeds.chunks(BATCH) {
        let mut texts = Vec::new();
        for seed in seeds {
            let text = Documents::new(*seed, files.clone()).next();
            fs::write(&file, &text).unwrap();
            let source = AcctSource::new(&file).render_pipe(RenderPipe::yaml());
            let ours = match source.document() {
                Ok(document) => Ok(document.to_yaml().to_string()),
                Err(errors) => Err(errors[0].to_string()),
            };
            texts.push((text, ours));
        }
        let order: Vec<Value> = texts
            .iter()
            .map(|(text, ours)| json!([text, ours.as_ref().ok()]))
            .collect();
        let theirs = idem.ask(&Value::Array(order));
        for ((text, ours), theirs) in texts.iter().zip(theirs.as_array().unwrap()) {
            read += usize::from(ours.is_ok());
            if let Some(difference) = difference(text, ours, theirs) {
                different += 1;
                if different <= 20 {
                    // Writing to a String cannot fail.
                    let _ = writeln!(report, "{difference}");
                }
            }
        }
    }
    assert!(different == 0, "{different} of {count}:\n{report}");
    // The comparison is useless if almost everything is refused, or accepted.
    let count = usize::try_from(count).unwrap();
    assert!(
        read > count / 4 && read < count * 3 / 4,
        "{read} of {count} were read"
    );
}
