//! Servers that pass on what is fired to everyone who listens: the host, the bare copy loop, NATS, and the event
//! publishers of real Salt releases.

use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use evbus_wire::{Frame, Framing, PUB_SOCKET, PULL_SOCKET};
use xtask::peers::Peers;
use xtask::salt;

use crate::Pass;
use crate::bare;
use crate::load::{self, BODY_BYTES};
use crate::process::Process;
use crate::work::Work;

const PUBLISHER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/peers/salt_publisher.py"
);
const LIMIT: Duration = Duration::from_mins(1);
/// Between two trial events.
const TRIAL_PAUSE: Duration = Duration::from_millis(20);
/// After which all trial events have arrived.
const SETTLE: Duration = Duration::from_millis(200);
const PROFILE: &str = "idem-status";
const SUBJECT: &str = "idem.status";

/// A kind of server.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// `evbus run`, without destinations.
    Evbus,
    CopyLoop,
    Nats,
    /// The release, and the Python that has it.
    Salt(&'static str, PathBuf),
}

impl Kind {
    pub(crate) fn all() -> Vec<Self> {
        let salt = salt::RELEASES.map(|release| {
            let python = salt::python(release).unwrap_or_else(|error| panic!("{error}"));
            Self::Salt(release, python)
        });
        [Self::Evbus, Self::CopyLoop, Self::Nats]
            .into_iter()
            .chain(salt)
            .collect()
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Evbus => "evbus".to_owned(),
            Self::CopyLoop => "bare copy loop".to_owned(),
            Self::Nats => "NATS".to_owned(),
            Self::Salt(release, _) => format!("Salt {release}"),
        }
    }

    /// Whether its allocations can be counted: Go's and Python's own are not the C library's.
    pub(crate) fn is_countable(&self) -> bool {
        matches!(self, Self::Evbus | Self::CopyLoop)
    }

    /// How programs frame what they fire at it and hear from it.
    fn framings(&self) -> [Framing; 2] {
        match self {
            Self::Salt("3006.30", _) => [Framing::Prefixed, Framing::Prefixed],
            Self::Salt("3008.5", _) => [Framing::Prefixed, Framing::Bare],
            _ => [Framing::Bare, Framing::Bare],
        }
    }

    /// An event as it is fired, and as it is heard.
    pub(crate) fn event(&self) -> [Vec<u8>; 2] {
        let body = load::Events::body(PROFILE);
        if let Self::Nats = self {
            return [
                format!("PUB {SUBJECT} {BODY_BYTES}\r\n{body}\r\n").into_bytes(),
                format!("MSG {SUBJECT} 1 {BODY_BYTES}\r\n{body}\r\n").into_bytes(),
            ];
        }
        let data = evbus_wire::mapping::json_to_msgpack(body.as_bytes()).unwrap();
        let frame = Frame::of_salt(PROFILE, &data).unwrap();
        self.framings().map(|framing| {
            let prefix = match framing {
                Framing::Bare => Vec::new(),
                Framing::Prefixed => frame.prefix().to_vec(),
            };
            [prefix, frame.pieces().concat()].concat()
        })
    }

    /// Starts it for this many listeners, which the copy loop has to know.
    pub(crate) fn start(&self, peers: &Peers, pass: Pass, listeners: usize) -> Server {
        let work = Work::of(pass, &[]);
        let sockets = work.path().join("sockets");
        std::fs::create_dir(&sockets).unwrap();
        let mut port = 0;
        let command = match self {
            Self::Evbus => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_evbus"));
                command.args(["run", "--plugin-dir"]).arg(work.path());
                command.arg("--sock-dir").arg(&sockets);
                command
            }
            Self::CopyLoop => bare::copy(listeners, &sockets),
            Self::Nats => {
                // Free a moment ago; the server has no way to say which one it chose.
                port = TcpListener::bind(("127.0.0.1", 0))
                    .and_then(|listener| listener.local_addr())
                    .unwrap()
                    .port();
                let mut command = peers.nats();
                command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
                command
            }
            Self::Salt(_, python) => {
                let mut command = Command::new(python);
                command.args(["-E", PUBLISHER]).arg(&sockets);
                command
            }
        };
        let mut process = work.run(&self.name(), command);
        process.until("its sockets", || match self {
            Self::Nats => TcpStream::connect(("127.0.0.1", port)).is_ok(),
            _ => [PUB_SOCKET, PULL_SOCKET]
                .iter()
                .all(|name| sockets.join(name).exists()),
        });
        Server {
            kind: self.clone(),
            process,
            sockets,
            port,
            _work: work,
        }
    }
}

/// A connection to a server.
pub(crate) trait Stream: Read + Write + Send {
    fn limit_reads(&self, limit: Duration);
}

impl Stream for UnixStream {
    fn limit_reads(&self, limit: Duration) {
        self.set_read_timeout(Some(limit)).unwrap();
    }
}

impl Stream for TcpStream {
    fn limit_reads(&self, limit: Duration) {
        self.set_read_timeout(Some(limit)).unwrap();
    }
}

/// A server at work.
pub(crate) struct Server {
    kind: Kind,
    pub(crate) process: Process,
    sockets: PathBuf,
    port: u16,
    _work: Work,
}

impl Server {
    /// A program that fires, and so many that listen and have been heard of by the server.
    pub(crate) fn connect(&self, listeners: usize) -> (Box<dyn Stream>, Vec<Box<dyn Stream>>) {
        let mut listeners: Vec<_> = (0..listeners).map(|_| self.listen()).collect();
        let mut fire = match self.kind {
            Kind::Nats => self.say(""),
            _ => self.stream(PULL_SOCKET),
        };
        self.settle(&mut *fire, &mut listeners);
        (fire, listeners)
    }

    /// Fires until every listener has heard something, because Salt registers one some time after it has connected;
    /// then waits until nothing more arrives.
    fn settle(&self, fire: &mut dyn Stream, listeners: &mut [Box<dyn Stream>]) {
        let [event, _] = self.kind.event();
        let mut buffer = vec![0; 64 * 1024];
        for listener in &mut *listeners {
            listener.limit_reads(TRIAL_PAUSE);
            loop {
                fire.write_all(&event).unwrap();
                if !is_silent(&mut **listener, &mut buffer) {
                    break;
                }
            }
        }
        std::thread::sleep(SETTLE);
        for listener in listeners {
            while !is_silent(&mut **listener, &mut buffer) {}
            listener.limit_reads(LIMIT);
        }
    }

    pub(crate) fn listen(&self) -> Box<dyn Stream> {
        match self.kind {
            Kind::Nats => self.say(&format!("SUB {SUBJECT} 1\r\n")),
            _ => self.stream(PUB_SOCKET),
        }
    }

    fn stream(&self, name: &str) -> Box<dyn Stream> {
        Box::new(load::connect(&self.sockets.join(name)))
    }

    /// A connection over which NATS has taken what was said so far.
    fn say(&self, words: &str) -> Box<dyn Stream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.limit_reads(LIMIT);
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        let hello = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\n{words}PING\r\n");
        stream.write_all(hello.as_bytes()).unwrap();
        let mut lines = BufReader::with_capacity(1, stream.try_clone().unwrap());
        let mut line = String::new();
        while line.trim() != "PONG" {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "NATS hung up");
        }
        Box::new(stream)
    }
}

/// Whether nothing arrives within the limit.
fn is_silent(stream: &mut dyn Stream, buffer: &mut [u8]) -> bool {
    match stream.read(buffer) {
        Ok(0) => panic!("a server ended a connection"),
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::WouldBlock => true,
        Err(error) => panic!("{error}"),
    }
}
