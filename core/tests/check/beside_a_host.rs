//! What `evbus check --connect` and `evbus put --acct-file` advise about destinations that a running host holds.

use crate::support::{RunningHost, evbus, run, stderr};
use evbus_testkit::plugin_dir;

#[test]
fn a_destination_that_the_running_host_holds_is_not_blamed_on_the_acct_file_alone() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let text = "file: {p: {path: '{dir}/out'}}\n";
    let host = RunningHost::start(text, plugins.path(), &[]);
    host.wait_for_log("destination file[0] p: connected");
    let sockets = host.path("s").display().to_string();
    let asked = |args: &[&str]| {
        let mut command = evbus(host.dir.path());
        command
            .args(args)
            .arg("--acct-file")
            .arg(host.path("acct.yml"));
        command.arg("--plugin-dir").arg(plugins.path());
        let output = run(&mut command, b"");
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output)
    };
    let said = asked(&["check", "--connect", "--sock-dir", &sockets]);
    let advice = format!(
        "note: the host that runs in {sockets} may hold what a destination can open only once, such as a file, so that it cannot be tried here; `evbus status --sock-dir {sockets}` shows"
    );
    assert!(said.contains(&advice), "{said}");
    let said = asked(&["check", "--connect"]);
    let advice = "another destination or program, such as a running host, is writing to it";
    assert!(said.contains(advice), "{said}");
    assert!(!said.contains("note: the host that runs in"), "{said}");
    let said = asked(&["put", "p", "1", "--timeout", "0.2"]);
    let advice = "If a host runs with this acct file, it may hold what a destination can open only once, such as a file: fire to that host with --sock-dir";
    assert!(said.contains(advice), "{said}");
}
