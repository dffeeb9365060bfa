//! A destination that no plugin serves, or whose plugin ends the process, is never "done".

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use crate::support::{RunningHost, evbus, run, stderr};
use evbus_testkit::plugin_dir;
use tempfile::TempDir;

struct Bench {
    dir: TempDir,
    plugins: TempDir,
}

impl Bench {
    fn new(packages: &[&str], acct: &str) -> Self {
        let plugins = match packages {
            [] => tempfile::tempdir().unwrap(),
            packages => plugin_dir(packages),
        };
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("acct.yml"), acct).unwrap();
        Self { dir, plugins }
    }

    fn evbus(&self, args: &[&str], variables: &[(&str, &str)]) -> Output {
        // After the command's name and before its positional arguments, which may include the command that `exec`
        // runs.
        run(
            evbus(self.dir.path())
                .arg(args[0])
                .args(["--acct-file", "acct.yml", "--plugin-dir"])
                .arg(self.plugins.path())
                .args(&args[1..])
                .envs(variables.iter().copied())
                .current_dir(self.dir.path()),
            b"",
        )
    }

    /// Asserts that every command that reads an acct file and its plugins exits with this code and prints this
    /// sentence.
    fn all(&self, code: i32, sentence: &str) {
        for command in [
            &["run"][..],
            &["put", "p", "1"],
            &["check"],
            &["route", "p"],
        ] {
            check(&self.evbus(command, &[]), code, sentence);
        }
        fs::write(self.dir.path().join("t.sls"), "a: 1\n").unwrap();
        check(&self.evbus(&["render", "t.sls"], &[]), code, sentence);
        let exec = self.evbus(&["exec", "--require-event", "--", "true"], &[]);
        check(&exec, 1, sentence);
    }
}

#[track_caller]
fn check(output: &Output, code: i32, sentence: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(sentence), "expected {sentence:?} in:\n{said}");
    assert!(!said.contains("panicked at"), "{said}");
}

#[test]
fn where_there_is_no_plugin_at_all_a_file_with_providers_is_an_error() {
    let bench = Bench::new(&[], "aws:\n  x: {id: 1}\n");
    bench.all(
        78,
        "acct.yml:1:1: aws: no plugin serves it, because no plugins were found",
    );
    let said = stderr(&bench.evbus(&["check"], &[]));
    assert_eq!(said.matches("aws").count(), 1, "one line says it: {said}");
}

#[test]
fn a_misspelt_provider_is_an_error_and_another_tools_is_not() {
    let bench = Bench::new(&["plugin-glob", "fixture-good"], "kafak:\n  p: {}\n");
    bench.all(
        78,
        "acct.yml:1:1: kafak: no plugin serves it; did you mean `kafka`?",
    );
    for command in [&["check"][..], &["check", "--strict"]] {
        let said = stderr(&bench.evbus(command, &[]));
        assert_eq!(said.matches("no plugin serves it").count(), 1, "{said}");
    }
    let bench = Bench::new(&["plugin-glob", "fixture-good"], "fixture-god:\n  p: {}\n");
    bench.all(78, "did you mean `fixture-good`?");
    let bench = Bench::new(&["plugin-glob", "fixture-good"], "kafka:\n  p: {}\n");
    bench.all(78, "kafka: no plugin serves it; install plugin-kafka");

    let acct = "aws:\n  x: {id: 1}\nfixture-good:\n  p: {path: out}\n";
    let bench = Bench::new(&["plugin-glob", "fixture-good"], acct);
    check(
        &bench.evbus(&["check"], &[]),
        0,
        "note: provider aws: no plugin serves it",
    );
    check(
        &bench.evbus(&["check", "--strict"], &[]),
        1,
        "error: provider aws: no plugin serves it",
    );
}

#[test]
fn a_strict_check_finds_what_is_used_twice_or_not_at_all() {
    let twice = "fixture-good:\n  - p: {path: out}\n  - p: {path: other}\n";
    let bench = Bench::new(&["plugin-glob", "fixture-good"], twice);
    check(
        &bench.evbus(&["check"], &[]),
        0,
        "note: destination fixture-good[1] p: entry 0",
    );
    check(
        &bench.evbus(&["check", "--strict"], &[]),
        1,
        "has the same pattern",
    );

    let bench = Bench::new(
        &["plugin-glob", "fixture-good"],
        "fixture-good:\n  p: {path: out}\n",
    );
    check(&bench.evbus(&["check", "--strict"], &[]), 0, "");
    let library = bench.plugins.path().join("libfixture_good.so");
    fs::copy(&library, bench.plugins.path().join("zcopy.so")).unwrap();
    check(
        &bench.evbus(&["check"], &[]),
        0,
        "zcopy.so: it is identical to",
    );
    check(
        &bench.evbus(&["check", "--strict"], &[]),
        1,
        "libfixture_good.so, which is used instead",
    );
}

#[test]
fn two_plugins_with_one_id_are_an_error_that_names_both_files() {
    let acct = "fixture-good:\n  p: {path: out}\n";
    let bench = Bench::new(&["plugin-glob", "fixture-good", "fixture-namesake"], acct);
    let sentence = "fixture-good: no plugin serves it: ";
    bench.all(78, sentence);
    let said = stderr(&bench.evbus(&["check"], &[]));
    assert!(said.contains("libfixture_good.so"), "{said}");
    assert!(
        said.contains("it has the same plugin id fixture-good as"),
        "{said}"
    );
    assert!(said.contains("libfixture_namesake.so"), "{said}");
    assert!(said.contains("so neither is used; remove one"), "{said}");
    // Even if the file does not name it.
    fs::write(
        bench.dir.path().join("acct.yml"),
        "fixture-namesake: {p: {}}\n",
    )
    .unwrap();
    check(
        &bench.evbus(&["check"], &[]),
        78,
        "it has the same plugin id fixture-good as",
    );
    // When one of them is removed, the other is used, whatever its version.
    fs::remove_file(bench.plugins.path().join("libfixture_good.so")).unwrap();
    check(&bench.evbus(&["check"], &[]), 0, "");
}

#[test]
fn a_required_destination_whose_plugin_is_refused_stops_the_start_with_the_reason() {
    let required = "aprovider:\n  p: {path: out, evbus: {required: true}}\n";
    let bench = Bench::new(&["plugin-glob", "fixture-good"], required);
    let library = bench.plugins.path().join("libfixture_good.so");
    fs::set_permissions(&library, fs::Permissions::from_mode(0o666)).unwrap();
    let sentence = "acct.yml:2:3: aprovider.p.evbus.required: the destination is required, but no plugin serves aprovider";
    bench.all(78, sentence);
    let said = stderr(&bench.evbus(&["put", "p", "1"], &[]));
    assert!(said.contains("libfixture_good.so: "), "{said}");
    assert!(said.contains("chmod"), "{said}");
}

#[test]
fn a_key_of_the_host_at_the_top_of_the_file_is_an_error_that_says_where_it_belongs() {
    let packages = ["plugin-glob", "fixture-good"];
    for (key, sentence) in [
        (
            "evbus: {durable: true}",
            "evbus: found host settings at the top of the file, expected them in an entry",
        ),
        ("Evbus: {durable: true}", "expected them in an entry"),
        ("match_plugins: regex", "did you mean `match_plugin`?"),
        ("match-plugin: regex", "did you mean `match_plugin`?"),
        ("matchplugin: regex", "did you mean `match_plugin`?"),
    ] {
        let acct = format!("fixture-good:\n  p: {{path: out}}\n{key}\n");
        Bench::new(&packages, &acct).all(78, sentence);
    }
}

#[test]
fn a_plugin_that_calls_exit_does_not_decide_how_the_process_ends() {
    let packages = ["plugin-glob", "fixture-exiting"];
    let acct = "fixture-exiting:\n  p: {when: publish}\n";
    let bench = Bench::new(&packages, acct);
    for command in [&["put", "p", "1"][..], &["check"], &["run"]] {
        let output = bench.evbus(command, &[("EVBUS_FIXTURE_EXIT", "load")]);
        check(
            &output,
            78,
            "libfixture_exiting.so: it called exit(0) while it was loaded",
        );
    }
    check(
        &bench.evbus(&["put", "p", "1"], &[]),
        70,
        "error: a plugin called exit",
    );
    check(&bench.evbus(&["check", "--connect"], &[]), 0, "");

    let bench = Bench::new(&packages, "fixture-exiting:\n  p: {when: check}\n");
    for command in [&["put", "p", "1"][..], &["check"], &["run"]] {
        let sentence = "plugin fixture-exiting called exit while it checked a configuration";
        check(&bench.evbus(command, &[]), 70, sentence);
    }
}

#[test]
fn a_running_host_whose_plugin_calls_exit_does_not_end_well() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-exiting"]);
    let host = RunningHost::start(
        "fixture-exiting: {p: {when: publish}}\n",
        plugins.path(),
        &[],
    );
    let sockets = host.path("s");
    let put = |dir: &Path| {
        let mut command = evbus(dir);
        run(
            command.args(["put", "p", "1", "--sock-dir"]).arg(&sockets),
            b"",
        )
    };
    put(host.dir.path());
    host.wait_for_log("error: a plugin called exit: exiting with status 70");
}
