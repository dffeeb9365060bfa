//! One message is one line: no name or value of an acct file can split it, reverse it, or make it endless.

use std::fs;

use crate::support::{RunningHost, evbus, run, stderr};
use evbus_testkit::plugin_dir;
use serde_json::{Value, json};

/// Ends a line and continues like a line of the host, with characters that reverse text or are invisible.
const FORGED: &str =
    "x\n2026-11-30T00:00:00.000000Z ERROR forged \u{202e}by\u{200b} \u{1b}[31msomebody";

/// The same as it must be displayed in a name.
const SHOWN: &str =
    r"x\n2026-11-30T00:00:00.000000Z ERROR forged \u{202e}by\u{200b} \u{1b}[31msomebody";

const PLUGINS: [&str; 4] = ["plugin-glob", "plugin-file", "plugin-kafka", "plugin-pika"];

/// The longest permitted line.
const LONG: usize = 8 * 1024;

/// An entry for each source of texts in messages.
fn acct() -> Value {
    let long = format!("/nonexist/{}", "y".repeat(300_000));
    json!({
        FORGED: {"x": {}},
        "file": [
            {FORGED: {"path": "/nonexist/x"}},
            {"path": {"path": format!("/nonexist/{FORGED}")}},
            {"long": {"path": long}},
        ],
        "kafka": [{"servers": {"connection": {
            "bootstrap_servers": format!("{FORGED}:1"), "message.timeout.ms": 1000,
        }}}],
        "pika": [{"host": {"connection": {"host": FORGED, "port": 1}}}],
    })
}

/// Asserts that the program itself began every line, and that no line is too long.
#[track_caller]
fn assert_one_line_each(what: &str, said: &str) {
    for line in said.lines() {
        let beginning: String = line.chars().take(400).collect();
        assert!(
            !line.starts_with("2026-11-30T00:00:00"),
            "{what}: forged: {beginning}"
        );
        assert!(
            !line.contains(|c: char| c.is_control() || "\u{202e}\u{200b}".contains(c)),
            "{what}: unclean: {beginning:?}"
        );
        assert!(
            line.len() < LONG,
            "{what}: {} bytes: {beginning}",
            line.len()
        );
    }
}

#[test]
fn whatever_an_acct_file_holds_each_message_of_a_command_is_one_line() {
    let plugins = plugin_dir(&PLUGINS);
    let dir = tempfile::tempdir().unwrap();
    let acct = acct();
    fs::write(dir.path().join("acct.yml"), acct.to_string()).unwrap();
    // A fault of the file itself: a section that is not a mapping.
    fs::write(
        dir.path().join("faulty.yml"),
        json!({FORGED: 5, "file": {FORGED: {FORGED: 5}}}).to_string(),
    )
    .unwrap();
    for (args, file) in [
        (&["check"][..], "acct.yml"),
        (&["check", "--strict"], "faulty.yml"),
        (&["check", "--connect", "--timeout", "3"], "acct.yml"),
        (&["put", "path", "{}", "--timeout", "2"], "acct.yml"),
        (&["put", FORGED, "{}", "--timeout", "2"], "acct.yml"),
        (&["route", FORGED], "acct.yml"),
    ] {
        let mut command = evbus(dir.path());
        command
            .args(args)
            .args(["--acct-file", file, "--plugin-dir"])
            .arg(plugins.path())
            .current_dir(dir.path());
        let output = run(&mut command, b"");
        let what = format!("{args:?} {file}");
        let mut said = stderr(&output);
        if args[0] == "check" {
            // `check` prints a table; the others print JSON or nothing.
            said += &String::from_utf8_lossy(&output.stdout);
        }
        assert_one_line_each(&what, &said);
        if args[0] == "check" {
            assert!(said.contains(SHOWN), "{what}: {said:.4000}");
        }
        if args.contains(&"--connect") {
            for destination in ["file[2] long", "kafka[0] servers", "pika[0] host"] {
                let told = format!("destination {destination}: ");
                assert!(said.contains(&told), "{what}: {told} {said:.4000}");
            }
        }
    }
}

#[test]
fn whatever_an_acct_file_holds_each_line_of_a_hosts_log_is_its_own() {
    let plugins = plugin_dir(&PLUGINS);
    let host = RunningHost::start(
        &acct().to_string(),
        plugins.path(),
        &["--log-level", "debug"],
    );
    host.wait_for_log("somebody of the acct file");
    for destination in [
        &format!("file[0] {SHOWN}"),
        "file[1] path",
        "file[2] long",
        "pika[0] host",
    ] {
        host.wait_for_log(&format!("destination {destination}: "));
    }
    let (_, log) = host.stop();
    assert_one_line_each("run", &log);
}

/// The YAML parser panics at such a tag. Text that only looks like it must not hide it.
#[test]
fn what_the_yaml_parser_panics_at_is_one_line_about_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let decoys = "!a,".repeat(70);
    let text = format!("# {decoys}\nfile:\n  '*': {{path: /dev/null, x: [!!str, x]}}\n");
    fs::write(dir.path().join("acct.yml"), text).unwrap();
    let output = run(
        evbus(dir.path())
            .env("RUST_BACKTRACE", "1")
            .args(["check", "--acct-file", "acct.yml"])
            .current_dir(dir.path()),
        b"",
    );
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.starts_with("error: acct.yml:3:"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
