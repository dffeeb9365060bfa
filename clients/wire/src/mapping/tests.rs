use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::to_json::check_data;
use super::*;
use crate::MAX_DEPTH;
use crate::tests::random::Random;

/// A map with one entry, `v`, of the given msgpack value.
fn data_of(value: &[u8]) -> Vec<u8> {
    [&[0x81, 0xa1, b'v'], value].concat()
}

#[test]
fn every_msgpack_type_has_its_documented_json_form() {
    for (value, expected) in [
        (&b"\xc0"[..], "null"),
        (b"\xc2", "false"),
        (b"\xc3", "true"),
        (b"\x7f", "127"),
        (b"\xff", "-1"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
        (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
        (b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", "1.0"),
        (b"\xca\x3f\xc0\x00\x00", "1.5"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", r#""NaN""#),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", r#""Infinity""#),
        (b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", r#""-Infinity""#),
        (b"\xa4a\"\n\x01", r#""a\"\n\u0001""#),
        (b"\xa2\xc3\xa9", "\"\u{e9}\""),
        (b"\xa1\xff", r#"{"__bytes__":"/w=="}"#),
        (b"\xc4\x02hi", r#"{"__bytes__":"aGk="}"#),
        (b"\xc7\x184e20240229T12:34:56.789012", ""),
        (b"\xc7\x18\x4e20240229T12:34:56.789012", r#""20240229T12:34:56.789012""#),
        (b"\xd4\x05\xff", r#"{"__ext__":5,"__bytes__":"/w=="}"#),
        (b"\x93\x01\x90\x80", "[1,[],{}]"),
        (b"\x82\xa1z\x01\xa1a\x82\xa1b\xc0\xa1c\x91\x02", r#"{"z":1,"a":{"b":null,"c":[2]}}"#),
        (
            b"\x87\x01\x00\xff\x00\xc3\x00\xc0\x00\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\x00\xc4\x02hi\x00\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x00",
            r#"{"1":0,"-1":0,"true":0,"null":0,"1.5":0,"aGk=":0,"NaN":0}"#,
        ),
    ] {
        let data = data_of(value);
        if expected.is_empty() {
            assert!(data_to_json(&data).is_err(), "{value:02x?}");
            continue;
        }
        assert_eq!(check_data(&data, MAX_DEPTH), Ok(()), "{value:02x?}");
        let json = data_to_json(&data).expect("the data is well-formed");
        assert_eq!(String::from_utf8_lossy(&json), format!("{{\"v\":{expected}}}"));
    }
}

#[test]
fn bytes_that_are_too_long_with_escapes_become_base64() {
    // As escapes they are six times as long.
    let count = crate::MAX_BODY_BYTES / 6 + 1;
    for odd in [0, count - 1] {
        let mut bytes = vec![1; count];
        bytes[odd] = 0xff;
        for is_key in [false, true] {
            let mut text = vec![0xdb];
            text.extend(u32::try_from(count).expect("it is short").to_be_bytes());
            text.extend(&bytes);
            let (key, value) = if is_key {
                (&text[..], &b"\xc0"[..])
            } else {
                (&b"\xa1k"[..], &text[..])
            };
            let data = [b"\x81", key, value].concat();
            let json = data_to_json(&data).expect("base64 is short enough");
            assert!(json.len() < 2 * count, "{odd} {is_key}");
        }
    }
}

#[test]
fn data_that_is_not_one_map_is_refused_with_the_reason() {
    for (data, reason) in [
        (&b""[..], "ends within a value"),
        (b"\x91\x01", "not a msgpack map"),
        (b"\xa1a", "not a msgpack map"),
        (b"\x80\x80", "bytes follow its end"),
        (b"\x81\xa1a", "ends within a value"),
        (b"\x81\xa1a\xa5abc", "ends within a value"),
        (b"\x81\xa1a\xc1", "c1"),
        (b"\x81\x80\x01", "key is a map or an array"),
        (b"\x82\xa1a\x01\x90\x01", "key is a map or an array"),
        (b"\xdf\xff\xff\xff\xff", "ends within a value"),
    ] {
        let error = data_to_json(data).expect_err("the data is at fault");
        assert!(error.contains(reason), "{data:02x?}: {error}");
        assert!(
            check_data(data, MAX_DEPTH).is_err_and(|error| error.contains(reason)),
            "{data:02x?}"
        );
    }
}

#[test]
fn nesting_is_bounded_and_never_overflows_the_stack() {
    let nested = |depth: usize| {
        let mut data = [0x81, 0x01].repeat(depth - 1);
        data.push(0x80);
        data
    };
    assert_eq!(check_data(&nested(MAX_DEPTH), MAX_DEPTH), Ok(()));
    assert!(data_to_json(&nested(MAX_DEPTH)).is_ok());
    // One level more, for a map around a body that deep.
    assert_eq!(check_data(&nested(MAX_DEPTH + 1), MAX_DEPTH + 1), Ok(()));
    assert!(data_to_json(&nested(MAX_DEPTH + 1)).is_ok());
    assert!(value_to_json(&nested(MAX_DEPTH + 1)).is_err());
    assert!(check_data(&nested(MAX_DEPTH + 1), MAX_DEPTH).is_err());
    for depth in [MAX_DEPTH + 2, 1_000_000] {
        assert!(check_data(&nested(depth), MAX_DEPTH + 1).is_err());
        assert!(data_to_json(&nested(depth)).is_err_and(|error| error.contains("128")));
    }
    let json = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    assert!(json_to_msgpack(json(MAX_DEPTH).as_bytes()).is_ok());
    assert!(json_to_msgpack(json(1_000_000).as_bytes()).is_err());
}

#[test]
fn json_becomes_the_shortest_msgpack() {
    for (json, expected) in [
        ("null", &b"\xc0"[..]),
        (" true ", b"\xc3"),
        ("false", b"\xc2"),
        ("0", b"\x00"),
        ("-0", b"\x00"),
        ("127", b"\x7f"),
        ("128", b"\xcc\x80"),
        ("65535", b"\xcd\xff\xff"),
        ("-32", b"\xe0"),
        ("-33", b"\xd0\xdf"),
        (
            "18446744073709551615",
            b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        ),
        ("18446744073709551616", b"\xb418446744073709551616"),
        ("-9223372036854775809", b"\xb4-9223372036854775809"),
        ("1.5", b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"),
        ("1e2", b"\xcb\x40\x59\x00\x00\x00\x00\x00\x00"),
        (r#""""#, b"\xa0"),
        (
            r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#,
            b"\xafa\"\\/\x08\x0c\n\r\t\xc3\xa9\xf0\x9f\x98\x80",
        ),
        (r#""\ud83dx""#, b"\xa4\xef\xbf\xbdx"),
        (r#""\ud83d\u0041""#, b"\xa4\xef\xbf\xbdA"),
        ("[]", b"\x90"),
        ("{ }", b"\x80"),
        (
            r#"[1, [2, {}], {"z": [], "a": 3}]"#,
            b"\x93\x01\x92\x02\x80\x82\xa1z\x90\xa1a\x03",
        ),
    ] {
        assert_eq!(
            json_to_msgpack(json.as_bytes()).as_deref(),
            Ok(expected),
            "{json}"
        );
    }
}

#[test]
fn containers_of_more_than_15_items_get_their_longer_header() {
    let items = vec!["0"; 16].join(",");
    let packed = json_to_msgpack(format!("[[{items}],7]").as_bytes()).expect("it is JSON");
    assert_eq!(packed[..4], [0x92, 0xdc, 0, 16]);
    assert_eq!(packed.last(), Some(&7));
    let items = vec!["0"; 70_000].join(",");
    let packed = json_to_msgpack(format!("[{items}]").as_bytes()).expect("it is JSON");
    assert_eq!(packed[..5], [0xdd, 0, 1, 0x11, 0x70]);
    assert_eq!(packed.len(), 70_005);
}

#[test]
fn text_that_is_no_json_is_refused_with_its_place() {
    for (json, expected) in [
        ("", "a value at byte 0"),
        ("[1,]", "a value at byte 3"),
        ("[1 2]", "a closing bracket at byte 3"),
        ("[1}", "a closing bracket at byte 2"),
        ("{1: 2}", "a key in double quotes at byte 1"),
        (r#"{"a" 2}"#, "a colon at byte 5"),
        (r#"{"a": }"#, "a value at byte 6"),
        ("1 2", "the end at byte 2"),
        ("1-2", "a number at byte 0"),
        ("-", "a number at byte 0"),
        (r#""a"#, "closing quote at byte 0"),
        (r#""a\"#, "valid escapes at byte 0"),
        (r#""\x""#, "valid escapes at byte 0"),
        (r#""\u12"#, "valid escapes at byte 0"),
        ("[\"\t\"]", "control characters at byte 1"),
        ("[01]", "a number at byte 1"),
        ("[", "a closing bracket at byte 1"),
    ] {
        let error = json_to_msgpack(json.as_bytes()).expect_err("this is not JSON");
        assert!(error.ends_with(expected), "{json}: {error}");
    }
}

#[test]
fn a_body_becomes_data_that_salt_listeners_understand_and_comes_back_exactly() {
    for (json, expected, is_wrapped) in [
        (
            r#"{"x":1}"#,
            r#"{"x":1,"_stamp":"2026-11-23T00:22:03.419201"}"#,
            false,
        ),
        ("{}", r#"{"_stamp":"2026-11-23T00:22:03.419201"}"#, false),
        (
            r#"[{"_stamp":1}]"#,
            r#"{"body":[{"_stamp":1}],"_stamp":"2026-11-23T00:22:03.419201"}"#,
            true,
        ),
        (
            r#"{"a":2,"_stamp":1}"#,
            r#"{"body":{"a":2,"_stamp":1},"_stamp":"2026-11-23T00:22:03.419201"}"#,
            true,
        ),
        (
            r#"{"a":{"_stamp":1}}"#,
            r#"{"a":{"_stamp":1},"_stamp":"2026-11-23T00:22:03.419201"}"#,
            false,
        ),
    ] {
        let mut reader = JsonReader::default();
        let read = reader.check_and_write(json.as_bytes(), 1_795_393_323_419_201_000);
        assert_eq!(read.as_deref(), Ok(json));
        assert_eq!(reader.is_wrapped(), is_wrapped, "{json}");
        let data = reader.data();
        let text = data_to_json(data).expect("it is DATA");
        assert_eq!(String::from_utf8_lossy(&text), expected);
        if !is_wrapped {
            let mut writer = JsonWriter::default();
            writer.unstamped(data).expect("it is DATA");
            assert_eq!(writer.text(), json);
        }
    }
}

/// The string tags of JSON text, found by parsing it.
fn parsed_tags(json: &[u8]) -> BTreeMap<String, String> {
    #[derive(serde::Deserialize)]
    struct Body {
        tags: BTreeMap<String, serde_json::Value>,
    }
    let tags = serde_json::from_slice(json).map_or(BTreeMap::new(), |body: Body| body.tags);
    tags.into_iter()
        .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
        .collect()
}

fn owned(tags: &StringTags) -> Vec<(String, String)> {
    tags.iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn string_tags_are_found_in_their_order_while_a_body_is_written_or_read() {
    let mut writer = JsonWriter::default();
    let mut reader = JsonReader::default();
    for (json, expected) in [
        (r#"{"a":1}"#, &[][..]),
        (
            r#"{"tags":{"z":"1","a":"\u00e9\"\n","n":1,"m":{"x":"y"},"l":["x"],"e":""},"b":{"tags":{"no":"no"}}}"#,
            &[("z", "1"), ("a", "\u{e9}\"\n"), ("e", "")],
        ),
        (r#"{"x":{"tags":{"no":"no"}},"tags":["no"]}"#, &[]),
        (r#"{"tags":"no"}"#, &[]),
        (r#"{"tags":{}}"#, &[]),
        (r#"[{"tags":{"no":"no"}}]"#, &[]),
    ] {
        let value = json_to_msgpack(json.as_bytes()).expect("it is JSON");
        writer.value(&value).expect("it is msgpack");
        let expected: Vec<_> = (expected.iter())
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(owned(writer.tags()), expected, "{json}");
        reader.check(json.as_bytes()).expect("it is JSON");
        assert_eq!(owned(reader.tags()), expected, "{json}");
        assert_eq!(parsed_tags(json.as_bytes()).len(), expected.len());
    }
    // A key that is there twice does not say which one counts.
    writer
        .value(b"\x82\xa4tags\x81\xa1a\xa1b\xa4tags\x81\xa1c\xa1d")
        .expect("it is msgpack");
    assert_eq!(owned(writer.tags()), []);
    reader
        .check(br#"{"tags":{"a":"b"},"tags":{"c":"d"}}"#)
        .expect("it is JSON");
    assert_eq!(owned(reader.tags()), []);
    // A key may be written with escapes. Half a surrogate pair is not a text, as key or as value.
    reader
        .check(br#"{"\u0074ags":{"\ud800":"x","a":"\ud800","b":"y"}}"#)
        .expect("it is JSON");
    assert_eq!(owned(reader.tags()), [("b".to_owned(), "y".to_owned())]);
}

#[test]
fn random_tags_are_those_that_a_parser_finds() {
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let mut writer = JsonWriter::default();
    let mut reader = JsonReader::default();
    let mut found = 0;
    for _ in 0..100_000 {
        let mut data = b"\x82\xa1x\x81\xa1y\xa1z\xa4tags".to_vec();
        let pairs = random.below(4);
        data.push(b"\x80\x81\x82\x83"[pairs]);
        for _ in 0..2 * pairs {
            data.extend_from_slice(
                [
                    &b"\xa1a"[..],
                    b"\xa1b",
                    b"\xa2\n\"",
                    b"\xa1\xff",
                    b"\xc4\x01c",
                    b"\x05",
                    b"\xc0",
                    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
                    b"\xd4\x4eq",
                    b"\xd4\x05\xff",
                    b"\x81\xa1a\xa1b",
                    b"\xa0",
                ][random.below(12)],
            );
        }
        if writer.data(&data).is_ok() {
            let tags = owned(writer.tags());
            let expected = parsed_tags(writer.text().as_bytes());
            assert_eq!(tags.len(), expected.len(), "{data:02x?}");
            assert_eq!(BTreeMap::from_iter(tags), expected, "{data:02x?}");
            (reader.check(writer.text().as_bytes())).expect("what was written as JSON is JSON");
            assert_eq!(owned(reader.tags()), owned(writer.tags()), "{data:02x?}");
            found += expected.len();
        }
    }
    assert!(found > 10_000, "only {found} tags were made");
}

#[test]
fn exactly_what_serde_json_takes_for_json_is_read() {
    let mut random = Random::new(0xd1b5_4a32_d192_ed03);
    let mut reader = JsonReader::default();
    let parts: [&[u8]; 28] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"a\"",
        b"\"\"",
        b"null",
        b"true",
        b"false",
        b"nul",
        b"0",
        b"-",
        b"1",
        b".",
        b"e",
        b"E+",
        b"5",
        b" ",
        b"\n",
        b"\"\\u00e9\"",
        b"\"\\ud800\"",
        b"\"\\",
        b"\"\x1f\"",
        b"\"\xc3\xa9\"",
        b"\"\xff\"",
        b"\x0b",
    ];
    let mut accepted = 0;
    for _ in 0..400_000 {
        let (around, within) = ([&b"["[..], b"{\"k\":", b""], [&b"]"[..], b"}", b""]);
        let kind = random.below(3);
        let mut text = around[kind].to_vec();
        for _ in 0..random.below(6) {
            text.extend_from_slice(parts[random.below(parts.len())]);
        }
        text.extend_from_slice(within[kind]);
        let is_json = str::from_utf8(&text)
            .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        let shown = String::from_utf8_lossy(&text);
        assert_eq!(reader.check(&text).is_ok(), is_json, "{shown}");
        let read = reader.check_and_write(&text, 0);
        assert_eq!(read.is_ok(), is_json, "{shown}");
        accepted += usize::from(is_json);
    }
    assert!(accepted > 1000, "only {accepted} texts were JSON");
}

#[test]
fn random_bytes_never_panic_and_what_the_check_accepts_becomes_json() {
    let mut random = Random::new(0x2545_f491_4f6c_dd1d);
    let mut reader = JsonReader::default();
    let mut accepted = 0;
    for _ in 0..200_000 {
        let len = random.below(24);
        // Small values, which are often containers or lengths, next to any byte.
        let mut data: Vec<u8> = (0..len)
            .map(|_| match random.below(4) {
                0 => b"\x80\x81\x82\x83"[random.below(4)],
                1 => b"\xa0\xa1\xa2"[random.below(3)],
                _ => random.byte(),
            })
            .collect();
        data.insert(0, b"\x80\x81\x82"[random.below(3)]);
        let json = data_to_json(&data);
        assert_eq!(
            check_data(&data, MAX_DEPTH + 1).is_ok(),
            json.is_ok(),
            "{data:02x?}"
        );
        if let Ok(json) = json {
            accepted += 1;
            serde_json::from_slice::<IgnoredAny>(&json).expect("the text is JSON");
            json_to_msgpack(&json).expect("JSON becomes msgpack");
        }
        let text: Vec<u8> = data
            .iter()
            .map(|byte| b"[]{}\",:\\u0e-19 "[usize::from(*byte) % 15])
            .collect();
        let is_json = serde_json::from_slice::<IgnoredAny>(&text).is_ok();
        assert_eq!(reader.check(&text).is_ok(), is_json, "{text:?}");
        assert_eq!(json_to_msgpack(&text).is_ok(), is_json, "{text:?}");
    }
    assert!(
        accepted > 1000,
        "only {accepted} of the random maps were maps"
    );
}
