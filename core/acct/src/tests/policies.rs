//! The host's own key of an entry.

use std::time::Duration;

use serde_json::json;

use super::{entries, faults};
use evbus_destination::{
    BatchCaps, DeadLetterLimits, DeadLettersFull, Dedup, DiskLimits, Isolation, Policy,
    QueueLimits, Rate, Retry, WhenFull,
};
use evbus_expression::Expression;

fn policy(evbus: &str) -> Policy {
    let mut entries = entries(&format!("p:\n  x:\n    a: 1\n    evbus: {evbus}\n"));
    assert_eq!(*entries[0].config, json!({"a": 1}));
    entries.remove(0).policy
}

fn policy_faults(evbus: &str) -> Vec<String> {
    faults(&format!("p:\n  x:\n    evbus: {evbus}\n"))
}

#[test]
fn defaults_are_the_documented_ones() {
    let expected = Policy {
        queue: QueueLimits {
            events: 10_000,
            bytes: 67_108_864,
        },
        disk: DiskLimits {
            bytes: 10_737_418_240,
        },
        dead_letters: DeadLetterLimits {
            events: 100_000,
            bytes: 1_073_741_824,
            when_full: DeadLettersFull::DropOldest,
        },
        when_full: None,
        durable: false,
        retry: Retry {
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(30),
            max_attempts: None,
            max_age: None,
            max_crashes: Some(3),
        },
        batch: BatchCaps {
            events: None,
            bytes: None,
        },
        ordered: false,
        deadline: Duration::from_mins(1),
        required: false,
        isolate: Isolation::None,
        when: None,
        body: None,
        rate: None,
        dedup: None,
    };
    assert_eq!(Policy::default(), expected);
    for evbus in [
        "",
        "{}",
        "{queue: }",
        "{queue: {}, retry: , batch: {}}",
        "{isolate: none}",
        "{isolate: }",
    ] {
        assert_eq!(policy(evbus), expected, "{evbus}");
    }
}

#[test]
fn every_key_is_read() {
    let text = "{queue: {events: 5, bytes: 2 KiB}, when_full: drop_newest, \
        disk: {bytes: 5 MiB}, durable: true, \
        dead_letters: {events: 9, bytes: 3 MiB, when_full: drop_newest}, \
        retry: {first_delay: 0.5, max_delay: 2, max_attempts: 3, max_age: 3600, max_crashes: none}, \
        batch: {events: 7, bytes: 10 KB}, ordered: yes, deadline: 1.5, required: true, isolate: process, \
        when: tags.type == 'x', body: '{\"n\": 1}', rate: {events: 7, per: 1 min}, \
        dedup: {key: id, within: 5m, keep: 3}}";
    let expected = Policy {
        queue: QueueLimits {
            events: 5,
            bytes: 2048,
        },
        disk: DiskLimits { bytes: 5_242_880 },
        dead_letters: DeadLetterLimits {
            events: 9,
            bytes: 3_145_728,
            when_full: DeadLettersFull::DropNewest,
        },
        when_full: Some(WhenFull::DropNewest),
        durable: true,
        retry: Retry {
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(2),
            max_attempts: Some(3),
            max_age: Some(Duration::from_hours(1)),
            max_crashes: None,
        },
        batch: BatchCaps {
            events: Some(7),
            bytes: Some(10_000),
        },
        ordered: true,
        deadline: Duration::from_millis(1500),
        required: true,
        isolate: Isolation::Process,
        when: Expression::compile("tags.type == 'x'").ok(),
        body: Expression::compile("{\"n\": 1}").ok(),
        rate: Some(Rate {
            events: 7,
            per: Duration::from_mins(1),
        }),
        dedup: Some(Dedup {
            key: Expression::compile("id").expect("it is an expression"),
            within: Duration::from_mins(5),
            keep: 3,
        }),
    };
    assert!(expected.when.is_some() && expected.body.is_some());
    assert_eq!(policy(text), expected);
}

#[test]
fn what_is_said_of_each_event_is_checked_with_its_place() {
    for (written, fault) in [
        (
            "{when: profil}",
            "p.x.evbus.when: line 1, column 1: unknown name `profil`, expected one of: body, env, host, id, message, parts, profile, run_name, tag, tags, time; did you mean `profile`?",
        ),
        (
            "{body: [1]}",
            "p.x.evbus.body: found a list, expected a Jinja expression as text; put it in quotes, such as \"tags.type == 'x'\"",
        ),
        (
            "{rate: {per: 5s}}",
            "p.x.evbus.rate: missing key `events`; write it as in `rate: {events: 100, per: 1s}`",
        ),
        (
            "{rate: {events: 0}}",
            "p.x.evbus.rate.events: found a number, expected a whole number of events from 1 to 100000000; correct the number",
        ),
        (
            "{dedup: }",
            "p.x.evbus.dedup: missing key `key`; write it as in `dedup: {key: message.id, within: 60s}`",
        ),
        (
            "{dedup: {key: 'a b'}}",
            "p.x.evbus.dedup.key: line 1, column 3: found text that is not a Jinja expression (unexpected input after expression); expected one such as `tags.type` or `profile | topic`",
        ),
    ] {
        let found = policy_faults(written);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(fault), "{found:?}");
        assert!(found[0].contains(":3:"), "{found:?}");
    }
    assert_eq!(
        policy("{when: true}").when,
        Expression::compile("true").ok()
    );
    let rate = policy("{rate: {events: 1}}").rate.expect("there is one");
    assert_eq!(rate.per, Duration::from_secs(1));
}

#[test]
fn sizes_take_units() {
    for (written, expected) in [
        ("4096", 4096),
        ("1_000_000", 1_000_000),
        ("4096 B", 4096),
        ("'4096'", 0),
        ("10 KB", 10_000),
        ("10kB", 10_000),
        ("64 MiB", 67_108_864),
        ("64mib", 67_108_864),
        ("2 MB", 2_000_000),
        ("1 GiB", 1_073_741_824),
        ("3 GB", 3_000_000_000),
        ("2 KiB", 2048),
    ] {
        let text = format!("{{queue: {{bytes: {written}}}}}");
        if expected == 0 {
            assert_eq!(policy_faults(&text).len(), 1, "{written}");
        } else {
            assert_eq!(policy(&text).queue.bytes, expected, "{written}");
        }
    }
}

#[test]
fn none_means_attempts_without_limit() {
    for written in ["none", "null", "~", ""] {
        let text = format!("{{retry: {{max_attempts: {written}}}}}");
        assert_eq!(policy(&text).retry.max_attempts, None, "{written}");
    }
}

#[test]
fn a_refused_policy_says_what_and_where() {
    const QUEUE_BYTES: &str = "expected a size from 1 KiB to 1024 GiB; write a whole number of bytes, or one with a unit such as `10 KB` or `64 MiB`";
    const EVENTS: &str =
        "expected a whole number of events from 1 to 100000000; correct the number";
    const SECONDS: &str = "to 86400, or a duration with units such as 30s, 5m, 7d";
    for (evbus, expected) in [
        ("5", "f:3:5: p.x.evbus: found a number, expected a mapping; write the keys queue, disk, dead_letters, when_full, durable, retry, batch, ordered, deadline, required, isolate, when, body, rate, dedup below it".to_owned()),
        ("{queue: []}", "f:3:13: p.x.evbus.queue: found a list, expected a mapping; write the keys events, bytes below it".into()),
        ("{quue: {}}", "f:3:13: p.x.evbus.quue: found the unknown key `quue`, expected one of queue, disk, dead_letters, when_full, durable, retry, batch, ordered, deadline, required, isolate, when, body, rate, dedup; did you mean `queue`?".into()),
        ("{retry: {maxattempts: 1}}", "f:3:21: p.x.evbus.retry.maxattempts: found the unknown key `maxattempts`, expected one of first_delay, max_delay, max_attempts, max_age, max_crashes; did you mean `max_attempts`?".into()),
        ("{bootstrap: 1}", "f:3:13: p.x.evbus.bootstrap: found the unknown key `bootstrap`, expected one of queue, disk, dead_letters, when_full, durable, retry, batch, ordered, deadline, required, isolate, when, body, rate, dedup; remove it, or move it out of `evbus` if it is the plugin's".into()),
        ("{queue: {events: 0}}", format!("f:3:21: p.x.evbus.queue.events: found a number, {EVENTS}")),
        ("{queue: {events: 1.5}}", format!("f:3:21: p.x.evbus.queue.events: found a number, {EVENTS}")),
        ("{queue: {events: -1}}", format!("f:3:21: p.x.evbus.queue.events: found a number, {EVENTS}")),
        ("{queue: {events: many}}", format!("f:3:21: p.x.evbus.queue.events: found text, {EVENTS}")),
        ("{queue: {events: }}", format!("f:3:21: p.x.evbus.queue.events: found nothing, {EVENTS}")),
        ("{queue: {events: 100000001}}", format!("f:3:21: p.x.evbus.queue.events: found a number, {EVENTS}")),
        ("{queue: {bytes: 1023}}", format!("f:3:21: p.x.evbus.queue.bytes: found a number, {QUEUE_BYTES}")),
        ("{queue: {bytes: 64 megs}}", format!("f:3:21: p.x.evbus.queue.bytes: found text, {QUEUE_BYTES}")),
        ("{queue: {bytes: 1.5 MiB}}", format!("f:3:21: p.x.evbus.queue.bytes: found text, {QUEUE_BYTES}")),
        ("{queue: {bytes: 99999999999999999999 GiB}}", format!("f:3:21: p.x.evbus.queue.bytes: found text, {QUEUE_BYTES}")),
        ("{batch: {bytes: 0}}", "f:3:21: p.x.evbus.batch.bytes: found a number, expected a size from 1 B to 1 GiB; write a whole number of bytes, or one with a unit such as `10 KB` or `64 MiB`".into()),
        ("{batch: {events: 0}}", "f:3:21: p.x.evbus.batch.events: found a number, expected a whole number of events from 1 to 1000000; correct the number".into()),
        ("{when_full: drop}", "f:3:13: p.x.evbus.when_full: found text, expected spill, block or drop_newest; choose one of them".into()),
        ("{disk: {bytes: 10}}", "f:3:20: p.x.evbus.disk.bytes: found a number, expected a size from 1024 KiB to 1024 GiB; write a whole number of bytes, or one with a unit such as `10 KB` or `64 MiB`".into()),
        ("{dead_letters: {when_full: spill}}", "f:3:28: p.x.evbus.dead_letters.when_full: found text, expected drop_oldest or drop_newest; choose one of the two".into()),
        ("{dead_letters: {events: 0}}", format!("f:3:28: p.x.evbus.dead_letters.events: found a number, {EVENTS}")),
        ("{dead_letters: {bytes: 5}}", format!("f:3:28: p.x.evbus.dead_letters.bytes: found a number, {QUEUE_BYTES}")),
        ("{durable: maybe}", "f:3:13: p.x.evbus.durable: found text, expected true or false; choose".replace("choose", "write one of the two")),
        ("{retry: {max_age: 0.5}}", "f:3:21: p.x.evbus.retry.max_age: found a number, expected a number of seconds from 1 to 315360000, or a duration with units such as 30s, 5m, 7d, or none to retry forever".into()),
        ("{retry: {max_crashes: -1}}", "f:3:21: p.x.evbus.retry.max_crashes: found a number, expected a whole number of crashes from 1 to 4294967295, or none; write none to retry forever".into()),
        ("{retry: {first_delay: 0}}", format!("f:3:21: p.x.evbus.retry.first_delay: found a number, expected a number of seconds from 0.001 {SECONDS}")),
        ("{retry: {max_delay: 30 sacks}}", format!("f:3:21: p.x.evbus.retry.max_delay: found text, expected a number of seconds from 0.001 {SECONDS}")),
        ("{retry: {max_delay: 5M}}", format!("f:3:21: p.x.evbus.retry.max_delay: found text, expected a number of seconds from 0.001 {SECONDS}")),
        ("{deadline: 2d}", format!("f:3:13: p.x.evbus.deadline: found text, expected a number of seconds from 0.1 {SECONDS}")),
        ("{retry: {first_delay: 60}}", "f:3:13: p.x.evbus.retry: first_delay (60 s) is greater than max_delay (30 s); raise max_delay or lower first_delay".into()),
        ("{retry: {max_attempts: 0}}", "f:3:21: p.x.evbus.retry.max_attempts: found a number, expected a whole number of attempts from 1 to 4294967295, or none; write none to retry forever".into()),
        ("{ordered: 1}", "f:3:13: p.x.evbus.ordered: found a number, expected true or false; write one of the two".into()),
        ("{required: 'yes'}", "f:3:13: p.x.evbus.required: found text, expected true or false; write one of the two".into()),
        ("{isolate: thread}", "f:3:13: p.x.evbus.isolate: found text, expected none or process; choose one of the two".into()),
        ("{isolate: yes}", "f:3:13: p.x.evbus.isolate: found a boolean, expected none or process; choose one of the two".into()),
        ("{deadline: 0.05}", format!("f:3:13: p.x.evbus.deadline: found a number, expected a number of seconds from 0.1 {SECONDS}")),
        ("{deadline: 90000}", format!("f:3:13: p.x.evbus.deadline: found a number, expected a number of seconds from 0.1 {SECONDS}")),
        ("{deadline: .inf}", format!("f:3:13: p.x.evbus.deadline: found a number that is not finite, expected a number of seconds from 0.1 {SECONDS}")),
    ] {
        assert_eq!(policy_faults(evbus), [expected], "{evbus}");
    }
}

#[test]
fn the_hosts_keys_in_a_wrong_place_are_sent_to_the_right_one() {
    for (text, expected) in [
        (
            "p:\n  evbus: {durable: true}\n  x: {a: 1}\n",
            "f:2:3: p.evbus: found host settings in place of a profile pattern, expected them one level below, in an entry; write PATTERN: {evbus: ...}, next to the keys of the plugin",
        ),
        (
            "p:\n- evbus: {queue: {events: 5}}\n",
            "f:2:3: p.evbus: found host settings in place of a profile pattern, expected them one level below, in an entry; write PATTERN: {evbus: ...}, next to the keys of the plugin",
        ),
        (
            "p:\n  x:\n    connection:\n      evbus: {durable: true}\n",
            "f:4:7: p.x.connection.evbus: found host settings inside `connection`, expected them in the entry itself; move `evbus` up, next to `connection`",
        ),
        (
            "p:\n  x:\n    topics:\n    - {evbus: {durable: true}}\n",
            "f:4:8: p.x.topics[0].evbus: found host settings inside `topics`, expected them in the entry itself; move `evbus` up, next to `topics`",
        ),
    ] {
        assert_eq!(faults(text), [expected], "{text}");
    }
    // A pattern, or a key of the plugin, may be named `evbus` too.
    let named = entries("p:\n  evbus: {path: x}\n  x: {headers: {evbus: {path: y}}}\n");
    assert_eq!(named.len(), 2);
}

#[test]
fn every_fault_of_a_policy_is_reported() {
    assert_eq!(
        policy_faults("{queue: {events: 0, byts: 1}, ordered: 2, nothing_like_it: 1}").len(),
        4
    );
}
