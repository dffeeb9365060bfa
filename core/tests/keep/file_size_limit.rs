//! A file size limit, as set by a service manager or `ulimit -f`.

use crate::support::{RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

const ACCT: &str = "
file:
  - '*':
      path: '{dir}/out.jsonl'
      evbus: {retry: {first_delay: 0.05, max_delay: 0.2}}
";

const EVENTS: usize = 300;

#[test]
fn a_limit_of_file_size_is_an_error_that_is_tried_again_and_not_the_end_of_the_host() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let pid = Pid::from_raw(host.pid().cast_signed());
    // After the start, which copies the plugins.
    let before = prlimit(
        pid,
        Resource::Fsize,
        Rlimit {
            current: Some(16 * 1024),
            maximum: None,
        },
    )
    .unwrap();
    let event = format!(
        "{{\"profile\": \"a\", \"body\": \"{}\"}}\n",
        "x".repeat(200)
    );
    host.put_events(&event.repeat(EVENTS));
    wait_for("the fault in the status", || {
        let status = host.status();
        let error = status["destinations"][0]["last_error"].to_string();
        error.contains("File too large").then_some(())
    });

    prlimit(pid, Resource::Fsize, before).unwrap();
    wait_for("the rest", || {
        (lines_of(&host.path("out.jsonl")).len() == EVENTS).then_some(())
    });
    let (ended, said) = host.stop();
    assert_eq!(ended.code(), Some(0), "{said}");
}

/// Runs evbus with these arguments in a shell with such a limit.
fn limited(limit: &str, args: &[&str]) -> (Option<i32>, String) {
    let home = tempfile::tempdir().unwrap();
    let acct = ACCT.replace("{dir}", home.path().to_str().unwrap());
    std::fs::write(home.path().join("acct.yml"), acct).unwrap();
    let evbus = evbus(home.path());
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")])
        .arg(evbus.get_program())
        .args(args)
        .current_dir(home.path());
    for (name, value) in evbus.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = run(&mut command, b"");
    (output.status.code(), stderr(&output))
}

#[test]
fn a_limit_that_is_too_low_to_start_is_one_sentence_that_names_it() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let dir = plugins.path().to_str().unwrap();
    let acct = ["--acct-file", "acct.yml", "--plugin-dir", dir];
    for command in [
        &["check"][..],
        &["run", "--sock-dir", "s"],
        &["status", "--sock-dir", "s"],
    ] {
        let more = if command[0] == "status" {
            &[][..]
        } else {
            &acct
        };
        let (code, said) = limited("-n 8", &[command, more].concat());
        assert_eq!(
            said,
            "error: evbus needs at least 16 open files, but this process is limited to 8; raise the limit (`ulimit -n`, or LimitNOFILE= of the unit)\n"
        );
        assert_eq!(code, Some(78));
    }
    let (code, said) = limited("-f 8", &[&["run", "--sock-dir", "s"][..], &acct].concat());
    let expected = "but this process is limited to files of 4 KiB; raise the limit (`ulimit -f`, or LimitFSIZE= of the unit)";
    assert!(said.contains(expected), "{said}");
    assert_eq!(code, Some(78));
}
