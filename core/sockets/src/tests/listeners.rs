use std::io::Write as _;
use std::os::unix::net::UnixStream;

use evbus_client::Listener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::{LISTENER_QUEUE_BYTES, PUB_SOCKET, SocketOptions};
use super::{Bus, listener, next_tag, prefixed, salt_frame, soon, until};
use evbus_event::Event;

pub(crate) fn event(profile: impl Into<String>) -> Event {
    Event::builder(profile)
        .unwrapped_json("{}")
        .expect("the body is JSON")
}

async fn connect(bus: &Bus) -> tokio::net::UnixStream {
    tokio::net::UnixStream::connect(bus.dir().join(PUB_SOCKET))
        .await
        .expect("the host lets listeners in")
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_of_all_directories_see_one_order_of_all_that_many_programs_fire() {
    let bus = Bus::start();
    let mut listeners = vec![
        listener(&bus.dir()).await,
        listener(&bus.dir()).await,
        listener(&bus.prefixed_dir()).await,
    ];
    let dirs = [bus.dir(), bus.prefixed_dir()];
    let programs: Vec<_> = (0..4)
        .map(|program| {
            let path = dirs[program % 2].join(super::super::PULL_SOCKET);
            std::thread::spawn(move || {
                let mut stream = UnixStream::connect(path).expect("the host lets programs in");
                for n in 0..500 {
                    let frame = salt_frame(&format!("{program}/{n}"), &[0x80]);
                    let frame = if program < 2 { frame } else { prefixed(&frame) };
                    stream.write_all(&frame).expect("the host reads");
                }
            })
        })
        .collect();
    let mut seen: Vec<Vec<String>> = Vec::new();
    for listener in &mut listeners {
        let mut tags = Vec::new();
        for _ in 0..2000 {
            tags.push(next_tag(listener).await);
        }
        seen.push(tags);
    }
    assert!(seen[1..].iter().all(|tags| *tags == seen[0]));
    for program in 0..4 {
        let prefix = format!("{program}/");
        let found: Vec<_> = seen[0]
            .iter()
            .filter(|tag| tag.starts_with(&prefix))
            .collect();
        let expected: Vec<_> = (0..500).map(|n| format!("{program}/{n}")).collect();
        assert!(
            found.iter().copied().eq(&expected),
            "in the order they were fired"
        );
    }
    for program in programs {
        program.join().expect("the program ends");
    }
}

#[tokio::test]
async fn a_listener_gets_what_is_published_once_it_has_connected_and_nothing_before() {
    let bus = Bus::start();
    for n in 0..200 {
        bus.publisher.publish(&event(format!("before/{n}")));
        // Blocking, so that nothing of the host runs in between.
        let stream = UnixStream::connect(bus.dir().join(PUB_SOCKET)).expect("the host accepts");
        bus.publisher.publish(&event(format!("after/{n}")));
        let mut listener = Listener::over(stream).expect("it is a socket");
        assert_eq!(next_tag(&mut listener).await, format!("after/{n}"));
    }
}

#[tokio::test]
async fn a_listener_that_does_not_read_is_cut_off_and_another_gets_everything() {
    let bus = Bus::with_queue(1 << 20);
    let mut slow = connect(&bus).await;
    let mut good = listener(&bus.dir()).await;
    let body = format!("{{\"x\":\"{}\"}}", "x".repeat(10_000));
    for n in 0..1000 {
        let event = Event::builder(n.to_string())
            .unwrapped_json(body.clone())
            .expect("the body is JSON");
        bus.publisher.publish(&event);
        assert_eq!(next_tag(&mut good).await, n.to_string());
    }
    let counts = bus.publisher.counts();
    assert_eq!((counts.cut_off, counts.listeners), (1, 1));
    let mut left = Vec::new();
    // It still finds what the kernel had taken for it, and then the end.
    let end = soon(slow.read_to_end(&mut left)).await;
    assert!(end.is_ok() || left.is_empty(), "{end:?}");
    assert!(left.len() < 2 << 20, "{} bytes", left.len());
}

#[tokio::test]
async fn a_frame_longer_than_the_queue_reaches_a_listener_that_reads() {
    let bus = Bus::with_queue(1 << 20);
    let mut listener = listener(&bus.prefixed_dir()).await;
    let body = format!("\"{}\"", "x".repeat(8 << 20));
    let long = Event::builder("long")
        .unwrapped_json(body.clone())
        .expect("it is JSON");
    bus.publisher.publish(&long);
    bus.publisher.publish(&event("next"));
    bus.publisher.publish(&event("last"));
    let received = soon(listener.next())
        .await
        .expect("it is a frame")
        .expect("the connection goes on");
    assert_eq!(
        received.body_json().expect("the body is there").len(),
        body.len()
    );
    assert_eq!(received.id(), Some(long.id()));
    assert_eq!(next_tag(&mut listener).await, "next");
    assert_eq!(next_tag(&mut listener).await, "last");
    assert_eq!(bus.publisher.counts().cut_off, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_listeners_get_every_event() {
    raise_file_limit();
    let bus = Bus::start();
    let mut listeners = Vec::new();
    for _ in 0..1000 {
        listeners.push(listener(&bus.dir()).await);
    }
    for n in 0..100 {
        bus.publisher.publish(&event(format!("tag/{n}")));
    }
    assert_eq!(bus.publisher.counts().listeners, 1000);
    for listener in &mut listeners {
        for n in 0..100 {
            assert_eq!(next_tag(listener).await, format!("tag/{n}"));
        }
    }
    assert_eq!(bus.publisher.counts().cut_off, 0);
    drop(listeners);
    until(|| bus.publisher.counts().listeners == 0).await;
}

/// Both ends of every connection are this process's.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("a limit may be raised to its maximum");
}

#[tokio::test]
async fn listeners_beyond_the_limit_are_turned_away() {
    let mut options = SocketOptions::default();
    options.limits.listeners = 2;
    let root = tempfile::tempdir().expect("there is room for a directory");
    let bus = Bus::with_options(root, LISTENER_QUEUE_BYTES, &options);
    let mut first = listener(&bus.dir()).await;
    let second = listener(&bus.prefixed_dir()).await;
    until(|| bus.publisher.counts().listeners == 2).await;
    let mut third = listener(&bus.dir()).await;
    assert!(soon(third.next()).await.expect("it ends").is_none());
    assert_eq!(bus.publisher.counts().turned_away, 1);
    drop(second);
    until(|| bus.publisher.counts().listeners == 1).await;
    let mut fourth = listener(&bus.dir()).await;
    bus.publisher.publish(&event("heard"));
    for listener in [&mut first, &mut fourth] {
        assert_eq!(next_tag(listener).await, "heard");
    }
}

#[tokio::test]
async fn what_listeners_send_is_ignored_and_half_a_close_ends_them() {
    let bus = Bus::start();
    let mut stream = connect(&bus).await;
    stream
        .write_all(&salt_frame("not/published", &[0x80]))
        .await
        .expect("the host reads");
    bus.publisher.publish(&event("one"));
    let mut some = [0; 16];
    soon(stream.read_exact(&mut some))
        .await
        .expect("the connection goes on");
    assert_eq!(bus.publisher.counts().published, 1);
    assert_eq!(bus.publisher.counts().listeners, 1);
    stream.shutdown().await.expect("it is connected");
    until(|| bus.publisher.counts().listeners == 0).await;
}

#[tokio::test]
async fn nothing_is_encoded_for_nobody() {
    let bus = Bus::start();
    bus.publisher.publish(&event("unheard"));
    assert_eq!(bus.publisher.counts().published, 0);
}

#[tokio::test]
async fn closing_sends_listeners_what_was_published_and_then_ends() {
    let bus = Bus::start();
    let mut listener = listener(&bus.dir()).await;
    for n in 0..1000 {
        bus.publisher.publish(&event(n.to_string()));
    }
    let dir = bus.dir();
    let Bus { server, .. } = bus;
    let (tags, ()) = tokio::join!(
        async {
            let mut tags = 0;
            while soon(listener.next())
                .await
                .expect("these are frames")
                .is_some()
            {
                tags += 1;
            }
            tags
        },
        server.close(super::LIMIT)
    );
    assert_eq!(tags, 1000);
    assert!(!dir.join(PUB_SOCKET).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_never_pauses_cuts_no_reading_listener_off() {
    let mut bus = Bus::with_queue(256 * 1024);
    bus.taken.close();
    let mut listener = listener(&bus.dir()).await;
    let path = bus.dir().join(super::super::PULL_SOCKET);
    let firing = std::thread::spawn(move || {
        let mut stream = UnixStream::connect(path).expect("the host lets programs in");
        let frames = salt_frame(
            "t",
            &[&[0x81, 0xa1, b'x', 0xd9, 200], &[b'x'; 200][..]].concat(),
        )
        .repeat(100);
        for _ in 0..500 {
            stream.write_all(&frames).expect("the host reads");
        }
    });
    for _ in 0..50_000 {
        next_tag(&mut listener).await;
    }
    firing.join().expect("the program ends");
    assert_eq!(bus.publisher.counts().cut_off, 0);
}
