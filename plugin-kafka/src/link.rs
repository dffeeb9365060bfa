//! Watches the connection to the cluster and tells the host when and why it is lost, and when it is
//! restored.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use evbus_sdk::Context;
use evbus_sdk::tokio;
use evbus_sdk::tokio::sync::Notify;
use evbus_sdk::tracing::{debug, warn};
use rdkafka::producer::Producer as _;
use rdkafka::types::RDKafkaErrorCode;

use crate::cause::{self, Cause, Kind};
use crate::client::Producer;

/// The pause between checks of a lost cluster.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long one check may take.
const LOOK_FOR: Duration = Duration::from_secs(2);
/// A cause older than this explains nothing any more: librdkafka repeats lasting ones every 30 seconds.
const CAUSE_LASTS: Duration = Duration::from_mins(1);
/// How many brokers one sentence names.
const NAMED: usize = 3;

/// The state of the connection, as reported by librdkafka.
pub(crate) struct Link {
    host: Context,
    servers: String,
    state: Mutex<State>,
    changed: Notify,
    has_id: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Whether no broker is reachable.
    all_down: bool,
    /// The latest cause of every broker, in order of time.
    causes: Vec<(Cause, Instant)>,
    /// What was reported to the host.
    told: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Connecting: the attempt itself reports how it ended.
    #[default]
    Connecting,
    Up,
    Down,
}

impl Link {
    /// `servers` is the list of brokers as configured.
    pub(crate) fn new(host: Context, servers: String) -> Self {
        Self {
            host,
            servers,
            state: Mutex::default(),
            changed: Notify::new(),
            has_id: AtomicBool::new(false),
        }
    }

    pub(crate) fn host(&self) -> &Context {
        &self.host
    }

    pub(crate) fn servers(&self) -> &str {
        &self.servers
    }

    /// Whether the idempotent producer has its id from the brokers.
    pub(crate) fn has_id(&self) -> bool {
        self.has_id.load(Ordering::Relaxed)
    }

    /// Records that it has its id.
    pub(crate) fn got_id(&self) {
        self.has_id.store(true, Ordering::Relaxed);
    }

    /// Records an error of librdkafka, which may be repeated.
    pub(crate) fn fault(&self, code: RDKafkaErrorCode, text: &str) {
        match code {
            RDKafkaErrorCode::AllBrokersDown => self.all_down(),
            code => {
                if let Some(cause) = Cause::new(code, text) {
                    self.cause(cause);
                } else {
                    warn!(target: "librdkafka", "{code}: {}", cause::short(text));
                }
                // A fatal error has the code of what caused it, so that any may be one.
                self.changed.notify_one();
            }
        }
    }

    /// Records why a broker is not reached.
    pub(crate) fn cause(&self, mut cause: Cause) {
        let mut state = self.lock();
        let is_guess = matches!(cause.kind, Kind::WantsLogin | Kind::WantsTls);
        if is_guess && state.phase != Phase::Connecting {
            // It has accepted this client before.
            cause.kind = Kind::HungUp;
        }
        let is_vague = matches!(cause.kind, Kind::HungUp | Kind::WantsLogin);
        let mut known = state.causes.iter().map(|(cause, _)| cause);
        if is_vague && known.any(|it| it.broker == cause.broker && it.kind == Kind::WantsTls) {
            // librdkafka tries again without the request after which the broker closed the connection.
            return;
        }
        let before = state
            .causes
            .iter()
            .position(|(it, _)| it.broker == cause.broker);
        let said = before.is_some_and(|position| state.causes.remove(position).0 == cause);
        if !said {
            match state.phase {
                Phase::Up => warn!("{cause}"),
                Phase::Connecting | Phase::Down => debug!("{cause}"),
            }
        }
        state.causes.push((cause, Instant::now()));
        if state.phase == Phase::Down {
            self.tell(&mut state);
        }
    }

    fn all_down(&self) {
        let mut state = self.lock();
        state.all_down = true;
        if state.phase == Phase::Up {
            state.phase = Phase::Down;
            self.tell(&mut state);
            self.changed.notify_one();
        }
    }

    /// Takes that the producer can send nothing more, and tells the host why.
    pub(crate) fn failed(&self, why: String) {
        let mut state = self.lock();
        state.phase = Phase::Down;
        self.tell_reason(&mut state, why);
    }

    /// Reports to the host that the cluster is away, once for each reason.
    fn tell(&self, state: &mut State) {
        let reason = self.sentence(state);
        self.tell_reason(state, reason);
    }

    /// Tells the host once for each reason.
    fn tell_reason(&self, state: &mut State, reason: String) {
        if state.told.as_ref() != Some(&reason) {
            self.host.link_down(&reason);
            state.told = Some(reason);
        }
    }

    /// Why no broker is reached, as one sentence.
    pub(crate) fn why(&self) -> String {
        self.sentence(&self.lock())
    }

    fn sentence(&self, state: &State) -> String {
        let causes: Vec<&Cause> = state.causes.iter().map(|(cause, _)| cause).collect();
        match causes[..] {
            [] => format!(
                "no broker of the cluster at {} answers; check that the brokers are running and reachable from here",
                self.servers
            ),
            _ => listed(&causes),
        }
    }

    /// The cause that ends an attempt to connect at once, if there is one.
    pub(crate) fn permanent(&self) -> Option<Cause> {
        let state = self.lock();
        let mut causes = state.causes.iter().map(|(cause, _)| cause);
        causes.find(|cause| cause.is_permanent()).cloned()
    }

    /// Whether an attempt to connect has found that no broker is there, and why.
    pub(crate) fn is_all_down(&self) -> bool {
        let state = self.lock();
        state.all_down && !state.causes.is_empty()
    }

    /// The latest cause of any broker, if it is recent.
    pub(crate) fn recent(&self) -> Option<String> {
        let state = self.lock();
        let (cause, at) = state.causes.last()?;
        (at.elapsed() < CAUSE_LASTS).then(|| cause.to_string())
    }

    /// The latest cause of one broker.
    pub(crate) fn about(&self, broker: &str) -> Option<Cause> {
        let state = self.lock();
        let mut causes = state.causes.iter().map(|(cause, _)| cause);
        causes.find(|cause| cause.broker == broker).cloned()
    }

    /// Reports that the cluster answers.
    pub(crate) fn up(&self) {
        let mut state = self.lock();
        let was = std::mem::replace(
            &mut *state,
            State {
                phase: Phase::Up,
                ..State::default()
            },
        );
        if was.phase == Phase::Down {
            self.host.link_up();
        }
    }

    fn is_down(&self) -> bool {
        self.lock().phase == Phase::Down
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks the cluster whenever it was lost, for as long as the producer lives. librdkafka reports that brokers go,
    /// but not that they return, so they are asked.
    pub(crate) async fn watch(self: Arc<Self>, producer: Weak<Producer>) {
        loop {
            self.changed.notified().await;
            loop {
                let fatal = match producer.upgrade() {
                    Some(producer) => producer.client().fatal_error(),
                    None => return,
                };
                if let Some((code, said)) = fatal {
                    // The next batch creates a new instance.
                    self.failed(cause::fatal(code, &said));
                    return;
                }
                if !self.is_down() {
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(producer) = producer.upgrade() else {
                    return;
                };
                let look = move || {
                    let client = producer.client();
                    client.fetch_metadata(None, LOOK_FOR).is_ok() && client.fatal_error().is_none()
                };
                if tokio::task::spawn_blocking(look).await.unwrap_or(false) {
                    self.up();
                }
            }
        }
    }
}

/// Several causes as one sentence.
pub(crate) fn listed(causes: &[&Cause]) -> String {
    let mut text = String::new();
    for (position, cause) in causes.iter().rev().take(NAMED).enumerate() {
        let between = if position > 0 { "; " } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{between}{cause}");
    }
    if causes.len() > NAMED {
        let _ = write!(text, "; and {} more", causes.len() - NAMED);
    }
    text
}
