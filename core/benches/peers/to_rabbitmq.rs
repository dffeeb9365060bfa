//! From a socket to a queue of `RabbitMQ`: evbus waits for the broker's confirms, syslog-ng knows none.

use std::time::Instant;

use lapin::options::{
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::runtime::Runtime;
use xtask::brokers::{PASSWORD, RabbitMq, USER};
use xtask::peers::Peers;

use crate::Scale;
use crate::load::Events;
use crate::table::{self, Round};
use crate::work::{Candidate, Work};

/// A broker takes so many times fewer events.
const SHARE: u64 = 16;
const QUEUE: &str = "bench";
const EXCHANGE: &str = "amq.direct";

pub(crate) fn throughput(peers: &Peers, scale: Scale) {
    let broker = RabbitMq::builder()
        .for_benchmarks()
        .start()
        .expect("RabbitMQ starts");
    let counter = Counter::new(&broker);
    let candidates = [Candidate::Evbus, Candidate::SyslogNg];
    let mut shown = candidates.map(|candidate| (candidate.name(), Vec::new()));
    for _ in 0..scale.rounds {
        for (candidate, (_, rounds)) in candidates.into_iter().zip(&mut shown) {
            let events = scale.events / SHARE;
            rounds.push(flood(peers, events, candidate, &broker, &counter));
        }
    }
    table::rates(&shown);
}

fn configuration(candidate: Candidate, broker: &RabbitMq) -> String {
    match candidate {
        Candidate::Evbus => format!(
            "pika:\n  '*':\n    connection: {{url: '{}'}}\n    exchange: {EXCHANGE}\n    routing_key: {QUEUE}\n",
            broker.url()
        ),
        Candidate::SyslogNg => format!(
            r#"destination d {{ amqp(host("127.0.0.1") port({}) vhost("/") exchange("{EXCHANGE}") exchange-declare(no)
  routing-key("{QUEUE}") body("$MSG") persistent(yes) username("{USER}") password("{PASSWORD}")); }};
log {{ source(s); destination(d); flags(flow-control); }};"#,
            broker.port()
        ),
        Candidate::Rsyslog => unreachable!("Debian has no package of its module"),
    }
}

fn flood(
    peers: &Peers,
    count: u64,
    candidate: Candidate,
    broker: &RabbitMq,
    counter: &Counter,
) -> Round {
    let work = Work::new(&["plugin-glob", "plugin-pika"]);
    let configuration = configuration(candidate, broker);
    let (mut process, socket) = work.start(candidate, peers, &configuration);
    let events = Events::of(&["idem-status"]);
    // Connected, which is not what is measured.
    events.write(&socket, candidate.form(), 256);
    process.until_done(|| counter.arrived() >= 256);
    let before = process.processor_time();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| events.write(&socket, candidate.form(), count));
        process.until_done(|| counter.arrived() >= 256 + count);
    });
    let took = start.elapsed();
    let processor = process.processor_time() - before;
    assert_eq!(counter.arrived(), 256 + count, "{}", candidate.name());
    counter.purge();
    Round {
        events: count,
        took,
        processor,
        peak_memory: process.peak_memory(),
    }
}

/// Asks the broker how many events are in the queue.
struct Counter {
    runtime: Runtime,
    channel: Channel,
    _connection: Connection,
}

impl Counter {
    fn new(broker: &RabbitMq) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (connection, channel) = runtime.block_on(async {
            let properties = ConnectionProperties::default();
            let connection = Connection::connect(&broker.url(), properties)
                .await
                .unwrap();
            let channel = connection.create_channel().await.unwrap();
            let _ = channel
                .queue_delete(QUEUE.into(), QueueDeleteOptions::default())
                .await
                .unwrap();
            channel
                .queue_declare(
                    QUEUE.into(),
                    QueueDeclareOptions::durable(),
                    FieldTable::default(),
                )
                .await
                .unwrap();
            channel
                .queue_bind(
                    QUEUE.into(),
                    EXCHANGE.into(),
                    QUEUE.into(),
                    QueueBindOptions::default(),
                    FieldTable::default(),
                )
                .await
                .unwrap();
            (connection, channel)
        });
        Self {
            runtime,
            channel,
            _connection: connection,
        }
    }

    fn arrived(&self) -> u64 {
        let durable = QueueDeclareOptions::durable();
        let declaring = self
            .channel
            .queue_declare(QUEUE.into(), durable, FieldTable::default());
        let queue = self.runtime.block_on(declaring).unwrap();
        u64::from(queue.message_count())
    }

    /// What has arrived must not slow the broker down for the next round.
    fn purge(&self) {
        let purging = self
            .channel
            .queue_purge(QUEUE.into(), QueuePurgeOptions::default());
        self.runtime.block_on(purging).unwrap();
    }
}
