//! Whose log lines are whose. In a program of its own, because the log of the program becomes that of a plugin.

use std::time::Duration;

use evbus_sdk::schemars::JsonSchema;
use evbus_sdk::serde::Deserialize;
use evbus_sdk::{Batch, ConnectError, Context, Outcomes, Provider, tokio, tracing};
use evbus_testkit::{Harness, Instance, TestEvent};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

/// Longer than anything takes that is not held up.
const WITHIN: Duration = Duration::from_secs(20);

const INSTANCES: usize = 20;

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "evbus_sdk::serde")]
#[schemars(crate = "evbus_sdk::schemars")]
struct Config {
    /// Begins the lines that a task logs over and over.
    name: String,
    /// Spawns a task that panics.
    #[serde(default)]
    panics: bool,
}

struct Talking(String);

impl Provider for Talking {
    const NAMES: &'static [&'static str] = &["talking"];
    type Config = Config;

    async fn connect(config: Config, context: Context) -> Result<Self, ConnectError> {
        let name = config.name;
        tracing::info!("{name} connects");
        if config.panics {
            let reason = format!("{name} panics");
            context.spawn(async move { panic!("{reason}") });
        }
        let working = name.clone();
        context.spawn(async move {
            loop {
                tracing::info!("{working} works");
                sleep(Duration::from_millis(1)).await;
            }
        });
        Ok(Self(name))
    }

    async fn publish(&self, _: Batch) -> Outcomes {
        tracing::info!("{} publishes", self.0);
        Outcomes::accepted()
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        tracing::info!("{} is dropped", self.0);
    }
}

async fn connect(config: Value) -> (Harness, Instance) {
    let harness = Harness::provider::<Talking>();
    let connected = timeout(WITHIN, harness.connect(config)).await;
    let instance = connected
        .expect("nothing holds it up")
        .expect("it connects");
    (harness, instance)
}

#[tokio::test(crate = "evbus_sdk::tokio")]
async fn log_lines_and_panics_are_those_of_the_instance_that_causes_them() {
    evbus_sdk::__private::prepare_library();
    let mut instances = Vec::new();
    for number in 0..INSTANCES {
        let name = format!("number {number:02}");
        let (harness, instance) = connect(json!({"name": name, "panics": number % 2 == 1})).await;
        instances.push((harness, instance, name));
    }
    for (_, instance, _) in &instances {
        let _published = instance.publish(vec![TestEvent::text("t", "1")]).await;
    }
    let mut wrong = Vec::new();
    for (position, (harness, instance, name)) in instances.into_iter().enumerate() {
        let works = instance.wait_until(WITHIN, |seen| seen.logged("works"));
        let mut missing = vec![(works.await, "works")];
        drop(instance);
        let dropped = timeout(WITHIN, async {
            while !harness.seen().logged("is dropped") {
                sleep(Duration::from_millis(1)).await;
            }
        });
        missing.push((dropped.await.is_ok(), "is dropped"));
        let seen = harness.seen();
        missing.push((seen.logged("panics") == (position % 2 == 1), "panics"));
        let missing = missing.iter().filter(|(is_there, _)| !is_there);
        wrong.extend(missing.map(|(_, what)| format!("{name} {what}")));
        // Others are those of tokio.
        let own = |target: &str| target == "panic" || target == module_path!();
        let foreign =
            (seen.log.iter()).filter(|line| own(&line.target) && !line.message.contains(&name));
        wrong.extend(foreign.map(|line| format!("{name}: {}", line.message)));
    }
    // A panic of the test itself is logged as one of the plugin.
    eprintln!("{wrong:?}");
    assert!(wrong.is_empty());
}
