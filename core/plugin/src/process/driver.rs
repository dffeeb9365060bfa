//! Carries messages between the lane's instance and the process behind it.
//!
//! A process that dies with unanswered batches is replaced by the lane, like any broken instance. A
//! process that dies idle is replaced here: nothing was lost, and no event should lose an attempt
//! because of it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use evbus_abi::v1::{BatchOutcomeV1, CompletionV1, FateV1, HostObjectV1, LimitsV1, LinkV1};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::proxy::{Command, try_again};
use super::spawn::Killer;
use super::start::Start;
use super::talk::{DYING, Reader, Talk, ended, misplaced_frame, next_message};
use super::wire::{self, BatchFrames, ToChild, ToHost, WireError};

/// A process that lived shorter is not replaced here: repeated crashes are left to the lane's backoff.
const SETTLED: Duration = Duration::from_secs(1);

/// Batches without an answer, oldest first.
type Pending = Mutex<BTreeMap<u64, CompletionV1<BatchOutcomeV1>>>;

/// Why a conversation is over.
enum Over {
    /// The lane dropped the instance.
    LetGo,
    /// The plugin was closed in order.
    Closed,
    /// The process is gone, or sent something invalid.
    Dead(WireError),
}

/// Carries messages between the lane's instance and the process behind it.
pub(super) struct Driver<H> {
    pub(super) start: Start,
    pub(super) limits: LimitsV1,
    pub(super) host: H,
    pub(super) queue: mpsc::UnboundedReceiver<Command>,
    pub(super) gone: oneshot::Receiver<()>,
    pub(super) killer: Arc<Mutex<Killer>>,
    pub(super) why: Arc<OnceLock<String>>,
}

impl<H: HostObjectV1> Driver<H> {
    /// Runs until the lane drops the instance, or a process ends and is not replaced.
    pub(super) async fn run(mut self, mut talk: Talk) {
        loop {
            let since = Instant::now();
            let pending = Pending::default();
            let closing = Mutex::new(None);
            let over = tokio::select! {
                over = answers(&mut talk.reader, &self.host, &pending) => over,
                () = write(&mut talk.writer, &mut self.queue, &pending, &closing) => Over::LetGo,
            };
            let closing = closing.into_inner();
            let error = match over {
                Over::LetGo => {
                    talk.process.end(Duration::ZERO).await;
                    return;
                }
                Over::Closed => {
                    talk.process.end(DYING).await;
                    if let Some(done) = closing {
                        done.complete(());
                    }
                    return;
                }
                Over::Dead(error) => error,
            };
            let settled = since.elapsed() >= SETTLED;
            let why = ended(&mut talk.process, &error).await;
            let unanswered = pending.into_inner();
            // The lane learns of it from the answers to its batches, if there are any.
            if unanswered.is_empty() && !self.queue.is_closed() {
                self.host.link(LinkV1::DOWN, &why);
                if closing.is_none()
                    && settled
                    && let Some(next) = self.replace().await
                {
                    talk = next;
                    continue;
                }
            }
            return self.give_back(&why, unanswered.into_values()).await;
        }
    }

    /// Starts a new process for the instance; `None` if that does not work at once.
    async fn replace(&mut self) -> Option<Talk> {
        let connected = tokio::select! {
            connected = self.start.connect(&self.host) => connected,
            _ = &mut self.gone => return None,
        };
        // The lane reads the limits only once, so they must not change.
        let (talk, _) = connected
            .ok()
            .filter(|(_, limits)| *limits == self.limits)?;
        *self.killer.lock() = talk.process.killer();
        self.host.link(LinkV1::UP, "");
        Some(talk)
    }

    /// Returns all batches to the lane, to be retried on another instance.
    async fn give_back(
        mut self,
        why: &str,
        unanswered: impl Iterator<Item = CompletionV1<BatchOutcomeV1>>,
    ) {
        let _ = self.why.set(why.to_owned());
        // From now on the instance itself answers.
        self.queue.close();
        for done in unanswered {
            done.complete(try_again(why, FateV1::CRASHED));
        }
        while let Some(command) = self.queue.recv().await {
            if let Command::Publish(_, done) = command {
                done.complete(try_again(why, FateV1::BROKEN));
            }
        }
    }
}

/// Passes the plugin's answers to the lane.
async fn answers(reader: &mut Reader, host: &impl HostObjectV1, pending: &Pending) -> Over {
    loop {
        match next_message(reader, host).await {
            Ok(ToHost::Outcome { batch, outcome }) => {
                let Some(done) = pending.lock().remove(&batch) else {
                    return Over::Dead(WireError::Malformed(format!(
                        "an answer to batch {batch}, which is not waiting for one"
                    )));
                };
                // Without an outcome the completion is dropped here too.
                if let Some(outcome) = outcome {
                    done.complete(outcome.into());
                }
            }
            Ok(ToHost::Closed) => return Over::Closed,
            Ok(_) => return Over::Dead(misplaced_frame()),
            Err(error) => return Over::Dead(error),
        }
    }
}

/// Writes the lane's commands. Returns when the lane has dropped the instance.
async fn write(
    writer: &mut OwnedWriteHalf,
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
                            // The completion is dropped, and the lane makes a new instance: half a batch must not be
                            // published.
                            pending.lock().remove(&number);
                            break Err(std::io::ErrorKind::InvalidInput.into());
                        }
                    }
                }
            }
            Command::Close(done) => {
                *closing.lock() = Some(done);
                match wire::frame(&ToChild::Close) {
                    Ok(frame) => writer.write_all(&frame).await,
                    Err(_) => Err(std::io::ErrorKind::InvalidInput.into()),
                }
            }
        };
        if written.is_err() {
            // The reader of the answers finds out what is wrong with the process.
            std::future::pending::<()>().await;
        }
    }
}
