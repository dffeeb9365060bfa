//! What lapin alone reaches: publishes COUNT persistent bodies of 223 bytes with publisher
//! confirms, WINDOW of them unconfirmed at a time, and prints events per second.
//!
//! ```text
//! bare_lapin [URL [COUNT [WINDOW]]]        amqp://127.0.0.1:5672/%2f 100000 4096
//! ```
//!
//! The queue `evbus-bare-lapin` is declared durable, emptied before and deleted after the run.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Instant;

use evbus_sdk::tokio;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};

const QUEUE: &str = "evbus-bare-lapin";
const BODY: [u8; 223] = [b'x'; 223];
const PERSISTENT: u8 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments
        .next()
        .unwrap_or_else(|| "amqp://127.0.0.1:5672/%2f".to_owned());
    let count: u32 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let window: usize = arguments.next().map_or(Ok(4096), |text| text.parse())?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(&url, count, window))
}

async fn run(url: &str, count: u32, window: usize) -> Result<(), Box<dyn Error>> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions::durable();
    channel
        .queue_declare(QUEUE.into(), durable, FieldTable::default())
        .await?;
    channel
        .queue_purge(QUEUE.into(), QueuePurgeOptions::default())
        .await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;

    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let start = Instant::now();
    let mut unconfirmed = VecDeque::with_capacity(window);
    for _ in 0..count {
        if unconfirmed.len() == window
            && let Some(oldest) = unconfirmed.pop_front()
        {
            oldest.await?;
        }
        let publish =
            channel.basic_publish("".into(), QUEUE.into(), options, &BODY, properties.clone());
        unconfirmed.push_back(publish.await?);
    }
    for confirm in unconfirmed {
        confirm.await?;
    }
    let elapsed = start.elapsed();
    println!(
        "{:.0} events/s ({count} events, at most {window} unconfirmed, {elapsed:.2?})",
        f64::from(count) / elapsed.as_secs_f64()
    );

    channel
        .queue_delete(QUEUE.into(), QueueDeleteOptions::default())
        .await?;
    connection.close(200, "done".into()).await?;
    Ok(())
}
