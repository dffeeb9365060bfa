//! Publishes a batch: all of it into the channel, then all confirms.
//!
//! If the broker refuses an event, it closes the channel without naming the event, and everything
//! unconfirmed fails with it. Then the unconfirmed events are sent again in smaller runs, each on a
//! fresh channel, until the refused one is isolated; the others arrive, some of them twice, with the
//! same id. lapin still writes the frames that are queued in a closed channel, which RabbitMQ answers by
//! closing the connection. Then the search goes on over the next connection.
//!
//! A broker that is low on memory or disk blocks the connection: it stops reading, loses nothing, and
//! confirms the events it has once it has room. So nothing is sent again and the connection is kept. The
//! host still gets its answer in time; events that it retries are found among the
//! [`unconfirmed`](crate::unconfirmed) ones and only waited for. A broker reports an alarm only after it
//! was sent something, so the first event on a connection is sent alone.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use evbus_sdk::tokio::time::Instant;
use evbus_sdk::{Batch, EventId, Outcome, Outcomes, tracing};
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};

use crate::address::{Addresses, Addressing};
use crate::connect::Session;
use crate::link::Link;
use crate::message::{Form, short};
use crate::outcome::{Cause, Failure, TOO_MANY, UNROUTABLE, unroutable};
use crate::queues::{Declared, Known, Missing};
use crate::unconfirmed::{Sent, Unconfirmed};

/// Into how many runs the events left unconfirmed by a closed channel are split. One event among 4,096 is found in
/// three rounds of at most 16.
const SPLIT_INTO: usize = 16;

/// How a destination publishes, from the checked configuration.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) addressing: Addressing,
    pub(crate) form: Form,
    pub(crate) mandatory: bool,
    /// Whether to declare missing queues; only on the default exchange.
    pub(crate) declare: bool,
    /// How many may be declared.
    pub(crate) max_declared: Option<u32>,
    /// The longest wait for a connection, for an unblocked broker, and for the next confirm.
    pub(crate) timeout: Duration,
}

/// Publishes batches, one at a time.
#[derive(Debug)]
pub(crate) struct Publisher {
    rules: Rules,
    declared: Declared,
    current: Option<Current>,
}

/// State that lasts as long as a connection.
#[derive(Debug)]
struct Current {
    session: Arc<Session>,
    channel: Option<Arc<Channel>>,
    known: Known,
    unconfirmed: Unconfirmed,
    /// Whether the broker has confirmed anything on this connection.
    proven: bool,
    /// Whether the broker has closed a channel of this connection because of an event of the current batch.
    refused: bool,
}

/// One outcome for each event of the batch; `None` for those that must still be sent.
type Ledger = Vec<Option<Outcome>>;

/// The events still to be published, as positions in the batch; each run is sent together.
type Runs = VecDeque<Vec<usize>>;

/// What is needed to publish one batch.
struct Task<'a> {
    rules: &'a Rules,
    batch: &'a Arc<Batch>,
    addresses: Addresses<'a>,
    began: Instant,
}

impl Task<'_> {
    /// How much of the longest wait is left for other connections.
    fn left(&self) -> Duration {
        self.rules.timeout.saturating_sub(self.began.elapsed())
    }
}

impl Publisher {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            declared: Declared::new(rules.max_declared),
            rules,
            current: None,
        }
    }

    /// Publishes a batch and waits for its confirms.
    pub(crate) async fn publish(&mut self, link: &Link, batch: Batch) -> Outcomes {
        let began = Instant::now();
        let mut ledger: Ledger = vec![None; batch.len()];
        let task = Task {
            rules: &self.rules,
            addresses: self.rules.addressing.find(&batch, &mut ledger),
            batch: &Arc::new(batch),
            began,
        };
        let mut runs = VecDeque::from([(0..task.batch.len()).collect()]);
        let unsent = loop {
            let session = match link.session(task.left()).await {
                Ok(session) => session,
                Err(why) => break Outcome::retry(format!("not connected: {why}")),
            };
            let current = Self::current(&mut self.current, session);
            let Err(failure) = current
                .publish(&task, &mut self.declared, &mut runs, &mut ledger)
                .await
            else {
                break Outcome::retry("the event was not sent");
            };
            if let Failure::Channel(..) | Failure::Connection(_) = &failure {
                current.session.give_up(&failure.to_string());
                let refused = current.refused;
                self.current = None;
                // The runs are shorter now, and one of them is the refused event by itself in the end.
                if refused && !task.left().is_zero() {
                    continue;
                }
            }
            break failure.outcome();
        };
        ledger
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(|| unsent.clone()))
            .collect()
    }

    /// The state of this connection.
    fn current(current: &mut Option<Current>, session: Arc<Session>) -> &mut Current {
        if !current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(&current.session, &session))
        {
            *current = None;
        }
        current.get_or_insert_with(|| Current {
            session,
            channel: None,
            known: Known::default(),
            unconfirmed: Unconfirmed::default(),
            proven: false,
            refused: false,
        })
    }

    /// Drops the connection.
    pub(crate) fn close(&mut self) {
        self.current = None;
    }
}

impl Current {
    /// Publishes what was not sent before, and waits for all confirms. An error means that events have no outcome;
    /// unless the broker blocks, the connection is unusable then.
    async fn publish(
        &mut self,
        task: &Task<'_>,
        declared: &mut Declared,
        runs: &mut Runs,
        ledger: &mut Ledger,
    ) -> Result<(), Failure> {
        self.refused = false;
        self.settle_before(task, ledger).await?;
        let unblocked = self.session.unblocked();
        self.session
            .answer(task.began, task.rules.timeout, unblocked)
            .await?;
        self.ensure_places(task, declared, ledger).await?;
        self.publish_all(task, runs, ledger).await
    }

    /// Waits for the confirms of all events that were sent with earlier batches.
    async fn settle_before(&mut self, task: &Task<'_>, ledger: &mut Ledger) -> Result<(), Failure> {
        let sent = self.unconfirmed.claim(task.batch, ledger);
        let waiting: Vec<usize> = sent.iter().filter_map(|sent| sent.index).collect();
        let settled = (0..ledger.len()).filter(|index| ledger[*index].is_some());
        let claimed: Vec<usize> = settled.chain(waiting).collect();
        let confirmed = self.confirm(task, sent, ledger).await;
        self.expect_declared(task, &claimed, ledger);
        match confirmed {
            // The remaining events are sent again on a new channel, with those not sent yet.
            Err(Failure::Channel(cause, _)) => {
                self.channel = None;
                self.refused = cause != Cause::Unknown;
                Ok(())
            }
            confirmed => confirmed,
        }
    }

    /// Makes sure that the queues of a batch exist, if the destination declares them, and its exchanges, if a template
    /// gives them.
    async fn ensure_places(
        &mut self,
        task: &Task<'_>,
        declared: &mut Declared,
        ledger: &mut Ledger,
    ) -> Result<(), Failure> {
        let rules = task.rules;
        if !rules.declare && !task.addresses.has_templated_exchange() {
            return Ok(());
        }
        let began = Instant::now();
        let mut refused: HashMap<(&str, &str), Outcome> = HashMap::new();
        for (index, (event, entry)) in task.batch.iter().zip(ledger).enumerate() {
            if entry.is_some() {
                continue;
            }
            if began.elapsed() >= rules.timeout / 2 {
                // What was found stays known, so that every batch goes further than the one before.
                *entry = Some(Outcome::retry(TOO_MANY));
                continue;
            }
            let place = task.addresses.place(index, event);
            if let Some(outcome) = refused.get(&place) {
                *entry = Some(outcome.clone());
                continue;
            }
            let ensuring = async {
                match place {
                    ("", queue) if rules.declare => {
                        (self.known)
                            .ensure_queue(&self.session, queue, declared)
                            .await
                    }
                    ("", _) => Ok(()),
                    (exchange, _) => self.known.ensure_exchange(&self.session, exchange).await,
                }
            };
            match self
                .session
                .answer(task.began, rules.timeout, ensuring)
                .await?
            {
                Ok(()) => {}
                Err(Missing::Refused(outcome)) => {
                    *entry = Some(outcome.clone());
                    refused.insert(place, outcome);
                }
                Err(Missing::Connection(failure)) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Publishes everything without an outcome, in runs. An error leaves the runs that are not published.
    async fn publish_all(
        &mut self,
        task: &Task<'_>,
        runs: &mut Runs,
        ledger: &mut Ledger,
    ) -> Result<(), Failure> {
        while let Some(mut run) = runs.pop_front() {
            run.retain(|index| ledger[*index].is_none());
            if run.is_empty() {
                continue;
            }
            if !self.proven && run.len() > 1 {
                runs.push_front(run.split_off(1));
            }
            let channel = match self.channel(task).await {
                Ok(channel) => channel,
                Err(failure) => {
                    runs.push_front(run);
                    return Err(failure);
                }
            };
            let sent = send(task, &self.session, &channel, &run, ledger);
            let Err(failure) = self.confirm(task, sent, ledger).await else {
                self.expect_declared(task, &run, ledger);
                continue;
            };
            run.retain(|index| ledger[*index].is_none());
            let Failure::Channel(cause, _) = &failure else {
                runs.push_front(run);
                return Err(failure);
            };
            self.channel = None;
            self.refused |= *cause != Cause::Unknown;
            let groups = match cause {
                Cause::Destination => task.addresses.by_exchange(&run),
                Cause::Event | Cause::Unknown => run.iter().map(|index| vec![*index]).collect(),
            };
            if let ([group], Cause::Destination) = (&groups[..], cause) {
                // The remaining events for this exchange would fail in the same way.
                let exchange = task.addresses.exchange(group[0]);
                self.known.forget_exchange(exchange.as_str());
                for (index, outcome) in ledger.iter_mut().enumerate() {
                    if outcome.is_none() && task.addresses.exchange(index) == exchange {
                        *outcome = Some(failure.outcome());
                    }
                }
            } else if let [index] = run[..] {
                ledger[index] = Some(failure.outcome());
            } else {
                tracing::warn!(
                    "the broker closed the channel: {failure}; looking for the event that caused it"
                );
                let length = groups.len().div_ceil(SPLIT_INTO).max(1);
                for part in groups.chunks(length).rev() {
                    runs.push_front(part.concat());
                }
            }
        }
        Ok(())
    }

    /// The open channel, or a new one.
    async fn channel(&mut self, task: &Task<'_>) -> Result<Arc<Channel>, Failure> {
        if let Some(channel) = &self.channel {
            return Ok(Arc::clone(channel));
        }
        let opening = self.session.confirming_channel();
        match self
            .session
            .answer(task.began, task.rules.timeout, opening)
            .await?
        {
            Ok(channel) => Ok(Arc::clone(self.channel.insert(Arc::new(channel)))),
            // Not an error about an event.
            Err(error) => Err(Failure::Connection(Failure::of(&error).to_string())),
        }
    }

    /// Waits for the confirms of what was sent and records the outcomes. An error means that events have none; those
    /// that a blocked broker has are kept among the unconfirmed.
    async fn confirm(
        &mut self,
        task: &Task<'_>,
        sent: Vec<Sent>,
        ledger: &mut Ledger,
    ) -> Result<(), Failure> {
        let mut entries = Vec::with_capacity(sent.len());
        let mut returned = Vec::new();
        let mut failure: Option<Failure> = None;
        let mut silence: Option<Failure> = None;
        for mut sent in sent {
            let (id, index) = (sent.id, sent.index);
            let answer = if let Some(answer) = sent.confirmed() {
                Ok(answer)
            } else if let Some(silence) = &silence {
                // After one timeout, the others are only checked for a confirm that has already arrived.
                Err(silence.clone())
            } else {
                let within = task.rules.timeout;
                let confirm = sent.confirm();
                self.session.answer(task.began, within, confirm).await
            };
            let mut outcome = None;
            let found = match answer {
                Ok(Ok(confirmation)) => {
                    self.proven = true;
                    outcome = Some(match &confirmation {
                        Confirmation::Ack(_) => Outcome::Accepted,
                        _ => Outcome::retry("the broker did not accept it (nack)"),
                    });
                    returned.extend(confirmation.take_message());
                    None
                }
                Ok(Err(error)) => Some(Failure::of(&error)),
                Err(silence) => Some(silence),
            };
            if let Some(found) = found.as_ref().filter(|found| found.is_silence()) {
                silence.get_or_insert_with(|| found.clone());
            }
            failure = match (failure, found) {
                (Some(before), Some(found)) => Some(before.or(found)),
                (before, found) => before.or(found),
            };
            entries.push(Entry {
                id,
                index,
                waiting: outcome.is_none().then_some(sent),
                outcome,
            });
        }
        let unsure = failure.is_some() && !returned.is_empty();
        enter_returned(&task.rules.form, &mut entries, &returned);
        let blocked = matches!(failure, Some(Failure::Blocked(_)));
        for mut entry in entries {
            if unsure {
                // lapin returns a message together with any later confirm, so the event may already count as accepted.
                entry
                    .outcome
                    .take_if(|outcome| *outcome == Outcome::Accepted);
            }
            match (entry.outcome, entry.index, entry.waiting) {
                (Some(outcome), Some(index), _) => ledger[index] = Some(outcome),
                (Some(outcome), None, _) => self.unconfirmed.settle(entry.id, outcome),
                (None, _, Some(sent)) if blocked => self.unconfirmed.keep(sent),
                (None, ..) => {}
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// A queue that has disappeared is declared again at the next attempt.
    fn expect_declared(&mut self, task: &Task<'_>, run: &[usize], ledger: &mut Ledger) {
        if !task.rules.declare {
            return;
        }
        for &index in run {
            if let (Some(Outcome::Rejected { reason }), Some(event)) =
                (&ledger[index], task.batch.get(index))
                && task.addresses.exchange(index).as_str().is_empty()
                && reason.starts_with(UNROUTABLE)
            {
                let queue = task.addresses.routing_key(index, event);
                self.known.forget_queue(queue);
                ledger[index] = Some(Outcome::retry(format!("{reason}; it will be declared")));
            }
        }
    }
}

/// Queues the publishes of a run in the channel. An event that does not fit into a message gets its outcome here.
fn send(
    task: &Task<'_>,
    session: &Session,
    channel: &Arc<Channel>,
    run: &[usize],
    ledger: &mut Ledger,
) -> Vec<Sent> {
    let options = BasicPublishOptions {
        mandatory: task.rules.mandatory,
        ..BasicPublishOptions::default()
    };
    let frame_max = session.frame_max();
    let mut sent = Vec::with_capacity(run.len());
    for &index in run {
        let Some(event) = task.batch.get(index) else {
            continue;
        };
        let id = event.id();
        let properties = task.rules.form.properties(event, frame_max);
        let key = task.addresses.routing_key(index, event);
        match properties.and_then(|properties| Ok((properties, short("the routing key", key)?))) {
            Ok((properties, key)) => {
                let exchange = task.addresses.exchange(index).clone();
                let (channel, batch) = (Arc::clone(channel), Arc::clone(task.batch));
                let publish = async move {
                    let body = batch.get(index).map_or(&[][..], |event| event.body());
                    let confirm = channel.basic_publish(exchange, key, options, body, properties);
                    confirm.await?.await
                };
                sent.push(Sent::start(id, index, publish));
            }
            Err(outcome) => ledger[index] = Some(outcome),
        }
    }
    sent
}

/// The state of an event that was sent.
struct Entry {
    id: EventId,
    /// Its position in the batch, if it is in it.
    index: Option<usize>,
    outcome: Option<Outcome>,
    /// Its confirm, if it has not arrived.
    waiting: Option<Sent>,
}

/// Finds the events of returned messages, by their ids.
fn enter_returned(form: &Form, entries: &mut [Entry], returned: &[BasicReturnMessage]) {
    if returned.is_empty() {
        return;
    }
    let mut by_id: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        by_id.entry(entry.id.to_string()).or_default().push(at);
    }
    for message in returned {
        let id = form.id_of(&message.delivery.properties);
        let id = id.and_then(|id| std::str::from_utf8(id).ok());
        // An event that is twice in a batch is returned twice.
        if let Some(at) = id.and_then(|id| by_id.get_mut(id)?.pop()) {
            entries[at].outcome = Some(unroutable(message));
        }
    }
}
