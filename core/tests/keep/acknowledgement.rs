//! What the host answers a program, for every state that a destination may be in: the table in
//! `docs/EVENT_SOCKETS.md`, row by row. A test here is named after its row.
mod losses;

use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Instant;

use crate::support::{PATIENCE, RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

fn plugins() -> TempDir {
    plugin_dir(&["plugin-glob", "plugin-regex", "fixture-good"])
}

/// A host with a state directory that waits only a second for a destination that is away.
fn start(acct: &str, plugins: &TempDir) -> RunningHost {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let state = state.to_str().unwrap().to_owned();
    let more = ["--state-dir", &state, "--drain-timeout", "0.5"];
    RunningHost::start_in(home, acct, plugins.path(), &more)
}

/// A destination whose far system is away until the directory `away` is made.
fn away(pattern: &str, policy: &str) -> String {
    format!(
        "fixture-good: {{'{pattern}': {{path: '{{dir}}/away/out.jsonl', evbus: \
         {{retry: {{first_delay: 0.01, max_delay: 0.05}}, {policy}}}}}}}\n"
    )
}

/// `evbus put` of one event, started.
fn begin_put(host: &RunningHost, profile: &str, body: &str, more: &[&str]) -> Child {
    // Standard input takes bodies of any length.
    let lines = host.path("body");
    fs::write(&lines, format!("{body}\n")).unwrap();
    evbus(host.dir.path())
        .args(["put", profile, "-", "--timeout", "80", "--sock-dir"])
        .arg(host.path("s"))
        .args(more)
        .stdin(fs::File::open(&lines).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn put(host: &RunningHost, profile: &str, body: &str) -> Output {
    begin_put(host, profile, body, &[])
        .wait_with_output()
        .unwrap()
}

fn assert_kept(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    assert_eq!(stderr(output), "", "nothing is wrong");
}

fn assert_not_kept(output: &Output, reason: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", stderr(output));
    let said = stderr(output);
    assert!(
        said.contains("the host did not keep every event") && said.contains(reason),
        "{said}"
    );
}

fn lane(host: &RunningHost, number: usize) -> Value {
    host.status()["destinations"][number].clone()
}

/// Waits until the program waits: its event was read and published, but is not in the queue.
fn wait_until_it_waits(host: &RunningHost, child: &mut Child, read: u64) {
    wait_for("the host to have read the event", || {
        let events = host.status()["host"]["intake"]["events"].as_u64().unwrap();
        (events == read).then_some(())
    });
    assert!(child.try_wait().unwrap().is_none(), "the program waits");
}

/// A host whose destination is away and has a full queue, and a program that waits for room in it.
fn one_that_waits(plugins: &TempDir, policy: &str) -> (RunningHost, Child) {
    let host = start(&away("*", policy), plugins);
    assert_kept(&put(&host, "p", "1"));
    let mut child = begin_put(&host, "p", "2", &[]);
    wait_until_it_waits(&host, &mut child, 2);
    (host, child)
}

fn write_acct(host: &RunningHost, acct: &str) {
    let text = acct.replace("{dir}", &host.dir.path().to_string_lossy());
    fs::write(host.path("acct.new"), text).unwrap();
    fs::rename(host.path("acct.new"), host.path("acct.yml")).unwrap();
    let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
}

fn bodies(path: &Path) -> Vec<String> {
    lines_of(path)
        .iter()
        .map(|line| line["body"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn room_at_a_destination_that_is_away_is_kept() {
    let plugins = plugins();
    let host = start(&away("*", "queue: {events: 10}"), &plugins);
    assert_kept(&put(&host, "p", "1"));
    assert_eq!(lane(&host, 0)["queued"], 1);
}

#[test]
fn a_durable_event_is_kept_when_it_is_on_disk() {
    let plugins = plugins();
    let host = start(&away("*", "durable: true"), &plugins);
    assert_kept(&put(&host, "p", "1"));
    let home = host.kill();
    let state = home.path().join("state");
    let state = state.to_str().unwrap().to_owned();
    let more = ["--state-dir", &*state, "--drain-timeout", "0.5"];
    let host = RunningHost::start_in(home, &away("*", "durable: true"), plugins.path(), &more);
    assert_eq!(lane(&host, 0)["queued"], 1);
}

#[test]
fn no_room_and_when_full_block_is_waited_for() {
    let plugins = plugins();
    let (host, child) = one_that_waits(&plugins, "queue: {events: 1}, when_full: block");
    fs::create_dir(host.path("away")).unwrap();
    assert_kept(&child.wait_with_output().unwrap());
    wait_for("both events", || {
        (bodies(&host.path("away/out.jsonl")).len() == 2).then_some(())
    });
}

#[test]
fn no_room_in_memory_and_when_full_spill_is_kept_on_disk() {
    let plugins = plugins();
    let policy = "queue: {events: 1}, when_full: spill";
    let host = start(&away("*", policy), &plugins);
    for number in 1..=3 {
        assert_kept(&put(&host, "p", &number.to_string()));
    }
    let lane = lane(&host, 0);
    assert_eq!(
        (&lane["queued"], &lane["queued_on_disk"]),
        (&3.into(), &2.into())
    );
}

#[test]
fn no_room_on_disk_either_is_waited_for() {
    let plugins = plugins();
    let policy = "queue: {events: 1}, when_full: spill, disk: {bytes: 1 MiB}";
    let host = start(&away("*", policy), &plugins);
    let large = format!("\"{}\"", "x".repeat(600_000));
    assert_kept(&put(&host, "p", "1"));
    assert_kept(&put(&host, "p", &large));
    let mut child = begin_put(&host, "p", &large, &[]);
    wait_until_it_waits(&host, &mut child, 3);
    fs::create_dir(host.path("away")).unwrap();
    assert_kept(&child.wait_with_output().unwrap());
}

#[test]
fn no_room_and_when_full_drop_newest_is_dropped_and_counted() {
    let plugins = plugins();
    let policy = "queue: {events: 1}, when_full: drop_newest";
    let host = start(&away("*", policy), &plugins);
    for number in 1..=3 {
        assert_kept(&put(&host, "p", &number.to_string()));
    }
    let lane = lane(&host, 0);
    assert_eq!((&lane["queued"], &lane["dropped"]), (&1.into(), &2.into()));
}

#[test]
fn a_program_that_waits_when_the_host_ends_is_refused() {
    for policy in [
        "queue: {events: 1}, when_full: block",
        "queue: {events: 1}, when_full: block, durable: true",
        "queue: {events: 1}, disk: {bytes: 1 MiB}, durable: true",
    ] {
        let plugins = plugins();
        let host = start(&away("*", policy), &plugins);
        let large = format!("\"{}\"", "x".repeat(600_000));
        assert_kept(&put(&host, "p", &large));
        let mut events = 1;
        if policy.contains("disk") {
            assert_kept(&put(&host, "p", "1"));
            events += 1;
        }
        let mut child = begin_put(&host, "p", &large, &[]);
        wait_until_it_waits(&host, &mut child, events + 1);
        let (code, log) = host.stop();
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(1),
            "{policy}: {}",
            stderr(&output)
        );
        let said = stderr(&output);
        assert!(
            said.contains("stopped before it took the event: the host is shutting down;"),
            "{said}"
        );
        // Events kept before are still there, or the host reports that they are not.
        let is_on_disk = log.contains(" kept in ") || code.code() == Some(1);
        assert!(is_on_disk, "{log}");
    }
}

#[test]
fn a_program_that_waits_when_its_destination_is_removed_is_refused() {
    let plugins = plugins();
    let (host, child) = one_that_waits(&plugins, "queue: {events: 1}, when_full: block");
    write_acct(
        &host,
        "fixture-good: {other: {path: '{dir}/other.jsonl'}}\n",
    );
    let output = child.wait_with_output().unwrap();
    assert_not_kept(
        &output,
        "destination fixture-good[0] * stopped before it took the event: a reload of the acct file removed it;",
    );
}

#[test]
fn a_program_that_waits_when_its_destination_is_renamed_is_refused() {
    let plugins = plugins();
    let policy = "queue: {events: 1}, when_full: block";
    let (host, child) = one_that_waits(&plugins, policy);
    write_acct(&host, &away("p*", policy));
    let output = child.wait_with_output().unwrap();
    assert_not_kept(&output, "destination fixture-good[0] * stopped before");
}

#[test]
fn an_event_without_a_destination_is_said_to_have_none_and_counted() {
    let plugins = plugins();
    let host = start(&away("idem-*", "durable: true"), &plugins);
    let output = put(&host, "other", "1");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("matches no destination"), "{said}");
    let mut required = begin_put(&host, "other", "1", &["--require-destination"]);
    let code = required.wait().unwrap();
    assert_eq!(code.code(), Some(1));
    assert_kept(&put(&host, "idem-run", "1"));
    let events = &host.status()["host"]["events"];
    assert_eq!(events["fired"], 3, "{events}");
    assert_eq!(events["matched"], 1, "{events}");
    assert_eq!(events["unmatched"], 2, "{events}");
    let log = host.log();
    assert_eq!(
        log.matches("no destination's pattern matches").count(),
        1,
        "{log}"
    );
}

#[test]
fn an_event_that_the_match_plugin_cannot_decide_is_refused_every_time_and_counted() {
    let plugins = plugins();
    let acct = "match_plugin: regex\nfixture-good:\n  'a.*': {path: '{dir}/sure.jsonl'}\n  \
                '(a*)*\\1b': {path: '{dir}/unsure.jsonl'}\n";
    let host = start(acct, &plugins);
    let profile = format!("{}!", "a".repeat(60));
    for number in 1..=3 {
        let output = put(&host, &profile, &number.to_string());
        assert_not_kept(&output, "cannot decide whether profile");
    }
    // The destination that is known to match gets them all the same.
    wait_for("the events at the other destination", || {
        (bodies(&host.path("sure.jsonl")).len() == 3).then_some(())
    });
    let events = host.status()["host"]["events"].clone();
    assert_eq!(
        (&events["undecided"], &events["fired"]),
        (&3.into(), &3.into())
    );
    assert_eq!(host.status()["host"]["intake"]["not_kept"], 3);
}

#[test]
fn a_frame_without_an_event_is_refused_with_its_reason() {
    use std::io::{Read as _, Write as _};
    let plugins = plugins();
    let host = start(&away("*", "durable: true"), &plugins);
    let mut stream =
        std::os::unix::net::UnixStream::connect(host.path("s").join(evbus::sockets::PULL_SOCKET))
            .unwrap();
    // A valid event, so that there is an answer, and a frame whose body is not an event.
    let body = evbus::Event::builder("p").message(&1).unwrap();
    let fired = evbus_wire::Fired {
        json: body.body(),
        id: body.id(),
        time_unix_ns: body.time_unix_ns(),
    };
    let frame = evbus_wire::Frame::of_evbus("p", &fired, evbus_wire::Exact::Yes).unwrap();
    for piece in frame.pieces() {
        stream.write_all(piece).unwrap();
    }
    stream.write_all(b"\x81\xa4body\xa0").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = evbus_wire::Answer::read(&answer).unwrap();
    let evbus_wire::Answer::NotKept(reason) = answer else {
        panic!("{answer:?}");
    };
    assert!(
        reason.starts_with("a frame contains no event: "),
        "{reason}"
    );
}

#[test]
fn full_destinations_are_waited_for_at_the_same_time() {
    let plugins = plugins();
    // The first is down for good; the second is full for a moment.
    let policy =
        "queue: {events: 1}, when_full: block, retry: {first_delay: 0.01, max_delay: 0.05}";
    let acct = format!(
        "fixture-good:\n  - '*': {{path: '{{dir}}/never/out.jsonl', evbus: {{{policy}}}}}\n  \
         - 'p*': {{path: '{{dir}}/away/out.jsonl', evbus: {{{policy}}}}}\n"
    );
    let host = start(&acct, &plugins);
    assert_kept(&put(&host, "p", "1"));
    let mut child = begin_put(&host, "p", "2", &[]);
    wait_until_it_waits(&host, &mut child, 2);
    fs::create_dir(host.path("away")).unwrap();
    let start = Instant::now();
    wait_for("the second event at the second destination", || {
        (bodies(&host.path("away/out.jsonl")).len() == 2).then_some(())
    });
    assert!(start.elapsed() < PATIENCE);
    assert!(
        child.try_wait().unwrap().is_none(),
        "it still waits for the first"
    );
    fs::create_dir(host.path("never")).unwrap();
    assert_kept(&child.wait_with_output().unwrap());
}

#[test]
fn a_matching_destination_is_refused_and_the_other_one_has_the_event() {
    let plugins = plugins();
    let blocked = "queue: {events: 1}, when_full: block";
    let acct = |more: &str| format!("{more}  - 'p*': {{path: '{{dir}}/fine.jsonl'}}\n");
    let first = format!(
        "fixture-good:\n  - '*': {{path: '{{dir}}/away/out.jsonl', evbus: {{{blocked}}}}}\n"
    );
    let host = start(&acct(&first), &plugins);
    assert_kept(&put(&host, "p", "1"));
    let mut child = begin_put(&host, "p", "2", &[]);
    wait_until_it_waits(&host, &mut child, 2);
    write_acct(&host, &acct("fixture-good:\n"));
    assert_not_kept(&child.wait_with_output().unwrap(), "fixture-good[0] *");
    wait_for("both at the other one", || {
        (bodies(&host.path("fine.jsonl")).len() == 2).then_some(())
    });
}

#[test]
fn an_error_event_goes_to_listeners_and_other_destinations_and_not_to_the_one_that_failed() {
    let plugins = plugins();
    let acct = "fixture-good:\n  - '*': {path: '{dir}/refuses.jsonl', reject_containing: 'x'}\n  \
                - 'p*': {path: '{dir}/other.jsonl'}\n";
    let host = start(acct, &plugins);
    let listener = evbus(host.dir.path())
        .args(["listen", "--count", "2", "--wait", "80", "--sock-dir"])
        .arg(host.path("s"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the listener", || {
        (host.status()["host"]["listeners"]["listeners"] == 1).then_some(())
    });
    assert_kept(&put(&host, "p", "\"x\""));
    wait_for("the event and its error event at the other one", || {
        (bodies(&host.path("other.jsonl")).len() == 2).then_some(())
    });
    assert!(bodies(&host.path("other.jsonl"))[1].contains("publish_event_error_message"));
    let heard = listener.wait_with_output().unwrap();
    let heard = String::from_utf8(heard.stdout).unwrap();
    assert!(heard.contains("publish_event_error_message"), "{heard}");
    let failed = lane(&host, 0);
    assert_eq!(
        (&failed["received"], &failed["dead_lettered"]),
        (&1.into(), &1.into()),
        "its error event is not a second dead letter: {failed}"
    );
    // After a replay, only this event arrives again.
    let mut replay = evbus(host.dir.path());
    replay
        .args(["deadletters", "replay", "--all", "--state-dir"])
        .arg(host.path("state"));
    let replayed = run(&mut replay, b"");
    assert_eq!(replayed.status.code(), Some(0), "{}", stderr(&replayed));
    wait_for("the replayed event to be refused again", || {
        let lane = lane(&host, 0);
        (lane["dead_lettered"] == 2 && lane["received"] == 2).then_some(())
    });
}

/// `evbus put` of more events than sockets and queues hold gives up instead of waiting forever.
#[test]
fn a_put_of_many_events_gives_up_when_nothing_is_taken_for_its_timeout() {
    let plugins = plugins();
    let policy = "queue: {events: 1}, when_full: block";
    let host = start(&away("idem-*", policy), &plugins);
    let acct = host.path("put.yml");
    let dir = host.dir.path().display().to_string();
    fs::write(&acct, away("idem-*", policy).replace("{dir}", &dir)).unwrap();
    let lines = format!("\"{}\"\n", "x".repeat(1000)).repeat(20_000);
    for (target, path, said) in [
        (
            "--sock-dir",
            host.path("s"),
            "the host did not acknowledge all events within 1 s",
        ),
        (
            "--acct-file",
            acct,
            "a destination's queue was full for 1 s",
        ),
    ] {
        let mut put = evbus(host.dir.path());
        put.args(["put", "idem-run", "-", "--timeout", "1", target])
            .arg(path)
            .arg("--plugin-dir")
            .arg(plugins.path());
        let output = run(&mut put, lines.as_bytes());
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(said), "{target}: {text}");
    }
}

#[test]
fn a_put_waits_no_longer_than_its_timeout_for_a_required_destination() {
    let plugins = plugins();
    let home = tempfile::tempdir().unwrap();
    let acct = home.path().join("put.yml");
    let dir = home.path().display().to_string();
    let away = away("other", "required: true").replace("{dir}", &dir);
    fs::write(&acct, away).unwrap();
    let mut put = evbus(home.path());
    put.args(["put", "idem-run", "1", "--timeout", "1", "--acct-file"])
        .arg(acct)
        .arg("--plugin-dir")
        .arg(plugins.path());
    let output = run(&mut put, b"");
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("a required destination is not connected within 1 s"),
        "{text}"
    );
}
