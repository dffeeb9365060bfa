//! What the policy says of each event: filters, bodies, rates, repeats.

use evbus_destination::{Dedup, Rate};
use evbus_event::{Body, Parts};
use evbus_expression::Expression;
use tokio::time::Instant;

use super::*;

/// The bodies of each batch, and when it came.
type Batches = Arc<Mutex<Vec<(Instant, Vec<String>)>>>;

/// Accepts every batch and notes it.
struct Noting {
    batches: Batches,
    _host: HostV1,
}

impl InstanceObjectV1 for Noting {
    fn publish(&self, batch: BatchV1, done: CompletionV1<BatchOutcomeV1>) {
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        let events = batch.events().iter();
        let bodies = events.map(|event| text(event.body.as_slice())).collect();
        self.batches.lock().push((Instant::now(), bodies));
        done.complete(BatchOutcomeV1 {
            all: OutcomeV1::accepted(),
            exceptions: RVec::new(),
            instance: FateV1::WORKS,
        });
    }

    fn close(&self, done: CompletionV1<()>) {
        done.complete(());
    }
}

fn noting() -> (Script, Batches) {
    let batches = Batches::default();
    let its = Arc::clone(&batches);
    let script = Script(Arc::new(move |host| {
        let limits = LimitsV1 {
            max_batch_events: u32::MAX,
            max_batch_bytes: u64::MAX,
            max_in_flight: 3,
        };
        let batches = Arc::clone(&its);
        Ok(InstanceV1::new(
            Noting {
                batches,
                _host: host,
            },
            limits,
        ))
    }));
    (script, batches)
}

fn bodies(batches: &Batches) -> Vec<String> {
    let batches = batches.lock();
    batches
        .iter()
        .flat_map(|(_, bodies)| bodies.clone())
        .collect()
}

fn expression(source: &str) -> Expression {
    Expression::compile(source).expect("it is an expression")
}

async fn fire(lane: &Lane, events: impl IntoIterator<Item = Event>) {
    let events: Vec<Arc<Event>> = events.into_iter().map(Arc::new).collect();
    let verdicts = lane.shared().verdicts(&events).await;
    let pushed = lane.shared().push_all_waiting(&events, &verdicts).await;
    assert_eq!((pushed.events, pushed.stop), (events.len(), None));
}

fn json(body: &str) -> Event {
    let event = Event::builder("p").unwrapped_json(body.to_owned());
    event.expect("the body is JSON")
}

#[tokio::test]
async fn a_filter_lets_in_what_it_is_true_of_and_what_it_fails_for() {
    let (script, batches) = noting();
    let policy = Policy {
        when: Some(expression("body.n % 2 == 0")),
        ..eager()
    };
    let lane = start(setup(script, policy), None);
    fire(&lane, (0..10).map(|n| json(&format!("{{\"n\":{n}}}")))).await;
    fire(&lane, [json("{}"), json("{\"n\":1}")]).await;
    let status = wait_for(&lane, |status| status.counts.accepted == 6).await;
    assert_eq!(status.counts.received, 6);
    assert_eq!(
        (status.counts.filtered, status.counts.filter_faults),
        (6, 1)
    );
    let expected = [
        "{\"n\":0}",
        "{\"n\":2}",
        "{\"n\":4}",
        "{\"n\":6}",
        "{\"n\":8}",
        "{}",
    ];
    assert_eq!(bodies(&batches), expected);
}

#[tokio::test]
async fn a_destination_gets_the_body_that_its_policy_makes_and_the_dead_letter_keeps_the_original()
{
    let disk = Disk::new();
    let (script, batches) = noting();
    let policy = Policy {
        body: Some(expression("{'sum': body.a + body.b, 'profile': profile}")),
        durable: true,
        ..eager()
    };
    let dead: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let letters = Arc::clone(&dead);
    let destination = Destination {
        provider: "scripted".to_owned(),
        pattern: "*".to_owned(),
        index: 0,
    };
    let on_dead: OnDead = Arc::new(move |_, event, error| {
        let body = String::from_utf8_lossy(event.body()).into_owned();
        letters.lock().push((body, error.to_owned()));
    });
    let lane = Lane::start(
        destination,
        setup(script, policy),
        Some(disk.journal()),
        on_dead,
    );
    fire(
        &lane,
        [
            json(r#"{"a":1,"b":2}"#),
            json(r#"{"a":1,"secret":"hunter2"}"#),
            json(r#"{"a":2,"b":2}"#),
        ],
    )
    .await;
    let status = wait_for(&lane, |status| status.counts.queued == 0).await;
    assert_eq!(
        (status.counts.accepted, status.counts.dead_lettered),
        (2, 1)
    );
    assert_adds_up(status.counts);
    assert_eq!(
        bodies(&batches),
        [r#"{"sum":3,"profile":"p"}"#, r#"{"sum":4,"profile":"p"}"#]
    );
    let dead = dead.lock();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].0, r#"{"a":1,"secret":"hunter2"}"#);
    assert_eq!(
        dead[0].1,
        "rejected: `evbus.body` fails for this event: it cannot be evaluated (invalid operation); check types and arguments, and that every name has a value"
    );
}

#[tokio::test]
async fn another_body_has_the_serial_form_of_the_events_own() {
    let (script, batches) = noting();
    let policy = Policy {
        body: Some(expression("[body]")),
        ..eager()
    };
    let lane = start(setup(script, policy), None);
    let one = json("1");
    let packed = Event::from(Parts {
        id: one.id(),
        time_unix_ns: one.time_unix_ns(),
        profile: "p",
        body: Body::Msgpack(b"\x01"),
        tags: &one.attributes().collect(),
        origin: one.origin(),
    });
    fire(&lane, [packed]).await;
    wait_for(&lane, |status| status.counts.accepted == 1).await;
    assert_eq!(bodies(&batches), ["\u{fffd}\u{1}"]);
}

#[tokio::test]
async fn a_dear_body_makes_batches_small_and_stops_nothing() {
    let (script, batches) = noting();
    let policy = Policy {
        body: Some(expression("range(20000) | map('string') | join | length")),
        ..eager()
    };
    let lane = start(setup(script, policy), None);
    fire(&lane, (0..200).map(event)).await;
    wait_for(&lane, |status| status.counts.accepted == 200).await;
    let batches = batches.lock();
    assert!(batches[0].1.len() <= 64);
    assert!(
        batches[1..].iter().all(|(_, bodies)| bodies.len() <= 10),
        "{batches:?}"
    );
}

#[tokio::test]
async fn a_rate_paces_the_destination_and_loses_nothing() {
    let (script, batches) = noting();
    let per = Duration::from_millis(200);
    let policy = Policy {
        rate: Some(Rate { events: 10, per }),
        ..eager()
    };
    let lane = start(setup(script, policy), None);
    let begun = Instant::now();
    fire(&lane, (0..35).map(event)).await;
    let status = wait_for(&lane, |status| status.counts.accepted == 35).await;
    assert_eq!(status.counts.dropped, 0);
    let expected: Vec<String> = (0..35).map(|n: i32| n.to_string()).collect();
    assert_eq!(bodies(&batches), expected);
    // Ten at a time; the instance may see batches closer together than they were handed over, but none too early.
    let mut seen = 0;
    for (at, bodies) in batches.lock().iter() {
        seen += bodies.len();
        let spans = u32::try_from(seen.div_ceil(10) - 1).expect("it is small");
        assert!(
            *at - begun >= per * spans,
            "{seen} events after {:?}",
            *at - begun
        );
    }
}

fn dedup(keep: usize) -> Dedup {
    Dedup {
        key: expression("body.id"),
        within: Duration::from_mins(10),
        keep,
    }
}

#[tokio::test]
async fn repeats_are_dropped_and_counted_as_part_of_the_sum() {
    let (script, batches) = noting();
    let policy = Policy {
        dedup: Some(dedup(2)),
        ..eager()
    };
    let lane = start(setup(script, policy), None);
    let ids = ["1", "1", "\"1\"", "1", "2", "1"];
    fire(&lane, ids.map(|id| json(&format!("{{\"id\":{id}}}")))).await;
    fire(&lane, [json("{}")]).await;
    let status = wait_for(&lane, |status| status.counts.accepted == 5).await;
    assert_eq!(status.counts.deduplicated, 2);
    assert_eq!(status.counts.filter_faults, 1);
    assert_adds_up(status.counts);
    // The number and the text are two keys; the third key makes the first one forgotten.
    assert_eq!(
        bodies(&batches),
        [
            "{\"id\":1}",
            "{\"id\":\"1\"}",
            "{\"id\":2}",
            "{\"id\":1}",
            "{}"
        ]
    );
}

#[tokio::test]
async fn a_repeat_is_acknowledged_when_the_first_one_is_on_disk() {
    let disk = Disk::new();
    let policy = Policy {
        dedup: Some(dedup(10)),
        durable: true,
        ..eager()
    };
    let lane = start(
        setup(Script::refusing("not today"), policy),
        Some(disk.journal()),
    );
    let one = Arc::new(json("{\"id\":1}"));
    let verdict = lane.shared().verdict(&one);
    for times in 0..3 {
        let receipt = lane
            .shared()
            .push(Arc::clone(&one), verdict)
            .expect("there is room");
        let receipt = receipt.expect("a durable event has a receipt");
        assert_eq!(receipt.seq(), 1, "{times}");
        receipt.written().await.expect("the disk takes it");
    }
    let counts = lane.status().counts;
    assert_eq!((counts.received, counts.deduplicated), (3, 2));
    assert_adds_up(counts);
}

#[tokio::test]
async fn a_repeat_of_an_event_in_memory_is_no_repeat_once_the_destination_is_durable() {
    let disk = Disk::new();
    let policy = |durable| Policy {
        dedup: Some(dedup(10)),
        durable,
        ..eager()
    };
    let script = Script::refusing("not today");
    let lane = start(setup(script.clone(), policy(false)), Some(disk.journal()));
    let one = Arc::new(json("{\"id\":1}"));
    let verdict = lane.shared().verdict(&one);
    let push = || {
        lane.shared()
            .push(Arc::clone(&one), verdict)
            .expect("there is room")
    };
    assert!(push().is_none());
    lane.switch(
        Destination::clone(&lane.destination()),
        setup(script, policy(true)),
    );
    assert!(push().is_some(), "it is kept on disk, too");
    assert_eq!(lane.status().counts.deduplicated, 0);
}
