//! Brokers that are not there, go away, or stop answering.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use evbus_testkit::{ConnectFailure, Link, Outcome, TestEvent};
use serde_json::json;
use support::{Client, SOON, assert_accepted, config, harness, numbered};
use xtask::brokers::RabbitMq;

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_broker_is_named_and_may_be_tried_again() {
    // The listener is dropped at once, so nobody answers there.
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let failure = harness()
        .connect(json!({"connection": {"host": "127.0.0.1", "port": port}}))
        .await
        .expect_err("nobody is there");
    assert!(matches!(failure, ConnectFailure::Retry(_)), "{failure}");
    let expected = format!("cannot connect to 127.0.0.1:{port}: nothing listens there");
    assert!(failure.reason().starts_with(&expected), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("it is bound").port();
    let started = Instant::now();
    let failure = harness()
        .connect(json!({
            "connection": {"host": "127.0.0.1", "port": port, "connection_timeout": 0.5}
        }))
        .await
        .expect_err("it does not answer");
    assert!(matches!(failure, ConnectFailure::Retry(_)), "{failure}");
    assert!(
        failure.reason().contains("does not answer like an AMQP"),
        "{failure}"
    );
    assert!(started.elapsed() < Duration::from_secs(10));

    // The connection is closed too: nothing of the attempt remains.
    let (mut stream, _) = silent.accept().expect("it connected");
    stream
        .set_read_timeout(Some(SOON))
        .expect("a timeout can be set");
    let mut greeting = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut greeting).expect("the plugin hangs up");
    assert_eq!(greeting, b"AMQP\x00\x00\x09\x01");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_queue_survive_a_restart_of_the_broker() {
    let mut broker = RabbitMq::start().expect("RabbitMQ starts");
    let instance = harness()
        .connect(config(&broker, json!({"routing_key": "durable"})))
        .await
        .expect("the broker answers");
    assert_accepted(&instance.publish(numbered("p", 100)).await);
    broker.restart().expect("RabbitMQ starts again");
    let arrived = Client::new(&broker).await.read("durable").await;
    assert_eq!(arrived.len(), 100);

    // The plugin has noticed by itself, without a publish, and has reconnected.
    let back = instance.wait_until(SOON, |seen| {
        matches!(&seen.links[..], [Link::Down(_), .., Link::Up])
    });
    assert!(back.await, "{:?}", instance.seen().links);
    assert_accepted(&instance.publish(numbered("p", 1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_broker_restarts_in_the_middle() {
    const COUNT: usize = 20_000;

    let mut broker = RabbitMq::start().expect("RabbitMQ starts");
    let instance = harness()
        .connect(config(
            &broker,
            json!({"routing_key": "middle", "timeout": 2}),
        ))
        .await
        .expect("the broker answers");
    let events: Vec<TestEvent> = numbered("p", COUNT);
    let first = instance.publish_all(events[..1000].to_vec(), SOON).await;
    assert_accepted(&first);

    let publishing = instance.publish_all(events[1000..].to_vec(), 3 * SOON);
    let restarting = tokio::task::spawn_blocking(move || {
        broker.kill().expect("RabbitMQ is killed");
        broker.restart().expect("RabbitMQ starts again");
        broker
    });
    let (outcomes, restarted) = tokio::join!(publishing, restarting);
    let broker = restarted.expect("the broker is back");
    assert_accepted(&outcomes);
    let links = instance.seen().links;
    assert!(matches!(links[..], [Link::Down(_), ..]), "{links:?}");

    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for message in Client::new(&broker).await.read("middle").await {
        ids.entry(message.text()).or_default().insert(message.id());
    }
    assert_eq!(ids.len(), COUNT);
    for (n, event) in events.iter().enumerate() {
        let found = &ids[&n.to_string()];
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            [&event.id_text()],
            "event {n}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_away_events_are_tried_again_and_told_why() {
    let mut broker = RabbitMq::start().expect("RabbitMQ starts");
    let config = config(&broker, json!({"routing_key": "away", "timeout": 0.5}));
    let instance = harness().connect(config).await.expect("the broker answers");
    broker.stop().expect("RabbitMQ stops");
    assert!(
        instance
            .wait_until(SOON, |seen| !seen.links.is_empty())
            .await
    );
    let outcomes = instance.publish(numbered("p", 3)).await;
    let place = format!("127.0.0.1:{}", broker.port());
    for outcome in outcomes {
        assert!(matches!(&outcome, Outcome::Retry { .. }), "{outcome:?}");
        assert!(outcome.reason().contains(&place), "{outcome:?}");
        assert!(!outcome.reason().contains("evbus-secret"), "{outcome:?}");
    }
    assert!(
        instance.close().await,
        "it ends although the broker is away"
    );
}
