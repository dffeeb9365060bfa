//! Brokers that are not there, or that stop while events are published.

mod support;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use evbus_sdk::serde_json::json;
use evbus_testkit::{ConnectFailure, Link, Outcome};
use support::{SOON, assert_accepted, harness, numbered, read};
use tokio::task::JoinSet;
use xtask::brokers::Kafka;

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_broker_is_named_and_may_be_tried_again() {
    // The listener is dropped at once, so nobody answers there.
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let servers = format!("127.0.0.1:{port}");
    let started = Instant::now();
    let config = json!({"connection": {"bootstrap_servers": servers}});
    let failure = harness()
        .connect(config)
        .await
        .expect_err("nobody is there");
    assert!(matches!(failure, ConnectFailure::Retry(_)), "{failure}");
    assert!(failure.reason().contains(&servers), "{failure}");
    assert!(failure.reason().contains("nothing listens"), "{failure}");
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contradiction_that_librdkafka_finds_is_permanent() {
    let config = json!({"connection": {"acks": 1, "enable_idempotence": true}});
    let failure = harness()
        .connect(config)
        .await
        .expect_err("idempotence needs all");
    assert!(matches!(failure, ConnectFailure::Permanent(_)), "{failure}");
    assert!(failure.reason().contains("acks"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_broker_is_killed_in_the_middle() {
    let mut broker = Kafka::start().expect("Kafka starts");
    let servers = broker.bootstrap_servers();
    broker
        .create_topic("outage", 1)
        .expect("the broker makes topics");
    let instance = harness()
        .connect(json!({
            // Shorter than the outage, so that the host's retries are tested too.
            "connection": {"bootstrap_servers": servers, "message.timeout.ms": 2000},
            "topics": "outage",
        }))
        .await
        .expect("the broker answers");
    assert_accepted(&instance.publish(numbered("p", 1)).await);

    broker.kill().expect("the keeper is there");
    let lost = instance.publish(numbered("p", 10)).await;
    for outcome in &lost {
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    }
    let down = instance
        .wait_until(SOON, |seen| {
            matches!(seen.links.last(), Some(Link::Down(_)))
        })
        .await;
    assert!(down, "{:?}", instance.seen().links);

    let publishing = instance.publish_all(numbered("p", 5_000), 4 * SOON);
    let restarting = tokio::task::spawn_blocking(move || {
        broker.restart().expect("Kafka starts again");
        broker
    });
    let (outcomes, broker) = tokio::join!(publishing, restarting);
    let _broker = broker.expect("the restart does not panic");
    assert_accepted(&outcomes);
    let up = instance
        .wait_until(SOON, |seen| seen.links.last() == Some(&Link::Up))
        .await;
    assert!(up, "{:?}", instance.seen().links);

    let arrived: BTreeSet<usize> = read(&servers, "outage")
        .iter()
        .map(|message| message.text().parse().expect("a number"))
        .collect();
    assert_eq!(arrived, (0..5_000).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_behind_one_that_is_not_answered_have_an_outcome_soon_after_it() {
    let mut broker = Kafka::start().expect("Kafka starts");
    let instance = harness()
        .connect(json!({
            "connection": {
                "bootstrap_servers": broker.bootstrap_servers(), "message.timeout.ms": 15000, "linger_ms": 0,
            },
            "topics": "behind",
        }))
        .await
        .expect("the broker answers");
    assert_accepted(&instance.publish(numbered("p", 1)).await);
    broker.kill().expect("the keeper is there");
    let started = Instant::now();
    let mut batches = JoinSet::new();
    for _ in 0..instance.limits().max_in_flight {
        batches.spawn(instance.publish(numbered("p", 10)));
    }
    while let Some(outcomes) = batches.join_next().await {
        for outcome in outcomes.expect("no panic") {
            assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
        }
    }
    // One after the other, they would take four times as long as the first.
    let took = started.elapsed();
    assert!(took < Duration::from_secs(40), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_under_load_and_comes_back_has_everything() {
    let mut broker = Kafka::start().expect("Kafka starts");
    let servers = broker.bootstrap_servers();
    broker
        .create_topic("load", 3)
        .expect("the broker makes topics");
    let instance = harness()
        .connect(json!({
            "connection": {"bootstrap_servers": servers, "batch.num.messages": 10},
            "topics": "load",
        }))
        .await
        .expect("the broker answers");
    assert_accepted(&instance.publish(numbered("p", 1)).await);
    let count = 40_000;
    let publishing = instance.publish_all(numbered("p", count), 4 * SOON);
    let outage = tokio::task::spawn_blocking({
        let servers = servers.clone();
        move || {
            // Waits until some events have arrived.
            while read(&servers, "load").len() < 100 {}
            broker.kill().expect("the keeper is there");
            broker.restart().expect("Kafka starts again");
            broker
        }
    });
    let (outcomes, broker) = tokio::join!(publishing, outage);
    let _broker = broker.expect("the restart does not panic");
    assert_accepted(&outcomes);
    let arrived: BTreeSet<usize> = read(&servers, "load")
        .iter()
        .map(|message| message.text().parse().expect("a number"))
        .collect();
    assert_eq!(arrived.len(), count);
}
