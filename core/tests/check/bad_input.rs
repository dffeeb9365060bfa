//! Bad input: one clear sentence, the right exit code, and everything else still works.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use crate::support::{RunningHost, evbus, json_lines, lines_of, run, stderr, wait_for};
use evbus_testkit::{built, plugin_dir};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Plugins, and a directory for files.
struct Bench {
    plugins: TempDir,
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            plugins: plugin_dir(&["plugin-glob", "plugin-regex", "fixture-good"]),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn evbus(&self, args: &[&str], input: &[u8]) -> Output {
        run(
            evbus(self.dir.path())
                .args(args)
                .arg("--plugin-dir")
                .arg(self.plugins.path())
                .current_dir(self.dir.path()),
            input,
        )
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn good_acct(&self) {
        self.write(
            "acct.yml",
            "fixture-good:\n  idem-*:\n    path: out.jsonl\n",
        );
    }
}

#[track_caller]
fn check_exit(output: &Output, code: i32, sentence: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(sentence), "expected {sentence:?} in:\n{said}");
    assert!(!said.contains("panicked at"), "{said}");
}

/// The report of one file in `evbus plugins list --json`.
fn refused(dir: &Path, file: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let output = run(
        evbus(home.path())
            .args(["plugins", "list", "--json", "--plugin-dir"])
            .arg(dir),
        b"",
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let reports: Value = serde_json::from_slice(&output.stdout).unwrap();
    let report = reports
        .as_array()
        .unwrap()
        .iter()
        .find(|report| report["file"].as_str().unwrap().ends_with(file))
        .unwrap_or_else(|| panic!("{file} is not in {reports}"));
    assert_eq!(report["state"], "refused", "{report}");
    report["reason"].as_str().unwrap().to_owned()
}

#[test]
fn every_kind_of_file_that_is_no_plugin_is_refused_with_its_reason_and_the_rest_is_loaded() {
    let bench = Bench::new();
    let dir = bench.plugins.path();
    let put = |name: &str, bytes: &[u8]| {
        fs::write(dir.join(name), bytes).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    };
    let whole = fs::read(built("fixture-null")).unwrap();
    put("truncated.so", &whole[..whole.len() / 3]);
    put("text.so", b"this is no library\n");
    put("empty.so", b"");
    let mut foreign = whole.clone();
    foreign[18] = 0xb7; // e_machine: AArch64
    put("foreign.so", &foreign);
    put(
        "other-abi.so",
        &fs::read(built("fixture-wrong-abi")).unwrap(),
    );
    let libz = [
        "/lib/x86_64-linux-gnu/libz.so.1",
        "/usr/lib/libz.so.1",
        "/lib64/libz.so.1",
    ]
    .iter()
    .find(|path| Path::new(path).exists())
    .expect("zlib is installed, as on every Debian-like system");
    put("libz.so", &fs::read(libz).unwrap());
    put("writable.so", &whole);
    fs::set_permissions(dir.join("writable.so"), fs::Permissions::from_mode(0o666)).unwrap();

    for (file, reason) in [
        ("truncated.so", "it is damaged or truncated"),
        ("text.so", "it is not a shared library"),
        ("empty.so", "it is empty"),
        ("foreign.so", "it was built for another processor"),
        (
            "other-abi.so",
            "it uses plugin ABI 2, but this host supports 1",
        ),
        ("libz.so", "it is a shared library but not an evbus plugin"),
        (
            "writable.so",
            "has mode 0666, so other users can write to it; run: chmod go-w",
        ),
    ] {
        let found = refused(dir, file);
        assert!(found.contains(reason), "{file}: {found}");
    }

    // The other plugins still work.
    bench.good_acct();
    let output = bench.evbus(&["put", "--acct-file", "acct.yml", "idem-run", "1"], b"");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(lines_of(&bench.dir.path().join("out.jsonl")).len(), 1);

    // `inspect` gives the same reasons, `check` counts them as faults.
    let output = run(
        evbus(dir)
            .args(["plugins", "inspect"])
            .arg(dir.join("text.so")),
        b"",
    );
    check_exit(&output, 1, "text.so: it is not a shared library");
    let output = bench.evbus(&["check", "--acct-file", "acct.yml"], b"");
    check_exit(
        &output,
        1,
        "libz.so: it is a shared library but not an evbus plugin",
    );
}

#[test]
fn directories_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let writable = dir.path().join("writable");
    fs::create_dir(&writable).unwrap();
    fs::copy(built("fixture-null"), writable.join("null.so")).unwrap();
    fs::set_permissions(&writable, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(
        refused(&writable, "writable").contains("has mode 0777, so other users can write to it")
    );
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o755)).unwrap();
    let output = run(
        evbus(dir.path())
            .args(["plugins", "list", "--plugin-dir"])
            .arg(&empty),
        b"",
    );
    check_exit(&output, 0, "no plugin file found in");
}

#[test]
fn every_fault_of_an_acct_file_is_named_with_line_and_key() {
    let bench = Bench::new();
    for (acct, sentence) in [
        ("fixture-good:\n\tidem-*:\n", "acct.yml:2:1"),
        (
            "fixture-good:\n  a:\n    path: x\n  a:\n    path: y\n",
            "acct.yml:4:3: fixture-good.a: duplicate key, first on line 2",
        ),
        ("fixture-good: 7\n", "acct.yml:1:1: fixture-good"),
        ("fixture-good:\n  a: 7\n", "acct.yml:2:3: fixture-good.a"),
        (
            "match_plugin: globb\nfixture-good:\n  a:\n    path: x\n",
            "acct.yml:1:1: match_plugin: no loaded plugin provides match plugin \"globb\"; expected one of: glob, regex",
        ),
        (
            "match_plugin: regex\nfixture-good:\n  idem-(:\n    path: x\n",
            "acct.yml:3:3: fixture-good.idem-(",
        ),
        (
            "fixture-good:\n  a:\n    path: x\n    paht: y\n",
            "acct.yml:4:5: fixture-good.a.paht: found an unknown key, expected one of: delay_ms, miscount, path,",
        ),
        (
            "fixture-good:\n  a:\n    path: x\n    delay_ms: soon\n",
            "acct.yml:4:5: fixture-good.a.delay_ms",
        ),
        (
            "fixture-good:\n  a:\n    path: x\n    evbus: {when_ful: block}\n",
            "when_ful",
        ),
    ] {
        bench.write("acct.yml", acct);
        for command in [
            &["run", "--acct-file", "acct.yml"][..],
            &["put", "--acct-file", "acct.yml", "a", "1"],
            &["route", "--acct-file", "acct.yml", "a"],
            &["check", "--acct-file", "acct.yml"],
        ] {
            check_exit(&bench.evbus(command, b""), 78, sentence);
        }
    }
    let output = bench.evbus(&["run", "--acct-file", "absent.yml"], b"");
    check_exit(&output, 78, "absent.yml");
}

#[test]
fn all_faults_of_a_file_are_given_at_once() {
    let bench = Bench::new();
    bench.write(
        "acct.yml",
        "fixture-good:\n  a:\n    path: x\n    one: 1\n  b:\n    path: 7\n",
    );
    let output = bench.evbus(&["check", "--acct-file", "acct.yml"], b"");
    check_exit(&output, 78, "acct.yml:4:5: fixture-good.a.one");
    check_exit(&output, 78, "acct.yml:6:5: fixture-good.b.path");
}

#[test]
fn bodies_that_are_no_json_or_too_deep_are_refused_and_large_ones_arrive() {
    let bench = Bench::new();
    bench.good_acct();
    let put = |body: &str| bench.evbus(&["put", "--acct-file", "acct.yml", "idem-run", body], b"");
    check_exit(&put("FINISHED"), 1, "the body is not JSON");
    let deep = "[".repeat(5000) + &"]".repeat(5000);
    check_exit(
        &put(&deep),
        1,
        "the body is nested 5000 levels deep; expected at most 128",
    );
    assert!(
        !bench.dir.path().join("out.jsonl").exists(),
        "nothing was sent"
    );

    // Invalid lines of standard input are reported, and the others arrive.
    let large = format!("\"{}\"", "x".repeat(64 * 1024 * 1024));
    let input = format!("1\nnonsense\n{deep}\n{large}\n\n2\n");
    let output = bench.evbus(
        &[
            "put",
            "--acct-file",
            "acct.yml",
            "--raw",
            "--timeout",
            "120",
            "idem-run",
            "-",
        ],
        input.as_bytes(),
    );
    check_exit(&output, 1, "standard input, line 2: the body is not JSON");
    check_exit(
        &output,
        1,
        "standard input, line 3: the body is nested 5000 levels deep",
    );
    check_exit(
        &output,
        1,
        "2 lines of standard input were not fired; all others were",
    );
    let bodies: Vec<usize> = lines_of(&bench.dir.path().join("out.jsonl"))
        .iter()
        .map(|line| line["body"].as_str().unwrap().len())
        .collect();
    assert_eq!(bodies, [1, large.len(), 1]);

    let too_long = format!("\"{}\"\n7\n", "x".repeat(101 * 1024 * 1024));
    let output = bench.evbus(
        &[
            "put",
            "--acct-file",
            "acct.yml",
            "--raw",
            "--timeout",
            "120",
            "idem-run",
            "-",
        ],
        too_long.as_bytes(),
    );
    check_exit(
        &output,
        1,
        "standard input, line 1: the line is longer than",
    );
    assert_eq!(lines_of(&bench.dir.path().join("out.jsonl")).len(), 4);
}

#[test]
fn a_rejected_event_makes_put_fail_and_the_others_arrive() {
    let bench = Bench::new();
    bench.write(
        "acct.yml",
        "fixture-good:\n  idem-*:\n    path: out.jsonl\n    reject_containing: poison\n",
    );
    let output = bench.evbus(
        &["put", "--acct-file", "acct.yml", "--raw", "idem-run", "-"],
        b"1\n\"poison\"\n2\n",
    );
    check_exit(
        &output,
        1,
        "destination fixture-good[0] idem-*: 1 of 3 events were not delivered",
    );
    let bodies: Vec<Value> = lines_of(&bench.dir.path().join("out.jsonl"))
        .iter()
        .map(|line| line["body"].clone())
        .collect();
    assert_eq!(bodies, [json!("1"), json!("2")]);
}

#[test]
fn an_event_that_no_destination_wants_is_no_failure_but_said() {
    let bench = Bench::new();
    bench.good_acct();
    let output = bench.evbus(&["put", "--acct-file", "acct.yml", "other", "1"], b"");
    check_exit(
        &output,
        0,
        "no destination's pattern matches profile \"other\"",
    );
    let required = bench.evbus(
        &[
            "put",
            "--acct-file",
            "acct.yml",
            "--require-destination",
            "--raw",
            "other",
            "-",
        ],
        b"1\n2\n",
    );
    check_exit(
        &required,
        1,
        "no destination's pattern matches profile \"other\", but a destination is required",
    );
    let said = stderr(&required);
    assert_eq!(
        said.matches("no destination's pattern").count(),
        1,
        "{said}"
    );
    assert!(!said.contains("note"), "{said}");
}

#[test]
fn wrong_use_is_told_with_code_2() {
    let bench = Bench::new();
    for args in [
        &["put", "idem-run"][..],
        &["put", "idem-run", "1"],
        &["put", "--tag", "nonsense", "idem-run", "1"],
        &["run", "--drain-timeout", "soon"],
        &["run", "--serial-plugin", "xml"],
        &["nonsense"],
    ] {
        let output = bench.evbus(args, b"");
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn put_and_listen_without_a_host_say_where_they_looked() {
    let bench = Bench::new();
    let output = run(
        evbus(bench.dir.path()).args(["put", "--sock-dir", "/nonexistent/s", "idem-run", "1"]),
        b"",
    );
    check_exit(&output, 1, "/nonexistent/s");
    let output = run(
        evbus(bench.dir.path()).args(["listen", "--sock-dir", "/nonexistent/s"]),
        b"",
    );
    check_exit(&output, 1, "/nonexistent/s");
}

#[test]
fn a_second_host_on_a_socket_directory_is_refused_and_the_first_goes_on() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let host = RunningHost::start(
        "fixture-good:\n  idem-*:\n    path: {dir}/out.jsonl\n",
        plugins.path(),
        &[],
    );
    let output = run(
        evbus(host.dir.path())
            .args(["run", "--sock-dir"])
            .arg(host.path("s")),
        b"",
    );
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    host.put("idem-run", "1");
    wait_for("the event", || {
        (!lines_of(&host.path("out.jsonl")).is_empty()).then_some(())
    });
}

#[test]
fn route_prints_one_line_per_name_from_arguments_and_standard_input() {
    let bench = Bench::new();
    bench.write(
        "acct.yml",
        "fixture-good:\n  - idem-*:\n      path: a\n  - idem-run:\n      path: b\ninternal:\n  '*':\n",
    );
    let output = bench.evbus(
        &["route", "--acct-file", "acct.yml", "idem-run", "-"],
        b"other\n",
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let entry = |provider: &str, pattern: &str, index: u32| json!({"provider": provider, "pattern": pattern, "index": index});
    assert_eq!(
        json_lines(&output),
        [
            json!({"profile": "idem-run", "destinations": [
                entry("fixture-good", "idem-*", 0),
                entry("fixture-good", "idem-run", 1),
                entry("internal", "*", 0),
            ]}),
            json!({"profile": "other", "destinations": [entry("internal", "*", 0)]}),
        ]
    );

    // An invalid name is reported and does not stop the command.
    let long = "x".repeat(1024 * 1024);
    let input = [long.as_bytes(), b"\n\xff\nother\n"].concat();
    let output = bench.evbus(&["route", "--acct-file", "acct.yml"], &input);
    check_exit(
        &output,
        1,
        "standard input, line 1: the line is longer than 65536 bytes",
    );
    check_exit(&output, 1, "standard input, line 2: not UTF-8 after byte 0");
    check_exit(
        &output,
        1,
        "2 lines of standard input are not profile names",
    );
    assert_eq!(json_lines(&output).len(), 1);
}

#[test]
fn listen_shows_what_is_put_and_ends_as_asked() {
    let plugins = plugin_dir(&["plugin-glob"]);
    let host = RunningHost::start("internal:\n  default:\n", plugins.path(), &[]);
    let listen = |args: &[&str]| {
        let mut command = evbus(host.dir.path());
        command
            .arg("listen")
            .arg("--sock-dir")
            .arg(host.path("s"))
            .args(args);
        command
    };
    let output = run(&mut listen(&["--wait", "0.2"]), b"");
    assert_eq!(
        output.status.code(),
        Some(1),
        "nothing came: {}",
        stderr(&output)
    );

    let mut command = listen(&["--full", "--count", "2", "--tag", "idem-", "--wait", "60"]);
    let listening = std::thread::spawn(move || run(&mut command, b""));
    // Fires until the listener has seen enough.
    wait_for("the listener to end", || {
        host.put("other", "{\"n\": 0}");
        host.put("idem-run", "{\"n\": 1}");
        listening.is_finished().then_some(())
    });
    let output = listening.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines = json_lines(&output);
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!(line["tag"], "idem-run");
        assert_eq!(line["data"]["n"], 1);
    }
}
