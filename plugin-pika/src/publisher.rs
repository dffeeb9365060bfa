//! Publishes a batch: all of it into the channel, then all confirms.
//!
//! The broker answers an event that it refuses by closing the channel, without saying which event
//! it meant, and everything unconfirmed fails with it. Then the unconfirmed events go out again in
//! smaller runs, each on a fresh channel, until the refused one stands alone; the others arrive,
//! some of them twice, with the same id.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evbus_sdk::tokio::time::timeout;
use evbus_sdk::{Batch, Outcome, Outcomes, tracing};
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation};

use crate::connection::Session;
use crate::link::Link;
use crate::message::Template;
use crate::outcome::{Cause, Failure, unroutable};
use crate::queues::{Missing, Queues};

/// Into how many runs the events are split that a closed channel left unconfirmed. Of 4,096 events
/// one is found in three rounds of at most 16.
const SPLIT_INTO: usize = 16;

/// How a destination publishes; all of it from the checked configuration.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) template: Template,
    /// Empty: the default exchange.
    pub(crate) exchange: ShortString,
    pub(crate) mandatory: bool,
    /// Declare missing queues; only on the default exchange.
    pub(crate) declare: bool,
    /// Longest wait for a connection, for an unblocked broker, for the next confirm.
    pub(crate) timeout: Duration,
}

/// Publishes batches, one at a time.
#[derive(Debug)]
pub(crate) struct Publisher {
    rules: Rules,
    current: Option<Current>,
}

/// What lasts as long as a connection.
#[derive(Debug)]
struct Current {
    session: Arc<Session>,
    channel: Option<Channel>,
    queues: Queues,
}

/// One outcome per event of the batch; none yet for those that still have to be sent.
type Ledger = Vec<Option<Outcome>>;

impl Publisher {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            current: None,
        }
    }

    /// Publishes a batch and waits for its confirms.
    pub(crate) async fn publish(&mut self, link: &Link, batch: &Batch) -> Outcomes {
        let rules = &self.rules;
        let session = match link.session(rules.timeout).await {
            Ok(session) => session,
            Err(why) => return Outcomes::all(Outcome::retry(format!("not connected: {why}"))),
        };
        if !session.unblocked(rules.timeout).await {
            return Outcomes::all(no_answer(&session, rules.timeout).outcome());
        }
        let same = |current: &Current| Arc::ptr_eq(&current.session, &session);
        if !self.current.as_ref().is_some_and(same) {
            self.current = None;
        }
        let current = self.current.get_or_insert_with(|| Current {
            session,
            channel: None,
            queues: Queues::default(),
        });
        let mut ledger: Ledger = vec![None; batch.len()];
        let published = match current.ensure_queues(rules, batch, &mut ledger).await {
            Ok(()) => current.publish_all(rules, batch, &mut ledger).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &published {
            current.session.give_up(&failure.to_string());
            self.current = None;
        }
        let unsent = published.map_or_else(
            |failure| failure.outcome(),
            |()| Outcome::retry("the event was not sent"),
        );
        ledger
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(|| unsent.clone()))
            .collect()
    }

    /// Lets go of the connection.
    pub(crate) fn close(&mut self) {
        self.current = None;
    }
}

impl Current {
    /// Sees that the queues of a batch exist, where the destination wants that.
    async fn ensure_queues(
        &mut self,
        rules: &Rules,
        batch: &Batch,
        ledger: &mut Ledger,
    ) -> Result<(), Failure> {
        if !rules.declare {
            return Ok(());
        }
        let mut refused: HashMap<&str, Outcome> = HashMap::new();
        for (event, entry) in batch.iter().zip(ledger) {
            let name = rules.template.routing_key(event);
            if let Some(outcome) = refused.get(name) {
                *entry = Some(outcome.clone());
                continue;
            }
            let ensuring = self.queues.ensure(&self.session, name);
            match timeout(rules.timeout, ensuring).await {
                Ok(Ok(())) => {}
                Ok(Err(Missing::Refused(outcome))) => {
                    *entry = Some(outcome.clone());
                    refused.insert(name, outcome);
                }
                Ok(Err(Missing::Connection(failure))) => return Err(failure),
                Err(_) => return Err(no_answer(&self.session, rules.timeout)),
            }
        }
        Ok(())
    }

    /// Publishes what has no outcome yet, in runs. Err: the connection is of no use any more.
    async fn publish_all(
        &mut self,
        rules: &Rules,
        batch: &Batch,
        ledger: &mut Ledger,
    ) -> Result<(), Failure> {
        let mut runs = VecDeque::from([without_outcome(0..batch.len(), ledger)]);
        while let Some(run) = runs.pop_front() {
            let channel = self.channel(rules.timeout).await?;
            let Err(failure) =
                publish_run(rules, &self.session, &channel, batch, &run, ledger).await
            else {
                self.expect_declared(rules, batch, &run, ledger);
                continue;
            };
            self.channel = None;
            let left = without_outcome(run, ledger);
            match &failure {
                Failure::Connection(_) => return Err(failure),
                Failure::Channel(cause, _) if *cause == Cause::Destination || left.len() == 1 => {
                    for index in left {
                        ledger[index] = Some(failure.outcome());
                    }
                }
                Failure::Channel(_, why) => {
                    tracing::warn!("the broker closed the channel: {why}; looking for the event");
                    let length = left.len().div_ceil(SPLIT_INTO).max(1);
                    for part in left.chunks(length).rev() {
                        runs.push_front(part.to_vec());
                    }
                }
            }
        }
        Ok(())
    }

    /// The open channel, or a new one.
    async fn channel(&mut self, within: Duration) -> Result<Channel, Failure> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        match timeout(within, self.session.confirming_channel()).await {
            Ok(Ok(channel)) => Ok(self.channel.insert(channel).clone()),
            // Whatever it is, it is not about an event.
            Ok(Err(error)) => Err(Failure::Connection(Failure::of(&error).to_string())),
            Err(_) => Err(no_answer(&self.session, within)),
        }
    }

    /// A queue that was there and is gone is declared again at the next attempt.
    fn expect_declared(
        &mut self,
        rules: &Rules,
        batch: &Batch,
        run: &[usize],
        ledger: &mut Ledger,
    ) {
        if !rules.declare {
            return;
        }
        for &index in run {
            if let (Some(Outcome::Rejected { reason }), Some(event)) =
                (&ledger[index], batch.get(index))
                && reason.starts_with(crate::outcome::UNROUTABLE)
            {
                self.queues.forget(rules.template.routing_key(event));
                ledger[index] = Some(Outcome::retry(format!("{reason}; it will be declared")));
            }
        }
    }
}

/// Publishes a run on one channel and enters the outcomes. Err: events are left without one.
async fn publish_run(
    rules: &Rules,
    session: &Session,
    channel: &Channel,
    batch: &Batch,
    run: &[usize],
    ledger: &mut Ledger,
) -> Result<(), Failure> {
    let options = BasicPublishOptions {
        mandatory: rules.mandatory,
        ..BasicPublishOptions::default()
    };
    let frame_max = session.frame_max();
    let mut publishing = Vec::with_capacity(run.len());
    let mut ids = Vec::with_capacity(run.len());
    for &index in run {
        let Some(event) = batch.get(index) else {
            continue;
        };
        match rules.template.message(event, frame_max) {
            Ok(message) => {
                let exchange = rules.exchange.clone();
                ids.push(message.properties.message_id().clone());
                publishing.push((
                    index,
                    Started::new(async move {
                        let (key, properties) = (message.routing_key, message.properties);
                        let body = event.body();
                        channel
                            .basic_publish(exchange, key, options, body, properties)
                            .await?
                            .await
                    }),
                ));
            }
            Err(outcome) => ledger[index] = Some(outcome),
        }
    }

    let order: Vec<usize> = publishing.iter().map(|(index, _)| *index).collect();
    let mut returned = Vec::new();
    let mut failure: Option<Failure> = None;
    let mut patience = rules.timeout;
    for (index, started) in publishing {
        match timeout(patience, started.finish()).await {
            Ok(Ok(confirmation)) => {
                ledger[index] = Some(match &confirmation {
                    Confirmation::Ack(_) => Outcome::Accepted,
                    _ => Outcome::retry("the broker could not take it (nack)"),
                });
                returned.extend(confirmation.take_message());
            }
            Ok(Err(error)) => {
                let found = Failure::of(&error);
                failure = Some(match failure {
                    Some(before) => before.or(found),
                    None => found,
                });
            }
            Err(_) => {
                failure.get_or_insert_with(|| no_answer(session, rules.timeout));
                // Those after it are only asked whether they are confirmed already.
                patience = Duration::ZERO;
            }
        }
    }

    if failure.is_some() && !returned.is_empty() {
        // lapin hands a returned message out with any confirm, so one that still waited for the
        // next may be that of an event whose confirm has come.
        for &index in &order {
            ledger[index].take_if(|outcome| *outcome == Outcome::Accepted);
        }
    }
    enter_returned(&order, &ids, &returned, ledger);
    failure.map_or(Ok(()), Err)
}

/// Finds the events of messages that came back, by their ids.
fn enter_returned(
    order: &[usize],
    ids: &[Option<ShortString>],
    returned: &[BasicReturnMessage],
    ledger: &mut Ledger,
) {
    if returned.is_empty() {
        return;
    }
    let by_id: HashMap<&Option<ShortString>, usize> =
        ids.iter().zip(order.iter().copied()).collect();
    for message in returned {
        if let Some(&index) = by_id.get(message.delivery.properties.message_id()) {
            ledger[index] = Some(unroutable(message));
        }
    }
}

fn without_outcome(indices: impl IntoIterator<Item = usize>, ledger: &Ledger) -> Vec<usize> {
    let has_none = |index: &usize| ledger[*index].is_none();
    indices.into_iter().filter(has_none).collect()
}

/// A silent broker; a blocked one says why before it falls silent.
fn no_answer(session: &Session, within: Duration) -> Failure {
    Failure::Connection(match session.blocked() {
        Some(why) => format!("the broker takes no messages: {why}"),
        None => format!("no answer from the broker within {within:?}"),
    })
}

/// A publish whose frames are queued in the channel.
///
/// lapin queues them when the future is polled first; the rest is waiting. So all publishes of a
/// run are queued one after the other before the first is waited for, and lapin writes them in
/// large pieces. Only the one that is waited for wakes anybody.
enum Started<F: Future> {
    Waiting(Pin<Box<F>>),
    Done(F::Output),
}

impl<F: Future> Started<F> {
    fn new(publish: F) -> Self {
        let mut publish = Box::pin(publish);
        match publish
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(output) => Self::Done(output),
            Poll::Pending => Self::Waiting(publish),
        }
    }

    async fn finish(self) -> F::Output {
        match self {
            Self::Waiting(publish) => publish.await,
            Self::Done(output) => output,
        }
    }
}
