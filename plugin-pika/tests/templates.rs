//! Keys with another value for each event, at a working broker.

mod support;

use evbus_testkit::{Harness, Instance, LogLine, Outcome, TestEvent, built};
use lapin::ExchangeKind;
use serde_json::{Value, json};
use support::{
    Arrived, Client, SOON, assert_accepted, assert_rejected, broker, connected, harness, numbered,
    unique,
};

fn tagged(tag: &str, value: &str) -> TestEvent {
    TestEvent::text("p", value).tag(tag, value)
}

#[test]
fn a_value_that_no_event_can_have_is_a_fault_of_its_key() {
    let long = "x".repeat(256);
    let unknown = "unknown name `nonesuch`";
    for (config, path, text) in [
        (
            json!({"routing_key": "${ nonesuch }"}),
            "routing_key",
            unknown,
        ),
        (json!({"exchange": "${ nonesuch }"}), "exchange", unknown),
        (
            json!({"message_id": "${ nonesuch }"}),
            "message_id",
            unknown,
        ),
        (
            json!({"expiration": "${ nonesuch }"}),
            "expiration",
            unknown,
        ),
        (json!({"priority": "${ nonesuch }"}), "priority", unknown),
        (
            json!({"extra_headers": {"h": "${ nonesuch }"}}),
            "extra_headers.h",
            unknown,
        ),
        (
            json!({"routing_key": format!("{long}${{ id }}")}),
            "routing_key",
            "256 bytes",
        ),
        (json!({"exchange": long}), "exchange", "256 bytes"),
        (json!({"message_id": long}), "message_id", "256 bytes"),
        (
            json!({"extra_headers": {&long: "x"}}),
            "extra_headers",
            "256 bytes",
        ),
        (
            json!({"extra_headers": {"": "x"}}),
            "extra_headers",
            "without a name",
        ),
        (
            json!({"extra_headers": {"evbus-id": "x"}}),
            "extra_headers",
            "`evbus-id`",
        ),
        (
            json!({"extra_headers": {"evbus-time": "x"}}),
            "extra_headers",
            "`evbus-time`",
        ),
        (
            json!({"extra_headers": {"evbus-profile": "x"}}),
            "extra_headers",
            "own",
        ),
        (json!({"expiration": -1}), "expiration", "a number"),
        (json!({"expiration": "1.5"}), "expiration", "text"),
        (json!({"priority": 256}), "priority", "from 0 to 255"),
        (
            json!({"max_declared": 0}),
            "max_declared",
            "from 1 to 100000",
        ),
    ] {
        let faults = harness().check(config);
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(
            faults.len() == 1
                && faults[0].starts_with(&format!("{path}: "))
                && faults[0].contains(text),
            "{faults:?} is not one fault at {path} about `{text}`"
        );
    }
    let schema = harness().schema();
    assert_eq!(schema["properties"]["routing_key"]["x-default"], "profile");
}

#[tokio::test(flavor = "multi_thread")]
async fn profile_tags_and_body_choose_routing_key_exchange_headers_and_properties() {
    let client = Client::new(broker()).await;
    let (one, two) = (unique("one"), unique("two"));
    for name in [&one, &two] {
        client.exchange(name, ExchangeKind::Direct).await;
        client.bind(&format!("{name}-q"), name, "jobs.a.4").await;
    }
    let instance = connected(json!({
        "exchange": "${ tags.to }",
        "routing_key": "${ profile | replace('/', '.') }.${ body.n }",
        "extra_headers": {"double": "${ body.n * 2 }", "to": "of ${ tags.to }", "constant": "c\n"},
        "message_id": "${ tags.to }-${ body.n }",
        "expiration": "${ body.n * 100000 }",
        "priority": "${ body.n }",
    }))
    .await;
    let events: Vec<TestEvent> = [&one, &two, &one]
        .into_iter()
        .map(|to| TestEvent::json("jobs/a", json!({"n": 4, "tags": {"to": to}})))
        .collect();
    assert_accepted(&instance.publish(events.clone()).await);
    for (name, expected) in [
        (&one, vec![&events[0], &events[2]]),
        (&two, vec![&events[1]]),
    ] {
        let arrived = client.read(&format!("{name}-q")).await;
        assert_eq!(arrived.len(), expected.len());
        for (message, event) in arrived.iter().zip(expected) {
            let properties = &message.properties;
            assert_eq!(message.routing_key, "jobs.a.4");
            assert_eq!(message.id(), format!("{name}-4"));
            assert_eq!(*properties.priority(), Some(4));
            assert_eq!(
                properties.expiration().as_ref().map(ToString::to_string),
                Some("400000".to_owned())
            );
            let headers = message.headers();
            assert_eq!(headers["double"], "8");
            assert_eq!(headers["to"], format!("of {name}"));
            assert_eq!(headers["constant"], "c\n");
            assert_eq!(headers["evbus-id"], event.id_text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn constants_are_numbers_or_texts_and_the_default_exchange_can_be_given_by_name() {
    let (client, queue) = (Client::new(broker()).await, unique("constants"));
    let instance = connected(json!({
        "exchange": "${ tags.to }", "routing_key": queue, "expiration": 60_000, "priority": "7",
    }))
    .await;
    assert_accepted(&instance.publish(vec![tagged("to", "default")]).await);
    let arrived = client.read(&queue).await;
    assert_eq!(*arrived[0].properties.priority(), Some(7));
    assert!(arrived[0].properties.expiration().is_some());
    assert_eq!(arrived[0].headers().get("evbus-id"), None);
}

/// The table in the README, but for those that the broker accepts.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_a_bad_value_is_rejected_alone() {
    let long = "x".repeat(1024 * 1024);
    let queue = unique("bad-values");
    let with = |key: &str| {
        let mut config = json!({"routing_key": queue});
        config[key] = json!("${ body }");
        config
    };
    let header = json!({"routing_key": queue, "extra_headers": {"h": "${ body }"}});
    let too_long = "1048576 bytes long; AMQP allows at most 255";
    let fails = |key: &str| format!("the template of `{key}` fails");
    let is_empty = |key: &str| format!("the template of `{key}` gives an empty text");
    for (config, good, bad, why) in [
        (with("routing_key"), &*queue, "", is_empty("routing_key")),
        (
            with("routing_key"),
            &queue,
            &long,
            format!("the routing key is {too_long}"),
        ),
        (
            with("routing_key"),
            &queue,
            "a\nb",
            "contains a line break".to_owned(),
        ),
        (with("exchange"), "default", "", is_empty("exchange")),
        (
            with("exchange"),
            "default",
            &long,
            format!("the exchange is {too_long}"),
        ),
        (
            with("exchange"),
            "default",
            "amq.\ndirect",
            "a control character".to_owned(),
        ),
        (
            with("exchange"),
            "default",
            "a\0b",
            "a control character".to_owned(),
        ),
        (
            with("exchange"),
            "default",
            "a/../b",
            "the exchange `a/../b` does not exist".to_owned(),
        ),
        (with("message_id"), "1", "", is_empty("message_id")),
        (
            with("message_id"),
            "1",
            &long,
            format!("the message id is {too_long}"),
        ),
        (with("expiration"), "60000", "-1", fails("expiration")),
        (
            with("expiration"),
            "60000",
            "4294967296",
            fails("expiration"),
        ),
        (with("expiration"), "60000", "1.5", fails("expiration")),
        (with("expiration"), "60000", "5s", fails("expiration")),
        (with("expiration"), "60000", "", fails("expiration")),
        (with("expiration"), "60000", &long, fails("expiration")),
        (with("priority"), "1", "-1", fails("priority")),
        (with("priority"), "1", "256", fails("priority")),
        (with("priority"), "1", "high", fails("priority")),
        (header, "1", &long, "and `extra_headers` make".to_owned()),
    ] {
        let instance = connected(config).await;
        let events = [good, bad, good].map(|body| TestEvent::json("p", json!(body)));
        let outcomes = instance.publish(events.to_vec()).await;
        assert_rejected(&outcomes[1], &why);
        assert_accepted(&[outcomes[0].clone(), outcomes[2].clone()]);
        assert_eq!(instance.seen().links, []);
    }
    let of_body = |body: Value| TestEvent::json("p", body);
    let instance = connected(json!({"routing_key": "${ body.t }"})).await;
    let outcomes = instance
        .publish(vec![
            of_body(json!({"t": [1]})),
            of_body(json!({})),
            of_body(json!({"t": queue})),
        ])
        .await;
    assert_rejected(
        &outcomes[0],
        "the template of `routing_key` fails: found a list",
    );
    assert_rejected(
        &outcomes[1],
        "the template of `routing_key` fails: undefined name",
    );
    assert_accepted(&outcomes[2..]);
}

/// Each of these is the name of a queue, or of a binding, like any other.
#[tokio::test(flavor = "multi_thread")]
async fn odd_routing_keys_that_the_broker_takes_arrive() {
    let client = Client::new(broker()).await;
    let instance = connected(json!({"routing_key": "${ tags.t }"})).await;
    let odd = [unique("/../odd"), unique("a\0b"), unique("größe \u{202e}")];
    let events = odd.iter().map(|key| tagged("t", key)).collect();
    assert_accepted(&instance.publish(events).await);
    for key in &odd {
        assert_eq!(client.read(key).await.len(), 1, "{key:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_events_of_an_exchange_that_goes_are_rejected() {
    let client = Client::new(broker()).await;
    let (stays, goes) = (unique("stays"), unique("goes"));
    let queue = unique("bound");
    for name in [&stays, &goes] {
        client.exchange(name, ExchangeKind::Fanout).await;
        client.bind(&queue, name, "").await;
    }
    let instance = connected(json!({"exchange": "${ tags.to }"})).await;
    let events = |count: usize| -> Vec<TestEvent> {
        let event = |n: usize| {
            let to = if n % 10 == 3 { &goes } else { &stays };
            TestEvent::text("p", &n.to_string()).tag("to", to)
        };
        (0..count).map(event).collect()
    };
    assert_accepted(&instance.publish(events(20)).await);
    // It is remembered, so the broker closes the channel.
    client.remove_exchange(&goes).await;
    client.read(&queue).await;
    let outcomes = instance.publish(events(300)).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        if n % 10 == 3 {
            // The broker says so, or, over a new connection, the plugin.
            assert_rejected(outcome, &goes);
        } else {
            assert_eq!(*outcome, Outcome::Accepted, "{n}");
        }
    }
    let mut arrived: Vec<String> = client.read(&queue).await.iter().map(Arrived::id).collect();
    arrived.sort_unstable();
    arrived.dedup();
    assert_eq!(arrived.len(), 270);
    let outcomes = instance.publish(events(20)).await;
    assert_rejected(
        &outcomes[3],
        &format!("the exchange `{goes}` does not exist"),
    );
    assert_rejected(
        &outcomes[13],
        &format!("the exchange `{goes}` does not exist"),
    );
    assert_accepted(&[&outcomes[..3], &outcomes[4..13]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_returned_message_is_found_whatever_its_message_id_is() {
    let (client, queue) = (Client::new(broker()).await, unique("there"));
    client.declare(&queue).await;
    let absent = unique("absent");
    let instance = connected(json!({
        "routing_key": "${ tags.to }", "message_id": "the same", "declare": false,
    }))
    .await;
    let is_absent = |n: usize| n % 7 == 2;
    let event = |n: usize| {
        let to = if is_absent(n) { &absent } else { &queue };
        // Nobody can have another event found in its place.
        TestEvent::text("p", &n.to_string())
            .tag("to", to)
            .tag("evbus-id", "forged")
    };
    let outcomes = instance.publish((0..200).map(event).collect()).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        if is_absent(n) {
            assert_rejected(outcome, &format!("queue `{absent}` does not exist"));
        } else {
            assert_eq!(*outcome, Outcome::Accepted, "{n}");
        }
    }
    let arrived = client.read(&queue).await;
    let expected = (0..200).filter(|n| !is_absent(*n)).count();
    assert_eq!(arrived.len(), expected);
    assert!(arrived.iter().all(|message| message.id() == "the same"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_declared_queues_are_warned_about_once_and_no_more_than_max_declared_are_made() {
    let client = Client::new(broker()).await;
    let name = unique("many");
    let events = |range: std::ops::Range<usize>| -> Vec<TestEvent> {
        range.map(|n| tagged("t", &format!("{name}-{n}"))).collect()
    };
    // Loaded as by a host, which has its log lines.
    let library = Harness::open(&built("plugin-pika")).expect("it is a plugin");
    let connected = async |beside: Value| {
        let config = support::config(broker(), beside);
        library.connect(config).await.expect("the broker answers")
    };
    let limited = json!({"routing_key": "${ tags.t }", "max_declared": 120});
    let instance = connected(limited).await;
    let warnings = |instance: &Instance| {
        let log = instance.seen().log;
        let is_warning = |line: &&LogLine| line.message.contains("100 queues");
        log.iter().filter(is_warning).count()
    };
    assert_accepted(&instance.publish(events(0..99)).await);
    assert_eq!(warnings(&instance), 0);
    // One that somebody else has declared does not count.
    client.declare(&format!("{name}-125")).await;
    let outcomes = instance.publish(events(90..130)).await;
    for (n, outcome) in (90..).zip(&outcomes) {
        if n < 120 || n == 125 {
            assert_eq!(*outcome, Outcome::Accepted, "{n}");
        } else {
            assert_rejected(outcome, "120 queues have been declared");
        }
    }
    assert_eq!(warnings(&instance), 1);
    assert_eq!(client.read(&format!("{name}-119")).await.len(), 1);

    let unlimited = connected(json!({"routing_key": "${ tags.t }"})).await;
    assert_accepted(&unlimited.publish(events(130..330)).await);
    assert_accepted(&unlimited.publish(events(330..480)).await);
    assert_eq!(warnings(&unlimited), 1);
}

/// The host would take an instance that does not answer for one that hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_for_thousands_of_new_queues_is_answered_in_time_and_goes_on_later() {
    let name = unique("thousands");
    let config = json!({"routing_key": "${ tags.t }", "timeout": 1});
    let instance = connected(config).await;
    let event = |n: usize| tagged("t", &format!("{name}-{n}"));
    let outcomes = instance.publish((0..4000).map(event).collect()).await;
    let accepted = outcomes.iter().take_while(|it| **it == Outcome::Accepted);
    let accepted = accepted.count();
    assert!(accepted > 0 && accepted < 4000, "{accepted}");
    for outcome in &outcomes[accepted..] {
        assert!(
            matches!(outcome, Outcome::Retry { reason, .. } if reason.contains("so many new queues")),
            "{outcome:?}"
        );
    }
    // These are known now, so there is time for another one.
    let further = instance.publish((0..=accepted).map(event).collect()).await;
    assert_accepted(&further);
    assert_eq!(instance.seen().links, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_routing_key_keep_their_order_over_batches() {
    let client = Client::new(broker()).await;
    let queues = [unique("ordered"), unique("ordered"), unique("ordered")];
    let instance = connected(json!({"routing_key": "${ tags.to }"})).await;
    let events = numbered("p", 9000).into_iter().enumerate();
    let events = events
        .map(|(n, event)| event.tag("to", &queues[n % 3]))
        .collect();
    assert_accepted(&instance.publish_all(events, SOON).await);
    for (first, queue) in queues.iter().enumerate() {
        let arrived = client.read(queue).await;
        let texts: Vec<String> = arrived.iter().map(Arrived::text).collect();
        let expected: Vec<String> = (first..9000).step_by(3).map(|n| n.to_string()).collect();
        assert_eq!(texts, expected);
    }
}
