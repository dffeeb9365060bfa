//! The pull connection: a whole host behind its sockets, with a program that sends anything, a
//! program that behaves, and a listener that sees what the host took.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::time::Duration;

use evbus::Host;
use evbus::sockets::{Framing, PUB_SOCKET, PULL_SOCKET, SocketDir};
use evbus_wire::Answer;
use rmpv::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use crate::input::Input;
use crate::model::{self, Content, Walk};
use crate::same::{body, check_same, is_json};

/// Long enough for a busy machine; a host that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// A host, and those who are connected to it all the time.
#[derive(Debug)]
pub struct Bench {
    /// Only one thread, so that the same input runs the same code.
    runtime: Runtime,
    peers: Peers,
    _host: Host,
}

#[derive(Debug)]
struct Peers {
    dir: TempDir,
    /// A program that behaves well.
    bystander: UnixStream,
    /// Makes the bystander's tags unpredictable.
    secret: RandomState,
    listener: UnixStream,
    /// Bytes read by the listener that are not a whole frame yet.
    unread: Vec<u8>,
    /// How many events the bystander has fired.
    fired: u64,
    /// How many of them the listener has received.
    heard: u64,
}

impl Bench {
    /// Starts a host without destinations in a directory of its own.
    ///
    /// # Panics
    ///
    /// The host does not start.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("the system gives an event queue");
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let (host, bystander, listener) = runtime.block_on(async {
            let sockets = SocketDir {
                path: dir.path().to_owned(),
                framing: Framing::Bare,
            };
            let host = Host::builder().socket_dir(sockets).start().await;
            let connect = |socket| UnixStream::connect(dir.path().join(socket));
            (
                host.expect("the directory is new"),
                connect(PULL_SOCKET).await.expect("the host listens"),
                connect(PUB_SOCKET).await.expect("the host listens"),
            )
        });
        let peers = Peers {
            dir,
            bystander,
            secret: RandomState::new(),
            listener,
            unread: Vec::new(),
            fired: 0,
            heard: 0,
        };
        Self {
            runtime,
            peers,
            _host: host,
        }
    }

    /// Sends one input to the host on a connection of its own, and checks what comes of it: what
    /// the listener gets, what the host answers, and that the bystander is served meanwhile.
    ///
    /// # Panics
    ///
    /// The host breaks a promise.
    pub fn check(&mut self, input: &[u8]) {
        let input = Input::read(input);
        let mut stream = stuffing(input.stuffing);
        stream.extend_from_slice(input.stream);
        let frames = model::frames(&stream);
        let contents: Vec<Option<Content>> = (frames.payloads.iter())
            .map(|payload| model::content(&stream[payload.clone()]).filter(is_event))
            .collect();
        let taken: Vec<&Content> = contents.iter().flatten().collect();
        let is_answered = !frames.lost_sync
            && (frames.payloads.iter()).any(|payload| model::is_of_evbus(&stream[payload.clone()]));
        let is_whole = taken.len() == contents.len() && frames.end == stream.len();

        let all = async {
            let found = self.peers.send(&input.pieces(&stream)).await;
            (found, self.peers.listen().await)
        };
        let (found, published) = (self.runtime)
            .block_on(async { tokio::time::timeout(LIMIT, all).await })
            .expect("the host goes on");
        match (is_answered, is_whole, Answer::read(&found)) {
            (false, _, None) => assert!(found.is_empty(), "nobody asked for {found:?}"),
            // The host has no destination.
            (true, true, Some(Answer::Unmatched)) => {}
            (true, false, Some(Answer::NotKept(reason))) => {
                assert!(!reason.is_empty(), "it says why");
            }
            (_, _, answer) => panic!("the host answers {answer:?} ({found:?})"),
        }
        assert_eq!(published.len(), taken.len(), "events published");
        for (published, taken) in published.iter().zip(taken) {
            check_published(published, taken);
        }
    }
}

impl Peers {
    /// Sends a stream on a new connection; returns the answer.
    async fn send(&mut self, pieces: &[&[u8]]) -> Vec<u8> {
        let path = self.dir.path().join(PULL_SOCKET);
        let mut stream = UnixStream::connect(path).await.expect("the host listens");
        for (at, piece) in pieces.iter().enumerate() {
            if at == pieces.len() / 2 {
                self.fire().await;
            }
            // The connection may be closed already.
            if stream.write_all(piece).await.is_err() {
                break;
            }
            // Lets the host read each piece by itself.
            tokio::task::yield_now().await;
        }
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer).await {
            Ok(_) => {}
            Err(error) => assert_eq!(
                error.kind(),
                io::ErrorKind::ConnectionReset,
                "what was sent last was not read, and nothing else goes wrong"
            ),
        }
        answer
    }

    async fn fire(&mut self) {
        self.fired += 1;
        let frame = bystander_frame(&self.secret, self.fired);
        let fired = self.bystander.write_all(&frame).await;
        fired.expect("the host serves those who behave");
    }

    /// What was published since the last call, without the bystander's events.
    async fn listen(&mut self) -> Vec<Vec<u8>> {
        let mut next = self.heard + 1;
        self.fire().await;
        let mut found = Vec::new();
        while next <= self.fired {
            let mut at = 0;
            while let Walk::Whole(len) = model::walk(&self.unread[at..]) {
                let frame = &self.unread[at..at + len];
                if frame == bystander_frame(&self.secret, next) {
                    next += 1;
                } else {
                    found.push(frame.to_vec());
                }
                at += len;
            }
            self.unread.drain(..at);
            if next <= self.fired {
                let read = self.listener.read_buf(&mut self.unread).await;
                assert_ne!(read.expect("the host serves listeners"), 0);
            }
        }
        self.heard = self.fired;
        found
    }
}

/// A valid frame of this many kibibytes.
fn stuffing(kibibytes: usize) -> Vec<u8> {
    if kibibytes == 0 {
        return Vec::new();
    }
    let len = kibibytes * 1024;
    let announced = u32::try_from(len).expect("it is below 1 MiB");
    let mut data = b"\x81\xa1d\xc6".to_vec();
    data.extend_from_slice(&announced.to_be_bytes());
    data.resize(data.len() + len, b'.');
    salt_frame("stuffing", &data)
}

/// An event of the bystander. Its tag is unpredictable, so no input contains it.
fn bystander_frame(secret: &RandomState, number: u64) -> Vec<u8> {
    let tag = format!("bystander/{:016x}", secret.hash_one(number));
    salt_frame(&tag, &[0x80])
}

/// A frame as Salt's programs write it.
fn salt_frame(tag: &str, data: &[u8]) -> Vec<u8> {
    let body = [tag.as_bytes(), b"\n\n", data].concat();
    let frame = Value::Map(vec![
        ("head".into(), Value::Map(Vec::new())),
        ("body".into(), Value::Binary(body)),
    ]);
    let mut written = Vec::new();
    rmpv::encode::write_value(&mut written, &frame).expect("a Vec takes every byte");
    written
}

/// Whether the host accepts it as an event.
fn is_event(content: &Content) -> bool {
    content.head.is_none() || content.body().is_some_and(|body| is_json(&body))
}

/// Fails unless a frame is what listeners must receive for an event.
fn check_published(frame: &[u8], event: &Content) {
    let Some(head) = &event.head else {
        assert_eq!(frame, salt_frame(&event.tag, &event.data));
        return;
    };
    let found = model::content(frame).expect("what is published can be read");
    let found_head = found.head.expect("it says that it is the project's");
    assert_eq!(found.tag, event.tag);
    assert_eq!((found_head.id, found_head.time), (head.id, head.time));
    assert_eq!(found_head.json, None);
    let text = event.body().expect("it has been taken");
    check_same(&body(found.map, found_head.wrap), &text);
}
