//! A system on which files in memory cannot be executed (`vm.memfd_noexec` is 2), so that no plugin can be loaded
//! from a copy in memory.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::beside::delivers;
use crate::support::{RunningHost, evbus, run, stderr};
use evbus_testkit::plugin_dir;
use rustix::process::geteuid;

/// The setting belongs to a PID namespace, which ends with the program that this becomes.
const SCRIPT: &str = "echo 2 > /proc/sys/vm/memfd_noexec; exec \"$@\"";

const ACCT: &str = "
fixture-good:
  idem-*: {path: {dir}/good.jsonl}
";

/// What becomes the command that it is given, on such a system; none where nobody can make one.
fn launcher() -> Option<Command> {
    let launcher = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        command.args(["sh", "-ec", SCRIPT, "sh"]);
        command
    };
    let is_possible = geteuid().is_root()
        && Path::new("/proc/sys/vm/memfd_noexec").exists()
        && launcher()
            .arg("true")
            .output()
            .is_ok_and(|it| it.status.success());
    if !is_possible {
        eprintln!("not tried: only root of a system with vm.memfd_noexec can set it");
    }
    is_possible.then(launcher)
}

#[test]
fn without_executable_memory_a_host_says_so_and_loads_copies_in_a_directory_if_it_is_told_to() {
    let Some(mut check) = launcher() else {
        return;
    };
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let acct = ACCT.replace("{dir}", &dir.path().to_string_lossy());
    fs::write(dir.path().join("acct.yml"), acct).unwrap();
    let program = evbus(dir.path());
    check.arg(program.get_program());
    check.envs(
        program
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    check.args(["check", "--acct-file", "acct.yml", "--plugin-dir"]);
    let output = run(check.arg(plugins.path()).current_dir(dir.path()), b"");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let sentence = "it cannot be copied to memory (Permission denied (os error 13): vm.memfd_noexec of this system is 2); use --plugin-copies DIR to load plugins from copies in a directory";
    let told = said.lines().filter(|line| line.contains(sentence));
    assert!(told.count() > 0, "{said}");

    let copies = dir.path().join("copies").display().to_string();
    let host = RunningHost::start_through(
        launcher().unwrap(),
        dir,
        ACCT,
        plugins.path(),
        &["--plugin-copies", &copies],
    );
    delivers(&host, "from a copy");
    let log = host.log();
    assert!(!log.contains("cannot be copied"), "{log}");
}
