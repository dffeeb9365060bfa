//! Checks that the exchange or queue of a destination exists before it counts as connected.
//!
//! Checked is what this plugin would not declare: an exchange, or on the default exchange a queue
//! without `declare`. What a template gives is checked when an event comes for it. Permissions show only when something
//! is published.

use std::time::Duration;

use evbus_sdk::{ConnectError, tokio};
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ErrorKind, ExchangeKind};

use crate::connect::Session;
use crate::endpoint::Endpoint;
use crate::outcome::{Failure, said};
use crate::publisher::Rules;

/// How long the broker may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Makes sure that it exists.
///
/// # Errors
///
/// It does not, or the broker does not let this user look; another attempt may find it.
pub(crate) async fn check(
    session: &Session,
    endpoint: &Endpoint,
    rules: &Rules,
) -> Result<(), ConnectError> {
    let addressing = &rules.addressing;
    let (what, name) = match (
        addressing.constant_exchange(),
        addressing.constant_routing_key(),
    ) {
        (Some(""), Some(queue)) if !rules.declare && rules.mandatory => ("queue", queue),
        (Some("") | None, _) => return Ok(()),
        (Some(exchange), _) => ("exchange", exchange),
    };
    let Ok(short) = ShortString::try_new(name) else {
        return Ok(());
    };
    let asking = async {
        let channel = session.channel().await?;
        ask(&channel, what, short).await?;
        channel.close(200, "done".into()).await
    };
    let why = match tokio::time::timeout(ANSWER_WITHIN, asking).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => missing(&error, what, name, endpoint),
        Err(_) => format!("the broker does not report whether the {what} `{name}` exists"),
    };
    Err(ConnectError::retry(format!("{endpoint}: {why}")))
}

async fn ask(channel: &Channel, what: &str, name: ShortString) -> lapin::Result<()> {
    let nothing = FieldTable::default();
    if what == "exchange" {
        let look = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        return (channel.exchange_declare(name, ExchangeKind::Direct, look, nothing)).await;
    }
    let look = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    match channel.queue_declare(name, look, nothing).await {
        // It exists and belongs to another connection; publishing to it is allowed.
        Err(error) if is(&error, &AMQPSoftError::RESOURCELOCKED) => Ok(()),
        looked => looked.map(drop),
    }
}

fn missing(error: &lapin::Error, what: &str, name: &str, endpoint: &Endpoint) -> String {
    let place = format!("virtual host `{}`", endpoint.vhost());
    match error.kind() {
        ErrorKind::ProtocolError(_) if is(error, &AMQPSoftError::NOTFOUND) => {
            let key = if what == "exchange" {
                "exchange"
            } else {
                "routing_key"
            };
            let declare = if what == "exchange" {
                ""
            } else {
                ", set `declare: true`,"
            };
            format!(
                "the {what} `{name}` does not exist in the {place}; declare it on the broker{declare} or correct `{key}`"
            )
        }
        ErrorKind::ProtocolError(error) => format!(
            "the broker does not allow `{}` to use the {what} `{name}` in the {place}: {}; give the user permissions there",
            endpoint.user(),
            said(error)
        ),
        _ => Failure::of(error).to_string(),
    }
}

fn is(error: &lapin::Error, wanted: &AMQPSoftError) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            matches!(error.kind(), AMQPErrorKind::Soft(soft) if soft == wanted)
        }
        _ => false,
    }
}
