//! The host ends soon after a reload.

use std::fs;

use super::write;
use crate::support::{RunningHost, lines_of, wait_for};
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_host_that_ends_waits_for_destinations_that_a_reload_has_just_removed() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let both = "file:
  late: {path: '{dir}/late/out', evbus: {retry: {first_delay: 0.01, max_delay: 0.1}}}
  '*': {path: '{dir}/out'}
";
    let host = RunningHost::start(both, plugins.path(), &["--no-state-dir"]);
    host.put("late", "1");
    write(&host, "file:\n  '*': {path: '{dir}/out'}\n");
    host.wait_for_log("WARN destination file[0] late: removed");
    let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    host.wait_for_log("shutting down");
    // It can be delivered to only now.
    fs::create_dir(host.path("late")).unwrap();
    let stat = format!("/proc/{}/stat", host.pid());
    wait_for("the host to end", || {
        fs::read_to_string(&stat)
            .unwrap()
            .contains(") Z ")
            .then_some(())
    });
    let (status, log, home) = host.stop_and_keep();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(lines_of(&home.path().join("late/out")).len(), 1, "{log}");
}
