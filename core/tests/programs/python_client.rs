//! The Python event library `clients/python` against a real host: firing, listening, and hosts that are
//! not there, are replaced, or do not read; and against real Salt masters.
//!
//! What Python does stands in `python_client/*.py`, each for both clients: `sync` is `Client`, `async` is
//! `AsyncClient`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::script::Script;
use crate::support::{RunningHost, lines_of, stderr, wait_for};
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const ACCT: &str = "file: {'*': {path: '{dir}/out.jsonl'}}";
const CLIENTS: [&str; 2] = ["sync", "async"];

/// A host, and the directory of its plugins.
fn start(more: &[&str]) -> (RunningHost, tempfile::TempDir) {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let host = RunningHost::start(ACCT, plugins.path(), more);
    (host, plugins)
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/programs/python_client"
    ))
    .join(name)
}

/// Waits until that many events have arrived in the file, and returns its lines.
fn arrived(host: &RunningHost, count: usize) -> Vec<Value> {
    let path = host.path("out.jsonl");
    wait_for(&format!("{count} events"), || {
        (lines_of(&path).len() >= count).then_some(())
    });
    let lines = lines_of(&path);
    assert_eq!(lines.len(), count, "{lines:?}");
    lines
}

#[test]
fn a_socket_directory_is_reached_however_long_its_path_is() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("d".repeat(150));
    fs::create_dir(&deep).unwrap();
    let dir = tempfile::TempDir::new_in(&deep).unwrap();
    let host = RunningHost::start_in(dir, ACCT, plugins.path(), &[]);
    for client in CLIENTS {
        Script::start(&script("long_path.py"), &[client, &host.sock_dir()]).finish();
    }
    arrived(&host, 2);
}

#[test]
fn what_is_fired_arrives_as_its_exact_text() {
    for client in CLIENTS {
        let (host, _plugins) = start(&[]);
        Script::start(&script("fire.py"), &[client, &host.sock_dir()]).finish();
        let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
        let expected: Vec<(&str, &str)> = vec![
            (
                "default",
                r#"{"tags":{},"message":{"b":[1,2.5,null,true],"a":"für"},"run_name":""}"#,
            ),
            (
                "idem-run",
                r#"{"tags":{"type":"x","n":1},"message":"text","run_name":"nightly"}"#,
            ),
            ("raw", r#"{"set":["a","b"],"tuple":[1,2]}"#),
            ("raw", "[1]"),
            ("raw", r#"{"_stamp":"mine"}"#),
            ("big", "123456789012345678901234567890"),
            ("deep", &deep),
            ("text", r#"{ "price" : 1.10 }"#),
            ("text", r#""second""#),
            ("half", r#""\udc80""#),
            ("now", r#"{"tags":{},"message":0,"run_name":""}"#),
            ("now", r#"{"tags":{},"message":1,"run_name":""}"#),
            ("now", r#"{"tags":{"k":"v"},"message":2,"run_name":"r"}"#),
            (
                "after",
                r#"{"tags":{},"message":"follows what did not wait","run_name":""}"#,
            ),
        ];
        let path = host.path("out.jsonl");
        // Half a surrogate pair is text for Python, but invalid JSON for this test's parser.
        let text = wait_for("all events", || {
            let text = fs::read_to_string(&path).ok()?;
            (text.matches('\n').count() > expected.len()).then_some(text)
        });
        let mut lines = text.lines();
        for (profile, body) in expected {
            let line = lines.next().unwrap();
            assert!(
                line.contains(&format!(r#""profile":"{profile}""#))
                    && line.ends_with(&format!(r#","body":{body}}}"#)),
                "{client}: {line} is not {profile} {body}"
            );
        }
        let salt: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(salt["profile"], "salt/job");
        assert_eq!(salt["body"]["x"], 1);
        assert_eq!(salt["body"]["at"], "20240229T12:34:56.789012");
        assert!(salt["body"]["_stamp"].is_string());
        let (code, log) = host.stop();
        assert!(code.success() && !log.contains("WARN"), "{log}");
    }
}

#[test]
fn what_cannot_be_an_event_is_an_error_at_the_call() {
    Script::start(&script("faults.py"), &[]).finish();
}

#[test]
fn without_a_host_every_call_says_so_and_none_hangs() {
    let dir = tempfile::tempdir().unwrap();
    for client in CLIENTS {
        Script::start(
            &script("no_host.py"),
            &[client, dir.path().to_str().unwrap()],
        )
        .finish();
    }
}

#[test]
fn listeners_get_what_they_want_in_either_framing() {
    let prefixed = tempfile::tempdir().unwrap();
    let prefixed = prefixed.path().join("p");
    let (host, _plugins) = start(&["--prefixed-sock-dir", prefixed.to_str().unwrap()]);
    for client in CLIENTS {
        for listens_in in [host.sock_dir().as_str(), prefixed.to_str().unwrap()] {
            Script::start(
                &script("listen.py"),
                &[client, listens_in, &host.sock_dir()],
            )
            .finish();
        }
    }
}

#[test]
fn a_restarted_host_is_a_gap_to_those_who_iterate_and_firing_goes_on() {
    for client in CLIENTS {
        let (host, plugins) = start(&[]);
        let mut listener = Script::start(&script("restart.py"), &[client, &host.sock_dir()]);
        assert_eq!(listener.line(), "connected");
        host.put("first", "1");
        assert_eq!(listener.line(), "event first 1");
        let (code, _, dir) = host.stop_and_keep();
        assert!(code.success());
        let host = RunningHost::start_in(dir, ACCT, plugins.path(), &[]);
        assert_eq!(listener.line(), "gap the host closed the connection");
        host.put("second", "2");
        assert_eq!(listener.line(), "event second 2");
        // It fires with and without waiting, as before the restart.
        assert_eq!(listener.line(), "fired");
        listener.finish();
        let profiles: Vec<_> = arrived(&host, 8)
            .iter()
            .map(|line| line["profile"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(profiles[..4], ["put", "nowait", "salt", "first"]);
        // Listeners may get an event before its destinations do: only the order of each program is kept.
        let (second, fired): (Vec<_>, Vec<_>) =
            (profiles[4..].iter()).partition(|profile| *profile == "second");
        assert_eq!(second.len(), 1);
        assert_eq!(fired, ["put", "nowait", "salt"]);
    }
}

#[test]
fn a_full_socket_refuses_whole_events_and_loses_none_that_it_took() {
    for client in CLIENTS {
        let (host, _plugins) = start(&[]);
        let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        let mut firing = Script::start(&script("no_room.py"), &[client, &host.sock_dir()]);
        let fired: usize = firing.line().parse().unwrap();
        assert!(fired > 2, "{fired}");
        kill_process(pid, Signal::CONT).unwrap();
        firing.go();
        firing.finish();
        let path = host.path("out.jsonl");
        let waited = |profile: &str| -> Vec<Value> {
            let lines = lines_of(&path);
            let of_profile = lines.iter().filter(|line| line["profile"] == profile);
            of_profile.map(|line| line["body"].clone()).collect()
        };
        wait_for("what was fired", || {
            (waited("big").len() == 1).then_some(())
        });
        let numbers: Vec<Value> = waited("now").iter().map(|body| body[0].clone()).collect();
        assert_eq!(numbers, (0..fired).map(Value::from).collect::<Vec<_>>());
        assert_eq!(waited("big")[0].as_str().unwrap().len(), 2_000_000);
    }
}

#[test]
fn threads_and_forked_processes_share_a_client() {
    let (host, _plugins) = start(&[]);
    Script::start(&script("threads.py"), &[&host.sock_dir()]).finish();
    let lines = arrived(&host, 4 * 50 + 2 * 10);
    let ids: BTreeSet<&str> = lines.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), lines.len(), "each id once");
}

#[test]
fn a_real_salt_master_is_fired_at_and_listened_to() {
    // What each release fires: see docs/EVENT_SOCKETS.md.
    for (release, framing) in [
        ("3006.30", "prefixed"),
        ("3007.13", "bare"),
        ("3008.5", "prefixed"),
    ] {
        let python = xtask::salt::python(release).expect("Salt can be installed");
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().to_str().unwrap();
        let mut master = Script::start_with(&python, &script("salt_master.py"), &[dir]);
        assert_eq!(master.line(), "ready");
        for client in CLIENTS {
            Script::start(&script("with_master.py"), &[client, dir, framing]).finish();
        }
    }
}

#[test]
fn the_packages_are_typed_without_gaps() {
    let cache = tempfile::tempdir().unwrap();
    for (package, sources) in [("python", "src"), ("idem", "src/evbus_idem/bridge.py")] {
        let output = crate::script::command(crate::script::python())
            .current_dir(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("../clients")
                    .join(package),
            )
            .args(["-m", "mypy", "--cache-dir"])
            .arg(cache.path())
            .arg(sources)
            .output()
            .expect("Python can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", stderr(&output));
    }
}
