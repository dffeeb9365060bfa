//! From a socket to a queue of `RabbitMQ`: evbus waits for the broker's confirms, as the bare loop does, syslog-ng knows
//! none.

use lapin::options::{
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::runtime::Runtime;
use xtask::brokers::{PASSWORD, RabbitMq, USER};
use xtask::peers::Peers;

use crate::Scale;
use crate::bare;
use crate::load::{Events, Source};
use crate::table::{self, Row};
use crate::work::{Candidate, Work};

/// A broker takes so many times fewer events.
const SHARE: u64 = 16;
const QUEUE: &str = "bench";
const EXCHANGE: &str = "amq.direct";

/// What is compared: a candidate or the bare loop, and the aim.
const RUNS: [(&str, Option<Candidate>, &str); 3] = [
    ("evbus", Some(Candidate::Evbus), ""),
    ("bare lapin", None, "0.95"),
    ("syslog-ng", Some(Candidate::SyslogNg), ""),
];

pub(crate) fn throughput(peers: &Peers, scale: Scale) {
    let broker = RabbitMq::builder()
        .for_benchmarks()
        .start()
        .expect("RabbitMQ starts");
    let counter = Counter::new(&broker);
    let mut rows = RUNS.map(|(name, _, aim)| Row::new(name, aim));
    for pass in scale.passes() {
        for ((name, candidate, _), row) in RUNS.into_iter().zip(&mut rows) {
            let work = Work::of(pass, &["plugin-glob", "plugin-pika"]);
            let (mut process, source) = if let Some(candidate) = candidate {
                let configuration = configuration(candidate, &broker);
                let (process, socket) = work.start(candidate, peers, &configuration);
                (process, Source::Socket(socket, candidate.form()))
            } else {
                let command = bare::rabbitmq(&broker.url(), EXCHANGE, QUEUE);
                (work.run("bare-lapin", command), Source::Itself)
            };
            let events = Events::of(&["idem-status"]);
            // Connected, which is not what is measured.
            source.feed(&mut process, &events, 256, || counter.arrived() >= 256);
            let count = pass.events / SHARE;
            row.add(process.measure(count, |process| {
                source.feed(process, &events, count, || counter.arrived() >= 256 + count);
            }));
            assert_eq!(counter.arrived(), 256 + count, "{name}");
            counter.purge();
        }
    }
    table::rates(&rows);
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
