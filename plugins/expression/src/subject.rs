//! What an expression is about.

use std::fmt::Debug;
use std::sync::Arc;

use crate::Parsed;

/// An event, as expressions see it. A clone is cheap, and shows the same event.
pub trait Subject: Clone + Debug + Send + Sync + 'static {
    /// The 16 bytes of its id.
    fn id(&self) -> [u8; 16];
    /// When it was fired, in nanoseconds since the Unix epoch.
    fn time_unix_ns(&self) -> u64;
    /// The name it was fired under.
    fn profile(&self) -> &str;
    /// The media type of the body: `application/json` or `application/msgpack`. Expressions do not read any other.
    fn content_type(&self) -> &str;
    /// The body.
    fn body(&self) -> &[u8];
    /// Calls `each` with every string tag, in their order.
    fn tags(&self, each: &mut dyn FnMut(&str, &str));
    /// The place for the parsed body.
    fn parsed(&self) -> &Parsed;
}

/// An event that is made for a look at what expressions give.
#[derive(Debug, Clone)]
pub struct Sample(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    id: [u8; 16],
    time_unix_ns: u64,
    profile: String,
    body: Vec<u8>,
    tags: Vec<(String, String)>,
    parsed: Parsed,
}

impl Sample {
    /// An event with a body of JSON.
    pub fn new(
        id: [u8; 16],
        time_unix_ns: u64,
        profile: &str,
        json: &[u8],
        tags: &[(&str, &str)],
    ) -> Self {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Self(Arc::new(Parts {
            id,
            time_unix_ns,
            profile: profile.to_owned(),
            body: json.to_owned(),
            tags: tags.iter().map(owned).collect(),
            parsed: Parsed::default(),
        }))
    }
}

impl Subject for Sample {
    fn id(&self) -> [u8; 16] {
        self.0.id
    }

    fn time_unix_ns(&self) -> u64 {
        self.0.time_unix_ns
    }

    fn profile(&self) -> &str {
        &self.0.profile
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn body(&self) -> &[u8] {
        &self.0.body
    }

    fn tags(&self, each: &mut dyn FnMut(&str, &str)) {
        self.0.tags.iter().for_each(|(key, value)| each(key, value));
    }

    fn parsed(&self) -> &Parsed {
        &self.0.parsed
    }
}
