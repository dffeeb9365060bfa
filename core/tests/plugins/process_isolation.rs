//! `isolate: process`: whatever ends a plugin's process, the host continues and no event is lost.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus::Host;
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A process that is not a zombie.
fn lives(pid: i32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != 'Z')
}

/// From `/proc/PID/stat`: the name may contain anything, but the rest contains no `)`.
fn state_and_parent(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut rest = stat.rsplit_once(") ")?.1.split(' ');
    Some((
        rest.next()?.chars().next()?,
        rest.next()?.parse::<i32>().ok()?,
    ))
}

/// The host's children, zombies included.
fn children(host: &RunningHost) -> Vec<i32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            state_and_parent(*pid).is_some_and(|(_, parent)| parent.unsigned_abs() == host.pid())
        })
        .collect()
}

/// The one child of a host, once it is there and connected.
fn child(host: &RunningHost) -> i32 {
    host.wait_for_log(": connected");
    wait_for("the plugin's process", || match children(host)[..] {
        [pid] if lives(pid) => Some(pid),
        _ => None,
    })
}

fn wait_for_end(pids: &[i32]) {
    wait_for("the plugins' processes to end", || {
        pids.iter().all(|pid| !lives(*pid)).then_some(())
    });
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn threads(host: &RunningHost) -> usize {
    fs::read_dir(format!("/proc/{}/task", host.pid()))
        .unwrap()
        .count()
}

fn numbers(count: usize) -> String {
    let mut lines = String::new();
    for number in 0..count {
        writeln!(lines, "{{\"profile\": \"idem-run\", \"body\": {number}}}").unwrap();
    }
    lines
}

/// The different bodies in a file.
fn bodies(path: &Path) -> BTreeSet<String> {
    lines_of(path)
        .iter()
        .map(|line| line["body"].as_str().unwrap().to_owned())
        .collect()
}

fn wait_for_bodies(path: &Path, count: usize) {
    wait_for(&format!("{count} events in {}", path.display()), || {
        (bodies(path).len() == count).then_some(())
    });
}

#[test]
fn a_plugin_in_its_own_process_delivers_the_same() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let host = RunningHost::start(
        "
file:
- idem-*: {path: {dir}/inside.jsonl}
- idem-*: {path: {dir}/apart.jsonl, evbus: {isolate: process}}
",
        plugins.path(),
        &[],
    );
    let mut events = numbers(2000);
    for body in [
        Value::from("ä \u{1f680} \" \\ \n"),
        serde_json::json!({"tags": {"ref": "idem.run", "type": "state"}, "message": {"a": [1, null]}, "run_name": "r"}),
        // Larger than the socket's buffer.
        Value::from("x".repeat(3_000_000)),
    ] {
        writeln!(events, "{{\"profile\": \"idem-more\", \"body\": {body}}}").unwrap();
    }
    host.put_events(&events);
    let (inside, apart) = (host.path("inside.jsonl"), host.path("apart.jsonl"));
    wait_for("all events in both files", || {
        (lines_of(&inside).len() == 2003 && lines_of(&apart).len() == 2003).then_some(())
    });
    assert!(
        fs::read(&inside).unwrap() == fs::read(&apart).unwrap(),
        "the files differ"
    );
    let children = children(&host);
    assert_eq!(children.len(), 1);
    let (status, log) = host.stop();
    assert!(status.success(), "{log}");
    assert!(
        !lives(children[0]),
        "the plugin's process outlived its host"
    );
}

/// Fires events through a plugin that ends its process at every `every`th event.
fn nothing_is_lost(how: &str, events: usize, every: usize, sentence: &str) {
    let plugins = plugin_dir(&["plugin-glob", "fixture-crashing", "fixture-good"]);
    let acct = format!(
        "
fixture-crashing:
  idem-*:
    path: {{dir}}/crashing.jsonl
    how: {how}
    every: {every}
    max_batch_events: 25
    evbus: {{isolate: process, retry: {{first_delay: 0.001, max_delay: 0.001}}}}
fixture-good:
  idem-*: {{path: {{dir}}/good.jsonl}}
"
    );
    let host = RunningHost::start(&acct, plugins.path(), &[]);
    let pid = host.pid();
    host.put_events(&numbers(events));
    wait_for_bodies(&host.path("good.jsonl"), events);
    wait_for_bodies(&host.path("crashing.jsonl"), events);
    assert_eq!(host.pid(), pid);
    wait_for("the zombies to be gone", || {
        children(&host).iter().all(|pid| lives(*pid)).then_some(())
    });
    let log = host.log();
    assert!(log.contains(sentence), "{log}");
    assert!(
        !log.contains("destination fixture-good[0] idem-*: 1"),
        "{log}"
    );
    let (status, log) = host.stop();
    assert!(status.success(), "{log}");
}

#[test]
fn ten_thousand_events_survive_a_plugin_that_faults_at_every_hundredth() {
    nothing_is_lost("segv", 10_000, 100, "was killed by signal 11 (SIGSEGV)");
}

#[test]
fn events_survive_a_plugin_that_aborts() {
    nothing_is_lost("abort", 300, 100, "was killed by signal 6 (SIGABRT)");
}

#[test]
fn events_survive_a_plugin_that_exits() {
    nothing_is_lost("exit", 300, 100, "ended with exit code 70");
}

#[test]
fn events_survive_a_plugin_that_runs_out_of_memory() {
    nothing_is_lost("oom", 200, 100, "was killed by signal 6 (SIGABRT)");
}

#[test]
fn a_crash_while_connecting_is_a_failed_attempt_with_the_last_words_of_the_plugin() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-crashing"]);
    let host = RunningHost::start(
        "
fixture-crashing:
  idem-*: {path: {dir}/out, how: exit, connecting: true, say_bytes: 100000, evbus: {isolate: process}}
",
        plugins.path(),
        &[],
    );
    host.wait_for_log("ended with exit code 70 before it connected; trying again");
    let log = host.log();
    assert!(log.contains("last words xxx"), "{log}");
    assert!(log.contains("(cut: it has 100011 bytes"), "{log}");
    assert!(log.lines().all(|line| line.len() < 20_000));
}

const GOOD: &str = "
fixture-good:
  idem-*: {path: {dir}/out.jsonl, reject_containing: hunter2, evbus: {isolate: process}}
";

#[test]
fn no_process_outlives_a_host_that_is_killed() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good", "fixture-hanging"]);
    let hanging = |at: &str| {
        format!("fixture-hanging:\n  '*': {{at: {at}, how: block, evbus: {{isolate: process}}}}\n")
    };
    for acct in [GOOD.to_owned(), hanging("connect"), hanging("publish")] {
        let host = RunningHost::start(&acct, plugins.path(), &[]);
        host.put("idem-run", "1");
        let child = if acct == GOOD {
            wait_for_bodies(&host.path("out.jsonl"), 1);
            child(&host)
        } else {
            host.wait_for_log("hanging");
            children(&host)[0]
        };
        assert!(lives(child));
        signal(i32::try_from(host.pid()).unwrap(), Signal::KILL);
        wait_for_end(&[child]);
    }
}

#[test]
fn a_process_that_is_stopped_outlives_its_host_no_more_than_another() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    for how in [Signal::KILL, Signal::TERM] {
        let host = RunningHost::start(GOOD, plugins.path(), &["--drain-timeout", "1"]);
        let child = child(&host);
        signal(child, Signal::STOP);
        wait_for("the process to be stopped", || {
            state_and_parent(child)
                .is_some_and(|(state, _)| state == 'T')
                .then_some(())
        });
        host.end(how);
        wait_for_end(&[child]);
    }
}

#[test]
fn a_plugin_that_hangs_in_its_process_is_killed_and_started_anew() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-hanging"]);
    let host = RunningHost::start(
        "
fixture-hanging:
  '*':
    how: block
    evbus: {isolate: process, deadline: 0.3, retry: {first_delay: 0.01, max_delay: 0.01}}
",
        plugins.path(),
        &["--drain-timeout", "1"],
    );
    host.put("idem-run", "1");
    host.wait_for_log("hanging");
    let before = threads(&host);
    let mut seen = BTreeSet::new();
    // More than a destination may have hung instances in the host's own process.
    wait_for("twenty processes", || {
        seen.extend(children(&host));
        (seen.len() >= 20).then_some(())
    });
    host.wait_for_log("the plugin did not answer within 0.3 s");
    // One thread may be waiting for the end of a process.
    assert!(
        threads(&host) <= before + 2,
        "{} of {before}",
        threads(&host)
    );
    assert!(children(&host).len() <= 2, "{:?}", children(&host));
    let last = children(&host);
    let (_, log) = host.stop();
    wait_for_end(&last);
    assert!(log.contains("1 event was not delivered in time"), "{log}");
}

#[test]
fn the_process_that_replaces_a_dead_one_runs_the_same_file_whatever_lies_there_now() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let host = RunningHost::start(GOOD, plugins.path(), &[]);
    host.put("idem-run", "1");
    wait_for_bodies(&host.path("out.jsonl"), 1);
    let first = child(&host);
    fs::write(plugins.path().join("libfixture_good.so"), "no plugin").unwrap();
    signal(first, Signal::KILL);
    host.wait_for_log(
        "connection lost: the plugin's process was killed by signal 9 (SIGKILL), by a user or because memory ran out",
    );
    host.put("idem-run", "2");
    wait_for_bodies(&host.path("out.jsonl"), 2);
    assert_ne!(child(&host), first);
}

#[test]
fn a_process_that_dies_idle_is_replaced_at_no_events_cost() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let acct = GOOD.replace(
        "isolate: process",
        "isolate: process, retry: {max_attempts: 1}",
    );
    let host = RunningHost::start(&acct, plugins.path(), &[]);
    host.put("idem-run", "1");
    wait_for_bodies(&host.path("out.jsonl"), 1);
    let first = child(&host);
    let connected = Instant::now();
    wait_for("the process to count as settled", || {
        (connected.elapsed() > Duration::from_millis(1100)).then_some(())
    });
    signal(first, Signal::KILL);
    host.wait_for_log(": reconnected");
    assert_ne!(child(&host), first);
    host.put("idem-run", "2");
    wait_for_bodies(&host.path("out.jsonl"), 2);
    let (status, log) = host.stop();
    assert!(status.success(), "{log}");
    assert!(log.contains("closed"), "the plugin said goodbye: {log}");
}

#[test]
fn signals_to_all_processes_of_a_host_end_none_before_its_events_are_out() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let host = RunningHost::start(GOOD, plugins.path(), &[]);
    let pid = child(&host);
    for each in [Signal::INT, Signal::TERM, Signal::HUP] {
        signal(pid, each);
    }
    host.put("idem-run", "1");
    wait_for_bodies(&host.path("out.jsonl"), 1);
    assert_eq!(child(&host), pid);
    let (status, log) = host.stop();
    assert!(status.success(), "{log}");
    assert!(log.contains("closed"), "the plugin said goodbye: {log}");
    wait_for_end(&[pid]);
}

#[test]
fn the_configuration_is_in_neither_arguments_nor_environment() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let host = RunningHost::start(GOOD, plugins.path(), &[]);
    host.put("idem-run", "\"a hunter2 b\"");
    host.wait_for_log("an event was not delivered: rejected");
    let pid = child(&host);
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("hunter2"), "{file}: {text}");
        assert!(!text.contains("out.jsonl"), "{file}: {text}");
    }
}

/// The output of `evbus check --connect` for an acct file.
fn check(acct: &str, plugins: &Path) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acct.yml");
    fs::write(&file, acct).unwrap();
    let mut command = evbus(dir.path());
    command
        .args(["check", "--connect", "--acct-file"])
        .arg(file);
    let output = run(command.arg("--plugin-dir").arg(plugins), b"");
    assert!(!output.status.success());
    stderr(&output).replace(&*dir.path().to_string_lossy(), "DIR")
}

#[test]
fn faults_read_the_same_in_either_process() {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    for (config, expected) in [
        ("path: /nowhere/at/all", "cannot open /nowhere/at/all"),
        ("path: /tmp, pth: 1", "pth"),
        ("path: []", "path"),
    ] {
        let acct = |isolate| {
            format!("fixture-good:\n  idem-*: {{evbus: {{isolate: {isolate}}}, {config}}}\n")
        };
        // Equally long, so that the columns are the same.
        let inside = check(&acct("none   "), plugins.path());
        assert!(inside.contains(expected), "{inside}");
        assert_eq!(check(&acct("process"), plugins.path()), inside);
    }
}

#[test]
fn what_has_no_file_cannot_be_isolated() {
    let plugins = plugin_dir(&["plugin-glob"]);
    let said = check(
        "internal:\n  idem-*: {evbus: {isolate: process}}\n",
        plugins.path(),
    );
    assert!(
        said.contains("internal.idem-*.evbus.isolate: the plugin is linked"),
        "{said}"
    );
}

#[test]
fn the_command_of_a_plugins_process_is_not_for_people() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(evbus(dir.path()).args(["plugin-child", "x"]), b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("only the host starts this command"));
    let help = run(evbus(dir.path()).arg("--help"), b"");
    assert!(!String::from_utf8_lossy(&help.stdout).contains("plugin-child"));
}

/// Waits until a host that runs isolated plugins with `program` reports `expected`.
async fn said_with(program: Option<&Path>, expected: &str) {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let acct = dir.path().join("acct.yml");
    let text = GOOD.replace("{dir}", &dir.path().to_string_lossy());
    fs::write(&acct, text).unwrap();
    let builder = || {
        Host::builder()
            .acct_file(acct.clone())
            .plugin_dir(plugins.path())
            .state_dir(dir.path().join("state"))
    };
    let mut host = builder();
    if let Some(program) = program {
        // Probed before, with the right program, so that only the connection fails.
        let tried = builder().isolation_program(env!("CARGO_BIN_EXE_evbus"));
        let tried = tried.start().await.unwrap();
        tried.shutdown(Duration::ZERO).await;
        host = host.isolation_program(program);
    }
    let host = host.start().await.unwrap();
    let bus = host.bus().clone();
    bus.put("idem-run", "x").await.unwrap();
    let said = || {
        let status = bus.status().remove(0);
        let error = status.last_error.unwrap_or_default();
        (error.contains(expected) || expected.is_empty() && status.counts.accepted == 1)
            .then_some(())
    };
    tokio::task::block_in_place(|| wait_for(&format!("{expected:?}"), said));
    host.shutdown(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_embeds_a_host_names_the_program_for_isolated_plugins() {
    said_with(None, "HostBuilder::isolation_program").await;
    said_with(Some(env!("CARGO_BIN_EXE_evbus").as_ref()), "").await;
    said_with(
        Some("/bin/true".as_ref()),
        "ended with exit code 0 before it",
    )
    .await;
    said_with(Some("/nowhere".as_ref()), "from /nowhere: No such file").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_sends_nonsense_closes_its_socket_or_is_of_another_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (name, script, expected) in [
        (
            "nonsense",
            "printf 'GET / HTTP/1.1' >&0",
            "was killed because it sent a frame of more than 268435456 bytes before it",
        ),
        (
            "closing",
            "exec 0</dev/null",
            "was killed because it closed its socket before it",
        ),
        (
            "other",
            r"printf '\013\000\000\000EVBP\011\0009.9.9' >&0",
            &format!(
                "/other, is evbus 9.9.9 (protocol 9), but this host is evbus {} (protocol ",
                env!("CARGO_PKG_VERSION")
            ),
        ),
        (
            "unknown",
            r"printf '\001\000\000\000\012' >&0",
            "/unknown, is of an unknown version, but this host is evbus ",
        ),
    ] {
        let program = dir.path().join(name);
        fs::write(&program, format!("#!/bin/sh\n{script}\nexec sleep 1000\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        said_with(Some(&program), expected).await;
    }
}
