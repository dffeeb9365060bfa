//! The host's side of an isolated plugin: an instance that stands for the one in the process.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use evbus_abi::v1::{
    BatchOutcomeV1, BatchV1, CompletionV1, FateV1, HostObjectV1, InstanceObjectV1, InstanceV1,
    LimitsV1, LinkV1, OutcomeCodeV1, OutcomeV1,
};
use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::process::{Killer, PluginProcess, describe};
use super::wire::{self, BatchFrames, ToHost, WireError};
use crate::lane::ConnectFailure;

/// How long a process that let go of its socket may take to end by itself: it is dying, and its own
/// end tells more than ours.
const DYING: Duration = Duration::from_secs(2);

/// What the lane asks for.
enum Command {
    Publish(BatchV1, CompletionV1<BatchOutcomeV1>),
    Close(CompletionV1<()>),
}

/// Batches without an answer, oldest first.
type Pending = Mutex<BTreeMap<u64, CompletionV1<BatchOutcomeV1>>>;

/// Has the process connect.
pub(super) async fn connect(
    process: PluginProcess,
    socket: UnixStream,
    request: Vec<u8>,
    host: impl HostObjectV1,
) -> Result<InstanceV1, ConnectFailure> {
    let (reader, mut writer) = socket.into_split();
    let mut running = Running {
        process,
        reader: BufReader::new(reader),
        host,
    };
    // A process that is gone already is met when its answer is read.
    let _ = writer.write_all(&request).await;
    drop(request);
    let error = match running.next().await {
        Ok(ToHost::Connected(limits)) => return Ok(running.start(writer, limits)),
        Ok(ToHost::Failed { permanent, reason }) => {
            return Err(ConnectFailure { permanent, reason });
        }
        Ok(_) => misplaced(),
        Err(error) => error,
    };
    Err(ConnectFailure {
        permanent: false,
        reason: format!("{}, before it had connected", running.dead(&error).await),
    })
}

/// The instance that the lane holds. Dropping it ends the process.
struct Proxy {
    commands: mpsc::UnboundedSender<Command>,
    killer: Killer,
    /// How the process ended, once it has.
    over: Arc<OnceLock<String>>,
}

impl InstanceObjectV1 for Proxy {
    fn publish(&self, batch: BatchV1, done: CompletionV1<BatchOutcomeV1>) {
        if let Err(mpsc::error::SendError(Command::Publish(_, done))) =
            self.commands.send(Command::Publish(batch, done))
        {
            let reason = self.over.get().map_or(ENDED, String::as_str);
            done.complete(again(reason));
        }
    }

    fn close(&self, done: CompletionV1<()>) {
        // On failure the completion is dropped, which tells the lane that it need not wait.
        let _ = self.commands.send(Command::Close(done));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.killer.kill();
    }
}

const ENDED: &str = "the plugin's process has ended";

/// All of the batch again, on another instance.
fn again(reason: &str) -> BatchOutcomeV1 {
    BatchOutcomeV1 {
        all: OutcomeV1 {
            code: OutcomeCodeV1::RETRY,
            retry_after_ms: 0,
            reason: reason.into(),
        },
        exceptions: evbus_abi::RVec::new(),
        instance: FateV1::CRASHED,
    }
}

/// A frame that is none of the host's business now.
fn misplaced() -> WireError {
    WireError::Malformed("a frame out of its turn".to_owned())
}

/// Why the conversation is over.
enum Over {
    /// The lane let go of the instance.
    LetGo,
    /// The plugin has ended in order.
    Closed,
    /// The process is gone, or talks nonsense.
    Dead(WireError),
}

/// A process that talks.
struct Running<H> {
    process: PluginProcess,
    reader: BufReader<OwnedReadHalf>,
    host: H,
}

impl<H: HostObjectV1> Running<H> {
    /// The next message that is for the instance; lines and link states go to the host.
    async fn next(&mut self) -> Result<ToHost, WireError> {
        loop {
            match wire::read_async(&mut self.reader).await? {
                ToHost::Log {
                    level,
                    target,
                    message,
                } => self.host.log(level, &target, &message),
                ToHost::Link { link, reason } => self.host.link(link, &reason),
                message => return Ok(message),
            }
        }
    }

    /// Sees to it that the process has ended, and says in one sentence how.
    async fn dead(&mut self, error: &WireError) -> String {
        match error {
            WireError::Malformed(what) => {
                self.process.end(Duration::ZERO).await;
                format!("the plugin's process was killed, since it sent {what}")
            }
            WireError::End(_) => match self.process.end(DYING).await {
                (_, true) => {
                    "the plugin's process was killed, since it closed its socket".to_owned()
                }
                (status, false) => describe(status),
            },
        }
    }

    /// Makes the instance that stands for the one in the process.
    fn start(self, writer: OwnedWriteHalf, limits: LimitsV1) -> InstanceV1 {
        // Holds no more than the lane leaves in flight, and the close.
        let (commands, queue) = mpsc::unbounded_channel();
        let over = Arc::new(OnceLock::new());
        let instance = Proxy {
            commands,
            killer: self.process.killer(),
            over: Arc::clone(&over),
        };
        tokio::spawn(self.drive(writer, queue, over));
        InstanceV1::new(instance, limits)
    }

    /// Carries messages both ways until the process or the lane ends it.
    async fn drive(
        mut self,
        writer: OwnedWriteHalf,
        mut queue: mpsc::UnboundedReceiver<Command>,
        reason: Arc<OnceLock<String>>,
    ) {
        let pending = Pending::default();
        let closing = Mutex::new(None);
        let over = tokio::select! {
            over = self.answers(&pending) => over,
            () = write(writer, &mut queue, &pending, &closing) => Over::LetGo,
        };
        match over {
            // The instance killed it when it was dropped.
            Over::LetGo => {
                self.process.end(DYING).await;
            }
            Over::Closed => {
                self.process.end(DYING).await;
                if let Some(done) = closing.into_inner() {
                    done.complete(());
                }
            }
            Over::Dead(error) => {
                let why = self.dead(&error).await;
                let _ = reason.set(why.clone());
                let let_go = queue.is_closed();
                // From here on the instance itself answers.
                queue.close();
                let unanswered = pending.into_inner();
                if unanswered.is_empty() && !let_go {
                    // Nobody learns it from an answer.
                    self.host.link(LinkV1::DOWN, &why);
                }
                for done in unanswered.into_values() {
                    done.complete(again(&why));
                }
                while let Some(command) = queue.recv().await {
                    if let Command::Publish(_, done) = command {
                        done.complete(again(&why));
                    }
                }
            }
        }
    }

    /// Gives the plugin's answers to the lane.
    async fn answers(&mut self, pending: &Pending) -> Over {
        loop {
            match self.next().await {
                Ok(ToHost::Outcome { number, outcome }) => {
                    let Some(done) = pending.lock().remove(&number) else {
                        return Over::Dead(WireError::Malformed(format!(
                            "an answer to batch {number}, which waits for none"
                        )));
                    };
                    // Without an outcome the completion is dropped, as the plugin did.
                    if let Some(outcome) = outcome {
                        done.complete(outcome);
                    }
                }
                Ok(ToHost::Closed) => return Over::Closed,
                Ok(_) => return Over::Dead(misplaced()),
                Err(error) => return Over::Dead(error),
            }
        }
    }
}

/// Writes the lane's commands. Returns when the lane has let go of the instance.
async fn write(
    mut writer: OwnedWriteHalf,
    queue: &mut mpsc::UnboundedReceiver<Command>,
    pending: &Pending,
    closing: &Mutex<Option<CompletionV1<()>>>,
) {
    let mut buffer = Vec::new();
    let mut number = 0;
    while let Some(command) = queue.recv().await {
        let written = match command {
            Command::Publish(batch, done) => {
                number += 1;
                pending.lock().insert(number, done);
                let mut frames = BatchFrames::new(number, batch.events());
                loop {
                    match frames.next(&mut buffer) {
                        Ok(true) => {
                            if let Err(error) = writer.write_all(&buffer).await {
                                break Err(error);
                            }
                        }
                        Ok(false) => break Ok(()),
                        Err(_) => {
                            // Dropped: the lane makes a new instance, for a half batch is no batch.
                            pending.lock().remove(&number);
                            break Err(std::io::ErrorKind::InvalidInput.into());
                        }
                    }
                }
            }
            Command::Close(done) => {
                *closing.lock() = Some(done);
                writer.write_all(&wire::close()).await
            }
        };
        if written.is_err() {
            // What is wrong with the process shows where its answers are read.
            std::future::pending::<()>().await;
        }
    }
}
