//! A broker that is short of memory blocks its publishers.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evbus_testkit::{Instance, Link, Outcome, TestEvent};
use serde_json::json;
use support::{Client, SOON, assert_accepted, config, harness, numbered};
use xtask::brokers::RabbitMq;

const REASON: &str = "blocked by the broker: low on memory";

/// Makes the broker raise or clear a memory alarm. Blocks for seconds.
fn alarm(broker: &RabbitMq, on: bool) {
    let watermark = if on { "0.0000001" } else { "0.9" };
    broker
        .ctl(&["set_vm_memory_high_watermark", watermark])
        .expect("the broker takes it");
}

/// How many connections the broker has. Blocks for seconds.
fn connections(broker: &RabbitMq) -> usize {
    let list = broker
        .ctl(&["list_connections", "pid"])
        .expect("the broker answers");
    list.lines().filter(|line| line.starts_with('<')).count()
}

/// Queries the broker without blocking the test's runtime.
async fn ask<T: Send + 'static>(
    broker: &Arc<RabbitMq>,
    question: impl FnOnce(&RabbitMq) -> T + Send + 'static,
) -> T {
    let broker = Arc::clone(broker);
    let asked = tokio::task::spawn_blocking(move || question(&broker));
    asked.await.expect("the question does not panic")
}

/// How often each text arrived in a queue.
async fn arrived(broker: &RabbitMq, queue: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for message in Client::new(broker).await.read(queue).await {
        *counts.entry(message.text()).or_default() += 1;
    }
    counts
}

fn assert_blocked(outcomes: &[Outcome]) {
    for outcome in outcomes {
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
        assert!(outcome.reason().contains(REASON), "{outcome:?}");
    }
}

async fn is_blocked(instance: &Instance) -> bool {
    let blocked =
        |link: Option<&Link>| matches!(link, Some(Link::Down(why)) if why.ends_with(REASON));
    instance
        .wait_until(SOON, |seen| blocked(seen.links.last()))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_blocked_broker_has_is_waited_for_on_one_connection_and_stored_once() {
    const COUNT: usize = 1000;

    let broker = Arc::new(RabbitMq::start().expect("RabbitMQ starts"));
    let config = config(&broker, json!({"routing_key": "blocked", "timeout": 4}));
    let instance = harness().connect(config).await.expect("the broker answers");
    assert_accepted(&instance.publish(numbered("p", 1)).await);

    ask(&broker, |broker| alarm(broker, true)).await;
    let events: Vec<TestEvent> = numbered("p", COUNT);
    // As a host does: repeatedly, and in other batches than before.
    assert_blocked(&instance.publish(events.clone()).await);
    assert!(is_blocked(&instance).await, "{:?}", instance.seen().links);
    for part in events.chunks(COUNT / 2).rev() {
        assert_blocked(&instance.publish(part.to_vec()).await);
    }
    assert_blocked(&instance.publish(events[..1].to_vec()).await);
    assert_eq!(ask(&broker, connections).await, 1);

    let publishing = instance.publish_all(events, SOON);
    let (outcomes, ()) = tokio::join!(publishing, ask(&broker, |broker| alarm(broker, false)));
    assert_accepted(&outcomes);
    assert_eq!(instance.seen().links.last(), Some(&Link::Up));
    assert_eq!(ask(&broker, connections).await, 1);
    let arrived = arrived(&broker, "blocked").await;
    let expected = (0..COUNT).map(|n| (n.to_string(), if n == 0 { 2 } else { 1 }));
    assert_eq!(arrived, expected.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_that_come_and_go_under_load_cost_no_duplicates() {
    let broker = Arc::new(RabbitMq::start().expect("RabbitMQ starts"));
    let config = config(&broker, json!({"routing_key": "flapping", "timeout": 20}));
    let instance = harness().connect(config).await.expect("the broker answers");
    let alarms = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move {
            for _ in 0..2 {
                ask(&broker, |broker| alarm(broker, true)).await;
                ask(&broker, |broker| alarm(broker, false)).await;
            }
        }
    });
    let mut count = 0;
    while !alarms.is_finished() {
        let events = (count..count + 50).map(|n| TestEvent::text("p", &n.to_string()));
        assert_accepted(&instance.publish_all(events.collect(), SOON).await);
        count += 50;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let links = instance.seen().links;
    assert!(
        matches!(
            links[..],
            [Link::Down(_), Link::Up, Link::Down(_), Link::Up]
        ),
        "{links:?}"
    );
    let arrived = arrived(&broker, "flapping").await;
    assert_eq!(arrived.len(), count);
    let twice: Vec<_> = arrived.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}, {links:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_an_alarm_a_new_connection_is_sent_a_single_event() {
    const COUNT: usize = 1000;

    let broker = Arc::new(RabbitMq::start().expect("RabbitMQ starts"));
    Client::new(&broker).await.declare("single").await;
    ask(&broker, |broker| alarm(broker, true)).await;
    // A host whose deadline has passed drops the instance and makes another.
    let config = config(&broker, json!({"routing_key": "single", "timeout": 4}));
    for _ in 0..3 {
        let instance = harness()
            .connect(&config)
            .await
            .expect("the broker answers");
        assert_blocked(&instance.publish(numbered("p", COUNT)).await);
    }
    let instance = harness()
        .connect(&config)
        .await
        .expect("the broker answers");
    let publishing = instance.publish_all(numbered("p", COUNT), SOON);
    let (outcomes, ()) = tokio::join!(publishing, ask(&broker, |broker| alarm(broker, false)));
    assert_accepted(&outcomes);
    let arrived = arrived(&broker, "single").await;
    let duplicates = arrived.values().sum::<usize>() - COUNT;
    assert!(arrived.len() == COUNT && duplicates <= 3, "{duplicates}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_broker_that_goes_away_is_a_lost_connection() {
    let broker = RabbitMq::start().expect("RabbitMQ starts");
    let broker = Arc::new(broker);
    let config = config(&broker, json!({"routing_key": "gone", "timeout": 4}));
    let instance = harness().connect(config).await.expect("the broker answers");
    ask(&broker, |broker| alarm(broker, true)).await;
    assert_blocked(&instance.publish(numbered("p", 10)).await);
    let mut broker = Arc::into_inner(broker).expect("nobody asks any more");
    let restarted = tokio::task::spawn_blocking(move || {
        broker.kill().expect("RabbitMQ is killed");
        broker.restart().expect("RabbitMQ starts again");
        broker
    });
    let broker = restarted.await.expect("the broker is back");
    assert_accepted(&instance.publish_all(numbered("p", 10), SOON).await);
    assert!(!arrived(&broker, "gone").await.is_empty());
}
