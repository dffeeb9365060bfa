//! Messages are read as they were written, and invalid ones are refused.

use evbus_abi::v1::{BatchOutcomeV1, BatchV1, ExceptionV1, FateV1, OutcomeCodeV1, OutcomeV1};

use super::*;

/// The messages of a plugin's process in `bytes`.
fn host_reads(bytes: &[u8]) -> Result<Vec<ToHost<'static>>, WireError> {
    let (mut frames, mut received) = (frames(64), BytesMut::from(bytes));
    let mut messages = Vec::new();
    while let Some(frame) = next_frame(&mut frames, &mut received)? {
        messages.push(message(&frame)?);
    }
    Ok(messages)
}

#[test]
fn outcomes_arrive_as_they_were_given() {
    let some = |code, retry_after_ms, reason: &str| OutcomeV1 {
        code: OutcomeCodeV1(code),
        retry_after_ms,
        reason: reason.into(),
    };
    let given = BatchOutcomeV1 {
        all: some(77, 3, "an open set"),
        exceptions: vec![
            ExceptionV1 {
                index: 2,
                outcome: some(1, 0, ""),
            },
            ExceptionV1 {
                index: u32::MAX,
                outcome: some(2, u32::MAX, "ä"),
            },
        ]
        .into(),
        instance: FateV1::BROKEN,
    };
    for expected in [Some(given), None] {
        let outcome = expected.as_ref().map(Into::into);
        let sent = ToHost::Outcome {
            batch: u64::MAX,
            outcome,
        };
        let mut bytes = frame(&sent).expect("it fits");
        bytes.extend(frame(&ToHost::Closed).expect("it fits"));
        let messages = host_reads(&bytes).expect("these are messages");
        let Ok([ToHost::Outcome { batch, outcome }, ToHost::Closed]) =
            <[ToHost<'_>; 2]>::try_from(messages)
        else {
            panic!("no outcome");
        };
        let outcome = outcome.map(BatchOutcomeV1::from);
        assert_eq!((batch, outcome), (u64::MAX, expected));
    }
}

#[test]
fn a_batch_arrives_in_parts_and_whole() {
    let attributes = [AttributeV1 {
        key: "ref".into(),
        value: "idem.run".into(),
    }];
    let large = vec![7; 300 * 1024];
    let event = |number: u8, body| EventV1 {
        id: [number; 16],
        time_unix_ns: u64::MAX,
        attempt: 2,
        profile: "idem-run".into(),
        content_type: "application/json".into(),
        body,
        attributes: (&attributes[..usize::from(number % 2)]).into(),
    };
    let events = [
        event(1, (&b"{}"[..]).into()),
        event(2, (&large[..]).into()),
        event(3, (&[][..]).into()),
    ];
    let mut frames = BatchFrames::new(5, &events);
    let (mut part, mut bytes) = (Vec::new(), Vec::new());
    while frames.next(&mut part).expect("they fit") {
        bytes.extend_from_slice(&part);
    }
    let mut rest = &bytes[..];
    let (mut received, mut ends) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let frame = read(&mut rest).expect("a frame");
        let Ok(ToChild::Events {
            batch: 5,
            events,
            last,
        }) = message(&frame)
        else {
            panic!("no events");
        };
        received.extend(events.received(&frame));
        ends.push(last);
    }
    assert_eq!(ends, [false, true]);
    let count = received.len();
    let arrived = BatchV1::new(received, count, |received, views| {
        for event in received {
            views.push(event.view(), event.attributes());
        }
    });
    assert_eq!(format!("{:?}", arrived.events()), format!("{events:?}"));
}

#[test]
fn an_empty_batch_arrives() {
    let mut frames = BatchFrames::new(5, &[]);
    let mut part = Vec::new();
    assert!(frames.next(&mut part).expect("it fits"));
    let frame = read(&mut &part[..]).expect("a frame");
    assert!(matches!(
        message(&frame),
        Ok(ToChild::Events { last: true, .. })
    ));
    assert!(!frames.next(&mut part).expect("it fits"));
}

#[test]
fn a_line_that_is_too_long_is_cut_between_characters_and_says_so() {
    // The characters take two bytes each and begin at odd offsets.
    let line = format!("a{}", "ä".repeat(10_000));
    let end = " (cut: it has 20001 bytes)";
    assert_eq!(one_line(&line), format!("a{}{end}", "ä".repeat(8191)));
}

#[test]
fn what_is_not_a_message_is_refused_with_what_it_was() {
    let long = u32::MAX.to_le_bytes();
    let too_long = [&[65, 0, 0, 0][..], &[0; 65]].concat();
    for (bytes, expected) in [
        (&[0, 0, 0, 0][..], "a message that ends too early"),
        (&long, "a frame of more than 64 bytes"),
        (&too_long, "a frame of more than 64 bytes"),
        (&[1, 0, 0, 0, 200], "a message that ends too early"),
        (&[1, 0, 0, 0, 100], "a message of unknown form"),
        (&[2, 0, 0, 0, 3, 1], "a message that ends too early"),
        (&[2, 0, 0, 0, 5, 1], "1 bytes after the end of a message"),
        (&[4, 0, 0, 0, 4, 1, 1, 0xff], "text that is not UTF-8"),
        // A reason and a list that claim to be longer than the frame.
        (
            &[7, 0, 0, 0, 4, 1, 0xff, 0xff, 0xff, 0xff, 0x0f],
            "a message that ends too early",
        ),
        (
            &[11, 0, 0, 0, 2, 1, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f],
            "a message that ends too early",
        ),
    ] {
        match host_reads(bytes) {
            Err(WireError::Malformed(what)) => assert_eq!(what, expected, "{bytes:?}"),
            _ => panic!("{expected} is taken: {bytes:?}"),
        }
    }
    for cut in [&[][..], &[9, 0], &[9, 0, 0, 0, 5]] {
        assert!(host_reads(cut).is_ok_and(|messages| messages.is_empty()));
        assert!(matches!(read(&mut &cut[..]), Err(WireError::End(_))));
    }
    assert!(matches!(read(&mut &long[..]), Err(WireError::Malformed(_))));
}
