//! Instances of one plugin share threads, and disturb each other as little as if they did not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use evbus_sdk::schemars::JsonSchema;
use evbus_sdk::serde::Deserialize;
use evbus_sdk::{Batch, ConnectError, Context, Limits, Outcomes, Provider, tokio};
use evbus_testkit::{Fate, Harness, Instance, Outcome, TestEvent};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

/// Longer than anything takes that is not held up.
const WITHIN: Duration = Duration::from_secs(20);

/// What an instance does with each batch.
#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(crate = "evbus_sdk::serde", rename_all = "snake_case")]
#[schemars(crate = "evbus_sdk::schemars")]
enum Does {
    /// Waits for a timer, then accepts.
    #[default]
    Wait,
    /// Blocks forever.
    Block,
    /// Computes forever.
    Spin,
    /// Blocks for 5 ms, again and again.
    Stutter,
    /// Panics.
    Panic,
    /// Notes the first body of each batch, then waits.
    Note,
}

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde")]
#[schemars(crate = "evbus_sdk::schemars")]
struct Config {
    #[serde(default)]
    does: Does,
    /// Spawns a task, which keeps something of this name until it ends.
    keeps: Option<String>,
    /// Spawns a task that panics.
    #[serde(default)]
    task_panics: bool,
}

struct Crowd {
    does: Does,
    noted: Arc<Mutex<Vec<String>>>,
}

/// What tasks keep, by name.
static KEPT: Mutex<Option<HashMap<String, Weak<()>>>> = Mutex::new(None);
/// What was noted by the instances that note.
static NOTED: OnceLock<Arc<Mutex<Vec<String>>>> = OnceLock::new();

fn keep(name: &str) -> Arc<()> {
    let kept = Arc::new(());
    let mut all = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    all.get_or_insert_default()
        .insert(name.to_owned(), Arc::downgrade(&kept));
    kept
}

fn is_kept(name: &str) -> bool {
    let all = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = all.as_ref().and_then(|all| all.get(name));
    kept.is_some_and(|kept| kept.strong_count() > 0)
}

impl Provider for Crowd {
    const NAMES: &'static [&'static str] = &["crowd"];
    type Config = Config;

    fn limits(&self) -> Limits {
        Limits {
            max_in_flight: 64,
            ..Limits::default()
        }
    }

    async fn connect(config: Config, context: Context) -> Result<Self, ConnectError> {
        if let Some(name) = config.keeps {
            let kept = keep(&name);
            context.spawn(async move {
                std::future::pending::<()>().await;
                drop(kept);
            });
        }
        if config.task_panics {
            context.spawn(async { panic!("the test told the task to panic") });
        }
        Ok(Self {
            does: config.does,
            noted: Arc::clone(NOTED.get_or_init(Arc::default)),
        })
    }

    async fn publish(&self, batch: Batch) -> Outcomes {
        match self.does {
            Does::Wait => sleep(Duration::from_millis(1)).await,
            Does::Block => block(),
            Does::Spin => loop {
                std::hint::spin_loop();
            },
            Does::Stutter => std::thread::sleep(Duration::from_millis(5)),
            Does::Panic => panic!("the test told it to panic"),
            Does::Note => {
                let body = batch.get(0).expect("a batch has events").body();
                let text = String::from_utf8_lossy(body).into_owned();
                self.noted.lock().expect("nobody panics with it").push(text);
                sleep(Duration::from_millis(1)).await;
            }
        }
        Outcomes::accepted()
    }
}

fn block() {
    loop {
        std::thread::park();
    }
}

async fn connect(config: Value) -> Instance {
    let harness = Harness::provider::<Crowd>();
    let connecting = timeout(WITHIN, harness.connect(config));
    let connected = connecting.await.expect("nothing holds it up");
    connected.expect("it connects")
}

fn events(body: &str) -> Vec<TestEvent> {
    vec![TestEvent::text("crowd", body)]
}

async fn delivers(instance: &Instance) {
    let outcomes = timeout(WITHIN, instance.publish(events("1"))).await;
    assert_eq!(outcomes.expect("nothing holds it up"), [Outcome::Accepted]);
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let met = timeout(WITHIN, async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    met.await
        .unwrap_or_else(|_| panic!("{what} does not happen"));
}

#[tokio::test(crate = "evbus_sdk::tokio")]
async fn instances_that_block_or_compute_forever_hold_up_no_other_of_their_plugin() {
    let before = connect(json!({})).await;
    let mut stuck = Vec::new();
    for number in 0..24 {
        let does = if number == 12 { "spin" } else { "block" };
        let instance = connect(json!({"does": does})).await;
        stuck.push((instance.publish(events("1")), instance));
    }
    for _ in 0..10 {
        delivers(&before).await;
        delivers(&connect(json!({})).await).await;
    }
}

#[tokio::test(crate = "evbus_sdk::tokio")]
async fn the_end_of_an_instance_ends_its_tasks() {
    let other = connect(json!({})).await;
    let instance = connect(json!({"keeps": "dropped"})).await;
    delivers(&instance).await;
    assert!(is_kept("dropped"));
    drop(instance);
    until("the end of the dropped one's task", || !is_kept("dropped")).await;
    let closed = connect(json!({"keeps": "closed"})).await;
    assert!(closed.close().await);
    until("the end of the closed one's task", || !is_kept("closed")).await;
    delivers(&other).await;
}

#[tokio::test(crate = "evbus_sdk::tokio")]
async fn a_panic_in_a_call_or_a_task_touches_no_other_instance() {
    let other = connect(json!({})).await;
    let panics = connect(json!({"does": "panic"})).await;
    let answer = panics.publish(events("1")).answer().await;
    assert_eq!(answer.fate, Fate::CRASHED);
    let task_panics = connect(json!({"task_panics": true})).await;
    delivers(&task_panics).await;
    delivers(&other).await;
}

#[tokio::test(crate = "evbus_sdk::tokio")]
async fn batches_are_begun_in_their_order() {
    let instance = connect(json!({"does": "note"})).await;
    let mut expected = Vec::new();
    for round in 0..50 {
        let numbers = (0..64).map(|number| format!("{}", round * 64 + number));
        let published: Vec<_> = numbers
            .map(|number| {
                let published = instance.publish(events(&number));
                expected.push(number);
                published
            })
            .collect();
        for published in published {
            assert_eq!(published.await, [Outcome::Accepted]);
        }
    }
    let noted = NOTED
        .get_or_init(Arc::default)
        .lock()
        .expect("nobody panics with it");
    assert_eq!(*noted, expected);
}

#[tokio::test(crate = "evbus_sdk::tokio")]
async fn many_that_block_for_a_moment_do_not_queue_up() {
    let mut instances = Vec::new();
    for _ in 0..100 {
        instances.push(connect(json!({"does": "stutter"})).await);
    }
    // One after the other it would take 50 s, on two threads 25 s.
    let all = timeout(Duration::from_secs(15), async {
        for _ in 0..100 {
            let published: Vec<_> = instances
                .iter()
                .map(|instance| instance.publish(events("1")))
                .collect();
            for published in published {
                assert_eq!(published.await, [Outcome::Accepted]);
            }
        }
    });
    all.await.expect("they block beside each other");
}
