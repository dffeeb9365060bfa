use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use evbus_client::{Error, Fired, Sender};
use evbus_wire::Answer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

use super::super::{
    Confirmation, Framing, Intake, PULL_SOCKET, Publisher, Server, SocketDir, SocketOptions, Taken,
    Wanted, serve,
};
use super::{Bus, LIMIT, listener, next_tag, prefixed, salt_frame, soon, until};
use evbus_event::{Event, Serial};

async fn connect(bus: &Bus) -> tokio::net::UnixStream {
    tokio::net::UnixStream::connect(bus.dir().join(PULL_SOCKET))
        .await
        .expect("the host lets programs in")
}

fn fired(event: &Event) -> Fired<'_> {
    Fired {
        json: event.body(),
        id: event.id(),
        time_unix_ns: event.time_unix_ns(),
    }
}

async fn taken(bus: &mut Bus) -> Event {
    soon(bus.taken.recv()).await.expect("the host runs")
}

#[tokio::test]
async fn all_that_a_program_wrote_before_it_closed_is_taken() {
    let mut bus = Bus::start();
    for n in 0..50 {
        let mut stream = UnixStream::connect(bus.dir().join(PULL_SOCKET)).expect("it accepts");
        let frame = salt_frame(&format!("tag/{n}"), &[0x81, 0xa1, b'x', 1]);
        stream.write_all(&frame).expect("the host reads");
        stream.write_all(&prefixed(&frame)).expect("the host reads");
    }
    let mut tags = Vec::new();
    for _ in 0..100 {
        let mut event = taken(&mut bus).await;
        Serial::Json.apply(&mut event).expect("DATA becomes JSON");
        assert_eq!(event.body(), br#"{"x":1}"#);
        tags.push(event.profile().to_owned());
    }
    tags.sort();
    let mut expected: Vec<_> = (0..50)
        .flat_map(|n| [format!("tag/{n}"), format!("tag/{n}")])
        .collect();
    expected.sort();
    assert_eq!(tags, expected);
    until(|| bus.server.counts().connections == 0).await;
}

#[tokio::test]
async fn garbage_ends_its_connection_and_no_other() {
    let mut bus = Bus::start();
    let mut good = connect(&bus).await;
    let mut bad = connect(&bus).await;
    good.write_all(&salt_frame("one", &[0x80]))
        .await
        .expect("the host reads");
    assert_eq!(taken(&mut bus).await.profile(), "one");
    bad.write_all(&salt_frame("before", &[0x80]))
        .await
        .expect("the host reads");
    bad.write_all(b"\xff garbage")
        .await
        .expect("the host reads");
    assert_eq!(taken(&mut bus).await.profile(), "before");
    let end = soon(bad.read(&mut [0; 16])).await;
    // Reset, if bytes were left unread.
    assert!(!matches!(end, Ok(1..)), "the host never answers: {end:?}");
    good.write_all(&salt_frame("two", &[0x80]))
        .await
        .expect("the host reads");
    assert_eq!(taken(&mut bus).await.profile(), "two");
    assert_eq!(bus.server.counts().lost_sync, 1);
}

#[tokio::test]
async fn a_program_of_ours_is_told_of_frames_that_contain_no_event() {
    let bus = Bus::start();
    for body in [&b"\n\n\x80"[..], b"\xff\n\n\x80", b"t\n\n\xc0", b"no tag"] {
        let mut frame = b"\x82\xa4head\x81\xa5evbus\x82\xa2id\xc4\x10".to_vec();
        frame.extend_from_slice(&[7; 16]);
        frame.extend_from_slice(b"\xa4time\x01\xa4body");
        rmp::encode::write_bin(&mut frame, body).expect("a Vec takes every byte");
        let mut stream = connect(&bus).await;
        stream.write_all(&frame).await.expect("the host reads");
        stream.shutdown().await.expect("it is connected");
        let mut answer = Vec::new();
        soon(stream.read_to_end(&mut answer))
            .await
            .expect("the host answers");
        let answer = Answer::read(&answer);
        assert!(
            matches!(&answer, Some(Answer::NotKept(reason)) if reason.contains("no event")),
            "{body:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_bad_frame_is_skipped_and_the_connection_goes_on() {
    let mut bus = Bus::start();
    let mut stream = connect(&bus).await;
    for frame in [
        b"\x80".to_vec(),
        prefixed(b"\x93\x01\x02\x03"),
        prefixed(b"\xc1"),
        salt_frame("no map", &[0xc0]),
        salt_frame("good", &[0x80]),
    ] {
        stream.write_all(&frame).await.expect("the host reads");
    }
    assert_eq!(taken(&mut bus).await.profile(), "good");
    assert_eq!(bus.server.counts().faults, 4);
}

#[tokio::test]
async fn half_a_frame_and_a_close_is_no_event() {
    let mut bus = Bus::start();
    let frame = salt_frame("half", &[0x80]);
    for end in [1, 10, frame.len() - 1] {
        let mut stream = connect(&bus).await;
        stream
            .write_all(&frame[..end])
            .await
            .expect("the host reads");
    }
    let mut stream = connect(&bus).await;
    for byte in salt_frame("whole", &[0x80]) {
        stream.write_all(&[byte]).await.expect("the host reads");
    }
    assert_eq!(taken(&mut bus).await.profile(), "whole");
    drop(stream);
    until(|| bus.server.counts().connections == 0).await;
    assert_eq!(bus.server.counts().events, 1);
}

#[tokio::test]
async fn a_large_frame_arrives_whole() {
    let mut bus = Bus::start();
    let value = vec![b'x'; 20 << 20];
    let mut data = vec![0x81, 0xa1, b'd', 0xdb];
    data.extend(
        u32::try_from(value.len())
            .expect("it is 20 MiB")
            .to_be_bytes(),
    );
    data.extend(&value);
    let frame = prefixed(&salt_frame("large", &data));
    let mut stream = connect(&bus).await;
    stream.write_all(&frame).await.expect("the host reads");
    assert_eq!(taken(&mut bus).await.body().len(), data.len());
}

#[tokio::test]
async fn a_sender_knows_that_the_host_took_its_events() {
    let mut bus = Bus::start();
    let mut sender = Sender::connect(&bus.dir())
        .await
        .expect("the host lets programs in");
    let sent: Vec<Event> = (0..1000)
        .map(|n| {
            let builder = Event::builder("idem-status").tag("type", "state-status");
            builder.message(&n).expect("the body is JSON")
        })
        .collect();
    for event in &sent {
        sender
            .send(event.profile(), &fired(event))
            .await
            .expect("the host reads");
    }
    sender.finish(LIMIT).await.expect("the host takes all");
    for event in &sent {
        // Without waiting: they have arrived.
        let arrived = bus.taken.try_recv().expect("the event has been taken");
        assert_eq!(arrived.id(), event.id());
        assert_eq!(arrived.body(), event.body());
        assert!(arrived.attributes().eq([("type", "state-status")]));
    }
}

#[tokio::test]
async fn a_sender_without_a_host_says_where_it_looked() {
    let root = tempfile::tempdir().expect("there is room for a directory");
    let error = Sender::connect(root.path())
        .await
        .expect_err("there is no host");
    assert!(error.to_string().contains(PULL_SOCKET), "{error}");
    assert!(
        error.to_string().contains("check that a host is running"),
        "{error}"
    );
}

/// A host whose intake waits for permits.
fn slow_host(root: &tempfile::TempDir, permits: &Arc<Semaphore>) -> Server {
    slow_host_with(root, permits, &SocketOptions::default())
}

fn slow_host_with(
    root: &tempfile::TempDir,
    permits: &Arc<Semaphore>,
    options: &SocketOptions,
) -> Server {
    let dirs = vec![SocketDir {
        path: root.path().join("s"),
        framing: Framing::Bare,
    }];
    let permits = Arc::clone(permits);
    serve(dirs, options, Publisher::default(), &move |_event| {
        let permits = Arc::clone(&permits);
        async move {
            permits
                .acquire()
                .await
                .expect("the semaphore is open")
                .forget();
        }
    })
    .expect("the directory is new")
}

#[tokio::test]
async fn a_full_host_slows_the_program_down() {
    let root = tempfile::tempdir().expect("there is room for a directory");
    let permits = Arc::new(Semaphore::new(0));
    let server = slow_host(&root, &permits);
    let mut sender = Sender::connect(&root.path().join("s"))
        .await
        .expect("it accepts");
    let event = Event::builder("p")
        .unwrapped_json("{}")
        .expect("it is JSON");
    sender
        .send(event.profile(), &fired(&event))
        .await
        .expect("the host reads");
    let slow = sender.finish(Duration::from_millis(50)).await;
    assert!(matches!(slow, Err(Error::Slow(_))), "{slow:?}");
    permits.add_permits(1);
    until(|| server.counts().connections == 0).await;
}

#[tokio::test]
async fn programs_that_leave_a_full_host_keep_nobody_out_and_lose_nothing() {
    let root = tempfile::tempdir().expect("there is room for a directory");
    let permits = Arc::new(Semaphore::new(0));
    let mut options = SocketOptions::default();
    options.limits.senders = 2;
    let server = slow_host_with(&root, &permits, &options);
    let path = root.path().join("s").join(PULL_SOCKET);
    // More programs than may be connected, each with more than is read at once.
    let frames = salt_frame("t", &[0x80]).repeat(4000);
    assert!(frames.len() > 64 * 1024);
    for _ in 0..6 {
        let mut program = tokio::net::UnixStream::connect(&path)
            .await
            .expect("it accepts");
        soon(program.write_all(&frames))
            .await
            .expect("the host reads");
    }
    until(|| server.counts().connections == 0).await;
    assert_eq!(server.counts().most_connections, 2);
    permits.add_permits(6 * 4000);
    until(|| permits.available_permits() == 0).await;
    assert_eq!(server.counts().events, 6 * 4000);
}

#[tokio::test]
async fn stopping_takes_what_was_written_before_and_nothing_after() {
    let root = tempfile::tempdir().expect("there is room for a directory");
    let permits = Arc::new(Semaphore::new(0));
    let mut server = slow_host(&root, &permits);
    let path = root.path().join("s").join(PULL_SOCKET);
    // Written before anybody reads: the test's thread is the runtime's.
    let mut programs: Vec<UnixStream> = (0..10)
        .map(|_| UnixStream::connect(&path).expect("it accepts"))
        .collect();
    for program in &mut programs {
        program
            .write_all(&salt_frame("t", &[0x80]).repeat(100))
            .expect("the kernel takes it");
    }
    permits.add_permits(1000);
    soon(server.stop_intake()).await;
    assert_eq!(server.counts().events, 1000);
    assert_eq!(permits.available_permits(), 0);
    for program in &mut programs {
        assert!(
            program.write_all(b"\x80").is_err(),
            "what is written now goes nowhere"
        );
    }
    assert!(UnixStream::connect(&path).is_err(), "nobody else gets in");
}

/// An intake that no event may reach, or that refuses every one.
#[derive(Clone, Copy, PartialEq)]
enum Nowhere {
    NoDestination,
    Closed,
}

impl Intake for Nowhere {
    type Confirmation = ();

    fn is_open(&self) -> bool {
        *self != Self::Closed
    }

    fn wants(&self, _profile: &str) -> Wanted {
        assert!(self.is_open(), "a closed host routes nothing");
        Wanted::No
    }

    fn unmatched(&self, _profile: &str, _count: u64) {}

    async fn prepare(&self, _events: &[Event]) {}

    async fn take(&self, events: Vec<Event>) -> Taken<()> {
        assert!(!self.is_open(), "nobody wants {events:?}");
        Taken {
            refused: events
                .iter()
                .map(|_| "it takes nothing".to_owned())
                .collect(),
            ..Taken::default()
        }
    }
}

impl Nowhere {
    fn host(self, root: &tempfile::TempDir) -> (Server, Publisher) {
        let dirs = vec![SocketDir {
            path: root.path().join("s"),
            framing: Framing::Bare,
        }];
        let publisher = Publisher::default();
        let server = serve(dirs, &SocketOptions::default(), publisher.clone(), &self)
            .expect("the directory is new");
        (server, publisher)
    }
}

#[tokio::test]
async fn an_event_that_no_destination_wants_reaches_the_listeners_and_counts_as_taken() {
    let root = tempfile::tempdir().expect("there is room for a directory");
    let (server, _publisher) = Nowhere::NoDestination.host(&root);
    let dir = root.path().join("s");
    let mut hears = listener(&dir).await;
    let mut program = UnixStream::connect(dir.join(PULL_SOCKET)).expect("it accepts");
    program
        .write_all(&salt_frame("of salt", &[0x80]))
        .expect("the host reads");
    assert_eq!(next_tag(&mut hears).await, "of salt");
    let mut sender = Sender::connect(&dir).await.expect("it accepts");
    let event = Event::builder("of ours")
        .unwrapped_json("{}")
        .expect("it is JSON");
    sender
        .send(event.profile(), &fired(&event))
        .await
        .expect("the host reads");
    sender.finish(LIMIT).await.expect("the event is taken");
    assert_eq!(next_tag(&mut hears).await, "of ours");
    assert_eq!(server.counts().events, 2);
}

#[tokio::test]
async fn listeners_hear_nothing_that_a_closed_host_refuses() {
    let root = tempfile::tempdir().expect("there is room for a directory");
    let (server, publisher) = Nowhere::Closed.host(&root);
    let dir = root.path().join("s");
    let _hears = listener(&dir).await;
    let mut sender = Sender::connect(&dir).await.expect("it accepts");
    let event = Event::builder("p")
        .unwrapped_json("{}")
        .expect("it is JSON");
    sender
        .send(event.profile(), &fired(&event))
        .await
        .expect("the host reads");
    let refused = sender.finish(LIMIT).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(server.counts().events, 1);
    assert_eq!(publisher.counts().published, 0);
}

/// An intake whose events never get to disk.
#[derive(Clone)]
struct SlowDisk;

#[derive(Default)]
struct Never;

impl Confirmation for Never {
    fn extend(&mut self, _others: Self) {}

    fn written(self) -> impl Future<Output = Result<(), String>> + Send {
        std::future::pending()
    }
}

impl Intake for SlowDisk {
    type Confirmation = Never;

    fn is_open(&self) -> bool {
        true
    }

    fn wants(&self, _profile: &str) -> Wanted {
        Wanted::Yes
    }

    fn unmatched(&self, _profile: &str, _count: u64) {}

    async fn prepare(&self, _events: &[Event]) {}

    async fn take(&self, _events: Vec<Event>) -> Taken<Never> {
        Taken::default()
    }
}

#[tokio::test]
async fn a_program_that_leaves_before_its_events_are_on_disk_frees_its_connection() {
    let root = tempfile::tempdir().expect("there is room for a directory");
    let dirs = vec![SocketDir {
        path: root.path().join("s"),
        framing: Framing::Bare,
    }];
    let options = SocketOptions::default();
    let server =
        serve(dirs, &options, Publisher::default(), &SlowDisk).expect("the directory is new");
    let dir = root.path().join("s");
    let event = Event::builder("p")
        .unwrapped_json("{}")
        .expect("it is JSON");
    let mut waits = Sender::connect(&dir).await.expect("it accepts");
    waits
        .send(event.profile(), &fired(&event))
        .await
        .expect("the host reads");
    let waiting = tokio::spawn(async move { waits.finish(LIMIT).await });
    let mut leaves = UnixStream::connect(dir.join(PULL_SOCKET)).expect("it accepts");
    leaves
        .write_all(&salt_frame("t", &[0x80]))
        .expect("the host reads");
    until(|| server.counts().events == 2).await;
    drop(leaves);
    until(|| server.counts().connections == 1).await;
    waiting.abort();
    until(|| server.counts().connections == 0).await;
}
