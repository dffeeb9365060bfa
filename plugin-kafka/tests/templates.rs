//! Keys with another value for each event, at a working broker.

mod support;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use evbus_sdk::serde_json::{Value, json};
use evbus_testkit::{Outcome, TestEvent};
use support::{
    Arrived, SOON, assert_accepted, assert_fault, assert_rejected, harness, numbered, read,
};
use xtask::brokers::Kafka;

/// Topics appear with three partitions.
static BROKER: LazyLock<Kafka> = LazyLock::new(|| {
    Kafka::builder()
        .partitions(3)
        .start()
        .expect("Kafka starts")
});

async fn publish(mut config: Value, events: Vec<TestEvent>) -> Vec<Outcome> {
    config["connection"] = json!({"bootstrap_servers": BROKER.bootstrap_servers()});
    let instance = harness().connect(config).await.expect("the broker answers");
    let outcomes = instance.publish_all(events, SOON).await;
    assert!(instance.close().await);
    outcomes
}

fn topic(name: &str) -> Vec<Arrived> {
    read(&BROKER.bootstrap_servers(), name)
}

fn tagged(profile: &str, tag: &str, value: &str) -> TestEvent {
    TestEvent::text(profile, value).tag(tag, value)
}

#[test]
fn a_template_that_no_event_can_satisfy_is_a_fault_of_its_key() {
    for (config, path) in [
        (json!({"topics": "${ nonesuch }"}), "topics"),
        (json!({"topics": ["a", "${ nonesuch }"]}), "topics[1]"),
        (json!({"key": "${ nonesuch }"}), "key"),
        (json!({"partition": "${ nonesuch }"}), "partition"),
        (
            json!({"extra_headers": {"h": "${ nonesuch }"}}),
            "extra_headers.h",
        ),
    ] {
        assert_fault(config, path, "unknown name `nonesuch`");
    }
    assert_fault(json!({"topics": "a/${ tags.t }"}), "topics[0]", "'/'");
    assert_fault(json!({"partition": "-3"}), "partition", "from 0");
}

#[test]
fn a_header_of_the_plugin_s_own_name_is_refused() {
    for name in [
        "evbus-id",
        "evbus-time",
        "evbus-profile",
        "content-type",
        "evbus",
    ] {
        let config = json!({"extra_headers": {name: "x"}, "headers": "none"});
        assert_fault(config, "extra_headers", &format!("`{name}`"));
    }
    assert_fault(
        json!({"extra_headers": {"": "x"}}),
        "extra_headers",
        "without a name",
    );
}

#[test]
fn the_schema_says_which_keys_are_templates_and_what_their_default_is() {
    let keys = &harness().schema()["properties"];
    assert_eq!(keys["topics"]["x-default"], "profile");
    for key in ["topics", "key", "partition", "extra_headers"] {
        let schema = keys[key].to_string();
        let schema = match schema.split_once("#/$defs/") {
            Some((_, name)) => {
                let name = name.split('"').next().unwrap_or_default();
                harness().schema()["$defs"][name].to_string()
            }
            None => schema,
        };
        assert!(schema.contains(r#""x-template":true"#), "{key}: {schema}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn profile_tags_and_body_choose_topic_key_partition_and_headers() {
    let config = json!({
        "topics": ["all-jobs", "job-${ parts[1] | topic }"],
        "key": "${ tags.host }",
        "partition": "${ body.n % 3 }",
        "extra_headers": {"host": "of ${ tags.host }", "n": "${ body.n }", "constant": "c"},
    });
    let event = |n: u8| {
        let body = json!({"n": n, "tags": {"host": format!("web-{n}")}});
        TestEvent::json(&format!("jobs/a b{}", n % 2), body)
    };
    assert_accepted(&publish(config, (0..6).map(event).collect()).await);
    for (name, expected) in [
        ("all-jobs", vec![0_u8, 3, 1, 4, 2, 5]),
        ("job-a_b0", vec![0, 4, 2]),
        ("job-a_b1", vec![3, 1, 5]),
    ] {
        let arrived = topic(name);
        let numbers = arrived.iter().map(|message| {
            let n = message.headers["n"].parse::<u8>().expect("a number");
            assert_eq!(message.key, Some(format!("web-{n}").into_bytes()));
            assert_eq!(message.partition, i32::from(n % 3));
            assert_eq!(message.headers["host"], format!("of web-{n}"));
            assert_eq!(message.headers["constant"], "c");
            n
        });
        assert_eq!(numbers.collect::<Vec<u8>>(), expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_profile_is_a_header_only_where_the_topic_is_another_name() {
    let events = vec![
        tagged("is-topic", "t", "is-topic"),
        tagged("is-not", "t", "is-topic"),
    ];
    let config = json!({"topics": "${ tags.t }", "partition": 0});
    assert_accepted(&publish(config, events).await);
    let profiles = topic("is-topic");
    let profiles = profiles.iter().map(|it| it.headers.get("evbus-profile"));
    assert_eq!(
        profiles.collect::<Vec<_>>(),
        [None, Some(&"is-not".to_owned())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn extra_headers_are_there_without_others() {
    let config = json!({
        "topics": "extra-alone", "headers": "none", "extra_headers": {"h": "${ profile }\0\n", "e": ""},
    });
    assert_accepted(&publish(config, numbered("p", 1)).await);
    assert_eq!(
        topic("extra-alone")[0].headers,
        BTreeMap::from([
            ("h".to_owned(), "p\0\n".to_owned()),
            ("e".to_owned(), String::new())
        ])
    );
}

/// The table in the README, but for those that Kafka accepts.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_a_bad_value_is_rejected_alone_and_goes_nowhere() {
    let long = "x".repeat(1024 * 1024);
    let topics = json!({"topics": ["beside", "${ tags.t }"]});
    let partition = json!({"topics": "beside", "partition": "${ tags.t }"});
    let key = json!({"topics": "beside", "key": "${ tags.t }"});
    let header = json!({"topics": "beside", "extra_headers": {"h": "${ tags.t }"}});
    let body_key = json!({"topics": "beside", "key": "${ body.t }"});
    let too_large = "is too large for topic `beside`";
    for (config, bad, why) in [
        (
            &topics,
            "a/../b",
            "the topic `a/../b` contains the character '/'",
        ),
        (&topics, "", "the topic is 0 characters long"),
        (&topics, "a\nb", "contains the character '\\n'"),
        (&topics, "a\0b", "contains the character '\\0'"),
        (&topics, &long, "the topic is 1048576 characters long"),
        (&partition, "-1", "the template of `partition` fails"),
        (&partition, "x", "the template of `partition` fails"),
        (&partition, "", "the template of `partition` fails"),
        (&partition, "1.5", "the template of `partition` fails"),
        (
            &partition,
            "99999999999",
            "the template of `partition` fails",
        ),
        (&partition, &long, "the template of `partition` fails"),
        (&partition, "3", "`beside` has no partition 3"),
        (&key, &long, too_large),
        (&header, &long, too_large),
    ] {
        let good = tagged("p", "t", if config == &topics { "good" } else { "1" });
        let events = vec![good.clone(), tagged("p", "t", bad), good];
        let outcomes = publish(config.clone(), events).await;
        assert_rejected(&outcomes[1], why);
        assert_accepted(&[outcomes[0].clone(), outcomes[2].clone()]);
    }
    let of_body = |body: Value| TestEvent::json("p", body);
    let events = vec![
        of_body(json!({"t": "k"})),
        of_body(json!({"t": {"a": 1}})),
        of_body(json!({})),
        of_body(json!({"t": format!("{long}x")})),
    ];
    let outcomes = publish(body_key, events).await;
    assert_accepted(&outcomes[..1]);
    assert_rejected(&outcomes[1], "the template of `key` fails: found a mapping");
    assert_rejected(&outcomes[2], "the template of `key` fails: undefined name");
    assert_rejected(
        &outcomes[3],
        "the template of `key` fails: found a text of 1048577 bytes",
    );

    let arrived = topic("beside");
    let is_good = |message: &Arrived| ["good", "1"].contains(&&*message.text());
    assert_eq!(arrived.iter().filter(|it| is_good(it)).count(), 28);
    assert_eq!(arrived.len(), 29);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_key_keep_their_order_over_many_batches_and_topics() {
    const KEYS: usize = 7;
    let event = |n: usize| {
        let body = json!({"n": n, "tags": {"k": format!("k{}", n % KEYS), "t": format!("order-{}", n % 2)}});
        TestEvent::json("p", body)
    };
    let config = json!({"topics": "${ tags.t }", "key": "${ tags.k }"});
    assert_accepted(&publish(config, (0..5000).map(event).collect()).await);
    let mut count = 0;
    for name in ["order-0", "order-1"] {
        let mut last: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for message in topic(name) {
            let body: Value = evbus_sdk::serde_json::from_slice(&message.body).expect("JSON");
            let n = usize::try_from(body["n"].as_u64().expect("a number")).expect("a small one");
            let key = message.key.expect("every message has a key");
            let before = last.insert(key, n);
            assert!(
                before.is_none_or(|before| before < n),
                "{n} after {before:?}"
            );
            count += 1;
        }
    }
    assert_eq!(count, 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn constant_topics_are_checked_at_connect_and_templates_when_they_come() {
    let config = json!({
        "connection": {"bootstrap_servers": BROKER.bootstrap_servers()},
        "topics": ["made-at-connect", "${ tags.t }"],
    });
    let instance = harness().connect(config).await.expect("it connects");
    assert_eq!(topic("made-at-connect"), []);
    let outcomes = instance.publish(vec![tagged("p", "t", "made-later")]).await;
    assert_accepted(&outcomes);
    assert_eq!(topic("made-later").len(), 1);
    assert_eq!(topic("made-at-connect").len(), 1);
}
