//! `evbus render`: SLS files that fire.

use std::fs;

use crate::support::{RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use serde_json::{Value, json};

const ACCT: &str = "file:\n  '*':\n    path: '{dir}/out.jsonl'\n";

/// The statement of Idem's document, a loop, and the other forms.
const SLS: &str = r#"{%- hub.idem.event.put_nowait(body={"message": "event content"}, profile="default", tags={}) %}
{% for name in ["web", "db"] -%}
{% do hub.idem.event.put({"name": name}, "idem-custom", {"ref": "app"}) -%}
{{ name }}:
  test.ping: [{{ true }}]
{% endfor -%}
"#;

const RENDERED: &str = "\nweb:\n  test.ping: [True]\ndb:\n  test.ping: [True]\n";

fn bodies(lines: &[Value]) -> Vec<Value> {
    let part = |line: &Value| json!([line["profile"], line["body"]]);
    lines.iter().map(part).collect()
}

fn expected() -> Vec<Value> {
    let custom = |name: &str| json!(["idem-custom", {"tags": {"ref": "app"}, "message": {"name": name}, "run_name": "nightly"}]);
    let first = json!(["default", {"tags": {}, "message": {"message": "event content"}, "run_name": "nightly"}]);
    vec![first, custom("web"), custom("db")]
}

#[test]
fn a_template_fires_to_a_running_host_and_its_text_is_printed() {
    let plugins = plugin_dir(&["plugin-file", "plugin-glob"]);
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let file = host.path("app.sls");
    fs::write(&file, SLS).unwrap();
    let mut command = evbus(host.dir.path());
    command.args(["render", "--run-name", "nightly", "--sock-dir"]);
    let output = run(command.arg(host.path("s")).arg(&file), b"");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), RENDERED);
    let lines = wait_for("the events", || {
        Some(lines_of(&host.path("out.jsonl"))).filter(|lines| lines.len() == 3)
    });
    assert_eq!(bodies(&lines), expected());
}

#[test]
fn a_template_fires_to_the_destinations_of_an_acct_file() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = plugin_dir(&["plugin-file", "plugin-glob"]);
    let home = dir.path().to_string_lossy();
    fs::write(dir.path().join("acct.yml"), ACCT.replace("{dir}", &home)).unwrap();
    fs::write(dir.path().join("app.sls"), SLS).unwrap();
    let mut command = evbus(dir.path());
    command.args(["render", "--run-name", "nightly", "--acct-file"]);
    command.arg(dir.path().join("acct.yml"));
    command.arg("--plugin-dir").arg(plugins.path());
    let output = run(command.arg(dir.path().join("app.sls")), b"");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), RENDERED);
    assert_eq!(bodies(&lines_of(&dir.path().join("out.jsonl"))), expected());
}

#[test]
fn a_fault_names_its_place_and_says_what_was_fired_before() {
    let plugins = plugin_dir(&["plugin-file", "plugin-glob"]);
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let file = host.path("app.sls");
    fs::write(&file, format!("{SLS}\n  {{{{ nothing.here }}}}\n")).unwrap();
    let mut command = evbus(host.dir.path());
    command.args(["render", "--run-name", "nightly", "--sock-dir"]);
    let output = run(command.arg(host.path("s")).arg(&file), b"");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let said = stderr(&output);
    assert!(said.contains("3 events were fired before"), "{said}");
    let place = format!("{}:8:6: undefined name `nothing.here`", file.display());
    assert!(said.contains(&place), "{said}");
    let lines = wait_for("the events", || {
        Some(lines_of(&host.path("out.jsonl"))).filter(|lines| lines.len() == 3)
    });
    assert_eq!(bodies(&lines), expected());

    let output = run(evbus(host.dir.path()).args(["render", "absent.sls"]), b"");
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("absent.sls: cannot read the SLS file"),
        "{said}"
    );
    fs::write(&file, "text").unwrap();
    let output = run(evbus(host.dir.path()).arg("render").arg(&file), b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no target given: use --sock-dir"));
}
