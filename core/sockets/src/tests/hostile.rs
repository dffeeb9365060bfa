//! Programs that fire badly on purpose: it costs them their connections, and nobody else anything.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::super::{LISTENER_QUEUE_BYTES, PULL_SOCKET, SocketOptions};
use super::{Bus, listener, next_tag, prefixed, salt_frame, soon, until};
use crate::limits::Limits;

const MIB: usize = 1 << 20;

fn bus(limits: Limits) -> Bus {
    let options = SocketOptions {
        limits,
        ..SocketOptions::default()
    };
    let root = tempfile::tempdir().expect("there is room for a directory");
    Bus::with_options(root, LISTENER_QUEUE_BYTES, &options)
}

async fn connect(bus: &Bus) -> UnixStream {
    UnixStream::connect(bus.dir().join(PULL_SOCKET))
        .await
        .expect("the host lets programs in")
}

async fn taken(bus: &mut Bus) -> String {
    let event = soon(bus.taken.recv()).await.expect("the host runs");
    event.profile().to_owned()
}

/// A frame of more than `len` bytes.
fn long_frame(tag: &str, len: usize) -> Vec<u8> {
    let mut data = vec![0x81, 0xa1, b'd', 0xc6];
    data.extend(u32::try_from(len).expect("it is short").to_be_bytes());
    data.resize(data.len() + len, b'x');
    salt_frame(tag, &data)
}

/// Waits until the host has closed a connection.
async fn closed(stream: &mut UnixStream) {
    let end = soon(stream.read(&mut [0; 16])).await;
    // Reset, if bytes were left unread.
    assert!(!matches!(end, Ok(1..)), "the host never answers: {end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_frames_hold_no_more_memory_than_all_of_them_may() {
    let mut bus = bus(Limits {
        held_bytes: 8 * MIB,
        still: Duration::from_millis(20),
        patience: Duration::from_millis(200),
        ..Limits::default()
    });
    let frame = long_frame("large", 3 * MIB);
    // Each takes 4 MiB, so there is room for two.
    let mut hogs = Vec::new();
    for _ in 0..12 {
        let mut hog = connect(&bus).await;
        let most = frame[..3 * MIB].to_vec();
        hogs.push(tokio::spawn(async move {
            // Fails for those that are closed meanwhile.
            let _ = hog.write_all(&most).await;
            hog
        }));
    }
    until(|| bus.server.counts().connections + bus.server.counts().unfinished == 12).await;
    let mut good = connect(&bus).await;
    good.write_all(&salt_frame("small", &[0x80]))
        .await
        .expect("the host reads");
    assert_eq!(taken(&mut bus).await, "small");
    // The hogs stand still, so a frame that goes on gets its room.
    let mut writes = Vec::new();
    for hog in hogs {
        writes.push(soon(hog).await.expect("the task ends"));
    }
    soon(good.write_all(&frame)).await.expect("the host reads");
    assert_eq!(taken(&mut bus).await, "large");
    let counts = bus.server.counts();
    assert!(counts.unfinished >= 10, "{counts:?}");
    assert_eq!(counts.events, 2);
    drop(writes);
    until(|| bus.server.counts().connections == 1).await;
}

#[tokio::test]
async fn a_frame_that_stands_still_is_given_up_and_a_silent_program_is_not() {
    let mut bus = bus(Limits {
        stall: Duration::from_millis(50),
        ..Limits::default()
    });
    let mut silent = connect(&bus).await;
    let mut fired = connect(&bus).await;
    fired
        .write_all(&salt_frame("one", &[0x80]))
        .await
        .expect("the host reads");
    assert_eq!(taken(&mut bus).await, "one");
    for half in [
        &b"\x82"[..],
        b"\x00",
        b"\x00\x00\x10\x00\x82",
        &long_frame("t", MIB)[..MIB],
    ] {
        let mut stream = connect(&bus).await;
        stream.write_all(half).await.expect("the host reads");
        closed(&mut stream).await;
    }
    assert_eq!(bus.server.counts().unfinished, 4);
    for stream in [&mut silent, &mut fired] {
        stream
            .write_all(&salt_frame("two", &[0x80]))
            .await
            .expect("the host reads");
        assert_eq!(taken(&mut bus).await, "two");
    }
}

#[tokio::test]
async fn programs_beyond_the_limit_wait_and_lose_nothing() {
    let mut bus = bus(Limits {
        senders: 4,
        ..Limits::default()
    });
    let mut streams = Vec::new();
    for n in 0..12 {
        let mut stream = connect(&bus).await;
        let frame = salt_frame(&n.to_string(), &[0x80]);
        stream.write_all(&frame).await.expect("the kernel takes it");
        streams.push(stream);
    }
    let mut tags = Vec::new();
    for stream in streams {
        tags.push(
            taken(&mut bus)
                .await
                .parse::<u32>()
                .expect("it is a number"),
        );
        assert!(bus.server.counts().connections <= 4);
        drop(stream);
    }
    tags.sort_unstable();
    assert!(tags.into_iter().eq(0..12));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_nonsense_delays_no_event() {
    let mut bus = Bus::start();
    let mut heard = listener(&bus.dir()).await;
    let path = bus.dir().join(PULL_SOCKET);
    let nonsense: [Vec<u8>; 6] = [
        // No frame; a length of 2 GiB; a length of nothing; 1 byte too long; a map of 4 billion; a byte
        // that msgpack does not have.
        vec![0xff; 64 * 1024],
        vec![0x7f; 64 * 1024],
        vec![0; 64],
        vec![0x06, 0x40, 0x00, 0x01, 0x82],
        vec![0xdf, 0xff, 0xff, 0xff, 0xff, 0x01],
        vec![0x81, 0xc1],
    ];
    let flood = nonsense.clone().map(|bytes| {
        let path = path.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                let mut stream = UnixStream::connect(&path)
                    .await
                    .expect("the host lets it in");
                // It may have been closed before all is written.
                let _ = stream.write_all(&bytes).await;
                closed(&mut stream).await;
            }
        })
    });
    let mut good = connect(&bus).await;
    for n in 0..300 {
        let frame = salt_frame(&n.to_string(), &[0x80]);
        let frame = if n % 2 == 0 { frame } else { prefixed(&frame) };
        good.write_all(&frame).await.expect("the host reads");
        assert_eq!(taken(&mut bus).await, n.to_string());
        assert_eq!(next_tag(&mut heard).await, n.to_string());
    }
    for task in flood {
        soon(task).await.expect("every connection was closed");
    }
    assert_eq!(bus.server.counts().lost_sync, 300);
    until(|| bus.server.counts().connections == 1).await;
}
