//! An event as an AMQP message.

use evbus_sdk::{Event, Outcome, Template, Templated};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::Config;
use crate::address::given;

/// Most bytes of a name in AMQP: exchange, routing key, header.
pub(crate) const MAX_SHORT_STRING: usize = 255;

/// The header that carries the name the event was fired under.
pub(crate) const PROFILE_HEADER: &str = "evbus-profile";
/// The header that carries when the event was fired, in nanoseconds since the Unix epoch.
pub(crate) const TIME_HEADER: &str = "evbus-time";

/// The header that carries the event's id, if `message_id` does not.
pub(crate) const ID_HEADER: &str = "evbus-id";

const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;
/// An upper bound for all properties except the headers, with the frame around them.
const OTHER_PROPERTIES: usize = 1024;

/// Whether a header of that name means something that this plugin says.
pub(crate) fn is_own_header(name: &str) -> bool {
    [PROFILE_HEADER, TIME_HEADER, ID_HEADER].contains(&name)
}

/// What the configuration says about all messages of a destination.
#[derive(Debug)]
pub(crate) struct Form {
    persistent: bool,
    message_id: Option<Template>,
    expiration: Option<Templated<u32>>,
    priority: Option<Templated<u8>>,
    extra_headers: Vec<(String, Template)>,
}

impl Form {
    pub(crate) fn new(config: &Config) -> Self {
        let extra = config.extra_headers.clone();
        Self {
            persistent: config.persistent,
            message_id: config.message_id.clone(),
            expiration: config.expiration.clone(),
            priority: config.priority.clone(),
            extra_headers: extra.into_iter().collect(),
        }
    }

    /// The properties of an event's message, for a connection whose frames hold `frame_max` bytes. The body is the
    /// event's, unchanged.
    ///
    /// # Errors
    ///
    /// An event that the protocol cannot carry, or for which a template fails, is rejected.
    pub(crate) fn properties(
        &self,
        event: Event<'_>,
        frame_max: usize,
    ) -> Result<BasicProperties, Outcome> {
        let (headers, size) = self.headers(event)?;
        // A header frame of AMQP cannot be split.
        if size + OTHER_PROPERTIES > frame_max {
            let extra = if self.extra_headers.is_empty() {
                ""
            } else {
                " and `extra_headers`"
            };
            return Err(Outcome::rejected(format!(
                "the tags{extra} make {size} bytes of AMQP headers; with the broker's frame_max of \
                 {frame_max} they must stay below {}",
                frame_max.saturating_sub(OTHER_PROPERTIES)
            )));
        }
        let message_id = match &self.message_id {
            Some(template) => given(template, event, "message_id", "the message id")?,
            None => short("the id", &event.id().to_string())?,
        };
        let mut properties = BasicProperties::default()
            .with_message_id(message_id)
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
        if let Some(expiration) = &self.expiration {
            let milliseconds = expiration
                .value(event, "a whole number of milliseconds up to 4294967295")
                .map_err(|fault| fault.outcome("expiration"))?;
            properties = properties.with_expiration(milliseconds.to_string().into());
        }
        if let Some(priority) = &self.priority {
            let priority = priority.value(event, "a whole number from 0 to 255");
            properties =
                properties.with_priority(priority.map_err(|fault| fault.outcome("priority"))?);
        }
        Ok(properties)
    }

    /// The event's id in a message that the broker returned.
    pub(crate) fn id_of<'m>(&self, properties: &'m BasicProperties) -> Option<&'m [u8]> {
        if self.message_id.is_none() {
            let id = properties.message_id().as_ref()?;
            return Some(id.as_str().as_bytes());
        }
        match properties.headers().as_ref()?.inner().get(ID_HEADER)? {
            AMQPValue::LongString(id) => Some(id.as_bytes()),
            _ => None,
        }
    }

    /// The headers and their encoded size: every string tag, then `extra_headers`, then this plugin's own; the later ones
    /// take precedence.
    fn headers(&self, event: Event<'_>) -> Result<(FieldTable, usize), Outcome> {
        // For each field: the length of the name, the kind, the length of the text (8 bytes for a number).
        const AROUND: usize = 1 + 1 + 8;

        let mut headers = FieldTable::default();
        let mut size = 0;
        let mut add = |name: &str, text: &str| {
            size += name.len() + text.len() + AROUND;
            let name = short("the name of a tag", name)?;
            headers.insert(name, AMQPValue::LongString(text.into()));
            Ok(())
        };
        for (name, text) in event.attributes() {
            add(name, text)?;
        }
        for (name, template) in &self.extra_headers {
            let text = template.text(event);
            let text = text.map_err(|fault| fault.outcome(&format!("extra_headers.{name}")))?;
            add(name, &text)?;
        }
        add(PROFILE_HEADER, event.profile())?;
        if self.message_id.is_some() {
            add(ID_HEADER, event.id().text(&mut [0; 36]))?;
        }
        size += TIME_HEADER.len() + AROUND;
        let time = i64::try_from(event.time_unix_ns()).unwrap_or(i64::MAX);
        headers.insert(TIME_HEADER.into(), AMQPValue::LongLongInt(time));
        Ok((headers, size))
    }
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
