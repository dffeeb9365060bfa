//! The control sockets by themselves, without a host.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::protocol::{Ask, MAX_QUESTION_BYTES};
use super::server::attend;
use super::*;
use evbus_event::Event;
use evbus_sockets::{Framing, Intake, Publisher, SocketDir, Taken, Wanted};
use evbus_store::{StateDir, StateLimits};

/// Accepts no events.
#[derive(Clone)]
struct Nowhere;

impl Intake for Nowhere {
    type Confirmation = ();

    fn is_open(&self) -> bool {
        false
    }

    fn wants(&self, _profile: &str) -> Wanted {
        Wanted::No
    }

    fn unmatched(&self, _profile: &str, _count: u64) {}

    async fn prepare(&self, _events: &[Event]) {}

    async fn take(&self, events: Vec<Event>) -> Taken<()> {
        unreachable!("nobody fires {events:?}")
    }
}

/// Records the requests.
#[derive(Default)]
struct Told {
    replays: Arc<Mutex<Vec<Filter>>>,
}

impl Controlled for Told {
    fn status(&self) -> (HostStatus, Vec<LaneStatus>) {
        let host = HostStatus {
            pid: 7,
            ..HostStatus::default()
        };
        (host, Vec::new())
    }

    async fn replay(&self, filter: Filter) -> Result<u64, String> {
        self.replays.lock().push(filter);
        Ok(3)
    }

    async fn purge(&self, _: Filter) -> Result<u64, String> {
        Err("no dead letters here".to_owned())
    }

    async fn reload(&self) -> Result<super::Reloaded, String> {
        Err("acct.yml: no".to_owned())
    }
}

/// Control sockets in `root/s` and in the state directory `root/state`.
fn start(root: &Path, state: &str) -> (Server, evbus_sockets::Server, Arc<Mutex<Vec<Filter>>>) {
    let dirs = vec![SocketDir {
        path: root.join("s"),
        framing: Framing::Bare,
    }];
    let options = evbus_sockets::SocketOptions::default();
    let mut sockets =
        evbus_sockets::serve(dirs, &options, Publisher::default(), &Nowhere).expect("it is free");
    let state = StateDir::open(&root.join(state), StateLimits::default()).expect("it is free");
    let told = Told::default();
    let replays = Arc::clone(&told.replays);
    let server = serve(&mut sockets, Some(&state), told).expect("the sockets can be bound");
    (server, sockets, replays)
}

/// Everything that is returned for some bytes, until the host closes the connection.
async fn raw(dir: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(dir.join(CONTROL_SOCKET))
        .await
        .expect("it is served");
    // A host that has read enough may close before everything is written.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut text = Vec::new();
    // Unread bytes at the host's close cause an error after the answers.
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).expect("it is text")
}

#[tokio::test]
async fn every_directory_has_a_socket_for_its_owner_that_answers_and_goes_with_the_host() {
    let root = tempfile::tempdir().expect("there is room");
    let (server, sockets, replays) = start(root.path(), "state");
    let filter = Filter {
        provider: Some("kafka".to_owned()),
        ..Filter::default()
    };
    for name in ["s", "state"] {
        let dir = root.path().join(name);
        let mode = fs::metadata(dir.join(CONTROL_SOCKET)).expect("it is there");
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        let mut client = Client::connect(&dir).await.expect("it is served");
        let answer = client.status().await.expect("it answers");
        assert_eq!(answer.status.host.pid, 7);
        assert!(answer.json.get().contains(r#""destinations":[]"#));
        assert_eq!(client.replay(filter.clone()).await.ok(), Some(3));
        let refused = client.reload().await.expect_err("it refuses");
        assert_eq!(refused.to_string(), "acct.yml: no");
    }
    assert_eq!(*replays.lock(), [filter.clone(), filter]);
    server.close().await;
    drop(sockets);
    for name in ["s", "state"] {
        assert!(!root.path().join(name).join(CONTROL_SOCKET).exists());
    }
    StateDir::open(&root.path().join("state"), StateLimits::default()).expect("it is free again");
}

#[tokio::test]
async fn the_socket_of_a_host_that_died_is_replaced_and_one_directory_may_be_both() {
    let root = tempfile::tempdir().expect("there is room");
    fs::create_dir(root.path().join("state")).expect("there is room");
    let stale = root.path().join("state").join(CONTROL_SOCKET);
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("it is free"));
    let (server, sockets, _) = start(root.path(), "state");
    assert!(
        Client::connect(&root.path().join("state")).await.is_ok(),
        "it was replaced"
    );
    server.close().await;
    drop(sockets);
    let (_server, _sockets, _) = start(root.path(), "s");
    assert!(Client::connect(&root.path().join("s")).await.is_ok());
}

#[tokio::test]
async fn what_is_no_question_gets_a_sentence_and_the_next_one_an_answer() {
    let root = tempfile::tempdir().expect("there is room");
    let (_server, _sockets, replays) = start(root.path(), "state");
    let dir = root.path().join("s");
    for (question, sentence) in [
        (&b"nonsense"[..], "expected one line like"),
        (b"\xff\xfe", "expected one line like"),
        (b"7", "expected one line like"),
        (
            br#"{"evbus": 2, "ask": "status"}"#,
            "this host speaks version 1",
        ),
        (br#"{"evbus": 1, "ask": "fly"}"#, r"unknown request \"),
        (br#"{"evbus": 1, "ask": "replay"}"#, "replay needs a filter"),
        (
            br#"{"evbus": 1, "ask": "replay", "filter": {"newer": 1}}"#,
            "unknown field `newer`",
        ),
    ] {
        let lines = [question, b"\n\n{\"evbus\": 1, \"ask\": \"status\"}\n"].concat();
        let said = raw(&dir, &lines).await;
        let (refusal, status) = said.split_once('\n').expect("there are two lines");
        assert!(refusal.starts_with(r#"{"error":""#), "{refusal}");
        assert!(refusal.contains(sentence), "{refusal}");
        assert!(status.starts_with(r#"{"host":{"pid":7"#), "{status}");
    }
    assert_eq!(*replays.lock(), [], "nothing was replayed");
    let long = vec![b'x'; MAX_QUESTION_BYTES * 4];
    let said = raw(&dir, &long).await;
    assert!(said.contains("longer than 65536 bytes"), "{said}");
    assert_eq!(raw(&dir, br#"{"evbus": 1, "#).await, "", "half a line");
}

#[tokio::test]
async fn who_asks_nothing_or_does_not_read_is_sent_away() {
    let patience = Duration::from_millis(50);
    for start in [&b""[..], b"{\"evbus\": 1,", b"\n\n"] {
        let (mut idle, stream) = UnixStream::pair().expect("there are files");
        idle.write_all(start).await.expect("it is open");
        attend(stream, Arc::new(Told::default()), Arc::default(), patience).await;
        assert!(matches!(idle.read(&mut [0]).await, Ok(0)));
    }
    let (mut deaf, stream) = UnixStream::pair().expect("there are files");
    let asking = tokio::spawn(async move {
        // The answers fill the connection, because the client never reads.
        while deaf.write_all(&Ask::Status.write()).await.is_ok()
            && deaf.write_all(b"\n").await.is_ok()
        {}
    });
    attend(stream, Arc::new(Told::default()), Arc::default(), patience).await;
    asking.await.expect("its writes fail at last");
}

#[tokio::test]
async fn who_came_first_makes_room_where_there_are_too_many() {
    let root = tempfile::tempdir().expect("there is room");
    let (_server, _sockets, _) = start(root.path(), "state");
    let dir = root.path().join("s");
    let mut first = UnixStream::connect(dir.join(CONTROL_SOCKET))
        .await
        .expect("it is served");
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(Client::connect(&dir).await.expect("it is served"));
    }
    let mut last = Client::connect(&dir).await.expect("it is served");
    last.status().await.expect("it is answered");
    assert!(
        matches!(first.read(&mut [0]).await, Ok(0)),
        "it was sent away"
    );
    let mut latest = idle.pop().expect("there are a hundred");
    latest.status().await.expect("it was not sent away");
}

#[test]
fn a_question_reads_as_it_was_written() {
    let filter = Filter {
        pattern: Some("idem-*".to_owned()),
        until_unix_ns: Some(u64::MAX),
        ..Filter::default()
    };
    for ask in [Ask::Status, Ask::Reload, Ask::Replay(filter)] {
        assert_eq!(Ask::read(&ask.clone().write()), Ok(ask));
    }
}
