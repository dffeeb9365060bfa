//! What the plugin reaches: publishes COUNT bodies of 223 bytes through its plugin contract, as a
//! host would, and prints events per second.
//!
//! ```text
//! through_pika [URL [COUNT]]        amqp://127.0.0.1:5672/%2f 100000
//! ```
//!
//! The events stay in the queue `evbus-through-plugin`.

use std::error::Error;
use std::time::{Duration, Instant};

use evbus_testkit::{Harness, Outcome, TestEvent};
use plugin_pika::Pika;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments
        .next()
        .unwrap_or_else(|| "amqp://127.0.0.1:5672/%2f".to_owned());
    let count: u32 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let body = "x".repeat(223);
    let events = (0..count)
        .map(|_| TestEvent::text("evbus-through-plugin", &body))
        .collect();
    let instance = Harness::provider::<Pika>()
        .connect(json!({"connection": {"url": url}}))
        .await?;
    let start = Instant::now();
    let outcomes = instance.publish_all(events, Duration::from_mins(10)).await;
    let elapsed = start.elapsed();
    if let Some(failed) = outcomes
        .iter()
        .find(|outcome| **outcome != Outcome::Accepted)
    {
        return Err(format!("not all were accepted: {failed:?}").into());
    }
    println!(
        "{:.0} events/s ({count} events, {elapsed:.2?})",
        f64::from(count) / elapsed.as_secs_f64()
    );
    instance.close().await;
    Ok(())
}
