//! The provider: batches in, outcomes out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evbus_sdk::tokio;
use evbus_sdk::tokio::sync::Mutex;
use evbus_sdk::tracing;
use evbus_sdk::{
    Batch, ConfigFault, ConnectError, Context, Event, Limits, Outcome, Outcomes, Provider, Task,
};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;

use crate::address::{Address, Addressing};
use crate::client::Producer;
use crate::config::{Config, Headers};
use crate::link::Link;
use crate::missing::{Missing, Search};
use crate::outcome::{Undelivered, worse};
use crate::oversize::Singles;
use crate::pace::{self, Pace};
use crate::property_names::OTHER_NAMES;
use crate::reports::{Expected, Failure, Reports};
use crate::{cause, connect, message, oversize, properties};

/// How long a batch waits for the answers to those before it. Together with librdkafka's own attempts
/// (`message.timeout.ms`) less than the host waits for an answer, so that the host learns why there is none.
const TURN_WITHIN: Duration = Duration::from_secs(10);
/// How long a batch waits for room in librdkafka's queue before it is returned to the host.
const ROOM_WITHIN: Duration = Duration::from_secs(30);
/// How often it checks for room.
const ROOM_EVERY: Duration = Duration::from_millis(2);
/// Stands for a message that the event cannot become; the outcome is that of [`Addressing::find`].
const UNFIT: RDKafkaErrorCode = RDKafkaErrorCode::InvalidArgument;

/// An instance: one librdkafka producer, and another where a broker finds message sets too large.
pub struct Kafka {
    producer: Arc<Producer>,
    pub(crate) reports: Arc<Reports>,
    /// Its holder passes messages to librdkafka; the others follow in order.
    turn: Mutex<Pace>,
    pub(crate) singles: Singles,
    pub(crate) link: Arc<Link>,
    watch: Task,
    search: Search,
    addressing: Addressing,
    headers: Headers,
}

/// The result of passing messages to librdkafka.
pub(crate) struct Handed {
    /// The expected reports of the accepted messages.
    pub(crate) expected: Expected,
    /// The messages that were not accepted.
    pub(crate) refused: Vec<Failure>,
}

impl Provider for Kafka {
    const NAMES: &'static [&'static str] = &["kafka"];
    const OTHER_NAMES: &'static [(&'static str, &'static str)] = OTHER_NAMES;
    type Config = Config;

    fn check(config: &Config) -> Result<(), Vec<ConfigFault>> {
        let mut faults = properties::client_config(config).err().unwrap_or_default();
        faults.extend(Addressing::faults(config));
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    async fn connect(config: Config, context: Context) -> Result<Self, ConnectError> {
        let client_config = properties::client_config(&config).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            ConnectError::permanent(faults.join("; "))
        })?;
        let singles = Singles::new(client_config.clone());
        if client_config.get("request.required.acks") == Some("0") {
            tracing::warn!(
                "`acks: 0`: no broker acknowledges events; an event counts as accepted once it is written to the connection"
            );
        }
        let linger = client_config
            .get("queue.buffering.max.ms")
            .and_then(|linger| linger.parse::<f64>().ok())
            .and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok())
            .unwrap_or_default();
        let headers = config.headers;
        let addressing = Addressing::new(config);
        let connecting = tokio::task::spawn_blocking({
            let (topics, context) = (addressing.constant_topics(), context.clone());
            move || connect::connect(client_config, &topics, &context)
        });
        let (producer, reports, link) = connecting.await.map_err(|error| {
            ConnectError::retry(format!("the attempt was interrupted: {error}"))
        })??;
        let producer = Arc::new(producer);
        let watch = Arc::clone(&link).watch(Arc::downgrade(&producer));
        Ok(Self {
            reports,
            turn: Mutex::new(Pace::new(linger)),
            singles,
            link,
            watch: context.spawn(watch),
            search: Search::default(),
            addressing,
            headers,
            producer,
        })
    }

    /// Batches that fill one request each, and as many as come one by one while the first of them lingers; `Pace` says
    /// when the next is handed over.
    fn limits(&self) -> Limits {
        Limits {
            max_batch_events: pace::batch_events(self.headers, self.addressing.fan_out()),
            max_batch_bytes: pace::batch_bytes(self.addressing.fan_out()),
            max_in_flight: 4,
        }
    }

    async fn publish(&self, batch: Batch) -> Outcomes {
        let all = 0..batch.len() * self.addressing.fan_out();
        let until = tokio::time::Instant::now() + TURN_WITHIN;
        let (handed, answering) = {
            let mut turn = self.turn.lock().await;
            // Brokers that do not answer for so long are out of order.
            let _ = tokio::time::timeout_at(until, turn.admit()).await;
            let answering = turn.begin();
            let handed = self.hand_over(&self.producer, &batch, all).await;
            (handed, answering)
        };
        let mut failures = handed.expected.wait().await;
        answering.answered();
        if failures.iter().any(oversize::is_oversize) {
            failures = oversize::send_singly(self, &batch, failures).await;
        }
        failures.extend(handed.refused);
        self.outcomes(&batch, &failures)
    }

    async fn close(&self) {
        // Every publish was answered, so at most messages of batches that the host gave up remain; nobody waits for
        // them.
        self.watch.end();
    }
}

impl Kafka {
    /// Passes the messages at these positions of a batch to librdkafka, in order. The caller must hold the producer's
    /// turn. Waits only if librdkafka's queue is full.
    pub(crate) async fn hand_over(
        &self,
        producer: &Producer,
        batch: &Batch,
        positions: impl ExactSizeIterator<Item = usize>,
    ) -> Handed {
        let expected = self.reports.expect(positions.len());
        let mut refused = Vec::new();
        let mut room_until = None;
        let mut scratch = Vec::new();
        let mut address = Address::default();
        let (mut addressed, mut is_fit) = (None, false);
        for (index, position) in positions.enumerate() {
            let ticket = expected.ticket(index);
            let (number, message) = self.event_of(position);
            let Some(event) = batch.get(number) else {
                expected.forget(index);
                continue;
            };
            if addressed != Some(number) {
                addressed = Some(number);
                is_fit = self.addressing.find(event, &mut address).is_ok();
            }
            if !is_fit {
                expected.forget(index);
                refused.push((position, UNFIT));
                continue;
            }
            let topic = self.addressing.topic(event, &address, message);
            while let Err(code) = self.send(producer, event, topic, &address, ticket, &mut scratch)
            {
                if code == RDKafkaErrorCode::QueueFull {
                    let until = *room_until.get_or_insert_with(|| Instant::now() + ROOM_WITHIN);
                    if Instant::now() < until {
                        tokio::time::sleep(ROOM_EVERY).await;
                        continue;
                    }
                }
                expected.forget(index);
                refused.push((position, code));
                break;
            }
        }
        Handed { expected, refused }
    }

    fn send(
        &self,
        producer: &Producer,
        event: Event<'_>,
        topic: &str,
        address: &Address<'_>,
        ticket: usize,
        scratch: &mut Vec<u8>,
    ) -> Result<(), RDKafkaErrorCode> {
        let with_profile = topic != event.profile();
        let extra = &address.extra_headers;
        let headers = message::headers(self.headers, event, with_profile, extra, scratch);
        let record = BaseRecord {
            topic,
            partition: address.partition,
            payload: Some(event.body()),
            key: address.key.as_deref(),
            timestamp: Some(message::timestamp(event)),
            headers,
            delivery_opaque: ticket,
        };
        producer.send(record).map_err(|(error, _)| {
            // The only other error is a NUL in the topic's name.
            error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::InvalidTopic)
        })
    }

    /// The event whose message is at a position of a batch, and which of its messages it is.
    fn event_of(&self, position: usize) -> (usize, usize) {
        let fan_out = self.addressing.fan_out();
        (position / fan_out, position % fan_out)
    }

    /// Starts the search for the missing topic or partition of a failed message, if it is one.
    fn look_for_missing(&self, topic: &str, partition: Option<i32>, code: RDKafkaErrorCode) {
        let partition = match code {
            RDKafkaErrorCode::UnknownTopic => None,
            RDKafkaErrorCode::UnknownPartition => partition,
            _ => return,
        };
        let topic = topic.to_owned();
        let missing = Missing { topic, partition };
        self.search.begin(&self.producer, missing);
    }

    /// Why a producer can never send again, if so.
    fn fatal(&self) -> Option<String> {
        let producers = [Some(&*self.producer), self.singles.producer()];
        let mut producers = producers.into_iter().flatten();
        let (code, said) = producers.find_map(|producer| producer.client().fatal_error())?;
        Some(cause::fatal(code, &said))
    }

    fn outcomes(&self, batch: &Batch, failures: &[Failure]) -> Outcomes {
        if failures.is_empty() {
            return Outcomes::accepted();
        }
        let fatal = self.fatal();
        let cause = fatal.clone().or_else(|| self.link.recent());
        let mut of_events = vec![Outcome::Accepted; batch.len()];
        let mut address = Address::default();
        for (position, code) in failures {
            let (number, message) = self.event_of(*position);
            let Some(event) = batch.get(number) else {
                continue;
            };
            let outcome = if let Err(unfit) = self.addressing.find(event, &mut address) {
                unfit
            } else {
                let topic = self.addressing.topic(event, &address, message);
                if fatal.is_none() {
                    self.look_for_missing(topic, address.partition, *code);
                }
                let undelivered = Undelivered {
                    topic,
                    partition: address.partition,
                    is_of_event: self.addressing.has_templated_partition(),
                    bytes: event.body().len(),
                    code: *code,
                };
                match (undelivered.outcome(cause.as_deref()), &fatal) {
                    // Whatever the message itself failed for, no other attempt of this producer succeeds.
                    (Outcome::Retry { .. }, Some(fatal)) => Outcome::retry(fatal),
                    (outcome, _) => outcome,
                }
            };
            let of_event = &mut of_events[number];
            *of_event = worse(std::mem::replace(of_event, Outcome::Accepted), outcome);
        }
        let outcomes: Outcomes = of_events.into_iter().collect();
        if let Some(fatal) = fatal {
            self.link.failed(fatal);
            return outcomes.rebuild_instance();
        }
        outcomes
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.watch.end();
    }
}
