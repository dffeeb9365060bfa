//! The examples of Idem's documentation of events (its page "Events"), taken literally: what stands
//! there works here unchanged. The examples of message formats are tested in `idem/events.rs`,
//! the one of a template in `render.rs` too.
//!
//! The page shows its files without indentation; that alone was put back.
mod event_profiles;
mod firing;
#[allow(dead_code)]
#[path = "../idem/events/formats.rs"]
mod formats;
mod my_provider;
mod network;

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::{evbus, json_lines, run, stderr};
use serde_json::{Value, json};

/// An `evbus` command that reads an acct file with this text.
fn with_acct(command: &[&str], acct: &str, plugins: &Path, more: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acct.yml");
    fs::write(&file, acct).unwrap();
    let mut evbus = evbus(dir.path());
    evbus.args(command).arg("--acct-file").arg(file);
    run(evbus.arg("--plugin-dir").arg(plugins).args(more), b"")
}

/// The destinations that `evbus route` reports for a profile: providers and their entries.
fn routes(acct: &str, plugins: &Path, profile: &str) -> Value {
    let output = with_acct(&["route"], acct, plugins, &[profile]);
    assert!(output.status.success(), "{}", stderr(&output));
    let answer = json_lines(&output).remove(0);
    assert_eq!(answer["profile"], profile);
    let destinations = answer["destinations"].as_array().unwrap();
    let place = |it: &Value| json!([it["provider"], it["index"]]);
    destinations.iter().map(place).collect()
}
