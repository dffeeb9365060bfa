//! `evbus check` finds everything for which `evbus run` would be refused, all at once, and disturbs nobody.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, RunningHost, evbus, run, stderr};
use evbus_testkit::plugin_dir;
use rustix::process::geteuid;
use tempfile::TempDir;

const GOOD: &str = "fixture-good: {p: {path: out}}\n";
const DURABLE: &str = "fixture-good: {p: {path: out, evbus: {durable: true}}}\n";

pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    plugins: TempDir,
}

impl Bench {
    pub(crate) fn new(packages: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("open")).unwrap();
        fs::set_permissions(dir.path().join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        Self {
            dir,
            plugins: plugin_dir(packages),
        }
    }

    fn good() -> Self {
        Self::new(&["plugin-glob", "fixture-good"])
    }

    pub(crate) fn evbus(&self, command: &str, acct: &str, flags: &[&str]) -> Output {
        self.with(command, acct, flags, &[])
    }

    fn with(
        &self,
        command: &str,
        acct: &str,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Output {
        fs::write(self.dir.path().join("acct.yml"), acct).unwrap();
        run(
            evbus(self.dir.path())
                .args([command, "--acct-file", "acct.yml", "--plugin-dir"])
                .arg(self.plugins.path())
                .args(flags)
                .envs(variables.iter().copied())
                .current_dir(self.dir.path()),
            b"",
        )
    }

    /// What is in the directory.
    fn names(&self) -> Vec<String> {
        let found = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> = found
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn what_run_is_refused_for_is_what_check_says() {
    let bench = Bench::good();
    let cases: &[(&str, &[&str], i32, &str)] = &[
        (
            DURABLE,
            &["--no-state-dir"],
            78,
            "p.evbus.durable: `durable` needs",
        ),
        (
            "fixture-good: {p: {path: out, evbus: {when_full: spill}}}\n",
            &["--no-state-dir"],
            78,
            "p.evbus.when_full: `when_full: spill` needs",
        ),
        (GOOD, &["--state-dir", "file"], 78, "file"),
        (GOOD, &["--state-dir", "file/below"], 78, "file/below"),
        (GOOD, &["--state-dir", "open"], 78, "has mode 0777"),
        (GOOD, &["--sock-dir", "file"], 78, "file"),
        (GOOD, &["--sock-dir", "file/below"], 78, "file/below"),
        (GOOD, &["--sock-dir", "open"], 78, "has mode 0777"),
        (GOOD, &["--sock-dir", "s", "--sock-dir", "./s"], 78, "twice"),
        (
            GOOD,
            &["--sock-dir", "s", "--from-salt", "s"],
            78,
            "is this host's own",
        ),
        (
            GOOD,
            &["--sock-dir", "s", "--sock-group", "no-such-group"],
            78,
            "--sock-group: group \"no-such-group\" does not exist",
        ),
        (GOOD, &["--acct-key-file", "missing"], 78, "missing"),
        (GOOD, &["--drain-timeout", "soon"], 2, "--drain-timeout"),
        (GOOD, &["--state-limit", "much"], 2, "--state-limit"),
        (GOOD, &["--state-limit", "0"], 2, "expected at least 1 MiB"),
    ];
    for (acct, flags, code, sentence) in cases {
        let checked = bench.evbus("check", acct, flags);
        let said = stderr(&checked);
        assert_eq!(checked.status.code(), Some(*code), "{flags:?}: {said}");
        assert!(said.contains(sentence), "{flags:?}: {said}");
        assert_eq!(bench.names(), ["acct.yml", "file", "open"], "{flags:?}");
        let started = bench.evbus("run", acct, flags);
        let told = stderr(&started);
        assert_eq!(started.status.code(), Some(*code), "{flags:?}: {told}");
        assert!(told.contains(sentence), "{flags:?}: {told}");
        // Removes what the host created before it found the fault.
        for made in bench.names() {
            if !["acct.yml", "file", "open"].contains(&&*made) {
                let made = bench.dir.path().join(made);
                fs::remove_file(&made)
                    .or_else(|_| fs::remove_dir_all(&made))
                    .unwrap();
            }
        }
    }
}

#[test]
fn all_faults_of_the_file_the_entries_the_flags_and_the_plugins_are_told_in_one_round() {
    let bench = Bench::new(&["plugin-glob", "plugin-regex", "fixture-good"]);
    let library = bench.plugins.path().join("refused.so");
    fs::copy(bench.plugins.path().join("libfixture_good.so"), &library).unwrap();
    fs::set_permissions(&library, fs::Permissions::from_mode(0o666)).unwrap();
    let acct = "
evbuss: {durable: true}
match_plugn: glob
match_plugin: regex
Fixture_Good: {p: {}}
fixture-good:
  - first: {evbus: {durabel: true}}
  - '[': {path: 7, evbus: {deadline: never}}
  - third: {path: out, evbus: {durable: true}}
  - fourth: 5
";
    let flags = [
        "--no-state-dir",
        "--sock-dir",
        "open",
        "--sock-dir",
        "file",
        "--sock-group",
        "no-such-group",
    ];
    let output = bench.evbus("check", acct, &flags);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    for sentence in [
        "acct.yml:2:1: evbuss: found host settings at the top",
        "acct.yml:3:1: match_plugn: found an unknown key",
        "acct.yml:5:1: Fixture_Good: no plugin serves it; did you mean `fixture-good`?",
        "fixture-good.first.evbus.durabel: found the unknown key `durabel`",
        "did you mean `durable`?",
        "fixture-good.first: ",
        "fixture-good.[.evbus.deadline: ",
        "fixture-good.[.path: ",
        "fixture-good.[: \"[\" is not a valid pattern for match plugin regex",
        "fixture-good.third.evbus.durable: `durable` needs a state directory",
        "fixture-good.fourth: found ",
        "refused.so: ",
        "\"open\" belongs to user",
        "\"file\"",
        "group \"no-such-group\" does not exist",
    ] {
        assert!(said.contains(sentence), "expected {sentence:?} in:\n{said}");
    }
    for line in said.lines() {
        let is_whole = line.starts_with("error: ") || line.starts_with("note: ");
        assert!(is_whole, "a fault is one line: {line:?}");
    }
}

#[test]
fn directories_that_could_not_be_made_or_led_elsewhere_are_a_fault_of_both() {
    let bench = Bench::good();
    let at = |name: &str| bench.dir.path().join(name);
    symlink("loop", at("loop")).unwrap();
    fs::create_dir(at("open/sub")).unwrap();
    let mkfifo = std::process::Command::new("mkfifo")
        .arg(at("fifo"))
        .status();
    assert!(mkfifo.unwrap().success());
    let mut cases = vec![
        ("/proc/zz", "cannot create a directory in /proc: "),
        ("/sys/zz", "cannot create a directory in /sys: "),
        ("/dev/fd/99", "cannot create a directory in /proc/"),
        ("file", "not a directory"),
        ("fifo", "not a directory"),
        ("file/below", "not a directory"),
        ("/dev/null", "not a directory"),
        ("loop", "symbolic links"),
        ("open/sub", "run `chmod o-w "),
        ("open/new", "run `chmod o-w "),
    ];
    if geteuid().is_root() {
        fs::create_dir_all(at("swap/sub")).unwrap();
        fs::create_dir(at("ours")).unwrap();
        symlink(at("ours"), at("swap/link")).unwrap();
        for name in ["swap", "swap/link"] {
            lchown(at(name), Some(54_321), None).unwrap();
        }
        cases.extend([
            ("swap/link", "belongs to user 54321, not to user 0"),
            ("swap/sub", "belongs to user 54321, not to user 0"),
            ("swap/new", "belongs to user 54321, not to user 0"),
        ]);
    }
    let before = bench.names();
    for flag in ["--state-dir", "--sock-dir", "--plugin-copies"] {
        let count = if flag == "--plugin-copies" {
            5
        } else {
            cases.len()
        };
        for (path, sentence) in &cases[..count] {
            for command in ["check", "run"] {
                let more = if flag == "--sock-dir" {
                    &[][..]
                } else {
                    &["--sock-dir", "s"]
                };
                let output = bench.evbus(command, GOOD, &[&[flag, path], more].concat());
                let said = stderr(&output);
                assert_eq!(
                    output.status.code(),
                    Some(78),
                    "{command} {flag} {path}: {said}"
                );
                assert!(said.contains(sentence), "{command} {flag} {path}: {said}");
                assert!(
                    !said.contains("File exists"),
                    "{command} {flag} {path}: {said}"
                );
            }
        }
    }
    assert_eq!(
        fs::read_dir(at("open")).unwrap().count(),
        1,
        "nothing was made"
    );
    // What a host creates before it inspects the directory.
    let made = ["acct.yml", "default-state", "out"];
    let mut names = bench.names();
    names.retain(|name| !made.contains(&&**name));
    assert_eq!(names, before);
}

#[test]
fn a_salt_master_that_could_not_be_there_is_noted() {
    let bench = Bench::good();
    for (path, sentence) in [
        ("file", "file is not a directory"),
        ("file/below", "file/below cannot be inspected"),
        ("missing", "the directory missing does not exist"),
    ] {
        let output = bench.evbus("check", GOOD, &["--from-salt", path]);
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        assert!(
            said.contains("would wait for the Salt master: ") && said.contains(sentence),
            "{said}"
        );
        let dir = bench.dir.path().join(path);
        let host = RunningHost::start(
            "fixture-good: {p: {path: '{dir}/out'}}\n",
            bench.plugins.path(),
            &["--from-salt", dir.to_str().unwrap()],
        );
        host.wait_for_log("waiting for the Salt master: ");
        assert!(!host.log().contains('?'), "{}", host.log());
        host.stop();
    }
    let output = bench.evbus("check", GOOD, &["--from-salt", "open"]);
    assert!(
        !stderr(&output).contains("Salt master"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_check_beside_a_running_host_succeeds_and_disturbs_nothing() {
    let bench = Bench::good();
    let flags = ["--state-dir", "state", "--sock-dir", "s"];
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let host = RunningHost::start_in(
        dir,
        "fixture-good: {p: {path: '{dir}/out', evbus: {durable: true}}}\n",
        bench.plugins.path(),
        &["--state-dir", state.to_str().unwrap()],
    );
    let beside = |name: &str| host.path(name).display().to_string();
    let flags = flags.map(|flag| match flag {
        "state" | "s" => beside(flag),
        flag => flag.to_owned(),
    });
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let checked = bench.evbus("check", DURABLE, &flags);
    let said = stderr(&checked);
    assert!(checked.status.success(), "{said}");
    for place in ["state", "s"] {
        let note = format!("note: a host is running in {}", beside(place));
        assert!(said.contains(&note), "{said}");
    }
    let put = run(
        evbus(host.dir.path()).args(["put", "p", "1", "--sock-dir", &beside("s")]),
        b"",
    );
    assert!(put.status.success(), "{}", stderr(&put));
}

#[test]
fn sockets_of_another_program_are_a_fault() {
    let bench = Bench::good();
    let dir = bench.dir.path().join("s");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    let _salt = std::os::unix::net::UnixListener::bind(dir.join("master_event_pull.ipc")).unwrap();
    for command in ["check", "run"] {
        let output = bench.evbus(command, GOOD, &["--sock-dir", "s"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("is in use by another process"), "{said}");
    }
}

#[test]
fn two_destinations_that_cannot_share_a_file_are_found_by_connecting_to_both() {
    let bench = Bench::new(&["plugin-glob", "plugin-file"]);
    let path = bench.dir.path().join("events.jsonl");
    let acct = format!(
        "file:\n  - a: {{path: {0}}}\n  - b: {{path: {0}}}\n",
        path.display()
    );
    let output = bench.evbus("check", &acct, &["--connect"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(
        said.matches("error: destination file[").count(),
        1,
        "{said}"
    );
    assert!(said.contains("another"), "{said}");
}

#[test]
fn a_plugin_that_does_not_come_back_is_named_and_holds_nothing_up() {
    let bench = Bench::new(&["plugin-glob", "fixture-good", "fixture-hostile"]);
    let acct =
        "fixture-hostile: {a: {}, b: {}, c: {}, d: {}, e: {}}\nfixture-good: {p: {path: out}}\n";
    let flags = ["--connect", "--timeout", "1"];
    let limit = PATIENCE.min(Duration::from_secs(30));
    for (when, code, sentence) in [
        (
            "connect-hang",
            1,
            "error: destination fixture-hostile[4] e: the plugin did not connect within 1 s",
        ),
        (
            "close-hang",
            0,
            "note: destination fixture-hostile[4] e: connected, but the plugin fixture-hostile did not disconnect",
        ),
    ] {
        let start = Instant::now();
        let variables = [("EVBUS_FIXTURE_HOSTILE", when)];
        let output = bench.with("check", acct, &flags, &variables);
        let said = stderr(&output);
        assert!(start.elapsed() < limit, "{:?}", start.elapsed());
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(sentence), "{said}");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.contains("connected"), "{shown}");
    }
}

#[test]
fn a_state_directory_that_could_be_made_is_well_and_is_not_made() {
    let bench = Bench::good();
    let output = bench.evbus(
        "check",
        DURABLE,
        &[
            "--state-dir",
            "a/b",
            "--sock-dir",
            "c/d",
            "--plugin-copies",
            "e",
        ],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    for name in ["a", "c", "e", "out"] {
        assert!(!Path::new(&bench.dir.path().join(name)).exists(), "{name}");
    }
}

#[test]
fn all_faults_of_a_destination_are_told_in_one_round_each_at_its_line() {
    let bench = Bench::new(&["plugin-glob", "fixture-good"]);
    let acct = "fixture-good:
  first:
    paht: hunter2
    delay_ms: hunter2
    retry_first: {hunter2: 5}
    miscont: 5
    reject_containing: 31337
internal:
  second:
    routing_kye: hunter2
    routing_key: 31337
";
    let output = bench.evbus("check", acct, &[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let keys = "expected one of: delay_ms, miscount, path, reject_containing, retry_first";
    for sentence in [
        format!("acct.yml:3:5: fixture-good.first.paht: found an unknown key, {keys}; did you mean `path`?"),
        "acct.yml:4:5: fixture-good.first.delay_ms: found text, expected a whole number of at least 0".to_owned(),
        "acct.yml:5:5: fixture-good.first.retry_first: found a mapping, expected a whole number from 0 to 4294967295".to_owned(),
        format!("acct.yml:6:5: fixture-good.first.miscont: found an unknown key, {keys}; did you mean `miscount`?"),
        "acct.yml:7:5: fixture-good.first.reject_containing: found a number, expected text".to_owned(),
        "acct.yml:2:3: fixture-good.first: missing field `path`".to_owned(),
        "acct.yml:10:5: internal.second.routing_kye: found an unknown key, expected one of: routing_key".to_owned(),
        "acct.yml:11:5: internal.second.routing_key: found a value that is not a string, expected a string".to_owned(),
    ] {
        assert!(said.contains(&sentence), "expected {sentence:?} in:\n{said}");
    }
    assert!(
        !said.contains("hunter2") && !said.contains("31337"),
        "{said}"
    );
}

#[test]
fn a_store_of_a_newer_version_is_found_as_run_finds_it() {
    let bench = Bench::good();
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let flags = ["--state-dir", state.to_str().unwrap()];
    let host = RunningHost::start_in(home, GOOD, bench.plugins.path(), &flags);
    let (_, _, _home) = host.stop_and_keep();
    let queues = fs::read_dir(state.join("queues")).unwrap();
    let mut stores: Vec<_> = queues.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(stores.len(), 1, "{stores:?}");
    let store = rusqlite::Connection::open(stores.remove(0)).unwrap();
    store.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    for command in ["check", "run"] {
        let output = bench.evbus(command, GOOD, &flags);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{command}: {said}");
        assert!(said.contains("has format 99"), "{command}: {said}");
    }
}
