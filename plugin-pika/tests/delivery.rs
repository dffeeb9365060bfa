//! Events arrive unchanged and at the right destination.

mod support;

use std::collections::BTreeMap;

use evbus_testkit::conformance::Conformance;
use evbus_testkit::{TestEvent, built, idem_events};
use lapin::ExchangeKind;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;
use support::{
    Arrived, Client, SOON, assert_accepted, assert_rejected, broker, config, connected, numbered,
    unique,
};

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let queue = unique("conformance");
    Conformance::open(&built("plugin-pika"))
        .config(config(
            broker(),
            json!({"routing_key": queue, "exchange": "default", "timeout": 20, "declare": true}),
        ))
        .second_config(config(broker(), json!({"routing_key": unique("second")})))
        .free_form("connection.client_properties")
        .large_event_bytes(8 * 1024 * 1024)
        .run()
        .await
        .assert_passes();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_an_idem_run_arrives_with_its_properties() {
    let (client, queue) = (Client::new(broker()).await, unique("idem"));
    let instance = connected(json!({"routing_key": queue})).await;
    let events = idem_events();
    assert_eq!(events.len(), 33);
    assert_accepted(&instance.publish(events.clone()).await);

    let arrived = client.read(&queue).await;
    assert_eq!(arrived.len(), 33);
    for (event, message) in events.iter().zip(&arrived) {
        assert_eq!(message.body, event.body());
        assert_eq!(message.id(), event.id_text());
        let properties = &message.properties;
        assert_eq!(properties.delivery_mode(), &Some(2));
        let content_type = properties.content_type().as_ref().expect("a content type");
        assert_eq!(content_type.as_str(), "application/json");

        let mut headers: BTreeMap<String, String> = event.body_json()["tags"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        let kind = properties.kind().as_ref().map(ToString::to_string);
        assert_eq!(kind.as_ref(), headers.get("type"));
        headers.insert("evbus-profile".to_owned(), event.profile().to_owned());
        assert_eq!(message.headers(), headers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_is_a_timestamp_and_a_precise_header() {
    let (client, queue) = (Client::new(broker()).await, unique("time"));
    let instance = connected(json!({"routing_key": queue})).await;
    let event = TestEvent::text("p", "x").time_unix_ns(1_700_000_000_123_456_789);
    assert_accepted(&instance.publish(vec![event]).await);
    let message = client.read(&queue).await.remove(0);
    assert_eq!(message.properties.timestamp(), &Some(1_700_000_000));
    let headers = message.properties.headers().clone().expect("headers");
    assert_eq!(
        headers.inner().get("evbus-time"),
        Some(&AMQPValue::LongLongInt(1_700_000_000_123_456_789))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_routing_key_the_profile_names_the_queue_which_is_declared() {
    let client = Client::new(broker()).await;
    let instance = connected(json!({"routing_key": ""})).await;
    let queues = [unique("profile"), unique("profile")];
    let events = vec![
        TestEvent::text(&queues[0], "a"),
        TestEvent::text(&queues[1], "b"),
        TestEvent::text(&queues[0], "c"),
    ];
    assert_accepted(&instance.publish(events).await);
    let texts =
        |arrived: Vec<Arrived>| -> Vec<String> { arrived.iter().map(Arrived::text).collect() };
    assert_eq!(texts(client.read(&queues[0]).await), ["a", "c"]);
    assert_eq!(texts(client.read(&queues[1]).await), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_exists_is_used_whatever_its_arguments() {
    let (client, queue) = (Client::new(broker()).await, unique("lazy"));
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(10));
    let transient = QueueDeclareOptions::default();
    let declared = client
        .channel
        .queue_declare(queue.as_str().into(), transient, arguments);
    declared.await.expect("the queue is declared");
    let instance = connected(json!({"routing_key": queue})).await;
    assert_accepted(&instance.publish(numbered("p", 3)).await);
    assert_eq!(client.read(&queue).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_is_declared_again() {
    let (client, queue) = (Client::new(broker()).await, unique("deleted"));
    let instance = connected(json!({"routing_key": queue})).await;
    assert_accepted(&instance.publish(numbered("p", 2)).await);
    let deleted = client
        .channel
        .queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
    assert_eq!(deleted.await.expect("the queue exists"), 2);
    assert_accepted(&instance.publish_all(numbered("p", 3), SOON).await);
    assert_eq!(client.read(&queue).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_exchange_routes_by_its_bindings() {
    let client = Client::new(broker()).await;
    let (exchange, queue) = (unique("topics"), unique("bound"));
    client.exchange(&exchange, ExchangeKind::Topic).await;
    client.bind(&queue, &exchange, "idem-#").await;
    let instance = connected(json!({"exchange": exchange})).await;
    assert_accepted(&instance.publish(vec![TestEvent::text("idem-#", "x")]).await);
    client.bind(&queue, &exchange, "a.*").await;
    assert_accepted(&instance.publish(vec![TestEvent::text("a.b", "y")]).await);
    let arrived = client.read(&queue).await;
    assert_eq!(arrived.len(), 2);
    assert_eq!(arrived[1].routing_key, "a.b");
}

#[tokio::test(flavor = "multi_thread")]
async fn unroutable_events_are_rejected_by_themselves() {
    let client = Client::new(broker()).await;
    let (exchange, queue) = (unique("direct"), unique("bound"));
    client.exchange(&exchange, ExchangeKind::Direct).await;
    client.bind(&queue, &exchange, "known").await;
    let instance = connected(json!({"exchange": exchange})).await;
    let events: Vec<TestEvent> = (0..200)
        .map(|n| TestEvent::text(if n % 3 == 1 { "unknown" } else { "known" }, &n.to_string()))
        .collect();
    let outcomes = instance.publish(events).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        if n % 3 == 1 {
            assert_rejected(
                outcome,
                &format!("`{exchange}` for the routing key `unknown`"),
            );
        } else {
            assert_accepted(std::slice::from_ref(outcome));
        }
    }
    assert_eq!(client.read(&queue).await.len(), 133);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_declare_a_missing_queue_makes_the_event_unroutable() {
    let queue = unique("absent");
    let strict = connected(json!({"declare": false})).await;
    let outcomes = strict.publish(numbered(&queue, 1)).await;
    assert_rejected(&outcomes[0], &format!("queue `{queue}` does not exist"));
    let lax = json!({"routing_key": queue, "declare": false, "mandatory": false});
    assert_accepted(&connected(lax).await.publish(numbered("p", 1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_many_frames_arrives_whole() {
    let (client, queue) = (Client::new(broker()).await, unique("large"));
    let instance = connected(json!({"routing_key": queue})).await;
    let body: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let event = TestEvent::bytes("p", "application/msgpack", body.clone());
    let empty = TestEvent::bytes("p", "text/plain", Vec::new());
    assert_accepted(&instance.publish(vec![event, empty]).await);
    let arrived = client.read(&queue).await;
    assert!(arrived[0].body == body, "the body arrived changed");
    assert!(arrived[1].body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_kept_over_batches() {
    let (client, queue) = (Client::new(broker()).await, unique("order"));
    let instance = connected(json!({"routing_key": queue})).await;
    assert_accepted(&instance.publish_all(numbered("p", 10_000), SOON).await);
    let arrived = client.read(&queue).await;
    assert_eq!(arrived.len(), 10_000);
    for (n, message) in arrived.iter().enumerate() {
        assert_eq!(message.text(), n.to_string());
    }
}
