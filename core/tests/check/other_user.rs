//! What belongs to another user is refused by `check` in the same words as by `run`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use crate::support::{evbus, run, stderr};
use evbus_testkit::plugin_dir;

/// Only root can act as another user.
#[test]
fn a_directory_of_root_is_refused_in_the_same_words() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let acct = dir.path().join("acct.yml");
    fs::write(&acct, "fixture-good: {'*': {path: out}}\n").unwrap();
    for name in ["state", "sockets"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for open in [dir.path(), plugins.path()] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (flag, name, expected) in [
        ("--state-dir", "state", "belongs to user 0"),
        ("--sock-dir", "sockets", "Permission denied"),
    ] {
        let said = ["check", "run"].map(|command| {
            let output = run(
                evbus(dir.path())
                    .args([command, "--acct-file"])
                    .arg(&acct)
                    .arg("--plugin-dir")
                    .arg(plugins.path())
                    .arg(flag)
                    .arg(dir.path().join(name))
                    .args(if name == "state" {
                        &[][..]
                    } else {
                        &["--no-state-dir"]
                    })
                    .current_dir(dir.path())
                    .uid(54_321)
                    .gid(54_321),
                b"",
            );
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(78), "{said}");
            let line = said.lines().find(|line| line.starts_with("error"));
            line.unwrap_or_default().to_owned()
        });
        assert!(said[0].contains(expected), "{said:?}");
        assert_eq!(said[0], said[1]);
    }
}
