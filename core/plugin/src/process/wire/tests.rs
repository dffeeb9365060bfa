//! What is written is what is read, and nonsense is refused.

use evbus_abi::v1::{AttributeV1, BatchV1, ExceptionV1, FateV1, OutcomeCodeV1, OutcomeV1};

use super::*;

/// Reads one message of the process, and that nothing follows it.
async fn host_reads(bytes: &[u8]) -> Result<ToHost, WireError> {
    let mut rest = bytes;
    let message = read_async(&mut rest).await?;
    assert!(rest.is_empty());
    Ok(message)
}

#[tokio::test]
async fn outcomes_arrive_as_they_were_given() {
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
        let frame = outcome(u64::MAX, expected.as_ref());
        let Ok(ToHost::Outcome { number, outcome }) = host_reads(&frame).await else {
            panic!("no outcome");
        };
        assert_eq!((number, outcome), (u64::MAX, expected));
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
    let (mut part, mut parts, mut bytes) = (Vec::new(), 0, Vec::new());
    while frames.next(&mut part).expect("they fit") {
        parts += 1;
        bytes.extend_from_slice(&part);
    }
    assert_eq!(parts, 2);
    let mut rest = &bytes[..];
    let Ok(ToChild::Batch {
        number: 5,
        count: 3,
    }) = read(&mut rest)
    else {
        panic!("no batch");
    };
    let mut received = Vec::new();
    while !rest.is_empty() {
        let Ok(ToChild::Events(some)) = read(&mut rest) else {
            panic!("no events");
        };
        received.extend(some);
    }
    let count = received.len();
    let arrived = BatchV1::new(received, count, |received, views| {
        for event in received {
            views.push(event.view(), event.attributes());
        }
    });
    assert_eq!(format!("{:?}", arrived.events()), format!("{events:?}"));
}

#[tokio::test]
async fn a_line_that_is_too_long_is_cut_between_characters_and_says_so() {
    // Each takes two bytes, and the first begins at an odd one.
    let frame = log(LevelV1::WARN, "module", &format!("a{}", "ä".repeat(10_000)));
    let Ok(ToHost::Log { message, .. }) = host_reads(&frame).await else {
        panic!("no line");
    };
    let end = " (cut: it has 20001 bytes)";
    assert_eq!(message, format!("a{}{end}", "ä".repeat(8191)));
}

#[tokio::test]
async fn what_is_no_frame_is_refused_with_what_it_was() {
    let long = u32::MAX.to_le_bytes();
    for (bytes, expected) in [
        (&[0, 0, 0, 0][..], "a frame of 0 bytes"),
        (&long, "a frame of 4294967295 bytes"),
        (&[1, 0, 0, 0, 200], "a frame of unknown kind 200"),
        (&[2, 0, 0, 0, 69, 1], "a frame that ends too early"),
        (&[2, 0, 0, 0, 71, 1], "1 bytes after the end of a frame"),
        (
            &[7, 0, 0, 0, 70, 1, 1, 0, 0, 0, 0xff],
            "text that is not UTF-8",
        ),
        // A reason that claims more than the frame has.
        (
            &[6, 0, 0, 0, 70, 1, 0xff, 0xff, 0xff, 0xff],
            "a frame that ends too early",
        ),
    ] {
        match host_reads(bytes).await {
            Err(WireError::Malformed(what)) => assert!(what.starts_with(expected), "{what}"),
            _ => panic!("{expected} is taken"),
        }
    }
    for cut in [&[][..], &[9, 0], &[9, 0, 0, 0, 71]] {
        assert!(matches!(host_reads(cut).await, Err(WireError::End(_))));
    }
}
