use evbus_wire::mapping::{JsonWriter, data_to_json};
use evbus_wire::{Content, Exact, Fired, Frame};

use super::salt_frame;
use crate::listeners::encode;
use crate::senders::decode::Decoded;
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
    let mut writer = JsonWriter::default();
    let decoded = Decoded::read(payload, &mut writer).expect("an event is in the frame");
    let of_salt = decoded.salt_event(now_unix_ns(), &mut writer);
    let event = of_salt.expect("its body becomes JSON");
    event
        .or_else(|| decoded.into_event())
        .expect("it is of one kind")
}

#[test]
fn an_event_of_salt_leaves_as_it_came() {
    let frame = salt_frame("salt/test", b"\x82\xa1x\xd9\x01y\xa1x\xc4\x01\xff");
    let decoded =
        Decoded::read(&frame, &mut JsonWriter::default()).expect("an event is in the frame");
    let leaves = encode::frame_of_decoded(&decoded).expect("the event makes a frame");
    assert_eq!(leaves.pieces().concat(), frame);
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
