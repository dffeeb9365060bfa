//! What all commands have in common: durations, versions, names of plugins, inputs.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::{RunningHost, evbus, json_lines, lines_of, program, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;

#[test]
fn durations_have_units_in_flags_and_in_the_acct_file() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let home = tempfile::tempdir().unwrap();
    let acct = home.path().join("acct.yml");
    let text = "fixture-good: {p: {path: out, evbus: {deadline: 5 min, retry: {first_delay: 250ms, max_age: 1h}}}}\n";
    fs::write(&acct, text).unwrap();
    let check = |drain: &str| {
        let mut command = evbus(home.path());
        command.args(["check", "--json", "--drain-timeout", drain, "--acct-file"]);
        run(
            command.arg(&acct).arg("--plugin-dir").arg(plugins.path()),
            b"",
        )
    };
    for drain in ["10", "0.5", "10s", "500ms", "5m", "5 min", "1h 30m", "7d"] {
        let output = check(drain);
        assert!(output.status.success(), "{drain}: {}", stderr(&output));
        let policy = &json_lines(&output)[0]["evbus"];
        assert_eq!(policy["deadline"], 300.0);
        assert_eq!(policy["retry"]["first_delay"], 0.25);
        assert_eq!(policy["retry"]["max_age"], 3600.0);
    }
    for drain in ["soon", "10 parsecs", "5M", "1 year", ""] {
        let output = check(drain);
        assert_eq!(output.status.code(), Some(2), "{drain:?}");
        let expected = "expected a number of seconds, or a duration with units such as 30s, 5m, 7d";
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn the_version_says_what_plugins_fit_and_what_it_was_built_for() {
    let home = tempfile::tempdir().unwrap();
    let said = |flag: &str| {
        let output = run(evbus(home.path()).arg(flag), b"");
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let bare = format!("evbus {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(said("-V"), bare);
    let whole = said("--version");
    assert!(whole.starts_with(&bare), "{whole}");
    for line in ["plugin ABI 1.", "target ", "commit "] {
        assert!(whole.lines().any(|said| said.starts_with(line)), "{whole}");
    }
    assert!(whole.contains(std::env::consts::ARCH), "{whole}");
}

#[test]
fn a_plugin_is_inspected_by_its_id_or_a_name_that_it_serves() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let home = tempfile::tempdir().unwrap();
    let inspect = |name: &str| {
        let mut command = evbus(home.path());
        command.args(["plugins", "inspect", name, "--json", "--plugin-dir"]);
        run(command.arg(plugins.path()), b"")
    };
    let path = plugins.path().join("libplugin_file.so");
    for (name, id) in [
        ("file", "plugin-file"),
        ("plugin-file", "plugin-file"),
        ("glob", "plugin-glob"),
        (path.to_str().unwrap(), "plugin-file"),
    ] {
        let output = inspect(name);
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(shown["id"], id, "{name}");
    }
    let output = inspect("kafka");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("kafka: not found: neither a file nor a plugin"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_plugin_is_installed_into_a_directory_that_nobody_else_chooses() {
    let (dir, plugins) = (tempfile::tempdir().unwrap(), plugin_dir(&["fixture-good"]));
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("file"), "").unwrap();
    std::fs::create_dir(at("open")).unwrap();
    std::fs::set_permissions(at("open"), PermissionsExt::from_mode(0o777)).unwrap();
    for (place, sentence) in [
        ("file", "file: not a directory"),
        ("file/below", "file/below: not a directory"),
        ("/proc/zz", "/proc/zz: cannot create a directory in /proc: "),
        ("open/new", "run `chmod o-w "),
    ] {
        let mut command = evbus(dir.path());
        command
            .args(["plugins", "install", "--plugin-dir", place])
            .arg(plugins.path().join("libfixture_good.so"))
            .current_dir(dir.path());
        let output = run(&mut command, b"");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{place}: {said}");
        assert!(said.contains(sentence), "{place}: {said}");
    }
    assert!(!at("open/new").exists());
}

#[test]
fn a_plugin_is_installed_only_where_no_other_file_has_its_id() {
    let built = plugin_dir(&["fixture-good"]);
    let library = built.path().join("libfixture_good.so");
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let changed = at("changed.so");
    fs::copy(&library, &changed).unwrap();
    let mut appended = fs::OpenOptions::new().append(true).open(&changed).unwrap();
    appended.write_all(b"changed").unwrap();
    let install = |file: &Path, flags: &[&str]| {
        let mut command = evbus(home.path());
        command.args(["plugins", "install"]).args(flags).arg(file);
        run(command.env("EVBUS_PLUGIN_PATH", at("path")), b"")
    };
    for name in ["path", "mine"] {
        fs::create_dir(at(name)).unwrap();
        fs::set_permissions(at(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mine = at("mine").display().to_string();
    fs::copy(&library, at("path/old.so")).unwrap();
    fs::set_permissions(at("path/old.so"), PermissionsExt::from_mode(0o644)).unwrap();

    for flags in [&[][..], &["--plugin-dir", &mine]] {
        let output = install(&changed, flags);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let other = format!(
            "{} has the same plugin id fixture-good",
            at("path/old.so").display()
        );
        assert!(said.contains(&other), "{said}");
    }
    assert!(fs::read_dir(at("mine")).unwrap().next().is_none());

    // A file with the same content is the same plugin, and the old file is removed.
    let output = install(&library, &["--plugin-dir", &mine, "--json"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("only if --plugin-dir"), "{said}");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["id"], "fixture-good");
    assert_eq!(shown["searched"], false);
    assert_eq!(shown["file"], format!("{mine}/libfixture_good.so"));
    fs::remove_file(at("mine/libfixture_good.so")).unwrap();
    fs::rename(&changed, at("old.so")).unwrap();
    let path = at("path").display().to_string();
    let output = install(&at("old.so"), &["--plugin-dir", &path]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    assert_eq!(
        fs::read(at("path/old.so")).unwrap(),
        fs::read(at("old.so")).unwrap()
    );
}

#[test]
fn a_plugin_dir_that_cannot_be_searched_is_a_fault_of_the_command_line() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name).display().to_string();
    fs::write(at("acct.yml"), "{}\n").unwrap();
    for (dir, sentence) in [
        (at("absent"), "directory not found; create it"),
        (at("acct.yml"), "not a directory; give the directory"),
        (
            String::new(),
            "the value is empty; expected the path of a directory",
        ),
    ] {
        for command in [
            &["run", "--sock-dir", "socks", "--acct-file"][..],
            &["check", "--acct-file"],
            &["route", "p", "--acct-file"],
            &["put", "p", "1", "--acct-file"],
            &["plugins", "list"],
            &["plugins", "inspect", "kafka"],
        ] {
            let mut evbus = evbus(home.path());
            evbus.args(command).current_dir(home.path());
            if command.ends_with(&["--acct-file"]) {
                evbus.arg("acct.yml");
            }
            let output = run(evbus.args(["--plugin-dir", &dir]), b"");
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{command:?} {dir}: {said}");
            assert!(said.contains(sentence), "{command:?} {dir}: {said}");
        }
    }
}

#[test]
fn a_host_that_nothing_could_reach_is_refused() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let home = tempfile::tempdir().unwrap();
    let acct = home.path().join("acct.yml");
    let host = |text: &str| {
        fs::write(&acct, text).unwrap();
        let mut command = evbus(home.path());
        command.args(["run", "--acct-file"]).arg(&acct);
        run(command.arg("--plugin-dir").arg(plugins.path()), b"")
    };
    let output = host("fixture-good: {p: {path: out}}\n");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("the host has no way to receive events"),
        "{said}"
    );
    assert!(!said.lines().any(|line| line == "ready"), "{said}");
    // Faults of the file are reported first.
    let output = host("fixture-good: {p: {paht: out}}\n");
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(!crate::support::default_state_dir(home.path()).exists());
}

#[test]
fn a_command_that_asks_a_host_names_the_ways_to_give_one() {
    let home = tempfile::tempdir().unwrap();
    for command in ["status", "reload"] {
        let output = run(evbus(home.path()).arg(command), b"");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for way in [
            "--sock-dir",
            "--state-dir",
            "EVBUS_SOCK_DIR",
            "EVBUS_STATE_DIR",
        ] {
            assert!(said.contains(way), "{command}: {way}: {said}");
        }
    }
}

#[test]
fn the_help_names_the_exit_codes_of_a_command() {
    let home = tempfile::tempdir().unwrap();
    for (command, codes) in [
        ("run", &["70 ", "75 ", "78 "][..]),
        ("check", &["75 ", "78 "]),
        ("deadletters", &["75 ", "78 "]),
        ("exec", &["126 ", "127 ", "128+N "]),
    ] {
        let output = run(evbus(home.path()).args([command, "--help"]), b"");
        let help = String::from_utf8(output.stdout).unwrap();
        let (_, listed) = help.split_once("Exit codes: ").unwrap();
        for code in codes {
            assert!(listed.contains(code), "{command}: {code}: {listed}");
        }
    }
}

#[test]
fn directories_may_have_paths_longer_than_a_sockets_address() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("d".repeat(150));
    fs::create_dir(&deep).unwrap();
    let home = tempfile::TempDir::new_in(&deep).unwrap();
    let state = home.path().join("state");
    let host = RunningHost::start_in(
        home,
        "fixture-good: {p: {path: '{dir}/out.jsonl', evbus: {durable: true}}}\n",
        plugins.path(),
        &["--state-dir", state.to_str().unwrap()],
    );
    host.put("p", "1");
    assert_eq!(lines_of(&host.path("out.jsonl")).len(), 1);
    for (flag, dir) in [("--sock-dir", host.path("s")), ("--state-dir", state)] {
        let output = run(
            evbus(root.path()).args(["status", "--json", flag]).arg(dir),
            b"",
        );
        assert!(output.status.success(), "{flag}: {}", stderr(&output));
    }
}

/// Runs a command with a limit of processes and threads. Root has no such limit, so it becomes another user.
fn limited(dir: &Path, processes: u32) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("ulimit -u {processes}; exec \"$@\""), "bash"]);
    if geteuid().is_root() {
        // Other users may not be able to reach the program's directory.
        let copy = dir.join("evbus");
        if !copy.exists() {
            fs::copy(program(), &copy).unwrap();
            chown(dir, Some(OTHER), Some(OTHER)).unwrap();
        }
        command.arg(copy).uid(OTHER);
    } else {
        command.arg(program());
    }
    command.env("HOME", dir);
    command
}

/// A user that has no other processes.
const OTHER: u32 = 54_323;

#[test]
fn a_limit_of_processes_is_one_clear_line_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = limited(dir.path(), 1);
    let output = run(command.args(["status", "--sock-dir", "/nonexistent"]), b"");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot start a thread"), "{said}");
    assert!(said.contains("TasksMax="), "{said}");
    // Whichever thread cannot be started.
    for processes in 2..16 {
        let log = dir.path().join("log");
        let path = |name: &str| dir.path().join(name);
        let mut host = limited(dir.path(), processes)
            .args(["run", "--no-state-dir", "--sock-dir"])
            .arg(path("s"))
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let said = || fs::read_to_string(&log).unwrap();
        let ended = wait_for("the host to start or to end", || {
            let ended = host.try_wait().unwrap();
            (ended.is_some() || said().contains("ready")).then_some(ended)
        });
        if ended.is_none() {
            let pid = Pid::from_raw(host.id().cast_signed()).unwrap();
            kill_process(pid, Signal::TERM).unwrap();
        }
        host.wait().unwrap();
        let said = said();
        assert!(!said.contains("panicked"), "{processes}: {said}");
        assert!(!said.is_empty(), "{processes}: it says why");
    }
}

#[test]
fn every_wrong_value_of_a_command_line_is_reported_at_once() {
    let home = tempfile::tempdir().unwrap();
    let said = |args: &[&str], code: i32| {
        let output = run(evbus(home.path()).args(args), b"");
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        stderr(&output)
    };
    let args = [
        "check",
        "--timeout",
        "soon",
        "--state-limit",
        "3",
        "--log-level",
        "loud",
        "--overrides",
        "[]",
        "--drain-timeout",
        "later",
    ];
    let all = said(&args, 2);
    for argument in [
        "'soon' for '--timeout <DURATION>'",
        "'3' for '--state-limit <SIZE>'",
        "'loud' for '--log-level <L>'\n  [possible values: error,",
        "invalid value for '--overrides <JSON>': expected a JSON object",
        "'later' for '--drain-timeout <DURATION>'",
        "were not provided:\n  --acct-file <F>",
    ] {
        assert_eq!(all.matches(argument).count(), 1, "{argument}: {all}");
    }
    assert_eq!(all.matches("For more information").count(), 1, "{all}");
    assert_eq!(
        said(&["check", "--timeout"], 2).matches("error: ").count(),
        1
    );
    assert_eq!(
        said(&["check", "--timeout", "x", "--help"], 2)
            .matches("error: ")
            .count(),
        1
    );
    assert_eq!(said(&["check", "--help"], 0), "");
}

#[test]
fn a_value_of_overrides_or_extras_that_is_not_json_is_not_repeated() {
    let home = tempfile::tempdir().unwrap();
    for flag in ["--overrides", "--extras"] {
        let mut command = evbus(home.path());
        command.args([
            "check",
            "--acct-file",
            "a.yml",
            flag,
            "{\"kafka\": \"SECRET",
        ]);
        let output = run(&mut command, b"");
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(
            said.contains(&format!("invalid value for '{flag} <JSON>'")),
            "{said}"
        );
        assert!(!said.contains("SECRET"), "{said}");
    }
}

#[test]
fn a_plugin_directory_that_a_variable_names_by_mistake_is_reported_with_the_variable() {
    let home = tempfile::tempdir().unwrap();
    let acct = home.path().join("acct.yml");
    fs::write(&acct, "{}\n").unwrap();
    let absent = home.path().join("absent");
    for (dir, sentence) in [
        (
            &absent,
            "absent: the directory does not exist, but EVBUS_PLUGIN_PATH names it; create it, or correct EVBUS_PLUGIN_PATH",
        ),
        (
            &acct,
            "acct.yml: it is not a directory, but EVBUS_PLUGIN_PATH names it; expected the directory that contains the plugin files: correct EVBUS_PLUGIN_PATH",
        ),
    ] {
        let mut check = evbus(home.path());
        check
            .args(["check", "--acct-file"])
            .arg(&acct)
            .env("EVBUS_PLUGIN_PATH", dir);
        let output = run(&mut check, b"");
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(sentence), "{}", stderr(&output));
    }
}
