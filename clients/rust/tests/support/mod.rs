//! A bus whose bytes the test determines, and the two clients behind one interface.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use evbus_client::{ClientBuilder, Error, Event, Gap, GetEvent, Incoming, MatchType, blocking};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Long enough for a busy machine; a test that gets here has failed.
pub const LIMIT: Duration = Duration::from_mins(1);

/// The sockets of a host, without the host.
pub struct Bus {
    root: TempDir,
    sockets: Option<(UnixListener, UnixListener)>,
}

impl Bus {
    pub fn start() -> Self {
        let mut bus = Self {
            root: tempfile::tempdir().unwrap(),
            sockets: None,
        };
        bus.bind();
        bus
    }

    pub fn dir(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    /// Nobody answers any more.
    pub fn stop(&mut self) {
        self.sockets = None;
        for name in [evbus_wire::PUB_SOCKET, evbus_wire::PULL_SOCKET] {
            std::fs::remove_file(self.root.path().join(name)).unwrap();
        }
    }

    pub fn bind(&mut self) {
        let bind = |name| UnixListener::bind(self.root.path().join(name)).unwrap();
        self.sockets = Some((bind(evbus_wire::PUB_SOCKET), bind(evbus_wire::PULL_SOCKET)));
    }

    /// The connection of the next listener.
    pub fn listener(&self) -> UnixStream {
        self.sockets.as_ref().unwrap().0.accept().unwrap().0
    }

    /// The connection of the next program that fires.
    pub fn program(&self) -> UnixStream {
        let (stream, _) = self.sockets.as_ref().unwrap().1.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }
}

/// An event with an empty map as a Salt program fires it.
pub fn frame(tag: &str) -> Vec<u8> {
    let frame = evbus_wire::Frame::of_salt(tag, b"\x80").unwrap();
    frame.pieces().concat()
}

pub fn prefixed(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    [&len.to_be_bytes()[..], payload].concat()
}

pub fn publish(stream: &mut UnixStream, tags: &[&str]) {
    for tag in tags {
        stream.write_all(&frame(tag)).unwrap();
    }
}

/// Reads exactly so much.
pub fn read(stream: &mut UnixStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Either client. The asynchronous one runs on a runtime with one thread, which does nothing
/// between calls.
pub enum Client {
    Async(Runtime, evbus_client::Client),
    Blocking(blocking::Client),
}

/// Runs a test with each of the clients.
pub fn with_both(test: impl Fn(&dyn Fn(ClientBuilder) -> Result<Client, Error>)) {
    test(&|builder| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(builder.connect())?;
        Ok(Client::Async(runtime, client))
    });
    test(&|builder| builder.connect_blocking().map(Client::Blocking));
}

pub fn builder(dir: &Path) -> ClientBuilder {
    evbus_client::Client::builder(dir)
}

impl Client {
    pub fn get_event(&mut self, request: impl Into<GetEvent>) -> Result<Option<Event>, Error> {
        match self {
            Self::Async(runtime, client) => runtime.block_on(client.get_event(request)),
            Self::Blocking(client) => client.get_event(request),
        }
    }

    /// The tag of the event that comes.
    pub fn tag(&mut self, request: impl Into<GetEvent>) -> String {
        let request = request.into().wait(LIMIT);
        let event = self.get_event(request).unwrap();
        event.expect("the event comes").tag().to_owned()
    }

    /// The tag of the event that is there.
    pub fn tag_now(&mut self, request: impl Into<GetEvent>) -> Option<String> {
        let event = self.get_event(request.into().no_block()).unwrap();
        event.map(|event| event.tag().to_owned())
    }

    /// So many of what an iteration gives.
    pub fn take(
        &mut self,
        request: impl Into<GetEvent>,
        count: usize,
    ) -> Vec<Result<Incoming, Error>> {
        match self {
            Self::Async(runtime, client) => runtime.block_on(async {
                let mut events = client.iter_events(request);
                let mut taken = Vec::new();
                while taken.len() < count
                    && let Some(incoming) = events.next().await
                {
                    taken.push(incoming);
                }
                taken
            }),
            Self::Blocking(client) => client.iter_events(request).take(count).collect(),
        }
    }

    pub fn subscribe(&mut self, tag: &str, match_type: impl Into<Option<MatchType>>) {
        match self {
            Self::Async(_, client) => client.subscribe(tag, match_type),
            Self::Blocking(client) => client.subscribe(tag, match_type),
        }
        .unwrap();
    }

    pub fn unsubscribe(&mut self, tag: &str, match_type: impl Into<Option<MatchType>>) {
        match self {
            Self::Async(_, client) => client.unsubscribe(tag, match_type),
            Self::Blocking(client) => client.unsubscribe(tag, match_type),
        }
    }

    pub fn take_gap(&mut self) -> Option<Gap> {
        match self {
            Self::Async(_, client) => client.take_gap(),
            Self::Blocking(client) => client.take_gap(),
        }
    }

    pub fn is_connected(&self) -> bool {
        match self {
            Self::Async(_, client) => client.is_connected(),
            Self::Blocking(client) => client.is_connected(),
        }
    }

    pub fn fire_event(&self, data: &impl serde::Serialize, tag: &str) -> Result<(), Error> {
        match self {
            Self::Async(runtime, client) => runtime.block_on(client.fire_event(data, tag)),
            Self::Blocking(client) => client.fire_event(data, tag),
        }
    }
}
