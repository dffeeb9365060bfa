//! Events on their way to a pull socket.

use evbus_wire::mapping::stamp_data;
use evbus_wire::{Frame, MAX_TAG_BYTES, now_unix_ns, stamp};
use serde::Serialize;

use crate::{Error, PullFraming};

/// An event as Salt's programs write it, with `_stamp` added, after its prefix.
pub(crate) fn salt_frame(
    tag: &str,
    data: &(impl Serialize + ?Sized),
    framing: PullFraming,
) -> Result<Vec<u8>, Error> {
    check_tag(tag)?;
    let data = rmp_serde::to_vec_named(data).map_err(|error| unsendable(tag)(error.to_string()))?;
    let data = stamp_data(&data, &stamp(now_unix_ns()))
        .map_err(|reason| unsendable(tag)(format!("its data cannot be used: {reason}")))?;
    let frame = Frame::of_salt(tag, &data).map_err(unsendable(tag))?;
    let mut bytes = Vec::with_capacity(frame.len() + 4);
    if framing == PullFraming::Prefixed {
        bytes.extend_from_slice(&frame.prefix());
    }
    for piece in frame.pieces() {
        bytes.extend_from_slice(piece);
    }
    Ok(bytes)
}

/// A tag must arrive at the other end unchanged.
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
