//! The asynchronous interface: `set_event_handler` and firing on an event loop.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::bus::Bus;
use super::python;

#[test]
fn handlers_on_an_event_loop_hear_what_is_fired_on_one() {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/salt_library/asynchronous.py");
    let bus = Bus::start();
    // One after the other, because each receives what the others fire.
    for release in xtask::salt::RELEASES {
        let output = python::command(release)
            .arg(&script)
            .arg(bus.sock_dir(release))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{release}: {said}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["refused"], json!(["get_event"]), "{release}");

        let mut heard: Vec<&str> = answer["heard"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap())
            .filter(|tag| *tag != "ready")
            .collect();
        // Each call uses its own task or connection, so the order varies.
        heard.sort_unstable();
        let never_awaited = answer["warned"]
            .as_array()
            .unwrap()
            .iter()
            .any(|text| *text == "coroutine 'PublishServer.publish' was never awaited");
        if release.starts_with("3007.") {
            // A defect of the client: on an event loop it creates the coroutine that would send the event, but never
            // awaits it, as Python warns. So nothing is ever sent.
            assert!(never_awaited, "{release}: {answer}");
            let expected = ["blocking/fire_event_async", "end", "fire_event"];
            assert_eq!(heard, expected, "{release}");
        } else {
            assert!(!never_awaited, "{release}: {answer}");
            let expected = [
                "blocking/fire_event_async",
                "end",
                "fire_event",
                "fire_event_async",
            ];
            assert_eq!(heard, expected, "{release}");
        }
    }
}
