//! Bodies that are types of their own.

use crate::{Event, EventBuilder, EventError};

/// A body with a format and a profile of its own, such as the documented ones of Idem.
pub trait TypedBody {
    /// The profile it is fired under.
    const PROFILE: &'static str;

    /// Makes the event. The builder has the profile, and the run name for a body that has none.
    ///
    /// # Errors
    ///
    /// A value in it cannot be written as JSON, or is too large or nested too deeply.
    fn event_with(&self, builder: EventBuilder) -> Result<Event, EventError>;
}
