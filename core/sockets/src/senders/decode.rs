//! Frames as events.

use evbus_client::Event as Heard;
use evbus_wire::mapping::{JsonReader, JsonWriter, NoJson};
use evbus_wire::{Content, EvbusHead, Fault, Frame};

use evbus_event::{Body, Event, EventId, MAX_BODY_BYTES, Origin, Parts, StringTags};

/// Memory for bodies, and for what is found in them.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    writer: JsonWriter,
    reader: JsonReader,
}

impl Scratch {
    /// Lets go of memory beyond what ordinary events need.
    pub(crate) fn trim(&mut self) {
        self.writer.trim();
        self.reader.trim();
    }
}

/// A frame that was read.
#[derive(Debug)]
pub(crate) struct Decoded<'a> {
    content: Content<'a>,
    /// The body that a program of ours sent as text, which has been checked. If it sent none, the text has been
    /// written by the writer.
    exact: Option<&'a str>,
}

impl<'a> Decoded<'a> {
    /// Reads a payload. What a program of ours sent is checked, and written for listeners if it `is_heard`;
    /// what one of Salt's sent is checked by [`event`](Self::event) or [`check`](Self::check). `last` is the tag
    /// of the frame before.
    ///
    /// Until the next frame is read, the other methods need `scratch` as this one leaves it.
    ///
    /// # Errors
    ///
    /// There is no event in it.
    #[inline]
    pub(crate) fn read(
        payload: &'a [u8],
        last: &'a str,
        is_heard: bool,
        scratch: &mut Scratch,
    ) -> Result<Self, Fault> {
        let content = Content::find_after(payload, last)?;
        let exact = match &content.head {
            None => None,
            Some(head) => {
                content.check()?;
                read_body(&content, head, is_heard, scratch).ok_or(Fault::Body)?
            }
        };
        Ok(Self { content, exact })
    }

    /// Whether it came from a program of ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.content.head.is_some()
    }

    /// What the event was fired under.
    pub(crate) fn profile(&self) -> &'a str {
        self.content.tag
    }

    /// Checks what a program of Salt's sent, if nothing is made of it.
    ///
    /// # Errors
    ///
    /// It is not an event.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match self.content.head {
            None => self.content.check(),
            Some(_) => Ok(()),
        }
    }

    /// The frame for listeners, of an event that is heard.
    ///
    /// # Errors
    ///
    /// One sentence: the frame would be too long.
    #[inline]
    pub(crate) fn frame<'s>(&'s self, scratch: &'s Scratch) -> Result<Frame<'s>, String> {
        match &self.content.head {
            None => Frame::of_content(&self.content),
            Some(head) => {
                let id = EventId::from_bytes(head.id);
                Frame::of_read(self.content.tag, id, head.time_unix_ns, &scratch.reader)
            }
        }
    }

    /// Makes the event. One of a program of Salt's has come at `now_unix_ns`, and is checked thereby.
    ///
    /// # Errors
    ///
    /// It is not an event, or its body is longer as JSON text than a body may be.
    pub(crate) fn event(&self, now_unix_ns: u64, scratch: &mut Scratch) -> Result<Event, NoJson> {
        let Scratch { writer, reader } = scratch;
        let profile = self.content.tag;
        Ok(match &self.content.head {
            None => {
                // There is no head, so nothing is exact.
                self.content.write_body(writer)?;
                Event::from(Parts {
                    id: EventId::new(now_unix_ns),
                    time_unix_ns: now_unix_ns,
                    profile,
                    body: Body::Json(writer.text()),
                    tags: writer.tags(),
                    origin: Origin::Salt,
                })
            }
            Some(head) => {
                let body = self.exact.unwrap_or_else(|| writer.text());
                let id = EventId::from_bytes(head.id);
                fired(profile, id, head.time_unix_ns, body, reader.tags())
            }
        })
    }
}

/// Checks the body that a program of ours sent, finds its tags, and writes DATA if it `is_heard`. Returns its exact
/// text, if the program sent that. `None` if it cannot be a body.
#[allow(clippy::option_option, reason = "a body without exact text is a body")]
fn read_body<'a>(
    content: &Content<'a>,
    head: &EvbusHead<'a>,
    is_heard: bool,
    scratch: &mut Scratch,
) -> Option<Option<&'a str>> {
    let Scratch { writer, reader } = scratch;
    match content.write_body(writer).ok()? {
        Some(exact) => read_text(exact, head, is_heard, reader).map(Some),
        None => read_text(writer.text().as_bytes(), head, is_heard, reader).map(|_| None),
    }
}

fn read_text<'t>(
    json: &'t [u8],
    head: &EvbusHead<'_>,
    is_heard: bool,
    reader: &mut JsonReader,
) -> Option<&'t str> {
    if json.len() > MAX_BODY_BYTES {
        return None;
    }
    let read = if is_heard {
        reader.check_and_write(json, head.time_unix_ns)
    } else {
        reader.check(json)
    };
    read.ok()
}

/// Makes an event of one that the host has listened to. `None` if it cannot be a body.
pub(crate) fn listened(event: &Heard, now_unix_ns: u64) -> Option<Event> {
    if let (Some(id), Some(time_unix_ns)) = (event.id(), event.time_unix_ns()) {
        let body = event.body_json().ok()?;
        if body.len() > MAX_BODY_BYTES {
            return None;
        }
        let mut reader = JsonReader::default();
        let text = reader.check(body.as_bytes()).ok()?;
        return Some(fired(event.tag(), id, time_unix_ns, text, reader.tags()));
    }
    // Listeners get DATA as they came.
    Some(Event::from(Parts {
        id: EventId::new(now_unix_ns),
        time_unix_ns: now_unix_ns,
        profile: event.tag(),
        body: Body::Msgpack(event.data()),
        tags: &StringTags::default(),
        origin: Origin::Salt,
    }))
}

/// An event whose body is JSON, with the tags in it.
fn fired(profile: &str, id: EventId, time_unix_ns: u64, body: &str, tags: &StringTags) -> Event {
    Event::from(Parts {
        id,
        time_unix_ns,
        profile,
        body: Body::Json(body),
        tags,
        origin: Origin::Fired,
    })
}
