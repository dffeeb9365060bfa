//! Events of real Salt masters, taken by a host: their event publishers, without the masters around
//! them, of every release that speaks differently.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::support::{RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus_client::{GetEvent, PullFraming, blocking};
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const ACCT: &str = "file:\n  'salt/job/*/ret/*':\n    path: '{dir}/out.jsonl'\n";

#[test]
fn events_of_salt_3006_reach_the_destinations_through_a_restart_of_the_master() {
    follows_a_master("3006.30");
}

#[test]
fn events_of_salt_3007_reach_the_destinations_through_a_restart_of_the_master() {
    follows_a_master("3007.13");
}

#[test]
fn events_of_salt_3008_reach_the_destinations_through_a_restart_of_the_master() {
    follows_a_master("3008.5");
}

fn follows_a_master(release: &str) {
    let sockets = tempfile::tempdir().unwrap();
    let plugins = plugin_dir(&["plugin-file", "plugin-glob"]);
    // The host starts first and waits.
    let host = RunningHost::start(
        ACCT,
        plugins.path(),
        &[
            "--from-salt",
            sockets.path().to_str().unwrap(),
            "--salt-tag",
            "salt/job/*",
            "--salt-tag",
            "salt/auth",
        ],
    );
    host.wait_for_log("waiting for the Salt master");
    let master = Master::start(release, sockets.path());
    wait_for_master(&host, |status| status["connected"] == true);
    let mut salt = Salt::start(release, sockets.path());
    let fired = [
        (
            "salt/job/1/ret/web",
            json!({"return": {"n": 1, "é": [true, null]}}),
        ),
        ("salt/auth", json!({"act": "accept"})),
        ("minion/refresh", json!({})),
        ("salt/job/1/ret/db", json!({"return": "x".repeat(100_000)})),
    ];
    for (tag, data) in &fired {
        salt.fire(tag, data);
    }
    assert_eq!(delivered(&host, 2), [&fired[0], &fired[3]].map(line));
    wait_for_master(&host, |status| {
        status["events"] == 3 && status["filtered"] == 1
    });

    let mut master = master;
    master.end();
    wait_for_master(&host, |status| {
        status["connected"] == false && status["gaps"] == 1
    });
    let master = Master::start(release, sockets.path());
    wait_for_master(&host, |status| status["connected"] == true);
    let mut salt = Salt::start(release, sockets.path());
    let again = ("salt/job/2/ret/web", json!({"return": 2}));
    salt.fire(again.0, &again.1);
    assert_eq!(delivered(&host, 3)[2], line(&again));
    wait_for_master(&host, |status| {
        status["events"] == 4 && status["dropped"] == 0
    });

    nothing_goes_back(&host, &mut salt, sockets.path());
    the_event_library_listens_and_fires(release, &mut salt, sockets.path());
    drop(master);
    let (status, log) = host.stop();
    assert!(status.success(), "{log}");
}

/// Events of the host do not reach the master.
fn nothing_goes_back(host: &RunningHost, salt: &mut Salt, sockets: &Path) {
    let mut listener = UnixStream::connect(sockets.join("master_event_pub.ipc")).unwrap();
    host.put("salt/job/3/ret/ours", "{}");
    delivered(host, 4);
    // Fired after anything that the host may have written.
    salt.fire("salt/last", &json!({}));
    let mut heard = Vec::new();
    wait_for("the last event", || {
        let mut buffer = [0; 4096];
        let count = std::io::Read::read(&mut listener, &mut buffer).unwrap();
        heard.extend_from_slice(&buffer[..count]);
        contains(&heard, b"salt/last").then_some(())
    });
    assert!(!contains(&heard, b"salt/job/3/ret/ours"));
}

/// The event library for Rust, at the master's sockets.
fn the_event_library_listens_and_fires(release: &str, salt: &mut Salt, sockets: &Path) {
    let framing = match release {
        "3007.13" => PullFraming::Bare,
        _ => PullFraming::Prefixed,
    };
    let mut client = blocking::Client::builder(sockets)
        .pull_framing(framing)
        .connect_blocking()
        .unwrap();
    salt.fire("salt/to/rust", &json!({"n": 1}));
    let data = next(&mut client, "salt/to/rust");
    assert_eq!(data["n"], 1);
    client.fire_event(&json!({"n": 2}), "rust/to/salt").unwrap();
    let data = next(&mut client, "rust/to/salt");
    assert_eq!(data["n"], 2);
}

fn next(client: &mut blocking::Client, tag: &str) -> Value {
    let request = GetEvent::new().tag(tag).wait(crate::support::PATIENCE);
    let event = client.get_event(request).unwrap();
    let event = event.expect("the event arrives");
    assert_eq!(event.tag(), tag);
    let data: Value = serde_json::from_str(&event.data_json().unwrap()).unwrap();
    assert!(data["_stamp"].is_string(), "{data}");
    data
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[test]
fn a_hosts_own_directory_is_no_master() {
    let dir = tempfile::tempdir().unwrap();
    let sockets = dir.path().join("s");
    let beside = dir.path().join("x/../s");
    std::fs::create_dir(dir.path().join("x")).unwrap();
    std::fs::create_dir(&sockets).unwrap();
    let output = run(
        evbus(dir.path())
            .args(["run", "--sock-dir"])
            .arg(&sockets)
            .arg("--from-salt")
            .arg(beside),
        b"",
    );
    assert_eq!(output.status.code(), Some(78));
    let said = stderr(&output);
    assert!(said.contains("is this host's own"), "{said}");
}

/// An event as the destination receives it, without id and time.
fn line((tag, data): &(&str, Value)) -> Value {
    json!({"profile": tag, "body": data})
}

/// The events at the destination once there are `count`, without ids, times and stamps.
fn delivered(host: &RunningHost, count: usize) -> Vec<Value> {
    let out = host.path("out.jsonl");
    let lines = wait_for(&format!("{count} events: {}", host.log()), || {
        Some(lines_of(&out)).filter(|lines| lines.len() >= count)
    });
    assert_eq!(lines.len(), count, "{lines:?}");
    (lines.into_iter())
        .map(|mut line| {
            let mut body = line["body"].take();
            // The destination gets the data as Salt built it.
            if let Some(body) = body.as_object_mut() {
                body.shift_remove("_stamp");
            }
            json!({"profile": line["profile"], "body": body})
        })
        .collect()
}

/// Waits until the host says this of its master.
fn wait_for_master(host: &RunningHost, holds: impl Fn(&Value) -> bool) {
    wait_for(&format!("the master's state: {}", host.log()), || {
        let status = host.status();
        holds(&status["host"]["salt_masters"][0]).then_some(())
    });
}

fn python(release: &str, script: &str, sockets: &Path) -> Command {
    let python = xtask::salt::python(release).expect("Salt can be installed");
    let mut command = Command::new(python);
    command
        .args(["-E", "-s", "-B"])
        .env("PYTHONUTF8", "1")
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(script))
        .arg(sockets);
    command
}

/// The event publisher of a Salt master, ended when dropped.
struct Master {
    child: Child,
    said: TempDir,
}

impl Master {
    /// Starts it, and waits until programs can connect.
    fn start(release: &str, sockets: &Path) -> Self {
        let said = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(said.path().join("log")).unwrap();
        let child = python(release, "benches/peers/salt_publisher.py", sockets)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Python can be started");
        let mut master = Self { child, said };
        wait_for("Salt's event publisher", || {
            let ended = master.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "{}",
                std::fs::read_to_string(master.said.path().join("log")).unwrap()
            );
            let connects = |name| UnixStream::connect(sockets.join(name)).is_ok();
            (connects("master_event_pub.ipc") && connects("master_event_pull.ipc")).then_some(())
        });
        master
    }

    fn end(&mut self) {
        // The process may have ended already.
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.end();
    }
}

/// A program that fires with Salt's library.
struct Salt {
    child: Child,
    stdin: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Salt {
    fn start(release: &str, sockets: &Path) -> Self {
        let mut child = python(release, "tests/programs/from_salt/fire.py", sockets)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python can be started");
        Self {
            stdin: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn fire(&mut self, tag: &str, data: &Value) {
        writeln!(self.stdin, "{}", json!([tag, data])).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim_end(), tag);
    }
}

impl Drop for Salt {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
