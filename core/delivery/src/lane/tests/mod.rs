//! Lanes whose plugin's instance does what the test says: what becomes of events, numbers and waits.

mod aging;
mod ends;
mod per_event;
mod sum;
mod waits;

use std::sync::Arc;
use std::time::Duration;

use evbus_abi::RVec;
use evbus_abi::v1::{
    BatchOutcomeV1, BatchV1, CompletionV1, ExceptionV1, FateV1, HostV1, InstanceObjectV1,
    InstanceV1, LimitsV1, OutcomeCodeV1, OutcomeV1,
};
use parking_lot::Mutex;

use super::*;
use evbus_destination::{QueueLimits, Retry};
use evbus_store::{StateDir, StateLimits, StoreName};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// What an instance says to a batch of so many events; nothing: it keeps the batch for ever.
type Answers = dyn Fn(usize) -> Option<Says> + Send + Sync;

/// What a script refuses with to give no answer at all.
const UNANSWERED: &str = "no answer";

/// What an instance says.
pub(crate) enum Says {
    Outcome(BatchOutcomeV1),
    /// It drops the completion.
    Nothing,
}

/// Who makes instances in a test.
#[derive(Clone)]
pub struct Script(Arc<dyn Fn(HostV1) -> Result<InstanceV1, ConnectFailure> + Send + Sync>);

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl PartialEq for Script {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Script {
    pub(super) async fn connect(&self, host: HostV1) -> Result<InstanceV1, ConnectFailure> {
        match (self.0)(host) {
            Err(failure) if failure.reason == UNANSWERED => std::future::pending().await,
            made => made,
        }
    }

    /// One whose instances always connect, and answer like this.
    pub(crate) fn answering(
        answers: impl Fn(usize) -> Option<Says> + Send + Sync + 'static,
    ) -> Self {
        let answers: Arc<Answers> = Arc::new(answers);
        Self(Arc::new(move |host| Ok(instance(&answers, host))))
    }

    /// One that never connects.
    fn refusing(reason: &'static str) -> Self {
        Self(Arc::new(move |_| Err(refusal(reason))))
    }

    pub(crate) fn accepting() -> Self {
        Self::answering(|_| Some(all(OutcomeV1::accepted())))
    }
}

fn instance(answers: &Arc<Answers>, host: HostV1) -> InstanceV1 {
    let limits = LimitsV1 {
        max_batch_events: u32::MAX,
        max_batch_bytes: u64::MAX,
        max_in_flight: 3,
    };
    let instance = Scripted {
        answers: Arc::clone(answers),
        kept: Mutex::default(),
        _host: host,
    };
    InstanceV1::new(instance, limits)
}

fn refusal(reason: &str) -> ConnectFailure {
    ConnectFailure {
        permanent: false,
        reason: reason.to_owned(),
    }
}

struct Scripted {
    answers: Arc<Answers>,
    /// Batches that are never answered.
    kept: Mutex<Vec<(BatchV1, CompletionV1<BatchOutcomeV1>)>>,
    _host: HostV1,
}

impl InstanceObjectV1 for Scripted {
    fn publish(&self, batch: BatchV1, done: CompletionV1<BatchOutcomeV1>) {
        match (self.answers)(batch.events().len()) {
            Some(Says::Outcome(outcome)) => done.complete(outcome),
            Some(Says::Nothing) => drop(done),
            None => self.kept.lock().push((batch, done)),
        }
    }

    fn close(&self, done: CompletionV1<()>) {
        done.complete(());
    }
}

fn all(outcome: OutcomeV1) -> Says {
    Says::Outcome(BatchOutcomeV1 {
        all: outcome,
        exceptions: RVec::new(),
        instance: FateV1::WORKS,
    })
}

fn outcome(code: OutcomeCodeV1, retry_after_ms: u32) -> OutcomeV1 {
    OutcomeV1 {
        code,
        retry_after_ms,
        reason: "the script says so".into(),
    }
}

fn exception(index: u32, outcome: OutcomeV1) -> ExceptionV1 {
    ExceptionV1 { index, outcome }
}

pub(crate) fn setup(script: Script, policy: Policy) -> Setup {
    Setup {
        connector: Connector::Scripted(script),
        config: Arc::new(Zeroizing::new("{}".to_owned())),
        secrets: Secrets::default(),
        policy: Arc::new(policy),
    }
}

/// A policy that tries again at once.
pub(crate) fn eager() -> Policy {
    Policy {
        retry: Retry {
            first_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(2),
            ..Retry::default()
        },
        ..Policy::default()
    }
}

pub(crate) fn start(setup: Setup, journal: Option<Journal>) -> Lane {
    let destination = Destination {
        provider: "scripted".to_owned(),
        pattern: "*".to_owned(),
        index: 0,
    };
    Lane::start(destination, setup, journal, Arc::new(|_, _, _| {}))
}

fn event(body: usize) -> Event {
    let event = Event::builder("p").unwrapped_json(body.to_string());
    event.expect("a number is JSON")
}

/// An event that was fired a while ago.
fn fired_ago(body: usize, ago: Duration) -> Event {
    let event = event(body);
    let ago = u64::try_from(ago.as_nanos()).expect("it is not that long");
    let parts = evbus_event::Parts {
        id: event.id(),
        time_unix_ns: event.time_unix_ns() - ago,
        profile: event.profile(),
        body: evbus_event::Body::Json(&body.to_string()),
        tags: &event.attributes().collect(),
        origin: event.origin(),
    };
    parts.into()
}

/// Puts an event in, and waits for room.
async fn push(lane: &Lane, event: Event) {
    let _ = lane
        .shared()
        .push_waiting(&Arc::new(event), Verdict::default())
        .await;
}

/// Waits until the lane's status is as wanted; gives it.
pub(crate) async fn wait_for(lane: &Lane, wanted: impl Fn(&LaneStatus) -> bool) -> LaneStatus {
    let waiting = async {
        loop {
            let status = lane.status();
            if wanted(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, waiting).await;
    found.unwrap_or_else(|_| panic!("waited in vain: {:?}", lane.status()))
}

#[track_caller]
fn assert_adds_up(counts: Counts) {
    let settled = counts.accepted + counts.dead_lettered + counts.dropped + counts.deduplicated;
    assert_eq!(
        settled + counts.damaged + counts.lost + counts.queued,
        counts.received,
        "{counts:?}"
    );
}

/// A store in a directory of its own.
struct Disk {
    state: StateDir,
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is a directory for it");
        let state = StateDir::open(dir.path(), StateLimits::default());
        Self {
            state: state.expect("nobody else has it"),
            dir,
        }
    }

    fn journal(&self) -> Journal {
        let name = StoreName {
            provider: "scripted".to_owned(),
            pattern: "*".to_owned(),
            nth: 0,
        };
        Journal::open(&self.state, &name).expect("it can be opened")
    }
}
