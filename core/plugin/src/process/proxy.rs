//! The host's side of an isolated plugin: an instance that stands for the one in the process.

use std::sync::{Arc, OnceLock};

use evbus_abi::v1::{
    BatchOutcomeV1, BatchV1, CompletionV1, FateV1, InstanceObjectV1, OutcomeCodeV1, OutcomeV1,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::spawn::Killer;

/// The lane's requests.
pub(super) enum Command {
    Publish(BatchV1, CompletionV1<BatchOutcomeV1>),
    Close(CompletionV1<()>),
}

/// The instance that the lane holds. Dropping it ends the process.
pub(super) struct Proxy {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    /// Ends the current process.
    pub(super) killer: Arc<Mutex<Killer>>,
    /// How the last process ended, if there is no other.
    pub(super) why: Arc<OnceLock<String>>,
    /// Dropping it informs the driver.
    pub(super) _held: oneshot::Sender<()>,
}

impl InstanceObjectV1 for Proxy {
    fn publish(&self, batch: BatchV1, done: CompletionV1<BatchOutcomeV1>) {
        if let Err(mpsc::error::SendError(Command::Publish(_, done))) =
            self.commands.send(Command::Publish(batch, done))
        {
            let reason = self.why.get().map_or(ENDED, String::as_str);
            done.complete(try_again(reason, FateV1::BROKEN));
        }
    }

    fn close(&self, done: CompletionV1<()>) {
        // On failure the completion is dropped, so the lane does not wait.
        let _ = self.commands.send(Command::Close(done));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.killer.lock().kill();
    }
}

const ENDED: &str = "the plugin's process has ended";

/// Retries the whole batch on another instance. `instance` says whether the process had the batch when it ended.
pub(super) fn try_again(reason: &str, instance: FateV1) -> BatchOutcomeV1 {
    BatchOutcomeV1 {
        all: OutcomeV1 {
            code: OutcomeCodeV1::RETRY,
            retry_after_ms: 0,
            reason: reason.into(),
        },
        exceptions: evbus_abi::RVec::new(),
        instance,
    }
}
