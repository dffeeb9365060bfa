//! Frames, against bytes that Salt's programs wrote.

use super::random::Random;
use crate::mapping::data_to_json;
use crate::{
    Content, Decoder, EventId, Exact, Fault, Fired, Frame, LostSync, MAX_DEPTH, MAX_FRAME_BYTES,
    pack,
};

/// A frame as Salt programs write it; DATA is one map.
fn salt_frame(tag: &str, data: &[u8]) -> Vec<u8> {
    let body = [tag.as_bytes(), b"\n\n", data].concat();
    let mut frame = b"\x82\xa4head\x80\xa4body".to_vec();
    pack::bin(&mut frame, &body);
    frame
}

fn prefixed(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("the payload is short");
    [&len.to_be_bytes()[..], payload].concat()
}

/// What is read from a frame, as it is written again.
fn rewritten(payload: &[u8]) -> Vec<u8> {
    let content = Content::read(payload).expect("an event is in the frame");
    let frame = Frame::of_content(&content).expect("it fits into a frame");
    let anew = Frame::of_salt(content.tag, content.data).expect("it fits into a frame");
    assert_eq!(frame.pieces().concat(), anew.pieces().concat());
    assert_eq!(frame.prefix(), prefixed(&frame.pieces().concat())[..4]);
    frame.pieces().concat()
}

fn ours(json: &[u8], exact: Exact) -> Vec<u8> {
    let fired = Fired {
        json,
        id: EventId::from_bytes([7; 16]),
        time_unix_ns: 1_795_393_323_419_201_000,
    };
    let frame = Frame::of_evbus("p", &fired, exact).expect("the event makes a frame");
    frame.pieces().concat()
}

/// The bytes of a hexadecimal text with any spaces.
fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("these are hex digits"))
        .collect()
}

/// Tag `salt/test`, data {"x": 1, "_stamp": "2026-11-23T00:22:03.419201"}, as captured.
fn example_a() -> Vec<u8> {
    hex("82 a4 68 65 61 64 80 a4 62 6f 64 79 c4 31
         73 61 6c 74 2f 74 65 73 74 0a 0a
         82 a1 78 01 a6 5f 73 74 61 6d 70
         ba 32 30 32 36 2d 31 31 2d 32 33 54 30 30 3a 32 32 3a 30 33 2e 34 31 39 32 30 31")
}

fn long_value(header: &str, len: usize) -> Vec<u8> {
    [hex(header), vec![b'y'; len]].concat()
}

/// The payloads of a whole stream.
fn payloads(stream: &[u8]) -> Result<Vec<Vec<u8>>, LostSync> {
    let (mut decoder, mut at, mut found) = (Decoder::new(), 0, Vec::new());
    while let Some((payload, len)) = decoder.next(&stream[at..])? {
        found.push(payload.to_vec());
        at += len;
    }
    Ok(found)
}

#[test]
fn captured_frames_are_read_and_written_byte_for_byte() {
    for (payload, tag, json) in [
        (
            example_a(),
            "salt/test",
            r#"{"x":1,"_stamp":"2026-11-23T00:22:03.419201"}"#.to_owned(),
        ),
        (
            hex("82 a4 68656164 80 a4 626f6479 c4 04 74 0a 0a 80"),
            "t",
            "{}".to_owned(),
        ),
        (
            long_value(
                "82 a4 68656164 80 a4 626f6479 c5 01 35 74 0a 0a 81 a1 64 da 01 2c",
                300,
            ),
            "t",
            format!("{{\"d\":\"{}\"}}", "y".repeat(300)),
        ),
        (
            long_value(
                "82 a4 68656164 80 a4 626f6479 c6 00 01 11 7b 74 0a 0a 81 a1 64 db 00 01 11 70",
                70_000,
            ),
            "t",
            format!("{{\"d\":\"{}\"}}", "y".repeat(70_000)),
        ),
    ] {
        let content = Content::read(&payload).expect("an event is in the frame");
        assert_eq!(content.tag, tag);
        assert_eq!(content.head, None);
        let found = data_to_json(content.data).expect("DATA is a map");
        assert_eq!(String::from_utf8_lossy(&found), json);
        assert_eq!(rewritten(&payload), payload);
    }
    assert_eq!(prefixed(&example_a())[..6], hex("00 00 00 3f 82 a4"));
}

#[test]
fn a_stream_of_both_framings_is_read_the_same_however_it_is_split() {
    let large = salt_frame(
        "large",
        &[0x81, 0xa1, b'd', 0xc5, 0x02, 0x00]
            .iter()
            .copied()
            .chain([7; 512])
            .collect::<Vec<_>>(),
    );
    let whole = [
        example_a(),
        prefixed(&example_a()),
        prefixed(&large),
        large.clone(),
        example_a(),
    ];
    let stream = whole.concat();
    let expected = [example_a(), example_a(), large.clone(), large, example_a()];
    for split in 0..=stream.len() {
        let (mut decoder, mut at, mut found) = (Decoder::new(), 0, Vec::new());
        for end in [split, stream.len()] {
            while let Some((payload, len)) =
                decoder.next(&stream[at..end]).expect("these are frames")
            {
                found.push(payload.to_vec());
                at += len;
            }
        }
        assert_eq!(found, expected, "split at {split}");
    }
    let (mut decoder, mut at, mut found) = (Decoder::new(), 0, Vec::new());
    for end in 0..=stream.len() {
        if let Some((payload, len)) = decoder.next(&stream[at..end]).expect("these are frames") {
            found.push(payload.to_vec());
            at += len;
        }
    }
    assert_eq!(found, expected, "byte by byte");
}

#[test]
fn what_is_no_frame_ends_the_stream() {
    let too_long = u32::try_from(MAX_FRAME_BYTES).expect("it is 100 MiB") + 1;
    for (stream, expected) in [
        (hex("c1"), LostSync::NoFrame(0xc1)),
        (hex("93 01 02 03"), LostSync::NoFrame(0x93)),
        (hex("ff"), LostSync::NoFrame(0xff)),
        (hex("81 a1 61 c1"), LostSync::Reserved),
        (hex("00 00 00 00"), LostSync::Empty),
        (too_long.to_be_bytes().to_vec(), LostSync::TooLong),
        (hex("7f ff ff ff"), LostSync::TooLong),
        // Announced lengths and counts are refused before anything of them has come.
        (hex("81 a1 61 c6 ff ff ff ff"), LostSync::TooLong),
        (hex("df ff ff ff ff"), LostSync::TooLong),
        (hex("81 a1 61 dd ff ff ff ff"), LostSync::TooLong),
        // The frame before it is found first.
        ([example_a(), hex("c0")].concat(), LostSync::NoFrame(0xc0)),
    ] {
        assert_eq!(payloads(&stream), Err(expected), "{stream:02x?}");
    }
    let longest = u32::try_from(MAX_FRAME_BYTES).expect("it is 100 MiB");
    assert_eq!(payloads(&longest.to_be_bytes()), Ok(Vec::new()));
}

#[test]
fn a_frame_without_an_event_is_skipped_for_its_reason() {
    for (payload, expected) in [
        (hex("90"), Fault::NoMap),
        (hex("81 a1"), Fault::NoMap),
        ([example_a(), hex("00")].concat(), Fault::NoMap),
        (hex("80"), Fault::NoBody),
        (hex("81 a1 61 01"), Fault::NoBody),
        (hex("81 a4 626f6479 c0"), Fault::NoBody),
        (hex("81 a4 626f6479 c4 02 74 0a"), Fault::NoTag),
        (salt_frame("", &[0x80]), Fault::EmptyTag),
        (salt_frame(&"t".repeat(65_537), &[0x80]), Fault::LongTag),
        (hex("81 a4 626f6479 c4 04 ff 0a 0a 80"), Fault::TagNotText),
        (
            salt_frame("t", &[]),
            Fault::Data("the msgpack ends within a value"),
        ),
        (
            salt_frame("t", &[0xc0]),
            Fault::Data("it is not a msgpack map"),
        ),
        (
            salt_frame("t", &[0x80, 0x80]),
            Fault::Data("bytes follow its end"),
        ),
        (
            hex("82 a4 68656164 81 a5 6576627573 80 a4 626f6479 c4 04 74 0a 0a 80"),
            Fault::Head,
        ),
    ] {
        assert_eq!(
            Content::read(&payload).map(|_| ()),
            Err(expected),
            "{payload:02x?}"
        );
    }
}

#[test]
fn other_shapes_that_salt_servers_accept_are_accepted() {
    let body = "a4 626f6479 c4 04 74 0a 0a 80";
    for (frame, what) in [
        (format!("81 {body}"), "no head"),
        (format!("82 {body} a4 68656164 80"), "body first"),
        (
            format!("83 01 a1 78 {body} a4 68656164 81 a3 6d6964 01"),
            "more keys",
        ),
        (
            "81 a4 626f6479 a4 74 0a 0a 80".to_owned(),
            "a body of type str",
        ),
        (format!("de 00 01 {body}"), "a longer map header"),
        (
            "82 a4 68656164 c0 a4 626f6479 da 00 04 74 0a 0a 80".to_owned(),
            "a head of another type",
        ),
    ] {
        let frame = hex(&frame);
        assert_eq!(payloads(&frame), Ok(vec![frame.clone()]), "{what}");
        // And leaves in the one form that all clients read.
        assert_eq!(rewritten(&frame), salt_frame("t", &[0x80]), "{what}");
    }
    let tag = "salt/one\nnewline|and/\u{e9}";
    let data = [&[0x81, 0xa1, b'a', 0xa4], &b"x\n\ny"[..]].concat();
    let frame = salt_frame(tag, &data);
    let content = Content::read(&frame).expect("an event is in the frame");
    assert_eq!((content.tag, content.data), (tag, &data[..]));
}

#[test]
fn a_tag_is_found_whatever_tag_was_before_it() {
    for tag in ["t", "tt", "t\nt", "\nt", "other"] {
        for data in [&[0x80][..], b"\x81\xa3\n\nx\x01"] {
            let frame = salt_frame(tag, data);
            let expected = Content::find(&frame).expect("an event is in the frame");
            assert_eq!((expected.tag, expected.data), (tag, data));
            for last in ["", "t", "tt", "t\nt", "o"] {
                assert_eq!(Content::find_after(&frame, last), Ok(expected.clone()));
            }
        }
    }
    // Three newlines: the third belongs to DATA.
    let frame = salt_frame("t\n", &[0x80]);
    for last in ["", "t"] {
        let found = Content::find_after(&frame, last).expect("an event is in the frame");
        assert_eq!((found.tag, found.data), ("t", &b"\n\x80"[..]));
    }
}

#[test]
fn a_body_of_the_deepest_nesting_arrives_with_a_map_around_it() {
    let json = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    for exact in [Exact::Yes, Exact::No] {
        let frame = ours(json(MAX_DEPTH).as_bytes(), exact);
        let content = Content::read(&frame).expect("an event is in the frame");
        assert_eq!(content.body_json(), Ok(json(MAX_DEPTH).into_bytes()));
        data_to_json(content.data).expect("DATA can be shown as well");
    }
    // DATA that is a body has no level more.
    let deeper = [&[0x81, 0xa1, b'a'].repeat(MAX_DEPTH)[..], &[0x80]].concat();
    let fault = Content::read(&salt_frame("t", &deeper)).expect_err("it is nested too deeply");
    assert!(matches!(fault, Fault::Data(_)), "{fault}");
}

#[test]
fn random_streams_never_panic() {
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let whole = [example_a(), prefixed(&example_a())].concat();
    let ours = ours(b"[1]", Exact::Yes);
    let mut read = 0;
    for round in 0..100_000_u64 {
        let mut stream = if round % 2 == 0 {
            whole.clone()
        } else {
            ours.clone()
        };
        for _ in 0..=random.below(3) {
            let at = random.below(stream.len());
            stream[at] = random.byte();
        }
        stream.truncate(1 + random.below(stream.len()));
        if let Ok(found) = payloads(&stream) {
            for payload in found {
                if let Ok(content) = Content::read(&payload) {
                    // Whatever the check lets through can be delivered.
                    content.body_json().expect("the body becomes JSON");
                    read += 1;
                }
            }
        }
    }
    assert!(
        read > 1000,
        "only {read} of the damaged frames held an event"
    );
}
