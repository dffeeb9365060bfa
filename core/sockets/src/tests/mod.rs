mod directories;
mod frames;
mod hostile;
mod listeners;
mod programs;
mod users;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evbus_client::Listener;
use tokio::sync::mpsc;

use super::{Framing, Intake, Publisher, Server, SocketDir, SocketOptions, Taken, Wanted, serve};
use evbus_event::Event;

/// Long enough for a busy machine; a test that gets here has failed.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("it happens within the limit")
}

/// Waits until a condition holds that nothing tells of.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// A bus of one or two directories that publishes what it takes in, as the host does.
pub(crate) struct Bus {
    pub(crate) server: Server,
    pub(crate) publisher: Publisher,
    /// What the intake got.
    pub(crate) taken: mpsc::UnboundedReceiver<Event>,
    root: tempfile::TempDir,
}

impl Bus {
    pub(crate) fn start() -> Self {
        Self::with_queue(super::LISTENER_QUEUE_BYTES)
    }

    pub(crate) fn with_queue(queue_bytes: u64) -> Self {
        Self::new(
            tempfile::tempdir().expect("there is room for a directory"),
            queue_bytes,
        )
    }

    fn new(root: tempfile::TempDir, queue_bytes: u64) -> Self {
        Self::with_options(root, queue_bytes, &SocketOptions::default())
    }

    pub(crate) fn with_options(
        root: tempfile::TempDir,
        queue_bytes: u64,
        options: &SocketOptions,
    ) -> Self {
        let publisher = Publisher::new(queue_bytes);
        let (take, taken) = mpsc::unbounded_channel();
        let dirs =
            [("bare", Framing::Bare), ("prefixed", Framing::Prefixed)].map(|(name, framing)| {
                SocketDir {
                    path: root.path().join(name),
                    framing,
                }
            });
        let server = serve(dirs.to_vec(), options, publisher.clone(), &move |event| {
            let take = take.clone();
            async move {
                // A test that looks at its listeners only keeps no receiver.
                let _ = take.send(event);
            }
        })
        .expect("the directories are new");
        Self {
            server,
            publisher,
            taken,
            root,
        }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("bare")
    }

    pub(crate) fn prefixed_dir(&self) -> PathBuf {
        self.root.path().join("prefixed")
    }
}

/// Every event goes to the closure.
impl<I, F> Intake for I
where
    I: Fn(Event) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    type Confirmation = ();

    fn is_open(&self) -> bool {
        true
    }

    fn wants(&self, _profile: &str) -> Wanted {
        Wanted::Yes
    }

    fn unmatched(&self, _profile: &str, _count: u64) {}

    async fn prepare(&self, _events: &[Event]) {}

    async fn take(&self, events: Vec<Event>) -> Taken<()> {
        for event in events {
            self(event).await;
        }
        Taken::default()
    }
}

pub(crate) async fn next_tag(listener: &mut Listener) -> String {
    let received = soon(listener.next()).await.expect("the host sends frames");
    received.expect("the connection goes on").tag().to_owned()
}

pub(crate) async fn listener(dir: &Path) -> Listener {
    Listener::connect(dir)
        .await
        .expect("the host lets listeners in")
}

/// A frame as Salt programs write it; DATA is one map.
pub(crate) fn salt_frame(tag: &str, data: &[u8]) -> Vec<u8> {
    let body = [tag.as_bytes(), b"\n\n", data].concat();
    let mut frame = b"\x82\xa4head\x80\xa4body".to_vec();
    rmp::encode::write_bin(&mut frame, &body).expect("a Vec takes every byte");
    frame
}

pub(crate) fn prefixed(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("the payload is short");
    [&len.to_be_bytes()[..], payload].concat()
}
