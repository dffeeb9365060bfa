//! Events on their way to a pull socket.

use evbus_wire::MAX_TAG_BYTES;

use crate::Error;

/// A tag must come out at the other end as it went in.
pub(crate) fn check_tag(tag: &str) -> Result<(), Error> {
    let reason = if tag.is_empty() {
        "its tag is empty; expected at least one character".to_owned()
    } else if tag.len() > MAX_TAG_BYTES {
        format!(
            "its tag has {} bytes; expected at most {MAX_TAG_BYTES}",
            tag.len()
        )
    } else if tag.contains("\n\n") {
        "its tag has two newlines in a row, which would end it; expected none".to_owned()
    } else if tag.ends_with('\n') {
        "its tag ends with a newline, which would be lost; expected none".to_owned()
    } else {
        return Ok(());
    };
    Err(unsendable(tag)(reason))
}

/// Says why an event cannot be sent.
pub(crate) fn unsendable(tag: &str) -> impl Fn(String) -> Error {
    move |reason| Error::Unsendable {
        tag: tag.to_owned(),
        reason,
    }
}
