//! Events as expressions see them.

use std::sync::Arc;

use evbus_expression::Parsed;

use crate::Event;

/// A shared event that expressions are evaluated for.
#[derive(Debug, Clone)]
pub struct Subject(pub Arc<Event>);

impl evbus_expression::Subject for Subject {
    fn id(&self) -> [u8; 16] {
        *self.0.id().as_bytes()
    }

    fn time_unix_ns(&self) -> u64 {
        self.0.time_unix_ns()
    }

    fn profile(&self) -> &str {
        self.0.profile()
    }

    fn content_type(&self) -> &str {
        self.0.content_type().as_str()
    }

    fn body(&self) -> &[u8] {
        self.0.body()
    }

    fn tags(&self, each: &mut dyn FnMut(&str, &str)) {
        self.0
            .attributes()
            .for_each(|(key, value)| each(key, value));
    }

    fn parsed(&self) -> &Parsed {
        self.0.parsed()
    }
}
