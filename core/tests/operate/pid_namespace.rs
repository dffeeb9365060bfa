//! A host in a PID namespace of its own, as in a container whose socket directory is shared with the outside.

use std::process::Command;

use crate::support::{RunningHost, lines_of, wait_for};
use evbus_testkit::plugin_dir;
use rustix::process::geteuid;

#[test]
fn a_program_that_has_no_process_id_in_the_hosts_namespace_is_served() {
    if !geteuid().is_root() {
        eprintln!("not tried: only root makes PID namespaces");
        return;
    }
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let mut launcher = Command::new("unshare");
    launcher.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    let host = RunningHost::start_through(
        launcher,
        tempfile::tempdir().unwrap(),
        "fixture-good: {p: {path: '{dir}/out'}}\n",
        plugins.path(),
        &[],
    );
    host.put("p", "1");
    wait_for("the event", || {
        (lines_of(&host.path("out")).len() == 1).then_some(())
    });
    assert_eq!(host.status()["destinations"][0]["accepted"], 1);
}
