//! `cargo xtask setup` and `cargo xtask brokers`: what comes from outside the checkout.

use std::io::{self, Write as _};

use xtask::brokers::{self, Kafka};
use xtask::peers::Peers;
use xtask::system::{self, Need};
use xtask::{idem, salt};

use crate::failure::Failure;

/// Installs what builds and tests need from the system and fetches Kafka, Salt, Idem and the peers of the benchmarks,
/// where they are missing.
pub(crate) fn run() -> Result<(), Failure> {
    let needs: Vec<Need> = [
        system::BUILD,
        system::BROKERS,
        system::PYTHON,
        system::TERMINAL,
        system::NETWORKS,
        system::UNITS,
    ]
    .concat();
    system::ensure(&needs)?;
    eprintln!("fetching Kafka {} if need be", brokers::kafka::VERSION);
    Kafka::prepare()?;
    eprintln!("installing Salt {} if need be", salt::RELEASES.join(", "));
    salt::prepare()?;
    eprintln!("recording a run of Salt {} if need be", salt::RECORDED);
    salt::recording()?;
    eprintln!("installing Idem {} if need be", idem::VERSION);
    idem::prepare()?;
    eprintln!("fetching the peers of the benchmarks (rsyslog, syslog-ng, NATS) if need be");
    Peers::prepare()?;
    Ok(())
}

/// Starts or ends brokers that stay up between commands.
pub(crate) fn brokers(args: &[String]) -> Result<(), Failure> {
    let text = match args {
        [order] if order == "up" => {
            system::ensure(system::BROKERS)?;
            brokers::up()?
        }
        [order] if order == "down" => {
            if brokers::down()? {
                "the brokers are down\n".to_owned()
            } else {
                "no brokers were up\n".to_owned()
            }
        }
        _ => {
            return Err(Failure::Usage(
                "`brokers` takes one word: up or down".to_owned(),
            ));
        }
    };
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::io("write to standard output"))
}
