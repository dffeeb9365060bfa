//! Querying a running host: `evbus status`, and the control socket with misbehaving clients.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Output, Stdio};

use crate::support::{RunningHost, evbus, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const ACCT: &str = "
fixture-good:
  - idem-*:
      path: '{dir}/out.jsonl'
      reject_containing: poison
  - '*':
      path: '{dir}/absent/out.jsonl'
";

fn start() -> (RunningHost, TempDir) {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let host = RunningHost::start(ACCT, plugins.path(), &["--run-name", "nightly"]);
    (host, plugins)
}

fn status(host: &RunningHost, more: &[&str]) -> Output {
    run(
        evbus(host.dir.path())
            .args(["status", "--sock-dir"])
            .arg(host.path("s"))
            .args(more),
        b"",
    )
}

fn status_json(host: &RunningHost) -> Value {
    let output = status(host, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn connect(host: &RunningHost) -> UnixStream {
    UnixStream::connect(host.path("s/evbus_control.ipc")).unwrap()
}

#[test]
fn status_says_how_host_and_destinations_are() {
    let (host, _plugins) = start();
    for body in ["1", "\"poison\"", "2"] {
        host.put("idem-run", body);
    }
    let status_now = wait_for("the events to be settled", || {
        let status = status_json(&host);
        let lane = &status["destinations"][0];
        // A destination does not get the error event of an event that it refused.
        (lane["accepted"] == 2 && lane["dead_lettered"] == 1).then_some(status)
    });
    let about = &status_now["host"];
    assert_eq!(about["pid"], host.pid());
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["run_name"], "nightly");
    assert!(about["uptime_s"].as_f64().unwrap() > 0.0);
    assert_eq!(about["plugins"]["generation"], 1);
    assert_eq!(about["plugins"]["loaded"], 2);
    assert_eq!(about["intake"]["events"], 3);
    assert_eq!(about["listeners"]["listeners"], 0);
    for lane in status_now["destinations"].as_array().unwrap() {
        let number = |key: &str| lane[key].as_u64().unwrap();
        assert_eq!(
            number("accepted")
                + number("dead_lettered")
                + number("dropped")
                + number("deduplicated")
                + number("damaged")
                + number("lost")
                + number("queued"),
            number("received"),
            "{lane}"
        );
        // The other destination also gets the error event.
        let received = if lane["index"] == 0 { 3 } else { 4 };
        assert_eq!(lane["received"], received, "{lane}");
    }

    let output = status(&host, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0].join(" "),
        "PROVIDER INDEX PATTERN STATE RECEIVED ACCEPTED QUEUED ON DISK RETRYING IN FLIGHT DEAD \
         DROPPED OLDEST NEXT TRY LAST ERROR",
        "the second destination waits to connect again"
    );
    assert_eq!(
        lines[1][..7],
        ["fixture-good", "0", "idem-*", "connected", "3", "2", "0"]
    );
    assert_eq!(lines[2][..3], ["fixture-good", "1", "*"]);
    assert_eq!(lines.len(), 3);
    assert!(
        stderr(&output).contains("2 destinations, 2 plugins, 0 listeners, 3 events received"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_plugin_whose_file_is_gone_is_counted_as_long_as_it_serves() {
    let (host, plugins) = start();
    for file in fs::read_dir(plugins.path()).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    host.wait_for_log("was removed or refused");
    host.put("idem-run", "1");
    let status = wait_for("the new set of plugins", || {
        let status = status_json(&host);
        (status["host"]["plugins"]["generation"] == 2).then_some(status)
    });
    assert_eq!(status["host"]["plugins"]["loaded"], 2, "{status}");
}

#[test]
fn an_internal_destination_that_nobody_can_read_gets_nothing_and_is_warned_of() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let acct = "
internal: {'*': {}}
fixture-good: {'*': {path: '{dir}/out.jsonl'}}
";
    let host = RunningHost::start(acct, plugins.path(), &[]);
    host.put("idem-run", "1");
    wait_for("the event", || {
        (crate::support::lines_of(&host.path("out.jsonl")).len() == 1).then_some(())
    });
    let status = status_json(&host);
    let destinations = status["destinations"].as_array().unwrap();
    assert_eq!(destinations.len(), 1, "{status}");
    assert_eq!(destinations[0]["provider"], "fixture-good");
    let warned = host
        .log()
        .matches("provider internal is only for programs")
        .count();
    assert_eq!(warned, 1, "{}", host.log());
}

#[test]
fn watch_shows_a_line_each_period_until_told_and_says_that_the_host_is_gone() {
    let (host, _plugins) = start();
    let watch = || {
        let mut child = evbus(host.dir.path())
            .args(["status", "--json", "--watch", "0.1", "--sock-dir"])
            .arg(host.path("s"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        for _ in 0..3 {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            let status: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(status["host"]["pid"], host.pid());
        }
        (child, lines)
    };
    let (mut interrupted, _lines) = watch();
    kill_process(Pid::from_child(&interrupted), Signal::INT).unwrap();
    assert_eq!(interrupted.wait().unwrap().code(), Some(0));

    let (mut unread, lines) = watch();
    drop(lines);
    assert_eq!(unread.wait().unwrap().code(), Some(0));

    let (left, mut lines) = watch();
    let (ended, log) = host.stop();
    assert!(ended.code().is_some(), "{log}");
    lines.read_to_end(&mut Vec::new()).unwrap();
    let output = left.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("the host no longer answers"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn where_no_host_answers_status_says_so() {
    let home = tempfile::tempdir().unwrap();
    for flag in ["--sock-dir", "--state-dir"] {
        let output = run(
            evbus(home.path())
                .args(["status", flag])
                .arg(home.path().join("none")),
            b"",
        );
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(
            said.contains("no host answers on the control socket"),
            "{said}"
        );
        assert!(said.contains("none/evbus_control.ipc"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    for args in [
        &["status", "--sock-dir", "a", "--state-dir", "b"][..],
        &["status", "--sock-dir", "a", "--watch", "0"],
    ] {
        let output = run(evbus(home.path()).args(args), b"");
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    }
    // Variables replace the flags; an empty variable counts as unset.
    for (state, sock, expected) in [
        (None, None, "default-state"),
        (Some(""), None, "default-state"),
        (None, Some(""), "default-state"),
        (Some("from-env"), Some(""), "from-env"),
        (Some(""), Some("from-sock"), "from-sock"),
    ] {
        for command in ["status", "reload"] {
            let mut evbus = evbus(home.path());
            evbus.arg(command).current_dir(home.path());
            for (name, value) in [("EVBUS_STATE_DIR", state), ("EVBUS_SOCK_DIR", sock)] {
                evbus.envs(value.map(|value| (name, value)));
            }
            let output = run(&mut evbus, b"");
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{command}: {said}");
            assert!(said.contains(expected), "{command} {expected}: {said}");
        }
    }
}

#[test]
fn bad_treatment_of_the_control_socket_leaves_the_host_working() {
    let (host, _plugins) = start();
    // Random bytes, half a line, a line without end, questions whose answers nobody reads.
    let garbage: Vec<u8> = (0..100_000_u32).map(|n| (n * 167 % 251) as u8).collect();
    let mut kept = Vec::new();
    for bytes in [
        &garbage[..],
        b"{\"evbus\": 1, \"ask\": ",
        &vec![b'['; 10_000_000],
        &b"{\"evbus\": 1, \"ask\": \"status\"}\n".repeat(10_000),
    ] {
        for _ in 0..5 {
            let mut stream = connect(&host);
            stream.set_nonblocking(true).unwrap();
            // As much as the host accepts before its answers are read.
            let _ = stream.write_all(bytes);
            kept.push(stream);
        }
    }
    let idle: Vec<UnixStream> = (0..100).map(|_| connect(&host)).collect();
    assert_eq!(status_json(&host)["host"]["pid"], host.pid());
    drop((kept, idle));
    host.put("idem-run", "1");
    wait_for("the event", || {
        (status_json(&host)["destinations"][0]["accepted"] == 1).then_some(())
    });
}

/// As root, a thread becomes another user and asks. Other users cannot do that, so they ask as themselves and are
/// answered.
#[test]
fn another_user_gets_no_answer_even_where_the_modes_let_it_in() {
    use rustix::thread::set_thread_res_uid;
    let own = rustix::process::geteuid();
    let other = if own.is_root() {
        rustix::process::Uid::from_raw(65_534)
    } else {
        own
    };
    let (host, _plugins) = start();
    let open = |path: &str, mode: u32| {
        fs::set_permissions(host.path(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("", 0o755);
    open("s", 0o755);
    open("s/evbus_control.ipc", 0o666);
    let path = host.path("s/evbus_control.ipc");
    let said = std::thread::spawn(move || {
        // Affects only this thread.
        set_thread_res_uid(other, other, other).unwrap();
        let mut stream = UnixStream::connect(path).unwrap();
        let _ = stream.write_all(b"{\"evbus\": 1, \"ask\": \"status\"}\n");
        let _ = stream.shutdown(Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        said
    })
    .join()
    .unwrap();
    assert_eq!(said.is_empty(), other != own);
    if other != own {
        host.wait_for_log("refused a connection from another user");
    }
    assert_eq!(status_json(&host)["host"]["pid"], host.pid());
}
