//! How many threads the instances of a plugin take, and that they end. In a program of its own, because it counts
//! the threads of the program.

use std::fs;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use evbus_sdk::schemars::JsonSchema;
use evbus_sdk::serde::Deserialize;
use evbus_sdk::{Batch, ConnectError, Context, Outcomes, Provider, tokio};
use evbus_testkit::{Harness, Instance, Outcome, TestEvent};
use serde_json::json;
use tokio::time::{sleep, timeout};

const WITHIN: Duration = Duration::from_secs(20);
const INSTANCES: usize = 200;
/// As many carriers as processors, at most 8; the runtime's; the watchdog; and some that the watchdog adds while the
/// machine is busy.
const FEW: usize = 24;

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde")]
#[schemars(crate = "evbus_sdk::schemars")]
struct Config {}

struct Modest;

/// What the instances' tasks keep as long as they live.
static KEPT: Mutex<Vec<Weak<()>>> = Mutex::new(Vec::new());

impl Provider for Modest {
    const NAMES: &'static [&'static str] = &["modest"];
    type Config = Config;

    async fn connect(_: Config, context: Context) -> Result<Self, ConnectError> {
        let kept = Arc::new(());
        let also = Arc::clone(&kept);
        KEPT.lock()
            .expect("nobody panics with it")
            .push(Arc::downgrade(&kept));
        context.spawn(async move {
            std::future::pending::<()>().await;
            drop(kept);
        });
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(also);
        });
        Ok(Self)
    }

    async fn publish(&self, _: Batch) -> Outcomes {
        sleep(Duration::from_millis(1)).await;
        Outcomes::accepted()
    }
}

/// Threads of this program that belong to the plugin.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("there is /proc");
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.trim_end() == "evbus modest")
        .count()
}

async fn publish_to_all(instances: &[Instance]) -> usize {
    let mut most = 0;
    for _ in 0..20 {
        let published: Vec<_> = instances
            .iter()
            .map(|instance| instance.publish(vec![TestEvent::text("m", "1")]))
            .collect();
        most = most.max(threads());
        for published in published {
            assert_eq!(published.await, [Outcome::Accepted]);
        }
    }
    most
}

#[tokio::test(crate = "evbus_sdk::tokio")]
async fn two_hundred_instances_take_few_threads_and_leave_none() {
    let harness = Harness::provider::<Modest>();
    let mut instances = Vec::new();
    for _ in 0..INSTANCES {
        instances.push(harness.connect(json!({})).await.expect("it connects"));
    }
    let most = publish_to_all(&instances).await;
    assert!((1..=FEW).contains(&most), "{most} threads");
    drop(instances);
    let ended = timeout(WITHIN, async {
        let is_kept = || {
            KEPT.lock()
                .expect("nobody panics with it")
                .iter()
                .any(|kept| kept.strong_count() > 0)
        };
        while threads() > 0 || is_kept() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    ended
        .await
        .expect("threads and tasks end with the instances");
}
