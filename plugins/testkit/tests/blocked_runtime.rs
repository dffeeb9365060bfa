//! Tasks that block the runtime which a plugin's instances share. In a program of its own, because other tests would be
//! held up.

use std::time::Duration;

use evbus_sdk::schemars::JsonSchema;
use evbus_sdk::serde::Deserialize;
use evbus_sdk::{Batch, ConnectError, Context, Outcomes, Provider, tokio};
use evbus_testkit::{Harness, Instance, Outcome, TestEvent};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

/// Longer than anything takes that is not held up.
const WITHIN: Duration = Duration::from_secs(20);

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde")]
#[schemars(crate = "evbus_sdk::schemars")]
struct Config {
    /// Spawns tasks on the runtime that block forever.
    #[serde(default)]
    blocks: bool,
}

struct Blocking;

impl Provider for Blocking {
    const NAMES: &'static [&'static str] = &["blocking"];
    type Config = Config;

    async fn connect(config: Config, _: Context) -> Result<Self, ConnectError> {
        if config.blocks {
            for _ in 0..8 {
                tokio::spawn(async {
                    loop {
                        std::thread::park();
                    }
                });
            }
        }
        Ok(Self)
    }

    async fn publish(&self, _: Batch) -> Outcomes {
        sleep(Duration::from_millis(1)).await;
        Outcomes::accepted()
    }
}

async fn connect(config: Value) -> Instance {
    let harness = Harness::provider::<Blocking>();
    let connected = timeout(WITHIN, harness.connect(config)).await;
    connected
        .expect("nothing holds it up")
        .expect("it connects")
}

#[tokio::test(crate = "evbus_sdk::tokio")]
async fn tasks_that_block_the_runtime_hold_up_no_instance_that_is_connected_later() {
    let before = connect(json!({})).await;
    let mut blocking = Vec::new();
    for _ in 0..3 {
        blocking.push(connect(json!({"blocks": true})).await);
    }
    for _ in 0..5 {
        let instance = connect(json!({})).await;
        let published = instance.publish(vec![TestEvent::text("b", "1")]);
        let outcomes = timeout(WITHIN, published).await;
        assert_eq!(outcomes.expect("nothing holds it up"), [Outcome::Accepted]);
    }
    drop(before);
}
