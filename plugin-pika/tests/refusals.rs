//! What the broker refuses, and what the protocol cannot carry.

mod support;

use evbus_testkit::{ConnectFailure, Link, Outcome, TestEvent};
use lapin::ExchangeKind;
use serde_json::{Value, json};
use support::{
    Arrived, Client, LIMITED, SOON, assert_accepted, assert_rejected, broker, connected, harness,
    numbered, unique,
};

async fn refused(connection: Value) -> ConnectFailure {
    let config = json!({"connection": connection});
    let failure = harness().connect(config).await;
    failure.expect_err("the broker refuses the connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_goes_is_named_and_rejects_each_event_once() {
    let exchange = unique("absent");
    let client = Client::new(broker()).await;
    client.exchange(&exchange, ExchangeKind::Fanout).await;
    let instance = connected(json!({"exchange": exchange})).await;
    client.remove_exchange(&exchange).await;
    let outcomes = instance.publish(numbered("p", 50)).await;
    for outcome in &outcomes {
        assert_rejected(outcome, &format!("no exchange '{exchange}'"));
    }
    // The connection and a new channel still work.
    client.exchange(&exchange, ExchangeKind::Fanout).await;
    client.bind(&unique("bound"), &exchange, "").await;
    assert_accepted(&instance.publish(numbered("p", 2)).await);
    assert_eq!(instance.seen().links, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_over_the_broker_s_maximum_is_found_among_good_ones() {
    let (client, queue) = (Client::new(broker()).await, unique("oversize"));
    let instance = connected(json!({"routing_key": queue})).await;
    let mut events = numbered("p", 300);
    events[123] = TestEvent::bytes("p", "text/plain", vec![b'x'; 17 * 1024 * 1024]);
    let outcomes = instance.publish(events.clone()).await;
    assert_rejected(&outcomes[123], "larger than");
    let others = [&outcomes[..123], &outcomes[124..]].concat();
    assert_accepted(&others);

    let arrived = client.read(&queue).await;
    let mut arrived: Vec<String> = arrived.iter().map(Arrived::id).collect();
    arrived.sort_unstable();
    arrived.dedup();
    let mut expected: Vec<String> = events.iter().map(TestEvent::id_text).collect();
    expected.remove(123);
    expected.sort_unstable();
    assert_eq!(arrived, expected);
}

/// What is still queued for a closed channel makes the broker close the connection, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_found_over_several_connections() {
    let large = |size| TestEvent::bytes("p", "text/plain", vec![b'x'; size]);
    let mut events = vec![large(20_000); 2_000];
    for refused in [10, 1_500] {
        events[refused] = large(17 * 1024 * 1024);
    }
    // In some rounds, all is written before the broker answers.
    for _ in 0..10 {
        let instance = connected(json!({"routing_key": unique("large")})).await;
        let mut outcomes = instance.publish(events.clone()).await;
        for refused in [1_500, 10] {
            assert_rejected(&outcomes.remove(refused), "larger than");
        }
        assert_accepted(&outcomes);
        let links = instance.seen().links;
        let is_misnamed =
            |link: &Link| matches!(link, Link::Down(why) if why.contains("larger than"));
        assert!(!links.iter().any(is_misnamed), "{links:?}");
        if !links.is_empty() {
            return;
        }
    }
    panic!("the broker never closed the connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_amqp_cannot_carry_is_rejected_and_the_rest_goes_out() {
    let queue = unique("names");
    let instance = connected(json!({"routing_key": queue})).await;
    let events = vec![
        TestEvent::text("p", "a"),
        TestEvent::text("p", "b").tag(&"t".repeat(256), "x"),
        TestEvent::text("p", "c").tag("t", &"x".repeat(200_000)),
        TestEvent::text("p", "d").tag("type", &"x".repeat(256)),
    ];
    let outcomes = instance.publish(events).await;
    assert_eq!(outcomes[0], Outcome::Accepted);
    assert_rejected(
        &outcomes[1],
        "the name of a tag is 256 bytes long; AMQP allows at most 255",
    );
    assert_rejected(&outcomes[2], "AMQP headers");
    assert_eq!(outcomes[3], Outcome::Accepted);

    let by_profile = connected(json!({})).await;
    let outcomes = by_profile.publish(numbered(&"p".repeat(256), 1)).await;
    assert_rejected(&outcomes[0], "the routing key is 256 bytes long");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_write_permission_has_its_events_rejected() {
    let client = Client::new(broker()).await;
    client.exchange("closed", ExchangeKind::Fanout).await;
    client.exchange("open", ExchangeKind::Fanout).await;
    client.bind(&unique("bound"), "open", "").await;
    let url = broker().url_of(LIMITED.0, LIMITED.1, "/");
    let connect = async |exchange: &str| {
        let config = json!({"connection": {"url": url}, "exchange": exchange});
        harness().connect(config).await.expect("it may log in")
    };
    let closed = connect("closed").await;
    for outcome in closed.publish(numbered("p", 20)).await {
        assert_rejected(&outcome, "access to exchange 'closed'");
    }
    let open = connect("open").await;
    assert_accepted(&open.publish(numbered("p", 20)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_declare_has_the_events_of_missing_queues_rejected() {
    let url = broker().url_of(LIMITED.0, LIMITED.1, "/");
    let config = json!({"connection": {"url": url}});
    let instance = harness().connect(config).await.expect("it may log in");
    let queue = unique("there");
    for outcome in instance.publish(numbered(&queue, 3)).await {
        assert_rejected(
            &outcome,
            &format!("queue `{queue}` does not exist, and the broker did not allow"),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_permanent_and_not_shown() {
    let port = broker().port();
    let connection = json!({
        "host": "127.0.0.1", "port": port, "login": "evbus", "password": "hunter2"
    });
    let failure = refused(connection).await;
    assert!(matches!(failure, ConnectFailure::Permanent(_)), "{failure}");
    assert!(
        failure.reason().contains(&format!("127.0.0.1:{port}")),
        "{failure}"
    );
    assert!(failure.reason().contains("login of `evbus`"), "{failure}");
    assert!(!failure.reason().contains("hunter2"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_or_forbidden_virtual_host_is_permanent() {
    let url = broker().url_of("evbus", "evbus-secret", "nowhere");
    let failure = refused(json!({"url": url})).await;
    assert!(matches!(failure, ConnectFailure::Permanent(_)), "{failure}");
    assert!(
        failure.reason().contains("virtual host `nowhere`"),
        "{failure}"
    );
    assert!(!failure.reason().contains("evbus-secret"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_broker_is_waited_for_and_then_tried_again() {
    // A separate broker, because an alarm affects all connections.
    let broker = xtask::brokers::RabbitMq::start().expect("RabbitMQ starts");
    let config = support::config(&broker, json!({"routing_key": "blocked", "timeout": 2}));
    let instance = harness().connect(config).await.expect("it may log in");
    assert_accepted(&instance.publish(numbered("p", 1)).await);
    broker
        .ctl(&["set_vm_memory_high_watermark", "0.000001"])
        .expect("the alarm is set off");
    let outcomes = instance.publish(numbered("p", 1)).await;
    assert!(matches!(outcomes[0], Outcome::Retry { .. }), "{outcomes:?}");

    let publishing = instance.publish_all(numbered("p", 5), SOON);
    let release = async {
        broker
            .ctl(&["set_vm_memory_high_watermark", "0.4"])
            .expect("the alarm ends");
    };
    let (outcomes, ()) = tokio::join!(publishing, release);
    assert_accepted(&outcomes);
}
