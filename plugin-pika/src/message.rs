//! An event as an AMQP message.

use evbus_sdk::{Event, Outcome};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

/// Most bytes of a name in AMQP: exchange, routing key, header.
pub(crate) const MAX_SHORT_STRING: usize = 255;

/// The header that carries the name the event was fired under.
pub(crate) const PROFILE_HEADER: &str = "evbus-profile";
/// The header that carries when the event was fired, in nanoseconds since the Unix epoch.
pub(crate) const TIME_HEADER: &str = "evbus-time";

const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;
/// An upper bound for all properties except the headers, with the frame around them.
const OTHER_PROPERTIES: usize = 1024;

/// A message without its body, which is the event's body unchanged.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
}

/// What is the same for all messages of a destination.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    /// `None` means the event's profile name.
    pub(crate) routing_key: Option<String>,
    pub(crate) persistent: bool,
}

impl Template {
    /// The routing key of an event's message.
    pub(crate) fn routing_key<'a>(&'a self, event: Event<'a>) -> &'a str {
        self.routing_key.as_deref().unwrap_or(event.profile())
    }

    /// The message of an event, for a connection whose frames hold `frame_max` bytes.
    ///
    /// # Errors
    ///
    /// An event that the protocol cannot carry is rejected.
    pub(crate) fn message(&self, event: Event<'_>, frame_max: usize) -> Result<Message, Outcome> {
        let (headers, size) = headers(event)?;
        // A header frame of AMQP cannot be split.
        if size + OTHER_PROPERTIES > frame_max {
            return Err(Outcome::rejected(format!(
                "the tags make {size} bytes of AMQP headers; with the broker's frame_max of \
                 {frame_max} they must stay below {}",
                frame_max.saturating_sub(OTHER_PROPERTIES)
            )));
        }
        let mut properties = BasicProperties::default()
            .with_message_id(short("the id", &event.id().to_string())?)
            .with_timestamp(event.time_unix_ns() / 1_000_000_000)
            .with_content_type(short("the content type", event.content_type())?)
            .with_delivery_mode(if self.persistent {
                PERSISTENT
            } else {
                TRANSIENT
            })
            .with_headers(headers);
        // A type that is too long is still among the headers.
        let kind = event.attributes().find(|(name, _)| *name == "type");
        if let Some(kind) = kind.and_then(|(_, kind)| ShortString::try_new(kind).ok()) {
            properties = properties.with_type(kind);
        }
        Ok(Message {
            routing_key: short("the routing key", self.routing_key(event))?,
            properties,
        })
    }
}

/// The headers and their encoded size: every string tag, then this plugin's own, which take precedence.
fn headers(event: Event<'_>) -> Result<(FieldTable, usize), Outcome> {
    // For each field: the length of the name, the kind, the length of the text (8 bytes for a number).
    const AROUND: usize = 1 + 1 + 8;

    let mut headers = FieldTable::default();
    let mut size = 0;
    let profile = (PROFILE_HEADER, event.profile());
    for (name, text) in event.attributes().chain([profile]) {
        size += name.len() + text.len() + AROUND;
        let name = short("the name of a tag", name)?;
        headers.insert(name, AMQPValue::LongString(text.into()));
    }
    size += TIME_HEADER.len() + AROUND;
    let time = i64::try_from(event.time_unix_ns()).unwrap_or(i64::MAX);
    headers.insert(TIME_HEADER.into(), AMQPValue::LongLongInt(time));
    Ok((headers, size))
}

/// A name in AMQP; if it is too long, its event is rejected.
pub(crate) fn short(what: &str, text: &str) -> Result<ShortString, Outcome> {
    ShortString::try_new(text).map_err(|_| {
        Outcome::rejected(format!(
            "{what} is {} bytes long; AMQP allows at most {MAX_SHORT_STRING}",
            text.len()
        ))
    })
}
