//! 10,000 events of a real Salt run at Kafka and `RabbitMQ`: each one is where the acct file says, those of a key are in
//! their order, and nothing else is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use crate::consumers::{queues, read_messages, read_records, topics};
use crate::salt_events::{SaltEvent, lines, salt_events};
use crate::support::RunningHost;
use evbus_testkit::plugin_dir;
use serde_json::Value;
use xtask::brokers::{Kafka, RabbitMq};

const EVENTS: usize = 10_000;

/// What [`at_kafka`] and [`at_rabbitmq`] expect.
const ACCT: &str = r#"
kafka:
  - 'salt/job/*/ret/*':
      connection: {bootstrap_servers: 'KAFKA'}
      topics: ["${ parts[0] }-${ parts[3] }"]
      key: ${ parts[4] }
      extra_headers: {fun: "${ message.fun }", jid: "${ message.jid }"}
      evbus: {ordered: true}
  - '*/refresh/*':
      connection: {bootstrap_servers: 'KAFKA'}
      topics: [refreshed, "${ parts[:2] | join('.') | topic }"]
      key: ${ parts[2] }
      evbus: {ordered: true}
rabbitmq:
  - 'salt/job/*/ret/*':
      connection: {url: 'AMQP'}
      routing_key: returns-${ message.id }
      max_declared: 10
      evbus: {ordered: true}
  - 'salt/*':
      connection: {url: 'AMQP'}
      exchange: amq.${ "topic" if parts[1] != "none" else "direct" }
      routing_key: ${ parts[:2] | join('.') }
      evbus: {ordered: true}
  - '*/refresh/*':
      connection: {url: 'AMQP'}
      routing_key: ${ parts[1] }-${ parts[2] }
      evbus: {ordered: true}
"#;

/// The topics that are there before, with the number of their partitions. The brokers create others, with one partition.
const TOPICS: &[(&str, u32)] = &[("salt-ret", 3)];
/// The queue that is there before, and takes everything from the exchange `amq.topic`.
const BOUND: &str = "everything";

/// A topic and a key.
type AtKafka = (String, Option<String>);
/// An exchange, a routing key and a queue.
type AtRabbitMq = (String, String, String);

/// Where an event has to be at Kafka.
fn at_kafka(event: &SaltEvent) -> Vec<AtKafka> {
    let parts = event.parts();
    let mut places = Vec::new();
    if event.is_return() {
        places.push(("salt-ret".to_owned(), Some(parts[4].to_owned())));
    }
    if is_refresh(event) {
        let topic = format!("{}.{}", parts[0], parts[1]);
        places.extend(
            ["refreshed".to_owned(), topic].map(|topic| (topic, Some(parts[2].to_owned()))),
        );
    }
    places
}

/// Where an event has to be at `RabbitMQ`.
fn at_rabbitmq(event: &SaltEvent) -> Vec<AtRabbitMq> {
    let parts = event.parts();
    let mut places = Vec::new();
    let mut on_default = |queue: String| places.push((String::new(), queue.clone(), queue));
    if event.is_return() {
        on_default(format!("returns-{}", parts[4]));
    }
    if is_refresh(event) {
        on_default(format!("{}-{}", parts[1], parts[2]));
    }
    if parts[0] == "salt" {
        let routing_key = format!("salt.{}", parts[1]);
        places.push(("amq.topic".to_owned(), routing_key, BOUND.to_owned()));
    }
    places
}

fn is_refresh(event: &SaltEvent) -> bool {
    matches!(event.parts()[..], [_, "refresh", _])
}

#[test]
fn events_of_a_salt_run_are_where_the_acct_file_says_in_their_order_and_nowhere_else() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-pika", "plugin-kafka"]);
    let (rabbit, kafka, events) = std::thread::scope(|scope| {
        let rabbit = scope.spawn(|| RabbitMq::start().expect("RabbitMQ starts"));
        let kafka = scope.spawn(|| Kafka::start().expect("Kafka starts"));
        let events = salt_events(EVENTS);
        (rabbit.join().unwrap(), kafka.join().unwrap(), events)
    });
    for (name, partitions) in TOPICS {
        kafka.create_topic(name, *partitions).unwrap();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(bind(&rabbit.url()));

    let acct = ACCT
        .replace("KAFKA", &kafka.bootstrap_servers())
        .replace("AMQP", &rabbit.url());
    let host = RunningHost::start(&acct, plugins.path(), &[]);
    host.put_events(&lines(&events));
    // It delivers what is queued.
    let (status, log) = host.stop();
    assert!(status.success(), "{log}");

    let expected = places(&events, at_kafka);
    let servers = kafka.bootstrap_servers();
    let found = topics(&servers);
    assert_eq!(found, names(&expected, |(topic, _)| topic));
    let mut arrived: BTreeMap<AtKafka, Vec<Arrival>> = BTreeMap::new();
    let mut partitions: BTreeMap<AtKafka, BTreeSet<i32>> = BTreeMap::new();
    for record in read_records(&servers, &found, count(&expected)) {
        let arrival = Arrival {
            id: record.id(),
            profile: record.header("evbus-profile"),
            body: record.value,
        };
        let place = (record.topic, record.key);
        let used = partitions.entry(place.clone()).or_default();
        used.insert(record.partition);
        arrived.entry(place).or_default().push(arrival);
    }
    for (place, used) in partitions {
        assert_eq!(used.len(), 1, "{place:?}: partitions {used:?}");
    }
    check(&expected, arrived);

    let expected = places(&events, at_rabbitmq);
    let found = queues(&rabbit);
    assert_eq!(found, names(&expected, |(_, _, queue)| queue));
    let mut arrived: BTreeMap<AtRabbitMq, Vec<Arrival>> = BTreeMap::new();
    for queue in &found {
        let here = expected.iter().filter(|((_, _, at), _)| at == queue);
        let count = here.map(|(_, events)| events.len()).sum();
        for message in runtime.block_on(read_messages(rabbit.url(), queue, count)) {
            let arrival = Arrival {
                id: message.id(),
                profile: message.header("evbus-profile"),
                body: message.body,
            };
            let place = (message.exchange, message.routing_key, message.queue);
            arrived.entry(place).or_default().push(arrival);
        }
    }
    check(&expected, arrived);
}

/// What a consumer has got.
struct Arrival {
    id: String,
    profile: Option<String>,
    body: Value,
}

/// Each place with the events that have to be there, in their order.
fn places<P: Ord>(
    events: &[SaltEvent],
    places_of: impl Fn(&SaltEvent) -> Vec<P>,
) -> BTreeMap<P, Vec<&SaltEvent>> {
    let mut places: BTreeMap<P, Vec<&SaltEvent>> = BTreeMap::new();
    for event in events {
        for place in places_of(event) {
            places.entry(place).or_default().push(event);
        }
    }
    places
}

fn names<'a, P, E>(places: &'a BTreeMap<P, E>, name: impl Fn(&'a P) -> &'a String) -> Vec<&'a str> {
    let names: BTreeSet<&str> = places.keys().map(|place| name(place).as_str()).collect();
    names.into_iter().collect()
}

fn count<P>(places: &BTreeMap<P, Vec<&SaltEvent>>) -> usize {
    places.values().map(Vec::len).sum()
}

/// Asserts that each place has got its events in their order, and that there are no others. A message that was
/// stored twice counts once.
#[track_caller]
fn check<P: Ord + Debug>(
    expected: &BTreeMap<P, Vec<&SaltEvent>>,
    mut arrived: BTreeMap<P, Vec<Arrival>>,
) {
    for (place, events) in expected {
        let mut arrivals = arrived.remove(place).unwrap_or_default();
        let mut seen = BTreeSet::new();
        arrivals.retain(|arrival| seen.insert(arrival.id.clone()));
        for (arrival, event) in arrivals.iter().zip(events) {
            let at = (arrival.profile.as_deref(), &arrival.body);
            assert_eq!(at, (Some(event.tag.as_str()), &event.data), "{place:?}");
        }
        assert_eq!(arrivals.len(), events.len(), "{place:?}");
    }
    let others: Vec<P> = arrived.into_keys().collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Declares [`BOUND`].
async fn bind(url: &str) {
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(url, properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let none = lapin::types::FieldTable::default;
    let durable = lapin::options::QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let queue = BOUND.into();
    channel.queue_declare(queue, durable, none()).await.unwrap();
    let options = lapin::options::QueueBindOptions::default();
    (channel.queue_bind(
        BOUND.into(),
        "amq.topic".into(),
        "#".into(),
        options,
        none(),
    ))
    .await
    .unwrap();
}
