//! Bare loops: what no host can avoid, and nothing else. Each is this program, started again with other arguments, so
//! that its processor time and memory can be measured as those of the others.

mod copy;
mod kafka;
mod rabbitmq;

use std::io;
use std::path::Path;
use std::process::Command;

/// The argument that makes this program a bare loop; its name and its own arguments follow.
pub(crate) const ARGUMENT: &str = "bare";

/// One that publishes to a topic, with the headers that plugin-kafka would give to each message; see [`bursts`].
pub(crate) fn kafka(servers: &str, topic: &str, headers: &str) -> Command {
    loop_of("kafka", &[servers, topic, headers])
}

/// One that publishes to a queue, with confirms; see [`bursts`].
pub(crate) fn rabbitmq(url: &str, exchange: &str, routing_key: &str) -> Command {
    loop_of("rabbitmq", &[url, exchange, routing_key])
}

/// One that copies what one program fires to so many listeners.
pub(crate) fn copy(listeners: usize, sockets: &Path) -> Command {
    let mut command = loop_of("copy", &[&listeners.to_string()]);
    command.arg(sockets);
    command
}

fn loop_of(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([ARGUMENT, name]).args(arguments);
    command
}

/// Becomes a bare loop.
pub(crate) fn run(name: &str, arguments: &[&str]) {
    match (name, arguments) {
        ("kafka", [servers, topic, headers]) => kafka::publish(servers, topic, headers),
        ("rabbitmq", [url, exchange, routing_key]) => {
            rabbitmq::publish(url, exchange, routing_key);
        }
        ("copy", [listeners, sockets]) => {
            copy::copy(listeners.parse().unwrap(), Path::new(sockets));
        }
        _ => panic!("there is no bare loop {name} with {arguments:?}"),
    }
}

/// How many events to publish, burst after burst: a line of standard input each, so that connecting is not measured.
fn bursts() -> impl Iterator<Item = u64> {
    io::stdin()
        .lines()
        .map(|line| line.unwrap().parse().unwrap())
}
