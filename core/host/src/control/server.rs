//! The host's side of the control sockets.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{BufReader, split};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::timeout;

use super::protocol::{Ask, Done, MAX_QUESTION_BYTES, Purged, Refusal, Replayed};
use super::{CONTROL_SOCKET, Controlled, HostStatus};
use evbus_delivery::LaneStatus;
use evbus_sockets::{SocketError, SocketFile, peer};
use evbus_store::StateDir;

/// How many clients may be connected at once. One more replaces the one that has been connected longest without a
/// request in progress.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take to send a request, and to read an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait after accepting a connection failed, for example because files ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The control sockets at work. Dropping it ends all connections; [`close`](Self::close) waits
/// until they have ended.
#[derive(Debug)]
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// Removed before the state directory's lock is released.
    _file: Option<SocketFile>,
    _held: Option<StateDir>,
}

/// Opens a control socket beside the event sockets in each of their directories, and one in the
/// state directory. Must be called within a tokio runtime.
///
/// # Errors
///
/// A socket cannot be bound.
pub(crate) fn serve(
    event_sockets: &mut evbus_sockets::Server,
    state_dir: Option<&StateDir>,
    controlled: impl Controlled,
) -> Result<Server, SocketError> {
    let mut bound = event_sockets.bind_in_all(CONTROL_SOCKET)?;
    let mut file = None;
    // If the directories are the same, it already has its socket.
    if let Some(dir) = state_dir.map(StateDir::path)
        && !bound.iter().any(|(other, _)| is_same(other, dir))
    {
        let (socket, socket_file) = SocketFile::bind(dir.join(CONTROL_SOCKET), None)?;
        bound.push((dir.to_owned(), socket));
        file = Some(socket_file);
    }
    let sockets = bound
        .into_iter()
        .map(|(path, socket)| {
            UnixListener::from_std(socket).map_err(|source| SocketError::System {
                action: "serve the control socket in",
                path,
                source,
            })
        })
        .collect::<Result<_, _>>()?;
    let stop = watch::Sender::new(false);
    let serving = tokio::spawn(run(sockets, Arc::new(controlled), stop.subscribe()));
    Ok(Server {
        stop,
        serving,
        _file: file,
        _held: state_dir.cloned(),
    })
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one).is_some_and(|one| Some(one) == real(other))
}

impl Server {
    /// Closes all connections, and releases the host before it returns.
    pub(crate) async fn close(mut self) {
        self.stop.send_replace(true);
        // An error means that the task panicked, so it has ended too.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A connected client.
struct Guest {
    /// A request was read, and its answer is not written yet.
    is_asking: Arc<AtomicBool>,
    task: AbortHandle,
}

async fn run(
    sockets: Vec<UnixListener>,
    controlled: Arc<impl Controlled>,
    mut stop: watch::Receiver<bool>,
) {
    let refused = AtomicU64::new(0);
    // In order of arrival.
    let mut guests: Vec<Guest> = Vec::new();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = told(&mut stop) => break,
            Some(_) = tasks.join_next() => guests.retain(|guest| !guest.task.is_finished()),
            accepted = accept(&sockets) => match accepted {
                Ok(stream) if peer::admitted(&stream, None, &refused).is_none() => {}
                Ok(stream) if make_room(&mut guests) => {
                    let is_asking = Arc::<AtomicBool>::default();
                    let attended =
                        attend(stream, Arc::clone(&controlled), Arc::clone(&is_asking), PATIENCE);
                    let task = tasks.spawn(attended);
                    guests.push(Guest { is_asking, task });
                }
                Ok(_) => tracing::debug!("closed a control connection: too many are open"),
                Err(error) => {
                    tracing::warn!("cannot accept a connection to a control socket: {error}; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    tasks.shutdown().await;
}

/// Resolves when the server is to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is a stop too.
    let _ = stop.wait_for(|stopped| *stopped).await;
}

async fn accept(sockets: &[UnixListener]) -> io::Result<UnixStream> {
    poll_fn(|context| {
        for socket in sockets {
            if let Poll::Ready(accepted) = socket.poll_accept(context) {
                return Poll::Ready(accepted.map(|(stream, _)| stream));
            }
        }
        Poll::Pending
    })
    .await
}

/// Disconnects a client if there are too many. Returns whether there is room now.
fn make_room(guests: &mut Vec<Guest>) -> bool {
    if guests.len() < MAX_CONNECTIONS {
        return true;
    }
    let idle = (guests.iter()).position(|guest| !guest.is_asking.load(Ordering::Relaxed));
    if let Some(position) = idle {
        guests.remove(position).task.abort();
    }
    idle.is_some()
}

/// Answers one client until it disconnects, is silent for too long, or does not read.
pub(super) async fn attend(
    stream: UnixStream,
    controlled: Arc<impl Controlled>,
    is_asking: Arc<AtomicBool>,
    patience: Duration,
) {
    let (read, mut write) = split(stream);
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        let Ok(Ok(end)) = timeout(patience, read_line(&mut read, &mut line)).await else {
            return;
        };
        is_asking.store(true, Ordering::Relaxed);
        let mut text = match end {
            LineEnd::Here => answer(&*controlled, &line).await,
            LineEnd::TooFar => json(&Refusal {
                error: format!("the request is longer than {MAX_QUESTION_BYTES} bytes"),
            }),
            LineEnd::Never => return,
        };
        text.push(b'\n');
        let Ok(Ok(())) = timeout(patience, write.write_all(&text)).await else {
            return;
        };
        is_asking.store(false, Ordering::Relaxed);
        if end == LineEnd::TooFar {
            return;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Here,
    TooFar,
    /// The stream ended instead.
    Never,
}

/// Reads the next line that is not empty.
async fn read_line(
    read: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<LineEnd> {
    loop {
        line.clear();
        let mut limited = (&mut *read).take(MAX_QUESTION_BYTES as u64 + 1);
        limited.read_until(b'\n', line).await?;
        if line.last() != Some(&b'\n') {
            return Ok(if line.len() > MAX_QUESTION_BYTES {
                LineEnd::TooFar
            } else {
                LineEnd::Never
            });
        }
        if !line.trim_ascii().is_empty() {
            return Ok(LineEnd::Here);
        }
    }
}

async fn answer(controlled: &impl Controlled, line: &[u8]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Answer {
        host: HostStatus,
        destinations: Vec<LaneStatus>,
    }
    let refusal = |error| json(&Refusal { error });
    match Ask::read(line) {
        Err(error) => refusal(error),
        Ok(Ask::Status) => {
            let (host, destinations) = controlled.status();
            json(&Answer { host, destinations })
        }
        Ok(Ask::Replay(filter)) => match controlled.replay(filter).await {
            Ok(replayed) => json(&Replayed { replayed }),
            Err(error) => refusal(error),
        },
        Ok(Ask::Purge(filter)) => match controlled.purge(filter).await {
            Ok(purged) => json(&Purged { purged }),
            Err(error) => refusal(error),
        },
        Ok(Ask::Reload) => match controlled.reload().await {
            Ok(reloaded) => json(&Done { ok: true, reloaded }),
            Err(error) => refusal(error),
        },
    }
}

fn json(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer)
        .unwrap_or_else(|_| br#"{"error":"cannot write the answer as JSON"}"#.to_vec())
}
