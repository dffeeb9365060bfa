//! lapin by itself: persistent messages with publisher confirms.

use std::collections::VecDeque;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};

use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};

use super::bursts;
use crate::load::Events;

/// So many messages are unconfirmed at a time, as many as a batch of plugin-pika has.
const WINDOW: usize = 4096;
const PERSISTENT: u8 = 2;

pub(super) fn publish(url: &str, exchange: &str, routing_key: &str) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let connection = Connection::connect(url, ConnectionProperties::default())
                .await
                .unwrap();
            let channel = connection.create_channel().await.unwrap();
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await
                .unwrap();
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
            let body = Events::body("idem-status");
            for burst in bursts() {
                let mut unconfirmed = VecDeque::with_capacity(WINDOW);
                for _ in 0..burst {
                    if unconfirmed.len() == WINDOW
                        && let Some(oldest) = unconfirmed.pop_front()
                    {
                        taken(oldest).await;
                    }
                    let publishing = channel.basic_publish(
                        exchange.into(),
                        routing_key.into(),
                        options,
                        body.as_bytes(),
                        properties.clone(),
                    );
                    unconfirmed.push_back(publishing.await.unwrap());
                }
                for confirm in unconfirmed {
                    taken(confirm).await;
                }
            }
        });
}

async fn taken(confirm: impl Future<Output = lapin::Result<Confirmation>>) {
    let confirmation = confirm.await.unwrap();
    assert_eq!(confirmation, Confirmation::Ack(None));
}
