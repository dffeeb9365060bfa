//! The sum, at random moments of random lives of a lane.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use evbus_destination::{Dedup, Rate};
use evbus_expression::Expression;

fn expression(source: &str) -> Expression {
    Expression::compile(source).expect("it is an expression")
}

/// Numbers that follow from a seed.
struct Random(u64, AtomicU64);

impl Random {
    fn below(&self, limit: u64) -> u64 {
        let step = self.1.fetch_add(1, Ordering::Relaxed);
        BuildHasherDefault::<DefaultHasher>::default().hash_one((self.0, step)) % limit
    }
}

fn code(random: &Random) -> OutcomeV1 {
    let codes = [
        OutcomeCodeV1::ACCEPTED,
        OutcomeCodeV1::RETRY,
        OutcomeCodeV1::REJECTED,
        OutcomeCodeV1(77),
    ];
    let after = [0, 1, u32::MAX][usize::try_from(random.below(3)).expect("it is small")];
    let code = codes[usize::try_from(random.below(4)).expect("it is small")];
    outcome(code, after)
}

/// Instances that do anything an instance can do.
fn wild(random: &Arc<Random>) -> Script {
    let (random, its) = (Arc::clone(random), Arc::clone(random));
    let answers: Arc<Answers> = Arc::new(move |events| {
        let fate = FateV1(u8::try_from(its.below(40).min(4)).expect("it is small"));
        match its.below(30) {
            0 => None,
            1 => Some(Says::Nothing),
            _ => Some(Says::Outcome(BatchOutcomeV1 {
                all: code(&its),
                exceptions: (0..its.below(4))
                    .map(|_| {
                        let index = its.below(events as u64 + 2);
                        exception(u32::try_from(index).expect("it is small"), code(&its))
                    })
                    .collect(),
                // Most work on.
                instance: if fate.0 == 4 { FateV1::WORKS } else { fate },
            })),
        }
    });
    Script(Arc::new(move |host| match random.below(4) {
        0 => Err(refusal("not this time")),
        _ => Ok(instance(&answers, host)),
    }))
}

fn policy(random: &Random) -> Policy {
    let mut policy = eager();
    policy.queue = QueueLimits {
        events: 1 + usize::try_from(random.below(20)).expect("it is small"),
        bytes: 1 << 20,
    };
    policy.deadline = Duration::from_millis(100);
    policy.ordered = random.below(3) == 0;
    policy.durable = random.below(2) == 0;
    policy.retry.max_age = (random.below(2) == 0).then(|| Duration::from_hours(1));
    policy.when = (random.below(3) == 0).then(|| expression("body % 5 != 3"));
    policy.body = (random.below(3) == 0).then(|| expression("[body, 1 // (body % 7)]"));
    policy.dedup = (random.below(3) == 0).then(|| Dedup {
        key: expression("body // 3"),
        within: Duration::from_millis(100),
        keep: 10,
    });
    policy.rate = (random.below(3) == 0).then(|| Rate {
        events: 20,
        per: Duration::from_millis(10),
    });
    policy.retry.max_attempts = (random.below(4) == 0).then_some(3);
    policy
}

/// One life of a lane; gives its last numbers.
async fn live(seed: u64, disk: Option<&Disk>) -> Counts {
    let random = Arc::new(Random(seed, AtomicU64::new(0)));
    let lane = Arc::new(start(
        setup(wild(&random), policy(&random)),
        disk.map(Disk::journal),
    ));
    let over = Arc::new(AtomicBool::new(false));
    let sampling = {
        let (lane, over) = (Arc::clone(&lane), Arc::clone(&over));
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                assert_adds_up(lane.status().counts);
                tokio::task::yield_now().await;
            }
        })
    };
    for number in 0..200 {
        let ago = Duration::from_secs(if random.below(4) == 0 { 7200 } else { 0 });
        push(&lane, fired_ago(number, ago)).await;
        if random.below(40) == 0 {
            let destination = Destination::clone(&lane.destination());
            lane.switch(destination, setup(wild(&random), policy(&random)));
        }
    }
    lane.stop(Duration::from_millis(random.below(50)))
        .await
        .expect("the disk takes what is left");
    over.store(true, Ordering::Relaxed);
    sampling.await.expect("the sum held all the time");
    let counts = lane.status().counts;
    assert_adds_up(counts);
    assert_eq!(counts.received, 200, "seed {seed}: {counts:?}");
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_holds_at_every_moment_whatever_the_plugin_does() {
    for seed in 0..6 {
        let counts = tokio::time::timeout(PATIENCE, live(seed, None)).await;
        counts.unwrap_or_else(|_| panic!("seed {seed} does not end"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_settled_at_the_end_is_on_disk_whatever_the_plugin_did() {
    for seed in 100..106 {
        let disk = Disk::new();
        let counts = tokio::time::timeout(PATIENCE, live(seed, Some(&disk))).await;
        let counts = counts.unwrap_or_else(|_| panic!("seed {seed} does not end"));
        let found = disk.journal().found();
        assert_eq!(found.events, counts.queued, "seed {seed}: {counts:?}");
        assert_eq!(
            found.dead_letters, counts.dead_lettered,
            "seed {seed}: {counts:?}"
        );
    }
}
