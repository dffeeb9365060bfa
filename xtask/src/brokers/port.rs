//! Ports that stay ours while a broker is starting, stopped or restarting.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::HOST;

/// Below the range that the kernel uses for outgoing connections (32768 and up), so that no other connection gets the
/// port of a broker that is down for a moment.
const FIRST: u16 = 21_000;
const COUNT: u16 = 4_000;

/// A port that no other process with this module uses while the value lives.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// A name in the kernel's abstract socket namespace: only one process at a time can have it, and it disappears
    /// with that process.
    _claim: UnixListener,
}

impl Port {
    /// Claims a port on which nothing listens.
    ///
    /// # Errors
    ///
    /// When none of the candidates is free.
    pub(crate) fn reserve() -> io::Result<Self> {
        // Processes that begin at different numbers seldom try the same port.
        let start = usize::from(RandomState::new().hash_one(FIRST).to_be_bytes()[0]) * 16;
        (FIRST..FIRST + COUNT)
            .cycle()
            .skip(start)
            .take(usize::from(COUNT))
            .find_map(Self::claim)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::AddrInUse,
                    format!("no free port from {FIRST} to {}", FIRST + COUNT - 1),
                )
            })
    }

    fn claim(number: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("evbus-broker-port-{number}")).ok()?;
        let claim = UnixListener::bind_addr(&name).ok()?;
        TcpListener::bind((HOST, number)).ok()?;
        Some(Self {
            number,
            _claim: claim,
        })
    }

    /// The port's number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_reserved_port_is_not_given_twice() {
        let ports: Vec<Port> = (0..50).map(|_| Port::reserve().expect("a port")).collect();
        let numbers: HashSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
        assert!(Port::claim(ports[0].number()).is_none());
    }

    #[test]
    fn a_port_somebody_listens_on_is_not_taken() {
        let port = Port::reserve().expect("a port");
        let number = port.number();
        let _listener = TcpListener::bind((HOST, number)).expect("it is free");
        drop(port);
        assert!(Port::claim(number).is_none());
    }
}
