//! The library: what `put` and `put_nowait` promise, retries, and numbers that add up.
use std::path::Path;
use std::time::Duration;

use evbus::{Bus, Host, InstanceState, PutError};
use evbus_testkit::plugin_dir;
use serde_json::Value;

struct Started {
    host: Host,
    dir: tempfile::TempDir,
    _plugins: tempfile::TempDir,
}

/// A host with an acct file, in which `{dir}` stands for a new directory.
async fn start(acct: &str) -> Started {
    let plugins = tokio::task::spawn_blocking(|| {
        plugin_dir(&[
            "plugin-glob",
            "fixture-good",
            "fixture-hanging",
            "fixture-panicking",
        ])
    })
    .await
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acct.yml");
    std::fs::write(&file, acct.replace("{dir}", &dir.path().to_string_lossy())).unwrap();
    let host = Host::builder()
        .acct_file(file)
        .plugin_dir(plugins.path())
        .start()
        .await
        .unwrap();
    Started {
        host,
        dir,
        _plugins: plugins,
    }
}

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[track_caller]
fn assert_adds_up(bus: &Bus) {
    for lane in bus.status() {
        let counts = lane.counts;
        assert_eq!(
            counts.accepted
                + counts.dead_lettered
                + counts.dropped
                + counts.deduplicated
                + counts.damaged
                + counts.lost
                + counts.queued,
            counts.received,
            "{lane:?}"
        );
    }
}

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_add_up_at_every_moment_under_load() {
    let started = start(
        "
fixture-good:
  - '*': {path: '{dir}/a', retry_first: 50, evbus: {retry: {first_delay: 0.01, max_delay: 0.02}}}
  - '*': {path: '{dir}/b', reject_containing: '7', evbus: {queue: {events: 50}, when_full: drop_newest}}
fixture-hanging:
  - '*': {evbus: {deadline: 0.2, when_full: drop_newest, queue: {events: 100}}}
fixture-panicking:
  - '*': {evbus: {when_full: drop_newest, retry: {max_attempts: 2, first_delay: 0.01}}}
",
    )
    .await;
    let bus = started.host.bus().clone();
    let firing: Vec<_> = (0..4)
        .map(|_| {
            let bus = bus.clone();
            tokio::spawn(async move {
                for number in 0..2000 {
                    bus.put("idem-run", &number).await.unwrap();
                    if number % 100 == 0 {
                        assert_adds_up(&bus);
                    }
                }
            })
        })
        .collect();
    for task in firing {
        task.await.unwrap();
    }
    assert_adds_up(&bus);
    let lanes = started.host.shutdown(Duration::from_secs(5)).await;
    assert_adds_up(&bus);
    let counts: Vec<_> = lanes.iter().map(|lane| lane.counts).collect();
    // The fired events, and the error events of those that the others did not deliver.
    let told = |number: usize| counts[number].received.checked_sub(8000);
    let [
        Some(all),
        Some(not_of_first),
        Some(also_all),
        Some(not_of_second),
    ] = [0, 1, 2, 3].map(told)
    else {
        panic!("{counts:?}");
    };
    assert!(
        all == also_all && all == not_of_first + not_of_second,
        "{counts:?}"
    );
    assert_eq!(
        counts[0].accepted, counts[0].received,
        "retried until accepted"
    );
    assert!(counts[0].retries >= 50, "{counts:?}");
    assert!(
        counts[1].dead_lettered > 0 && counts[1].queued == 0,
        "{counts:?}"
    );
    assert_eq!(counts[2].accepted, 0, "it hangs");
    assert!(counts[2].queued > 0 && counts[2].dropped > 0, "{counts:?}");
    assert_eq!(counts[3].accepted, 0, "it panics");
    assert!(
        counts[3].dead_lettered > 0,
        "attempts are used up: {counts:?}"
    );
    assert_eq!(
        lines(&started.dir.path().join("a")).len() as u64,
        counts[0].received
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn put_nowait_sends_to_all_or_to_none() {
    let started = start(
        "
fixture-good:
  '*': {path: '{dir}/out'}
fixture-hanging:
  'idem-*': {evbus: {queue: {events: 3}}}
",
    )
    .await;
    let bus = started.host.bus();
    for number in 0..3 {
        assert_eq!(bus.put_nowait("idem-run", &number).unwrap().destinations, 2);
    }
    let error = bus
        .put_nowait("idem-run", &3)
        .expect_err("there is no room");
    assert!(
        matches!(&error, PutError::Full { destination } if destination.provider == "fixture-hanging"),
        "{error}"
    );
    assert_eq!(bus.put_nowait("other", &4).unwrap().destinations, 1);
    started.host.shutdown(Duration::from_millis(300)).await;
    let bodies: Vec<Value> = lines(&started.dir.path().join("out"))
        .iter()
        .map(|line| {
            serde_json::from_str::<Value>(line["body"].as_str().unwrap()).unwrap()["message"]
                .clone()
        })
        .collect();
    assert_eq!(bodies, [0, 1, 2, 4], "the refused event reached nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn put_waits_for_room_and_holds_nobody_else_up() {
    let started = start(
        "
fixture-good:
  '*': {path: '{dir}/out'}
fixture-hanging:
  'idem-*': {evbus: {queue: {events: 1}}}
",
    )
    .await;
    let bus = started.host.bus().clone();
    bus.put("idem-run", &0).await.unwrap();
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move { bus.put("idem-run", &1).await }
    });
    // The destination that has room gets the second event at once, and other programs are not delayed.
    tokio::time::timeout(MINUTE, async {
        bus.put("other", &2).await.unwrap();
        while bus.status()[0].counts.accepted < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("nobody is held up");
    assert!(!waiting.is_finished(), "the program that fired waits");
    waiting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_destination_stays_in_order_across_retries() {
    let started = start(
        "
fixture-good:
  '*':
    path: '{dir}/out'
    retry_first: 37
    evbus: {ordered: true, retry: {first_delay: 0.001, max_delay: 0.002}, batch: {events: 1}}
",
    )
    .await;
    let bus = started.host.bus();
    for number in 0..300 {
        bus.put("idem-run", &number).await.unwrap();
    }
    assert!(bus.drain(MINUTE).await, "{:?}", bus.status());
    let messages: Vec<Value> = lines(&started.dir.path().join("out"))
        .iter()
        .map(|line| {
            serde_json::from_str::<Value>(line["body"].as_str().unwrap()).unwrap()["message"]
                .clone()
        })
        .collect();
    assert_eq!(messages, (0..300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_panicked_is_rebuilt_and_delivers_later() {
    let started = start(
        "
fixture-panicking:
  '*': {until_exists: '{dir}/healed', evbus: {retry: {first_delay: 0.01, max_delay: 0.05, max_crashes: none}}}
",
    )
    .await;
    let bus = started.host.bus();
    bus.put("idem-run", &1).await.unwrap();
    tokio::time::timeout(MINUTE, async {
        while bus.status()[0].instances < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the instance is rebuilt again and again");
    let lane = &bus.status()[0];
    assert!(
        lane.last_error
            .as_ref()
            .is_some_and(|error| error.contains("panicked")),
        "{lane:?}"
    );
    std::fs::write(started.dir.path().join("healed"), "").unwrap();
    assert!(bus.drain(MINUTE).await, "{:?}", bus.status());
    assert_eq!(bus.status()[0].counts.accepted, 1);
    assert_eq!(bus.status()[0].state, InstanceState::Connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_ends_in_time_whatever_its_plugins_do() {
    for at in ["connect", "publish", "close"] {
        for how in ["await", "block"] {
            let started = start(&format!(
                "fixture-hanging:\n  '*': {{at: {at}, how: {how}, evbus: {{deadline: 30}}}}\n"
            ))
            .await;
            started.host.bus().put("idem-run", &1).await.unwrap();
            let ended = started.host.shutdown(Duration::from_millis(200));
            tokio::time::timeout(MINUTE, ended).await.expect("it ends");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_blocks_its_thread_every_time_gets_no_more_than_sixteen() {
    let started = start(
        "
fixture-hanging:
  '*': {how: block, evbus: {deadline: 0.1, retry: {first_delay: 0.001, max_delay: 0.01}}}
",
    )
    .await;
    let bus = started.host.bus();
    bus.put("idem-run", &1).await.unwrap();
    let lane = tokio::time::timeout(MINUTE, async {
        loop {
            let lane = bus.status().remove(0);
            if lane
                .last_error
                .as_ref()
                .is_some_and(|error| error.contains("16 instances"))
            {
                return lane;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the lane stops making instances");
    assert_eq!(lane.instances, 16);
    assert_eq!(lane.counts.queued, 1, "the event is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_destination_that_is_not_there_stops_the_start() {
    let plugins = tokio::task::spawn_blocking(|| plugin_dir(&["plugin-glob", "fixture-good"]))
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acct.yml");
    std::fs::write(
        &file,
        "fixture-good:\n  '*': {path: /nonexistent/out, evbus: {required: true, deadline: 1}}\n",
    )
    .unwrap();
    let error = Host::builder()
        .acct_file(file)
        .plugin_dir(plugins.path())
        .start()
        .await
        .expect_err("the destination cannot be reached");
    assert!(
        error
            .to_string()
            .contains("destination fixture-good[0] * is required but not connected"),
        "{error}"
    );
}
