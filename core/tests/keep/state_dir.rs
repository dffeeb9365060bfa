//! The state directory: events that wait on disk, durable puts, dead letters, and what becomes of
//! all of them when the host is killed, the disk is full, or the directory cannot be used.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::tmpfs::Tmpfs;
use crate::support::{RunningHost, evbus, json_lines, lines_of, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use serde_json::Value;
use tempfile::TempDir;

fn plugins() -> TempDir {
    plugin_dir(&[
        "plugin-glob",
        "fixture-good",
        "fixture-panicking",
        "fixture-hanging",
    ])
}

/// Lines for `evbus put --events`.
fn numbered(range: std::ops::Range<u32>) -> String {
    let mut lines = String::new();
    for number in range {
        writeln!(lines, "{{\"profile\": \"idem-run\", \"body\": {number}}}").unwrap();
    }
    lines
}

/// The bodies in a file of `fixture-good`, as numbers.
fn bodies(path: &Path) -> Vec<u32> {
    lines_of(path)
        .iter()
        .map(|line| line["body"].as_str().unwrap().parse().unwrap())
        .collect()
}

fn wait_for_bodies(path: &Path, expected: &BTreeSet<u32>) {
    wait_for(
        &format!("{} events in {}", expected.len(), path.display()),
        || {
            let found: BTreeSet<u32> = bodies(path).into_iter().collect();
            (found == *expected).then_some(())
        },
    );
}

fn status(host: &RunningHost) -> Value {
    let answer = host.status();
    for lane in answer["destinations"].as_array().unwrap() {
        let count = |name: &str| lane[name].as_u64().unwrap();
        assert_eq!(
            count("accepted")
                + count("dead_lettered")
                + count("dropped")
                + count("damaged")
                + count("lost")
                + count("queued"),
            count("received"),
            "{lane}"
        );
    }
    answer
}

/// A directory that does not exist yet: `fixture-good` cannot open its file in it, so its destination is down until
/// the directory is created.
fn down(host_dir: &Path) -> PathBuf {
    host_dir.join("later/out.jsonl")
}

const DOWN: &str = "
fixture-good:
  idem-*:
    path: {dir}/later/out.jsonl
    evbus: {queue: {events: 100}, retry: {first_delay: 0.01, max_delay: 0.05}, KEYS}
";

fn host(acct: &str, plugins: &TempDir, home: TempDir, more: &[&str]) -> RunningHost {
    let state = home.path().join("state");
    let mut args = vec![
        "--state-dir",
        state.to_str().unwrap(),
        "--drain-timeout",
        "0.5",
    ];
    args.extend(more);
    RunningHost::start_in(home, acct, plugins.path(), &args)
}

#[test]
fn what_finds_no_room_in_memory_waits_on_disk_through_a_restart() {
    let plugins = plugins();
    let acct = DOWN.replace("KEYS", "ordered: true");
    let first = host(&acct, &plugins, tempfile::tempdir().unwrap(), &[]);
    first.put_events(&numbered(0..5000));
    let lane = &status(&first)["destinations"][0];
    assert_eq!(
        (lane["received"].as_u64(), lane["queued"].as_u64()),
        (Some(5000), Some(5000))
    );
    assert!(lane["queued_on_disk"].as_u64().unwrap() >= 4900, "{lane}");
    let (code, log, home) = first.stop_and_keep();
    assert_eq!(code.code(), Some(0), "{log}");
    assert!(log.contains("5000 events are kept in"), "{log}");

    let second = host(&acct, &plugins, home, &[]);
    second.put_events(&numbered(5000..6000));
    let out = down(second.dir.path());
    fs::create_dir(out.parent().unwrap()).unwrap();
    wait_for_bodies(&out, &(0..6000).collect());
    assert!(
        bodies(&out).is_sorted(),
        "in the order in which they were fired"
    );
    let lane = &status(&second)["destinations"][0];
    assert_eq!(lane["accepted"].as_u64(), Some(6000), "{lane}");
    let (code, log) = second.stop();
    assert_eq!(code.code(), Some(0), "{log}");
}

#[test]
fn a_durable_event_that_was_acknowledged_survives_kill_9() {
    let plugins = plugins();
    let acct = DOWN.replace("KEYS", "durable: true");
    let mut home = tempfile::tempdir().unwrap();
    let mut fired = 0..0;
    for _ in 0..3 {
        let host = host(&acct, &plugins, home, &[]);
        fired = 0..fired.end + 700;
        host.put_events(&numbered(fired.end - 700..fired.end));
        home = host.kill();
    }
    let host = host(&acct, &plugins, home, &[]);
    let out = down(host.dir.path());
    fs::create_dir(out.parent().unwrap()).unwrap();
    wait_for_bodies(&out, &fired.collect());
    let mut ids: Vec<String> = lines_of(&out)
        .iter()
        .map(|line| line["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2100, "an event keeps its id");
}

#[test]
fn a_put_to_a_host_that_is_killed_meanwhile_does_not_succeed() {
    let plugins = plugins();
    let acct = DOWN.replace("KEYS", "when_full: block");
    let host = host(&acct, &plugins, tempfile::tempdir().unwrap(), &[]);
    let mut put = evbus(host.dir.path())
        .args(["put", "--events", "--sock-dir"])
        .arg(host.path("s"))
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The destination is down and its queue full: the host accepts no more, and the put waits.
    std::io::Write::write_all(&mut put.stdin.take().unwrap(), numbered(0..500).as_bytes()).unwrap();
    wait_for("a full queue", || {
        (status(&host)["destinations"][0]["received"] == 100).then_some(())
    });
    let _home = host.kill();
    let output = put.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("connection"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_dead_letter_is_kept_told_of_and_replayed() {
    let plugins = plugins();
    let acct = "
fixture-good:
  - idem-run: {path: '{dir}/out.jsonl', reject_containing: '7'}
  - idem-run: {path: '{dir}/all.jsonl'}
";
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let first = host(acct, &plugins, home, &[]);
    first.put_events("{\"profile\": \"idem-run\", \"body\": {\"tags\": {\"type\": \"t\"}, \"message\": 7, \"run_name\": \"r\"}}\n");
    first.put_events("{\"profile\": \"idem-run\", \"body\": {\"tags\": {}, \"message\": 8, \"run_name\": \"r\"}}\n");
    let all = first.path("all.jsonl");
    // Only the other destination gets the error event.
    let told = wait_for("the error event", || {
        let lines = lines_of(&all);
        (lines.len() == 3).then(|| {
            let bodies = lines
                .iter()
                .map(|line| line["body"].as_str().unwrap().to_owned());
            bodies
                .filter(|body| body.contains("publish_event_error_message"))
                .collect::<Vec<_>>()
        })
    });
    let told: Value = serde_json::from_str(&told[0]).unwrap();
    assert_eq!(
        told["tags"]["ref"],
        "idem.event.publish_error_callback_handler"
    );
    assert_eq!(told["tags"]["plugin"], "fixture-good");
    assert_eq!(told["tags"]["type"], "t");
    assert_eq!(told["run_name"], "r");
    let letters = |home: &Path| {
        let output = run(
            evbus(home)
                .args(["deadletters", "list", "--json", "--state-dir"])
                .arg(&state),
            b"",
        );
        assert!(output.status.success(), "{}", stderr(&output));
        json_lines(&output)
    };
    let found = wait_for("the dead letter", || {
        let found = letters(first.dir.path());
        (found.len() == 1).then_some(found)
    });
    assert!(
        found[0]["error"]
            .as_str()
            .unwrap()
            .contains("rejected: the body contains")
    );
    assert_eq!(found[0]["attempts"], 1);
    let time = |name: &str| found[0][name].as_str().unwrap();
    assert!(time("first_attempt") <= time("last_attempt"));
    assert_eq!(status(&first)["destinations"][0]["dead_lettered"], 1);

    // The destination is repaired, and the event that it refused is replayed to it.
    let (_, _, home) = first.stop_and_keep();
    assert_eq!(letters(home.path()).len(), 1, "it survives the host");
    let mended = acct.replace(", reject_containing: '7'", "");
    let second = host(&mended, &plugins, home, &[]);
    let output = run(
        evbus(second.dir.path())
            .args(["deadletters", "replay", "--all", "--json", "--state-dir"])
            .arg(&state),
        b"",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(json_lines(&output)[0]["replayed"], 1);
    let out = second.path("out.jsonl");
    wait_for("the replayed events", || {
        (lines_of(&out).len() == 2).then_some(())
    });
    wait_for("no dead letters", || {
        letters(second.dir.path()).is_empty().then_some(())
    });
    status(&second);
}

#[test]
fn an_event_that_always_takes_its_plugin_down_is_given_up_and_the_others_arrive() {
    let plugins = plugins();
    let acct = "
fixture-panicking:
  idem-*:
    at: publish
    evbus: {retry: {first_delay: 0.001, max_delay: 0.01, max_crashes: 2}}
";
    let host = host(acct, &plugins, tempfile::tempdir().unwrap(), &[]);
    host.put_events(&numbered(0..20));
    wait_for("all events to be given up", || {
        (status(&host)["destinations"][0]["dead_lettered"] == 20).then_some(())
    });
    assert!(
        host.log().contains("brought the plugin down 2 times"),
        "{}",
        host.log()
    );
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged_and_is_told() {
    let plugins = plugins();
    let disk = Tmpfs::mount("12m");
    let home = tempfile::tempdir().unwrap();
    let state = disk.path().join("state");
    let acct = DOWN.replace("KEYS", "durable: true");
    let first = RunningHost::start_in(
        home,
        &acct,
        plugins.path(),
        &[
            "--state-dir",
            state.to_str().unwrap(),
            "--drain-timeout",
            "0.5",
        ],
    );
    // Rounds of durable events until the disk is full: every event of a successful round counts.
    let mut acknowledged = BTreeSet::new();
    let fill = "x".repeat(2000);
    let mut refused = String::new();
    for round in 0..200_u32 {
        let range = round * 100..(round + 1) * 100;
        let mut lines = String::new();
        for number in range.clone() {
            writeln!(
                lines,
                "{{\"profile\": \"idem-run\", \"body\": [{number}, \"{fill}\"]}}"
            )
            .unwrap();
        }
        let output = run(
            evbus(first.dir.path())
                .args(["put", "--events", "--timeout", "3", "--sock-dir"])
                .arg(first.path("s")),
            lines.as_bytes(),
        );
        if !output.status.success() {
            refused = stderr(&output);
            break;
        }
        acknowledged.extend(range);
    }
    assert!(
        refused.contains("the host did not keep every event"),
        "{refused}"
    );
    assert!(
        acknowledged.len() >= 1000,
        "{} were acknowledged",
        acknowledged.len()
    );
    first.wait_for_log("cannot write events to disk");
    let log = first.log();
    assert!(
        log.contains("bytes are free") || log.contains("disk is full"),
        "{log}"
    );
    let lane = status(&first)["destinations"][0].clone();
    assert!(lane["disk_fault"].is_string(), "{lane}");
    let home = first.kill();
    let second = RunningHost::start_in(
        home,
        &acct,
        plugins.path(),
        &["--state-dir", state.to_str().unwrap()],
    );
    let out = down(second.dir.path());
    fs::create_dir(out.parent().unwrap()).unwrap();
    wait_for("all acknowledged events", || {
        let found: BTreeSet<u32> = lines_of(&out)
            .iter()
            .map(|line| {
                let body: Value = serde_json::from_str(line["body"].as_str().unwrap()).unwrap();
                u32::try_from(body[0].as_u64().unwrap()).unwrap()
            })
            .collect();
        acknowledged.is_subset(&found).then_some(())
    });
}

#[test]
fn a_disk_that_is_full_at_the_start_is_named_with_what_to_do() {
    let plugins = plugins();
    let home = tempfile::tempdir().unwrap();
    let acct = home.path().join("acct.yml");
    fs::write(&acct, "fixture-good: {'*': {path: /dev/null}}\n").unwrap();
    let disk = Tmpfs::mount("1m");
    let state = disk.path().join("state");
    let start = || {
        run(
            evbus(home.path())
                .args(["run", "--acct-file"])
                .arg(&acct)
                .arg("--plugin-dir")
                .arg(plugins.path())
                .arg("--state-dir")
                .arg(&state),
            b"",
        )
    };
    // With no room at all, with room for the file alone, and with room for some of what is beside it.
    for left in [0, 4096, 40_000] {
        let filler = disk.path().join("filler");
        fs::write(&filler, vec![1_u8; (1 << 20) - left]).unwrap_or_default();
        let mut file = fs::File::options().append(true).open(&filler).unwrap();
        if left == 0 {
            while std::io::Write::write_all(&mut file, &[1; 512]).is_ok() {}
        }
        let output = start();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(75), "{left}: {said}");
        assert!(
            said.contains("error: the disk of ") && said.contains(" is full: cannot "),
            "{left}: {said}"
        );
        assert!(said.contains("free some space, then try again"), "{said}");
        assert!(!said.contains("disk I/O error"), "{said}");
        fs::remove_file(&filler).unwrap();
        let _ = fs::remove_dir_all(&state);
    }
}

#[test]
fn a_state_directory_that_cannot_be_used_stops_the_start_with_a_sentence() {
    let plugins = plugins();
    let acct = DOWN.replace("KEYS", "durable: true");
    let first = host(&acct, &plugins, tempfile::tempdir().unwrap(), &[]);
    let start = |state: &Path| {
        run(
            evbus(first.dir.path())
                .args(["run", "--acct-file"])
                .arg(first.path("acct.yml"))
                .arg("--plugin-dir")
                .arg(plugins.path())
                .arg("--state-dir")
                .arg(state),
            b"",
        )
    };
    let second = start(&first.path("state"));
    assert_eq!(second.status.code(), Some(78));
    assert!(
        stderr(&second).contains(&format!("is in use by process {}; stop it", first.pid())),
        "{}",
        stderr(&second)
    );

    let file = first.path("a-file");
    fs::write(&file, "").unwrap();
    let on_a_file = start(&file);
    assert_eq!(on_a_file.status.code(), Some(78));
    assert!(
        stderr(&on_a_file).contains("a-file"),
        "{}",
        stderr(&on_a_file)
    );

    let disk = Tmpfs::mount("4m");
    disk.make_read_only();
    let read_only = start(&disk.path().join("state"));
    assert_eq!(read_only.status.code(), Some(78));
    assert!(
        stderr(&read_only).contains("Read-only file system"),
        "{}",
        stderr(&read_only)
    );

    let without = run(
        evbus(first.dir.path())
            .args(["run", "--acct-file"])
            .arg(first.path("acct.yml"))
            .arg("--plugin-dir")
            .arg(plugins.path())
            .arg("--no-state-dir"),
        b"",
    );
    assert_eq!(without.status.code(), Some(78));
    assert!(
        stderr(&without).contains("evbus.durable: `durable` needs a state directory"),
        "{}",
        stderr(&without)
    );
}
