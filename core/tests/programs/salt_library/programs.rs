//! The example programs of Salt's own documentation, unchanged, as separate processes.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;

use super::bus::Bus;
use super::python;
use crate::support::wait_for;

/// Where the documentation expects the sockets.
const DOCUMENTED: &str = "/var/run/salt";

/// A program, killed when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs an example with a changed directory, which prints at the end what it has found. The event that it looks for is
/// fired until it has printed that, because it does not show when it listens.
fn check(example: &str, lines: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs/salt_library/examples")
        .join(example);
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(DOCUMENTED));
    let bus = Bus::start();
    let started = xtask::salt::RELEASES.map(|release| {
        let sock_dir = bus.sock_dir(release);
        let mut text = text.replace(DOCUMENTED, sock_dir.to_str().unwrap());
        if !text.contains("print(") {
            text.push_str("print(data)\n");
        }
        let mut child = python::command(release)
            .args(["-c", &text])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, printed) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        (release, Program(child), printed)
    });
    for (release, mut program, printed) in started {
        let mut found = Vec::new();
        wait_for(&format!("{example} with Salt {release} to print"), || {
            found.extend(printed.try_iter());
            if found.len() >= lines {
                return Some(());
            }
            let ended = program.0.try_wait().unwrap();
            assert!(ended.is_none_or(|status| status.success()), "{ended:?}");
            if text.contains("tag='auth'") {
                bus.host.put("other", r#"{"act": "other"}"#);
            }
            bus.host.put("auth", r#"{"act": "pend", "id": "web1"}"#);
            None
        });
        for line in &found[..lines] {
            let start = "{'act': 'pend', 'id': 'web1', '_stamp': '20";
            assert!(line.starts_with(start), "{example}, Salt {release}: {line}");
        }
    }
}

#[test]
fn the_example_for_a_single_event_prints_it() {
    check("single_event.py", 1);
}

#[test]
fn the_example_for_authentication_events_prints_one() {
    check("tagged_event.py", 1);
}

#[test]
fn the_example_that_goes_on_prints_event_after_event() {
    check("all_events.py", 3);
}
