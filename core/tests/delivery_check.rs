//! Delivery checked from outside by an independent program, `delivery_check/check.py`: 8 processes
//! fire numbered events, by `evbus put` and by frames written from the documentation, at
//! destinations of every policy, through kills, ends and reloads of the host. What each was told is
//! then compared with what arrived.
//!
//! `cargo xtask check-delivery` runs it for as many seeds as it is asked to; among the other tests it
//! is short.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;

use evbus_testkit::plugin_dir;

/// If the environment sets nothing: one short run.
const DEFAULTS: [(&str, &str, &str); 3] = [
    ("EVBUS_CHECK_SEEDS", "--seeds", "1"),
    ("EVBUS_CHECK_SEED", "--seed", "1"),
    ("EVBUS_CHECK_EVENTS", "--events", "4000"),
];

#[test]
fn what_programs_are_told_is_what_arrives() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let mut check = Command::new("python3");
    check
        .args(["-B", "-s", "-W", "error"])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/delivery_check/check.py"
        ))
        .arg("--evbus")
        .arg(support::program())
        .arg("--plugin-dir")
        .arg(plugins.path());
    for (variable, flag, default) in DEFAULTS {
        let value = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
        check.args([flag, &value]);
    }
    let status = check.status().expect("python3 can be started");
    assert!(status.success(), "the check found contradictions: {status}");
}
