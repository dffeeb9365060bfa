//! Framings, and connections that end.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use evbus_client::{Error, Event, GetEvent, Incoming, PullFraming};
use serde::Deserialize;
use support::{Bus, LIMIT, builder, frame, prefixed, publish, read, with_both};

#[test]
fn the_framing_of_the_pub_socket_is_found_out_from_what_arrives() {
    with_both(|connect| {
        let bus = Bus::start();
        let mut client = connect(builder(&bus.dir())).unwrap();
        let mut listener = bus.listener();
        for (n, bytes) in [
            frame("bare"),
            prefixed(&frame("prefixed")),
            // This frame contains no event.
            prefixed(b"\x93\x01\x02\x03"),
            frame("bare"),
        ]
        .iter()
        .enumerate()
        {
            // In two pieces, split at a different position each time.
            listener.write_all(&bytes[..=n]).unwrap();
            assert_eq!(client.tag_now(""), None);
            listener.write_all(&bytes[n + 1..]).unwrap();
            let expected = ["bare", "prefixed", "", "bare"][n];
            assert_eq!(client.tag_now("").unwrap_or_default(), expected);
        }
    });
}

#[test]
fn an_event_is_fired_as_salt_does_in_the_framing_that_was_chosen() {
    with_both(|connect| {
        for framing in [PullFraming::Prefixed, PullFraming::Bare] {
            let bus = Bus::start();
            let client = connect(builder(&bus.dir()).pull_framing(framing)).unwrap();
            let data = BTreeMap::from([("_stamp", "then"), ("x", "1")]);
            client.fire_event(&data, "salt/test").unwrap();
            let mut program = bus.program();
            // 50 bytes: tag and newlines 11, map and x 5, the key _stamp 7, its value 27.
            let start =
                b"\x82\xa4head\x80\xa4body\xc4\x32salt/test\n\n\x82\xa1x\xa11\xa6_stamp\xba20";
            let expected = match framing {
                PullFraming::Prefixed => prefixed(&[&start[..], &[0; 24]].concat()),
                PullFraming::Bare => [&start[..], &[0; 24]].concat(),
            };
            let found = read(&mut program, expected.len());
            let known = expected.len() - 24;
            assert_eq!(found[..known], expected[..known]);
            // All calls use one connection.
            client.fire_event(&data, "salt/test").unwrap();
            read(&mut program, expected.len());
        }
    });
}

#[test]
fn what_cannot_be_fired_is_named() {
    with_both(|connect| {
        let bus = Bus::start();
        let client = connect(builder(&bus.dir())).unwrap();
        let map = BTreeMap::from([("x", 1)]);
        for (error, expected) in [
            (client.fire_event(&1, "t"), "its data cannot be used"),
            (client.fire_event(&map, ""), "its tag is empty"),
            (client.fire_event(&map, "a\n\nb"), "two newlines"),
            (client.fire_event(&map, "a\n"), "ends with a newline"),
            (client.fire_event(&map, &"t".repeat(65537)), "65537 bytes"),
        ] {
            let error = error.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    });
}

#[test]
fn firing_outlives_the_host_and_says_where_there_is_none() {
    with_both(|connect| {
        let mut bus = Bus::start();
        let client = connect(builder(&bus.dir()).fire_timeout(LIMIT)).unwrap();
        let data = BTreeMap::from([("x", 1)]);
        client.fire_event(&data, "t").unwrap();
        drop(bus.program());
        bus.stop();
        let dir = bus.dir();
        let back = std::thread::spawn(move || {
            bus.bind();
            let first = read(&mut bus.program(), 4);
            (bus, first)
        });
        client.fire_event(&data, "t").unwrap();
        let (mut bus, first) = back.join().unwrap();
        assert_eq!(first[..3], [0; 3], "it begins with a length");
        let impatient = connect(builder(&dir).fire_timeout(Duration::from_millis(1))).unwrap();
        bus.stop();
        let error = impatient.fire_event(&data, "t").unwrap_err();
        assert!(
            error.to_string().contains("master_event_pull.ipc"),
            "{error}"
        );
    });
}

#[test]
fn a_lost_connection_is_made_again_and_leaves_a_gap() {
    with_both(|connect| {
        let mut bus = Bus::start();
        let mut client = connect(builder(&bus.dir())).unwrap();
        let mut listener = bus.listener();
        publish(&mut listener, &["one"]);
        // Half a frame is lost with the connection.
        listener.write_all(&frame("half")[..9]).unwrap();
        drop(listener);
        bus.stop();
        bus.bind();
        let again = std::thread::spawn(move || {
            let mut listener = bus.listener();
            publish(&mut listener, &["two"]);
            (bus, listener)
        });
        let taken = client.take("", 4);
        let (bus, listener) = again.join().unwrap();
        let [
            Ok(Incoming::Event(one)),
            Ok(Incoming::Lost(lost)),
            Ok(Incoming::Gap(gap)),
            Ok(Incoming::Event(two)),
        ] = &taken[..]
        else {
            panic!("{taken:?}");
        };
        assert_eq!((one.tag(), two.tag()), ("one", "two"));
        assert!(gap.from <= lost.at && lost.at <= gap.until);
        assert_eq!((gap.connections_lost, gap.pending_dropped), (1, 0));
        assert_eq!(client.take_gap(), None, "it has been told");

        // get_event keeps waiting, and the gap can be queried.
        drop(listener);
        let again = std::thread::spawn(move || {
            let mut listener = bus.listener();
            publish(&mut listener, &["three"]);
            (bus, listener)
        });
        assert_eq!(client.tag(""), "three");
        let gap = client.take_gap().expect("the connection was lost");
        assert_eq!(gap.connections_lost, 1);
        drop(again.join().unwrap());
    });
}

#[test]
fn waiting_for_a_host_that_is_not_there_ends_in_time_and_goes_on_later() {
    with_both(|connect| {
        let mut bus = Bus::start();
        bus.stop();
        let error = connect(builder(&bus.dir())).err().expect("there is none");
        assert!(matches!(error, Error::Connect { .. }), "{error}");
        let mut client = connect(builder(&bus.dir()).wait_for_host(true)).unwrap();
        assert!(!client.is_connected());
        assert_eq!(client.tag_now(""), None);
        let soon = GetEvent::new().wait(Duration::from_millis(120));
        assert!(client.get_event(soon).unwrap().is_none());
        bus.bind();
        let there = std::thread::spawn(move || {
            let mut listener = bus.listener();
            publish(&mut listener, &["one"]);
            (bus, listener)
        });
        assert_eq!(client.tag(""), "one");
        assert!(client.is_connected());
        assert_eq!(client.take_gap(), None, "nothing was lost");
        drop(there.join().unwrap());
    });
}

#[test]
fn without_reconnecting_the_end_is_an_error_and_ends_an_iteration() {
    with_both(|connect| {
        let bus = Bus::start();
        let mut client = connect(builder(&bus.dir()).reconnect(false)).unwrap();
        let mut listener = bus.listener();
        publish(&mut listener, &["one"]);
        drop(listener);
        let taken = client.take("", 9);
        assert!(
            matches!(
                taken[..],
                [
                    Ok(Incoming::Event(_)),
                    Ok(Incoming::Lost(_)),
                    Err(Error::Closed)
                ]
            ),
            "{taken:?}"
        );
        assert!(matches!(client.get_event(""), Err(Error::Closed)));
    });
}

#[test]
fn a_host_that_closes_at_once_is_not_said_to_have_found_the_listener_slow() {
    with_both(|connect| {
        let bus = Bus::start();
        let mut client = connect(builder(&bus.dir()).reconnect(false)).unwrap();
        drop(bus.listener());
        let taken = client.take("", 9);
        let [Ok(Incoming::Lost(lost)), Err(Error::TurnedAway)] = &taken[..] else {
            panic!("{taken:?}");
        };
        assert!(lost.turned_away);
        assert!(
            lost.reason.contains("does not let this user listen"),
            "{lost}"
        );
    });
}

#[test]
fn bytes_that_are_no_frame_are_an_error_and_the_client_connects_again() {
    with_both(|connect| {
        let bus = Bus::start();
        let mut client = connect(builder(&bus.dir())).unwrap();
        let mut listener = bus.listener();
        publish(&mut listener, &["one"]);
        listener.write_all(b"\xff").unwrap();
        assert_eq!(client.tag(""), "one");
        let error = client.get_event("").unwrap_err();
        assert!(matches!(error, Error::LostSync(_)), "{error}");
        let again = std::thread::spawn(move || {
            let mut listener = bus.listener();
            publish(&mut listener, &["two"]);
            (bus, listener)
        });
        assert_eq!(client.tag(""), "two");
        drop(again.join().unwrap());
    });
}

#[test]
fn an_event_shows_its_data_in_every_form() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        bytes: &'a [u8],
        n: u64,
    }
    let data = b"\x84\xa5bytes\xc4\x02\xff\x00\xa1n\xcf\xff\xff\xff\xff\xff\xff\xff\xff\
        \xa4when\xc7\x0f\x4e20240229T123456\xa6_stamp\xa3now";
    let bus = Bus::start();
    let mut client = evbus_client::blocking::Client::connect(bus.dir()).unwrap();
    let payload = evbus_wire::Frame::of_salt("t\"", data).unwrap();
    let payload = payload.pieces().concat();
    bus.listener().write_all(&payload).unwrap();
    let event: Event = client.get_event("").unwrap().unwrap();
    assert_eq!(event.data()[..], data[..]);
    assert_eq!(
        event.decode::<Data<'_>>().unwrap(),
        Data {
            bytes: b"\xff\0",
            n: u64::MAX
        }
    );
    let json = r#"{"bytes":{"__bytes__":"/wA="},"n":18446744073709551615,"when":"20240229T123456","_stamp":"now"}"#;
    assert_eq!(event.data_json().unwrap(), json);
    assert_eq!(event.body_json().unwrap(), json);
    assert_eq!(
        event.full_json().unwrap(),
        format!(r#"{{"tag":"t\"","data":{json}}}"#)
    );
    assert_eq!((event.id(), event.time_unix_ns()), (None, None));
    let error = event.decode::<Vec<u8>>().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the data of the event with the tag \"t\\\"\" cannot be read: "),
        "{error}"
    );
}
