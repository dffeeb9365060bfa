//! Events that the provider `file` has written are fired again.

use std::fs;
use std::process::Output;

use crate::support::{RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use serde_json::Value;

#[test]
fn lines_of_a_file_destination_are_fired_again_with_their_ids_and_times() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let first = RunningHost::start(
        "file: {'*': {path: '{dir}/out.jsonl'}}\n",
        plugins.path(),
        &[],
    );
    first.put(
        "a",
        "{\"tags\": {\"type\": \"x\", \"n\": 1}, \"message\": 1}",
    );
    first.put("b", "[1.0, \"ä\"]");
    let recorded = first.path("out.jsonl");
    let lines = wait_for("both lines", || {
        Some(lines_of(&recorded)).filter(|lines| lines.len() == 2)
    });
    let text = fs::read(&recorded).unwrap();
    assert!(lines[0]["tags"].is_object(), "a line with all it can have");

    let second = RunningHost::start(
        "file: {'*': {path: '{dir}/out.jsonl'}}\n",
        plugins.path(),
        &[],
    );
    let again = |to: &[&str], input: &[u8]| -> Output {
        let mut command = evbus(second.dir.path());
        command.args(["put", "--events"]).args(to);
        run(command.arg("--plugin-dir").arg(plugins.path()), input)
    };
    let sockets = second.sock_dir();
    let output = again(&["--sock-dir", &sockets], &text);
    assert!(output.status.success(), "{}", stderr(&output));
    let heard: Vec<Value> = wait_for("both lines", || {
        Some(lines_of(&second.path("out.jsonl"))).filter(|lines| lines.len() == 2)
    });
    assert_eq!(heard, lines);

    let acct = second.path("other.yml");
    let other = second.path("other.jsonl");
    fs::write(
        &acct,
        format!("file: {{'*': {{path: '{}'}}}}\n", other.display()),
    )
    .unwrap();
    let output = again(&["--acct-file", acct.to_str().unwrap()], &text);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(lines_of(&other), lines);

    for (line, sentence) in [
        (
            "{\"profile\": \"a\", \"body\": 1, \"bdoy\": 2}",
            "unknown field `bdoy`",
        ),
        (
            "{\"profile\": \"a\", \"body\": 1, \"id\": \"7\"}",
            "the id \"7\" is not",
        ),
        (
            "{\"profile\": \"a\", \"body\": 1, \"time\": \"noon\"}",
            "the time \"noon\" is not",
        ),
        (
            "{\"profile\": \"a\", \"encoding\": \"base64\", \"body\": \"gA==\"}",
            "the body is not JSON",
        ),
    ] {
        let output = again(&["--sock-dir", &sockets], line.as_bytes());
        assert_eq!(output.status.code(), Some(1), "{line}");
        let said = stderr(&output);
        assert!(said.contains(sentence), "{line}: {said}");
    }
}
