use evbus_wire::mapping::data_to_json;
use evbus_wire::{Content, Exact, Fault, Fired, Frame};

use super::salt_frame;
use crate::listeners::encode;
use crate::senders::decode::{Decoded, Scratch};
use evbus_event::{ContentType, Event, now_unix_ns};

/// The frame that a program writes to a host.
fn towards_a_host(event: &Event) -> Vec<u8> {
    let fired = Fired {
        json: event.body(),
        id: event.id(),
        time_unix_ns: event.time_unix_ns(),
    };
    let frame = Frame::of_evbus(event.profile(), &fired, Exact::Yes).expect("it fits into a frame");
    frame.pieces().concat()
}

/// The frame that a host writes to its listeners.
fn towards_listeners(event: &Event) -> Vec<u8> {
    let frame = encode::frame(event).expect("the event makes a frame");
    frame.pieces().concat()
}

fn event_of(payload: &[u8]) -> Event {
    let mut scratch = Scratch::default();
    let decoded =
        Decoded::read(payload, "", false, &mut scratch).expect("an event is in the frame");
    (decoded.event(now_unix_ns(), &mut scratch)).expect("its body becomes JSON")
}

/// What listeners get of a frame.
fn passed_on(payload: &[u8]) -> Vec<u8> {
    let mut scratch = Scratch::default();
    let decoded = Decoded::read(payload, "", true, &mut scratch).expect("an event is in the frame");
    let leaves = decoded.frame(&scratch).expect("the event makes a frame");
    leaves.pieces().concat()
}

#[test]
fn an_event_of_salt_leaves_as_it_came() {
    let frame = salt_frame("salt/test", b"\x82\xa1x\xd9\x01y\xa1x\xc4\x01\xff");
    assert_eq!(passed_on(&frame), frame);
}

#[test]
fn an_event_of_ours_leaves_as_if_it_had_been_fired_here_whatever_its_data_say() {
    for body in [r#"{"tags":{"a":"b"},"x":1.50}"#, r#"{"_stamp":1}"#, "[1]"] {
        let event = Event::builder("p")
            .unwrapped_json(body)
            .expect("the body is JSON");
        let frame = towards_a_host(&event);
        assert_eq!(passed_on(&frame), towards_listeners(&event), "{body}");
        // The same text beside other DATA, and none beside its DATA.
        let other = [&b"p\n\n"[..], b"\x81\xa1x\x02"].concat();
        let head = &frame[..frame.len() - body_of(&frame).len()];
        let mut lies = head[..head.len() - 2].to_vec();
        lies.extend([0xc4, u8::try_from(other.len()).expect("it is short")]);
        lies.extend(other);
        assert_eq!(passed_on(&lies), towards_listeners(&event), "{body}");
        let again = towards_listeners(&event);
        assert_eq!(data_to_json_of(&passed_on(&again)), data_to_json_of(&again));
    }
}

/// TAG and DATA of a short frame, which stand at its end.
fn body_of(frame: &[u8]) -> &[u8] {
    let content = Content::read(frame).expect("an event is in the frame");
    let len = content.tag.len() + 2 + content.data.len();
    &frame[frame.len() - len..]
}

fn data_to_json_of(frame: &[u8]) -> String {
    let content = Content::read(frame).expect("an event is in the frame");
    let json = data_to_json(content.data).expect("DATA is a map");
    String::from_utf8(json).expect("JSON is UTF-8")
}

#[test]
fn an_event_of_ours_whose_text_is_not_json_is_refused() {
    for text in [&b"{"[..], b"\"\xff\"", b"[1 2]", b"\"\n\"", b"{} {}", b""] {
        let event = Event::builder("p")
            .unwrapped_json("[]")
            .expect("the body is JSON");
        let frame = towards_a_host(&event);
        let key = b"\xa4json";
        let at = (frame.windows(key.len()).position(|part| part == key)).expect("it has text");
        let (before, after) = frame.split_at(at + key.len());
        let bad = [
            before,
            &[0xa0 | u8::try_from(text.len()).expect("it is short")],
            text,
            &after[3..],
        ]
        .concat();
        for is_heard in [false, true] {
            let found = Decoded::read(&bad, "", is_heard, &mut Scratch::default());
            assert_eq!(found.map(|_| ()), Err(Fault::Body), "{text:?}");
        }
    }
}

#[test]
fn an_event_of_ours_keeps_id_time_and_body_on_its_way_to_a_host() {
    for body in [
        r#"{"tags":{"ref":"r"},"message":"FINISHED","run_name":"n"}"#,
        "{}",
        r#"{ "spaces": 1.50, "big": 123456789012345678901234567890 }"#,
        r#"{"_stamp":"own"}"#,
        r#"{"body":1}"#,
        r#"[1,{"_stamp":2}]"#,
        r#""text""#,
        "null",
    ] {
        let event = Event::builder("idem-run")
            .unwrapped_json(body)
            .expect("the body is JSON");
        let arrived = event_of(&towards_a_host(&event));
        assert_eq!(arrived.id(), event.id());
        assert_eq!(arrived.time_unix_ns(), event.time_unix_ns());
        assert_eq!(arrived.profile(), "idem-run");
        assert_eq!(String::from_utf8_lossy(arrived.body()), body);
        assert_eq!(arrived.content_type(), ContentType::Json);
        assert!(arrived.attributes().eq(event.attributes()));
    }
}

#[test]
fn a_listener_can_tell_the_body_from_what_was_put_around_it() {
    for (body, data_start) in [
        (r#"{"x":1}"#, r#"{"x":1,"_stamp":"20"#),
        (r#"{"_stamp":1}"#, r#"{"body":{"_stamp":1},"_stamp":"20"#),
        (r#"{"body":1}"#, r#"{"body":1,"_stamp":"20"#),
        ("5", r#"{"body":5,"_stamp":"20"#),
    ] {
        let event = Event::builder("p")
            .unwrapped_json(body)
            .expect("it is JSON");
        let payload = towards_listeners(&event);
        let content = Content::read(&payload).expect("an event is in the frame");
        let data = data_to_json(content.data).expect("DATA is a map");
        assert!(
            data.starts_with(data_start.as_bytes()),
            "{}",
            String::from_utf8_lossy(&data)
        );
        let found = content.body_json().expect("the body is in DATA");
        assert_eq!(String::from_utf8_lossy(&found), body);
        assert_eq!(
            content.head.map(|head| head.id),
            Some(*event.id().as_bytes())
        );
    }
}
