//! No value of an acct file or of a reference is ever written anywhere, whatever its place and type.
//!
//! What may be shown, and why:
//!
//! * names of keys, providers, patterns and match plugins, and what a reference names (a variable, a
//!   file, a program, without its arguments): a fault that does not say where it is helps nobody;
//! * a text of the right type at one of the keys of [`locations::NAMES`]: what a message must name;
//! * names that an expression of a template uses: they are part of the template, not a value;
//! * in the environment of processes that the host starts, what is in its own: it is not of the file.
mod broken;
mod broker;
mod canary;
mod locations;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{RunningHost, evbus, run, stderr, wait_for};
use canary::{Written, canary, path};
use evbus_testkit::plugin_dir;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const PLUGINS: [&str; 5] = [
    "plugin-glob",
    "plugin-kafka",
    "plugin-pika",
    "plugin-file",
    "fixture-good",
];

fn plugins() -> TempDir {
    plugin_dir(&PLUGINS)
}

/// Creates what the references in a directory refer to.
fn secrets_in(dir: &Path) {
    fs::write(dir.join("canary"), canary("file") + "\n").unwrap();
    fs::write(dir.join("path"), path("file")).unwrap();
    for (name, text) in [
        ("give", format!("cat <<'END'\n{}\nEND", canary("exec"))),
        (
            "fails",
            format!("echo {0}; echo {0} >&2; exit 3", canary::WORD),
        ),
    ] {
        fs::write(dir.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

fn command(dir: &Path, plugins: &Path, args: &[&str]) -> Output {
    let mut command = evbus(dir);
    command
        .args(args)
        .current_dir(dir)
        .env("EVBUS_PLUGIN_PATH", plugins)
        .env("EVBUS_CANARY", canary("env"))
        .env("EVBUS_CANARY_PATH", path("env"));
    run(&mut command, b"")
}

/// Every position in every provider's configuration, with every canary.
fn every_place(dir: &Path, plugins: &Path, written: &mut Written) -> String {
    let mut acct = Map::new();
    for entry in fs::read_dir(plugins).unwrap() {
        let file = entry.unwrap().path();
        let inspected = command(
            dir,
            plugins,
            &["plugins", "inspect", "--json", file.to_str().unwrap()],
        );
        written.add_output("plugins inspect", &inspected);
        let found: Value = serde_json::from_slice(&inspected.stdout).unwrap();
        if let Some(provider) = found["providers"][0].as_str() {
            let entries = locations::entries(provider, &found["config_schema"]);
            acct.insert(provider.to_owned(), entries.into());
        }
    }
    assert_eq!(
        acct.len(),
        PLUGINS.len() - 1,
        "all but the match plugin serve"
    );
    Value::from(acct).to_string()
}

fn assert_no_leak(written: &Written) {
    let leaks = written.leaks();
    let shown = leaks.iter().take(20).cloned().collect::<Vec<_>>();
    assert!(
        leaks.is_empty(),
        "{} leaks:\n{}",
        leaks.len(),
        shown.join("\n\n")
    );
}

#[test]
fn a_value_of_any_type_at_any_place_is_never_shown() {
    let plugins = plugins();
    let dir = tempfile::tempdir().unwrap();
    let mut written = Written::default();
    secrets_in(dir.path());
    let acct = every_place(dir.path(), plugins.path(), &mut written);
    fs::write(dir.path().join("acct.yml"), &acct).unwrap();
    let mut call = |args: &[&str], code: i32| {
        let output = command(dir.path(), plugins.path(), args);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            stderr(&output)
        );
        written.add_output(&args.join(" "), &output);
        output
    };
    let plain = ["--acct-file", "acct.yml"];
    let encrypted = ["--acct-file", "acct.fernet", "--acct-key-file", "key"];
    call(
        &[
            "acct",
            "encrypt",
            "acct.yml",
            "--new-key-file",
            "key",
            "--output-file",
            "acct.fernet",
        ],
        0,
    );
    // Everything that reads a file; the steps after that are the same for an encrypted one.
    call(&[&["check", "--json", "--strict"], &plain[..]].concat(), 78);
    call(&[&["put", "any", "{}"], &plain[..]].concat(), 78);
    call(&[&["route", "any"], &plain[..]].concat(), 78);
    for file in [&plain[..], &encrypted] {
        let checked = call(&[&["check", "--log-level", "trace"], file].concat(), 78);
        let said = stderr(&checked) + &String::from_utf8_lossy(&checked.stdout);
        for (provider, location) in [
            (
                "kafka",
                "connection-text: found text, expected a mapping with the keys",
            ),
            ("kafka", "connection.acks-text"),
            ("kafka", "connection.sasl.jaas.config-text"),
            (
                "kafka",
                "ssl-text: found text, expected a mapping with the keys",
            ),
            (
                "pika",
                "connection-url: found text, expected a mapping with the keys",
            ),
            ("pika", "connection.port-text"),
            ("file", "rotate.keep-nested"),
            ("fixture-good", "delay_ms-env"),
        ] {
            let location = location.split(": ").map(str::to_owned).collect::<Vec<_>>();
            let found = said.lines().any(|line| {
                line.contains(&format!("{provider}.{}", location[0]))
                    && location.iter().all(|part| line.contains(part.as_str()))
            });
            assert!(found, "{provider} {location:?} is not in\n{said}");
        }
        let run = [
            "run",
            "--no-state-dir",
            "--sock-dir",
            "s",
            "--log-level",
            "trace",
        ];
        call(&[&run, file].concat(), 78);
    }
    assert!(written.bytes() > 100_000, "{}", written.bytes());
    assert_no_leak(&written);
}

#[test]
fn a_file_that_cannot_be_read_is_not_repeated() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    secrets_in(dir.path());
    let mut wrong = Vec::new();
    for (text, sentence) in broken::BROKEN {
        fs::write(dir.path().join("acct.yml"), text).unwrap();
        let mut written = Written::default();
        let checked = command(
            dir.path(),
            plugins.path(),
            &["check", "--acct-file", "acct.yml", "--log-level", "trace"],
        );
        written.add_output(text, &checked);
        if checked.status.success() || !written.says(sentence) || !written.leaks().is_empty() {
            wrong.push(format!(
                "{text}\nexpected {sentence}\n{}{}",
                stderr(&checked),
                String::from_utf8_lossy(&checked.stdout)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Destinations that fail in every way that could reveal a secret, and one that receives the reports.
fn failing(port: u16) -> Value {
    let policy = json!({"retry": {"max_age": 1, "first_delay": 0.05, "max_delay": 0.2}});
    let apart = json!({"retry": {"max_age": 1, "max_delay": 0.2, "first_delay": 0.05}, "isolate": "process"});
    let local =
        |login: Value| json!({"host": "127.0.0.1", "port": port, "login": "me", "password": login});
    let url = format!("amqp://me:{}-%22url%2F%41@127.0.0.1:{port}/", canary::WORD);
    let login = format!("u:{}-login@127.0.0.1", canary::WORD);
    let kafka = json!({
        "bootstrap_servers": "127.0.0.1:1", "security_protocol": "SASL_PLAINTEXT",
        "sasl_plain_username": {"$file": "canary"}, "sasl_plain_password": canary("text"),
        "debug": "all", "message.timeout.ms": 1000,
    });
    json!({
        "file": [
            {"*": {"path": "{dir}/heard.jsonl"}},
            {"fails-a": {"path": {"$env": "EVBUS_CANARY_PATH"}, "evbus": policy}},
            {"fails-b": {"path": {"$file": "path"}, "evbus": apart}},
        ],
        "fixture-good": [
            {"fails-c": {"path": {"$file": "path"}, "evbus": policy}},
            {"fails-d": {"path": {"$env": "EVBUS_CANARY_PATH"}, "evbus": apart}},
        ],
        "pika": [
            {"fails-e": {"connection": local(json!({"$exec": ["./give"]})), "evbus": policy}},
            {"fails-f": {"connection": local(json!(canary("text"))), "evbus": apart}},
            {"fails-g": {"connection": {"url": url}, "evbus": policy}},
            {"fails-h": {"connection": local(json!({"$env": "EVBUS_CANARY"})), "evbus": policy}},
            {"fails-j": {"connection": {"host": login, "port": port}, "evbus": policy}},
        ],
        "kafka": [
            {"fails-i": {"connection": kafka, "evbus": policy}},
            {"fails-k": {
                "connection": {
                    "bootstrap_servers": format!("127.0.0.1:1,{login}:1"), "message.timeout.ms": 1000,
                },
                "evbus": apart,
            }},
        ],
    })
}

/// What `/proc` shows of a process and its descendants.
fn processes(pid: u32, written: &mut Written) {
    let proc = format!("/proc/{pid}");
    let read = |name: &str| fs::read(format!("{proc}/{name}")).unwrap_or_default();
    written.add(format!("{proc}/cmdline"), read("cmdline"));
    // The canaries are in variables of the host itself.
    let environ = read("environ");
    for variable in environ.split(|byte| *byte == 0) {
        if !variable.starts_with(b"EVBUS_CANARY") {
            written.add(format!("{proc}/environ"), variable);
        }
    }
    for task in fs::read_dir(format!("{proc}/task")).into_iter().flatten() {
        let children = task.unwrap().path().join("children");
        for child in fs::read_to_string(children)
            .unwrap_or_default()
            .split_whitespace()
        {
            processes(child.parse().unwrap(), written);
        }
    }
}

#[test]
fn a_running_host_tells_nobody() {
    let plugins = plugins();
    let dir = tempfile::tempdir().unwrap();
    secrets_in(dir.path());
    let mut written = Written::default();
    let bad = every_place(dir.path(), plugins.path(), &mut written);
    let mut launcher = Command::new("env");
    launcher
        .env("EVBUS_CANARY", canary("env"))
        .env("EVBUS_CANARY_PATH", path("env"))
        .current_dir(dir.path());
    let state = dir.path().join("state");
    let host = RunningHost::start_through(
        launcher,
        dir,
        &failing(broker::start()).to_string(),
        plugins.path(),
        &[
            "--log-plugin",
            "event",
            "--log-level",
            "trace",
            "--state-dir",
            state.to_str().unwrap(),
        ],
    );
    let mut fired = String::new();
    for name in 'a'..='k' {
        writeln!(fired, "{{\"profile\": \"fails-{name}\", \"body\": {{}}}}").unwrap();
    }
    host.put_events(&fired);
    let sockets = host.sock_dir();
    let mut call = |args: &[&str]| {
        let output = command(host.dir.path(), plugins.path(), args);
        written.add_output(&args.join(" "), &output);
        output
    };
    wait_for("every event to be a dead letter", || {
        let listed = call(&["deadletters", "list", "--json", "--sock-dir", &sockets]);
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        ('a'..='k')
            .all(|name| listed.contains(&format!("fails-{name}")))
            .then_some(())
    });
    call(&["deadletters", "list", "--sock-dir", &sockets]);
    call(&["status", "--sock-dir", &sockets]);
    let status = call(&["status", "--json", "--sock-dir", &sockets]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("(secret)"));
    let checked = call(&[
        "check",
        "--connect",
        "--acct-file",
        "acct.yml",
        "--timeout",
        "3",
    ]);
    assert_eq!(checked.status.code(), Some(1));
    call(&[
        "put",
        "fails-e",
        "{}",
        "--acct-file",
        "acct.yml",
        "--timeout",
        "2",
    ]);
    fs::write(host.path("acct.yml"), bad).unwrap();
    let reloaded = call(&["reload", "--sock-dir", &sockets]);
    assert!(!reloaded.status.success(), "{}", stderr(&reloaded));
    call(&["reload", "--json", "--sock-dir", &sockets]);
    // There are more faults than the 64 KiB after which a message is truncated.
    host.wait_for_log("the acct file is invalid; keeping the previous configuration");
    processes(host.pid(), &mut written);
    let (_, log, dir) = host.stop_and_keep();
    written.add("the host's log", log);
    // Without the files that contain the canaries.
    written.add_files("state directory", &state);
    let heard = fs::read(dir.path().join("heard.jsonl")).unwrap();
    written.add("events", heard);
    assert_no_leak(&written);
    for told in [
        "fails-a",
        "(secret)",
        "closed the connection",
        "idem-logger",
        "cannot open",
        "cannot connect",
    ] {
        assert!(written.says(told), "nothing says {told}");
    }
}
