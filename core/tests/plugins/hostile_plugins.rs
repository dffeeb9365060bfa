//! Plugin files that do harm before they are used: they are refused by name, and the host continues.
mod linking;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::beside::{delivers, ends_at_once};
use crate::support::{RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus_testkit::{built, built_all, plugin_dir};
use serde_json::Value;

pub(crate) const DEED: &str = "EVBUS_FIXTURE_HOSTILE";

const ACCT: &str = "
fixture-good:
  idem-*: {path: {dir}/good.jsonl}
fixture-hostile:
  idem-*:
fixture-null:
  idem-*: {evbus: {isolate: process}}
";

/// Puts bytes under a name atomically, as `mv` does.
pub(crate) fn put_in(dir: &Path, name: &str, bytes: &[u8]) {
    let copy = dir.join("copying");
    fs::write(&copy, bytes).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(copy, dir.join(name)).unwrap();
}

/// A host whose environment tells the hostile plugin what to do.
fn host_with(deed: &str, plugins: &Path) -> RunningHost {
    let mut launcher = Command::new("env");
    launcher.arg(format!("{DEED}={deed}"));
    let dir = tempfile::tempdir().unwrap();
    RunningHost::start_through(launcher, dir, ACCT, plugins, &[])
}

#[test]
fn whatever_a_plugin_does_while_it_is_asked_who_it_is_it_is_refused_in_one_sentence() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-hostile"]);
    let plugins = plugins.path();
    let deeds = [
        ("load-hang", "its constructor did not return within 10 s"),
        ("load-exit", "it called exit(3) while it was loaded"),
        (
            "load-abort",
            "it ended the process with signal 6 (SIGABRT) while it was loaded",
        ),
        ("names-hang", "it did not return its names within 10 s"),
        (
            "names-panic",
            "it ended the process with signal 6 (SIGABRT) while it was asked for its names",
        ),
        (
            "names-exit",
            "it called exit(3) while it was asked for its names",
        ),
        (
            "attach-hang",
            "it did not return when it was connected to the log within 10 s",
        ),
        (
            "attach-exit",
            "it called exit(3) while it was connected to the log",
        ),
        (
            "attach-abort",
            "it ended the process with signal 6 (SIGABRT) while it was connected to the log",
        ),
        (
            "attach-panic",
            "it ended the process with signal 6 (SIGABRT) while it was connected to the log",
        ),
        ("schema-hang", "it did not return its schema within 10 s"),
        (
            "schema-exit",
            "it called exit(3) while it was asked for its schema",
        ),
        (
            "schema-panic",
            "it ended the process with signal 6 (SIGABRT) while it was asked for its schema",
        ),
        (
            "schema-long",
            "its schema has 2097171 bytes; expected at most 1048576",
        ),
        (
            "check-abort",
            "it ended the process with signal 6 (SIGABRT) while it checked an empty configuration",
        ),
    ];
    std::thread::scope(|scope| {
        for (deed, sentence) in deeds {
            scope.spawn(move || {
                let dir = tempfile::tempdir().unwrap();
                fs::write(dir.path().join("acct.yml"), "fixture-hostile: {p: }\n").unwrap();
                let output = run(
                    evbus(dir.path())
                        .args(["check", "--acct-file", "acct.yml", "--plugin-dir"])
                        .arg(plugins)
                        .current_dir(dir.path())
                        .env(DEED, deed),
                    b"",
                );
                let said = stderr(&output);
                assert_eq!(output.status.code(), Some(78), "{deed}: {said}");
                let expected = "acct.yml:1:1: fixture-hostile: no plugin serves it: ";
                assert!(said.contains(expected), "{deed}: {said}");
                assert!(
                    said.contains(&format!("libfixture_hostile.so: {sentence}")),
                    "{deed}: {said}"
                );
            });
        }
    });
}

#[test]
fn a_plugin_that_nothing_uses_is_listed_without_running_it() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good", "fixture-hostile"]);
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("acct.yml"),
        "fixture-good: {p: {path: out}}\n",
    )
    .unwrap();
    let evbus = |args: &[&str]| {
        let mut command = evbus(dir.path());
        command
            .args(args)
            .arg("--plugin-dir")
            .arg(plugins.path())
            .current_dir(dir.path())
            .env(DEED, "load-exit");
        let output = run(&mut command, b"");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        output
    };
    let listed = evbus(&["plugins", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let hostile = listed.as_array().unwrap().iter();
    let hostile = hostile.filter(|report| report["id"] == "fixture-hostile");
    let hostile: Vec<&Value> = hostile.collect();
    assert_eq!(hostile[0]["state"], "discovered", "{listed}");
    assert_eq!(
        hostile[0]["providers"],
        serde_json::json!(["fixture-hostile"])
    );
    evbus(&["put", "p", "1", "--acct-file", "acct.yml"]);
    assert_eq!(lines_of(&dir.path().join("out")).len(), 1);
    evbus(&["check", "--strict", "--acct-file", "acct.yml"]);
}

#[test]
fn a_running_host_goes_on_and_ends_at_once_whatever_is_dropped_in() {
    let library = fs::read(built_all(&["fixture-hostile"]).remove(0)).unwrap();
    let hanging = ["load-hang", "names-hang", "attach-hang", "schema-hang"];
    let ending = [
        "load-abort",
        "attach-abort",
        "attach-panic",
        "attach-exit",
        "names-panic",
        "names-abort",
        "names-exit",
        "schema-panic",
        "schema-abort",
        "schema-exit",
    ];
    for deed in hanging.into_iter().chain(ending) {
        let plugins = plugin_dir(&["plugin-glob", "fixture-good", "fixture-null"]);
        let host = host_with(deed, plugins.path());
        host.wait_for_log("no plugin serves provider fixture-hostile of the acct file");
        put_in(plugins.path(), "hostile.so", &library);
        if ending.contains(&deed) {
            host.wait_for_log("hostile.so: not used: it ");
        } else {
            wait_for("the process that tries it", || {
                has_child_for(&host, "fixture-hostile").then_some(())
            });
        }
        delivers(&host, "meanwhile");
        let asked = Instant::now();
        let (status, log) = host.stop();
        assert_eq!(status.code(), Some(0), "{deed}: {log}");
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(5), "{deed}: {took:?}, {log}");
    }
}

/// Whether the host has a child process for a plugin.
fn has_child_for(host: &RunningHost, plugin: &str) -> bool {
    let children = format!("/proc/{0}/task", host.pid());
    let threads = fs::read_dir(children).unwrap();
    threads.flatten().any(|thread| {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.split_whitespace().any(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).ends_with(&format!("\0{plugin}\0"))
        })
    })
}

#[test]
fn a_host_that_waits_for_a_plugin_says_so_and_then_does_without_it() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good", "fixture-null"]);
    let host = host_with("load-hang", plugins.path());
    put_in(
        plugins.path(),
        "hostile.so",
        &fs::read(built("fixture-hostile")).unwrap(),
    );
    host.wait_for_log("hostile.so has not answered for 5 s");
    delivers(&host, "while it hangs");
    host.wait_for_log("hostile.so: not used: its constructor did not return within 10 s");
    delivers(&host, "afterwards");
    assert!(!has_child_for(&host, "fixture-hostile"), "it was killed");
    let (status, log) = host.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_plugin_that_passed_and_hangs_later_ends_the_process_and_is_named() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-hostile"]);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(crate::support::default_state_dir(dir.path())).unwrap();
    fs::write(dir.path().join("acct.yml"), "fixture-hostile: {p: }\n").unwrap();
    let evbus = |args: &[&str]| {
        let mut command = evbus(dir.path());
        command
            .args(args)
            .args(["--acct-file", "acct.yml", "--plugin-dir"])
            .arg(plugins.path())
            .current_dir(dir.path());
        command
    };
    let output = run(&mut evbus(&["check"]), b"");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let tried = crate::support::default_state_dir(dir.path()).join("plugins-tried");
    let hashes = fs::read_to_string(&tried).unwrap();
    assert_eq!(
        hashes.lines().count(),
        3,
        "a head and two plugins: {hashes}"
    );

    // The plugin is not probed again, so the process itself meets the hang.
    for command in [&["check"][..], &["run", "--sock-dir", "s"]] {
        let output = run(evbus(command).env(DEED, "load-hang"), b"");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(70), "{said}");
        for sentence in [
            "libfixture_hostile.so has not answered for 5 s",
            "libfixture_hostile.so: its constructor did not return within 10 s",
        ] {
            assert!(said.contains(sentence), "{said}");
        }
    }
    // A hang outside a constructor blocks nobody.
    let output = run(evbus(&["check"]).env(DEED, "names-hang"), b"");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let sentence = "libfixture_hostile.so: it was not loaded within 10 s";
    assert!(said.contains(sentence), "{said}");
}

#[test]
fn a_plugin_file_that_is_damaged_at_any_of_200_places_does_not_take_a_running_host_down() {
    const HOSTS: u64 = 4;
    const FILES: usize = 50;
    let whole = fs::read(built("fixture-null")).unwrap();
    let refused: usize = std::thread::scope(|scope| {
        let hosts: Vec<_> = (0..HOSTS)
            .map(|seed| {
                let whole = &whole;
                scope.spawn(move || damaged_files(whole, 0x5eed + seed, FILES))
            })
            .collect();
        (hosts.into_iter()).map(|host| host.join().unwrap()).sum()
    });
    assert!(refused > 0, "no damage was found");
}

/// Puts damaged files into a running host's directory, one after the other. Returns how many were refused.
fn damaged_files(whole: &[u8], mut seed: u64, files: usize) -> usize {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let host = host_with("", plugins.path());
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap()
    };
    let mut refused = 0;
    for number in 0..files {
        let mut damaged = whole.to_vec();
        // The part with the headers, the symbols and the relocations.
        damaged[random() % (64 * 1024)] ^= 1 << (random() % 8);
        let name = format!("damaged-{number}.so");
        put_in(plugins.path(), &name, &damaged);
        // The log reports what happened to it.
        host.wait_for_log(&name);
        let log = host.log();
        refused += usize::from(log.contains(&format!("{name}: not used")));
        fs::remove_file(plugins.path().join(&name)).unwrap();
    }
    delivers(&host, "after all that");
    put_in(plugins.path(), "whole.so", whole);
    host.wait_for_log("whole.so: fixture-null 0.1.0 loaded");
    let (status, log) = host.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    refused
}

/// The reason for which `evbus plugins inspect` refuses a file.
fn refused(file: &Path) -> String {
    let home = file.parent().unwrap();
    let output = run(evbus(home).args(["plugins", "inspect"]).arg(file), b"");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[test]
fn what_a_plugin_says_of_itself_has_to_be_what_its_file_says() {
    let dir = plugin_dir(&["plugin-glob"]);
    let whole = fs::read(built("fixture-null")).unwrap();
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = whole
            .windows(from.len())
            .position(|part| part == from.as_bytes());
        let at = at.unwrap_or_else(|| panic!("the file has {from}"));
        let mut other = whole.clone();
        other[at..at + to.len()].copy_from_slice(to.as_bytes());
        other
    };
    put_in(
        dir.path(),
        "other.so",
        &replaced(
            r#""providers":["fixture-null"]"#,
            r#""providers":["fixture-nill"]"#,
        ),
    );
    put_in(
        dir.path(),
        "none.so",
        &replaced("\0.evbus_plugin\0", "\0.evbus_plug_n\0"),
    );
    for (file, sentence) in [
        (
            "other.so",
            r#"its manifest has providers ["fixture-nill"], but the plugin itself reports ["fixture-null"]"#,
        ),
        ("none.so", "it has no manifest; rebuild it"),
    ] {
        let said = refused(&dir.path().join(file));
        assert!(said.contains(sentence), "{said}");
    }
}

#[test]
fn a_plugin_with_an_allocator_of_its_own_connects_and_delivers() {
    const EVENTS: usize = 100;
    let allocators = ["fixture-jemalloc", "fixture-mimalloc"];
    let plugins = plugin_dir(&["plugin-glob", "fixture-good", allocators[0], allocators[1]]);
    let acct = |threads: u8| {
        let entry = |isolate| {
            format!(
                "- idem-*: {{threads: {threads}, evbus: {{isolate: {isolate}, batch: {{events: 7}}}}}}\n"
            )
        };
        let entries = entry("none") + &entry("process");
        allocators
            .map(|name| format!("{name}:\n{entries}"))
            .concat()
            + "fixture-good:\n  idem-other: {path: '{dir}/good.jsonl'}\n"
    };
    let host = RunningHost::start(&acct(1), plugins.path(), &[]);
    let each_says = |word: &str| {
        wait_for(
            &format!("all destinations to say {word:?}: {}", host.log()),
            || {
                let log = host.log();
                let said = |line: &&str| line.contains("malloc[") && line.contains(word);
                (log.lines().filter(said).count() == 4).then_some(())
            },
        );
    };
    let each_accepts = |count: usize| {
        wait_for("the events to be accepted", || {
            let status = host.status();
            let destinations = status["destinations"].as_array().unwrap().iter();
            let done = |lane: &&Value| lane["accepted"] == count && lane["pattern"] == "idem-*";
            (destinations.filter(done).count() == 4).then_some(())
        });
    };
    // Among them, one larger than what these allocators cache per thread.
    let large = "x".repeat(100_000);
    let mut events = format!("{{\"profile\": \"idem-run\", \"body\": {large:?}}}\n");
    events += &"{\"profile\": \"idem-run\", \"body\": 1}\n".repeat(EVENTS - 1);
    each_says(": connected");
    host.put_events(&events);
    each_accepts(EVENTS);

    // New instances while the memory of the old ones is freed.
    let text = acct(4).replace("{dir}", &host.dir.path().to_string_lossy());
    fs::write(host.path("acct.new"), text).unwrap();
    fs::rename(host.path("acct.new"), host.path("acct.yml")).unwrap();
    each_says(": configuration changed, reconnecting");
    host.put_events(&events);
    each_accepts(2 * EVENTS);
    // Another plugin beside them works as before, and the host ends.
    host.put("idem-other", "1");
    wait_for("the event at the other destination", || {
        (lines_of(&host.path("good.jsonl")).len() == 1).then_some(())
    });
    ends_at_once(host);
}

#[test]
fn a_host_that_is_killed_leaves_nothing_in_the_directory_for_temporary_files() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tmp")).unwrap();
    let mut launcher = Command::new("env");
    launcher.arg(format!("TMPDIR={}", dir.path().join("tmp").display()));
    let acct = "fixture-good:\n- idem-*: {path: '{dir}/good.jsonl'}\n- idem-*: {path: '{dir}/apart.jsonl', evbus: {isolate: process}}\n";
    let host = RunningHost::start_through(launcher, dir, acct, plugins.path(), &[]);
    delivers(&host, "before");
    let dir = host.kill();
    let left: Vec<_> = fs::read_dir(dir.path().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn copies_for_debuggers_are_what_is_mapped_and_nobody_elses() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let copies = dir.path().join("copies");
    let acct = "fixture-good:\n  idem-*: {path: {dir}/good.jsonl}\n";
    let copies = copies.to_str().unwrap().to_owned();
    // Whatever the user's umask is.
    let mut launcher = Command::new("sh");
    launcher.args(["-c", "umask 0; exec \"$@\"", "sh"]);
    let flags = ["--plugin-copies", &copies];
    let host = RunningHost::start_through(launcher, dir, acct, plugins.path(), &flags);
    delivers(&host, "from a copy");
    let maps = fs::read_to_string(format!("/proc/{}/maps", host.pid())).unwrap();
    assert!(maps.contains(&format!("{copies}/")), "{maps}");
    assert!(!maps.contains("evbus:fixture-good"), "{maps}");
    let mode = fs::metadata(&copies).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o700);
    for copy in fs::read_dir(&copies).unwrap() {
        let mode = copy.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o022, 0, "{mode:o}");
    }
    let (status, log) = host.stop();
    assert_eq!(status.code(), Some(0), "{log}");

    // Plugins are not copied into a directory that others can enter.
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("acct.yml"),
        "fixture-good: {p: {path: out}}\n",
    )
    .unwrap();
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    let mut check = evbus(dir.path());
    check
        .args([
            "check",
            "--acct-file",
            "acct.yml",
            "--plugin-copies",
            "open",
        ])
        .arg("--plugin-dir")
        .arg(plugins.path())
        .current_dir(dir.path());
    let output = run(&mut check, b"");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("mode 0755"), "{said}");
}
