//! The frame decoder: streams in any pieces, what their frames hold, and DATA as JSON and back.

use evbus_wire::mapping::{data_to_json, json_to_msgpack, stamp_data, value_to_json};
use evbus_wire::{Content, Decoder, EventId, Exact, Fired, Frame, MAX_DEPTH};

use crate::input::Input;
use crate::model::{self, Frames};
use crate::same::{body, check_same, depth, is_json, json_of};

/// Checks one input: a stream, or a JSON text where the mode is odd.
///
/// # Panics
///
/// The decoder breaks a promise.
pub fn check(input: &[u8]) {
    let input = Input::read(input);
    if input.mode % 2 == 1 {
        return check_json(input.stream);
    }
    let expected = model::frames(input.stream);
    for pieces in [vec![input.stream], input.pieces(input.stream)] {
        assert_eq!(decode(&pieces, input.stream), expected, "{pieces:02x?}");
    }
    for payload in expected.payloads {
        check_payload(&input.stream[payload]);
    }
}

/// What the decoder finds in a stream that arrives in pieces.
fn decode(pieces: &[&[u8]], stream: &[u8]) -> Frames {
    let mut decoder = Decoder::new();
    let mut frames = Frames {
        payloads: Vec::new(),
        lost_sync: false,
        end: 0,
    };
    let mut come = 0;
    for piece in pieces {
        come += piece.len();
        while !frames.lost_sync {
            match decoder.next(&stream[frames.end..come]) {
                Ok(Some((payload, len))) => {
                    let end = frames.end + len;
                    frames.payloads.push(end - payload.len()..end);
                    frames.end = end;
                }
                Ok(None) => break,
                Err(_) => frames.lost_sync = true,
            }
        }
    }
    frames
}

fn check_payload(payload: &[u8]) {
    let (found, expected) = (Content::read(payload), model::content(payload));
    let (found, expected) = match (found, expected) {
        (Ok(found), Some(expected)) => (found, expected),
        (Err(_), None) => return,
        (found, expected) => panic!("read {found:?} where {expected:?} is, in {payload:02x?}"),
    };
    assert_eq!(found.tag, expected.tag);
    assert_eq!(found.data, expected.data);
    let head = found.head.as_ref().map(|head| model::Head {
        id: head.id,
        time: head.time_unix_ns,
        wrap: head.wrap,
        json: head.json.map(<[u8]>::to_vec),
    });
    assert_eq!(head, expected.head);

    let text = data_to_json(found.data).expect("checked DATA becomes JSON");
    let whole = rmpv::Value::Map(expected.map.clone());
    assert_eq!(String::from_utf8_lossy(&text), json_of(&whole));
    // Bytes become an object, which may add one level.
    let around = found.head.as_ref().is_some_and(|head| head.wrap);
    assert!(depth(&text) <= MAX_DEPTH + usize::from(around) + 1);
    if depth(&text) <= MAX_DEPTH {
        assert!(is_json(&text), "{}", String::from_utf8_lossy(&text));
        let packed = json_to_msgpack(&text).expect("what was written as JSON is JSON");
        let again = value_to_json(&packed).expect("what was written as msgpack is msgpack");
        assert_eq!(again, text, "there and back");
    }
    check_body(&found, &expected);

    if around {
        // Its DATA may be one level deeper than any event of Salt.
        return;
    }
    let stamped = stamp_data(found.data, "now").expect("DATA can be fired");
    let mut expected = expected.map;
    expected.retain(|(key, _)| !model::is_str(key, "_stamp"));
    expected.push(("_stamp".into(), "now".into()));
    let stamped = model::value(&stamped).expect("what is stamped is one msgpack value");
    // Compared as text, because NaN does not equal itself.
    assert_eq!(json_of(&stamped), json_of(&rmpv::Value::Map(expected)));

    let frame = Frame::of_salt(found.tag, found.data).expect("it came in a frame");
    let written = frame.pieces().concat();
    let again = Content::read(&written).expect("what was written can be read");
    assert_eq!((again.tag, again.data), (found.tag, found.data));
    for stream in [written.clone(), [&frame.prefix()[..], &written].concat()] {
        let frames = decode(&[&stream], &stream);
        assert_eq!((frames.payloads.len(), frames.end), (1, stream.len()));
    }
}

/// The body that destinations receive.
fn check_body(found: &Content<'_>, expected: &model::Content) {
    match (found.body_json(), expected.body()) {
        (Ok(found), Some(expected)) => assert_eq!(
            String::from_utf8_lossy(&found),
            String::from_utf8_lossy(&expected)
        ),
        (Err(_), None) => {}
        (found, expected) => panic!("the body is {found:?}, expected {expected:?}"),
    }
}

/// A JSON text on its way to a host, and on to listeners.
fn check_json(text: &[u8]) {
    let valid = is_json(text);
    match json_to_msgpack(text) {
        Ok(packed) => {
            assert!(valid, "{}", String::from_utf8_lossy(text));
            let value = model::value(&packed).expect("what was written is one msgpack value");
            check_same(&value, text);
            value_to_json(&packed).expect("what was written can be read");
        }
        Err(why) => assert!(!valid, "{why}"),
    }
    if !valid {
        return;
    }
    for exact in [Exact::Yes, Exact::No] {
        let fired = Fired {
            json: text,
            id: EventId::from_bytes([7; 16]),
            time_unix_ns: 1_795_393_323_419_201_000,
        };
        let frame = Frame::of_evbus("tag", &fired, exact).expect("JSON makes a frame");
        let payload = frame.pieces().concat();
        check_payload(&payload);
        let content = Content::read(&payload).expect("what was written can be read");
        let found = content.body_json().expect("there is a body");
        if exact == Exact::Yes {
            assert_eq!(found, text);
        } else {
            let map = model::content(&payload).expect("as above").map;
            check_same(&body(map, content.head.is_some_and(|head| head.wrap)), text);
        }
    }
}
