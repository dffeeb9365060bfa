//! A limit on processes, which counts threads: plugin files need none of it, and an instance that gets none of its
//! own says so.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::beside::{delivers, ends_at_once_with};
use crate::support::{RunningHost, evbus, program, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use rustix::process::geteuid;

/// A user that has no other processes.
const OTHER: u32 = 54_324;

const ACCT: &str = "
fixture-good:
  idem-*: {path: {dir}/good.jsonl}
fixture-panicking:
  panic-*: {evbus: {queue: {events: 10}}}
";

#[test]
fn ten_thousand_plugin_files_need_no_threads_and_what_gets_none_says_so_and_changes_nothing() {
    if !geteuid().is_root() {
        eprintln!("not tried: only root starts a host as a user without other processes");
        return;
    }
    let plugins = plugin_dir(&["plugin-glob", "fixture-good", "fixture-panicking"]);
    let dir = tempfile::tempdir().unwrap();
    // Other users may not be able to reach the program's directory.
    let copy = dir.path().join("evbus");
    fs::copy(program(), &copy).unwrap();
    chown(dir.path(), Some(OTHER), Some(OTHER)).unwrap();
    let mut launcher = Command::new("bash");
    launcher
        .args(["-c", "ulimit -u 64; shift; exec \"$0\" \"$@\""])
        .arg(copy)
        .uid(OTHER)
        .gid(OTHER);
    let host = RunningHost::start_through(
        launcher,
        dir,
        ACCT,
        plugins.path(),
        &["--drain-timeout", "0"],
    );
    delivers(&host, "before");
    for number in 0..10_000 {
        let file = plugins.path().join(format!("new-{number}.so"));
        fs::write(&file, b"\x7fELF and nothing more").unwrap();
    }
    fs::set_permissions(plugins.path(), fs::Permissions::from_mode(0o755)).unwrap();
    host.wait_for_log("new-9999.so: not used: it is damaged or truncated");
    delivers(&host, "afterwards");

    // From now on, the host cannot start threads.
    let mut limit = Command::new("prlimit");
    limit.args(["--nproc=1", "--pid", &host.pid().to_string()]);
    let limited = run(limit.uid(OTHER).gid(OTHER), b"");
    assert!(limited.status.success(), "{}", stderr(&limited));
    host.put("panic-now", "1");
    wait_for("the destination to get no other instance", || {
        let status = host.status();
        let error = status["destinations"][1]["last_error"].to_string();
        error
            .contains("cannot start a thread for the instance: ")
            .then_some(())
    });
    delivers(&host, "all the same");

    // A reload that fails leaves nothing half done.
    let acct = format!("{ACCT}  other: {{}}\n");
    let acct = acct.replace("{dir}", &host.dir.path().to_string_lossy());
    fs::write(host.path("acct.yml"), acct).unwrap();
    let mut reload = evbus(host.dir.path());
    let output = run(reload.args(["reload", "--sock-dir", &host.sock_dir()]), b"");
    let said = stderr(&output);
    assert!(!output.status.success(), "{said}");
    let sentence = "cannot start a thread for the match plugin: ";
    assert!(said.contains(sentence), "{said}");
    delivers(&host, "as before");
    let log = ends_at_once_with(host, 1);
    let panics = log.lines().filter(|line| line.contains("panicked"));
    assert!(panics.clone().all(|line| line.contains("fixtures/panicking") || line.contains("the plugin panicked")), "{log}");
}
