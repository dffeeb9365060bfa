//! One program fires, 1, 4 and 16 listeners hear all: the event sockets beside NATS.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use evbus_wire::{Frame, PUB_SOCKET, PULL_SOCKET};
use xtask::peers::Peers;

use crate::Scale;
use crate::load::{self, BODY_BYTES};
use crate::process::Process;
use crate::table::{self, Round};

const LISTENERS: [usize; 3] = [1, 4, 16];
/// What is written and read at a time.
const BUFFER_BYTES: usize = 64 * 1024;
const READ_LIMIT: Duration = Duration::from_mins(1);
const SUBJECT: &str = "idem.status";

/// A server at work.
trait Peer {
    type Stream: std::io::Read + std::io::Write + Send;

    fn process(&mut self) -> &mut Process;
    fn connect(&self) -> Self::Stream;
    fn listen(&self) -> Self::Stream;
    /// An event as it is fired, and how many bytes a listener gets of it.
    fn event(&self) -> (Vec<u8>, usize);
}

pub(crate) fn listeners(peers: &Peers, scale: Scale) {
    for listeners in LISTENERS {
        println!("to {listeners} listeners:\n");
        let events = scale.events / listeners as u64;
        let mut shown = [("evbus", Vec::new()), ("NATS", Vec::new())];
        for _ in 0..scale.rounds {
            shown[0].1.push(flood(Evbus::start(), listeners, events));
            shown[1]
                .1
                .push(flood(Nats::start(peers), listeners, events));
        }
        table::rates(&shown);
        println!();
    }
}

/// Fires as fast as the server takes events, until every listener has heard all.
fn flood<P: Peer>(mut peer: P, listeners: usize, events: u64) -> Round {
    let (event, len) = peer.event();
    let streams: Vec<_> = (0..listeners).map(|_| peer.listen()).collect();
    let mut fire = peer.connect();
    let before = peer.process().processor_time();
    let start = Instant::now();
    thread::scope(|scope| {
        let expected = events * len as u64;
        for stream in streams {
            scope.spawn(move || hear(stream, expected));
        }
        let per_block = (BUFFER_BYTES / event.len()) as u64;
        let block = event.repeat(per_block as usize);
        let mut left = events;
        while left > 0 {
            let count = left.min(per_block);
            fire.write_all(&block[..count as usize * event.len()])
                .unwrap();
            left -= count;
        }
        fire.flush().unwrap();
    });
    let took = start.elapsed();
    Round {
        events,
        took,
        processor: peer.process().processor_time() - before,
        peak_memory: peer.process().peak_memory(),
    }
}

fn hear(mut stream: impl std::io::Read, expected: u64) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut heard = 0;
    while heard < expected {
        let count = stream.read(&mut buffer).unwrap();
        assert!(
            count > 0,
            "a listener was cut off after {heard} of {expected} bytes"
        );
        heard += count as u64;
    }
    assert_eq!(heard, expected, "a listener heard more than was fired");
}

struct Evbus {
    process: Process,
    dir: tempfile::TempDir,
}

impl Evbus {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_evbus"));
        command.args(["run", "--plugin-dir"]).arg(dir.path());
        command.arg("--sock-dir").arg(dir.path().join("sockets"));
        let mut process = Process::start("evbus", command, dir.path());
        let socket = dir.path().join("sockets").join(PULL_SOCKET);
        process.until("its socket", || socket.exists());
        Self { process, dir }
    }

    fn stream(&self, name: &str) -> std::os::unix::net::UnixStream {
        let stream = load::connect(&self.dir.path().join("sockets").join(name));
        stream.set_read_timeout(Some(READ_LIMIT)).unwrap();
        stream
    }
}

impl Peer for Evbus {
    type Stream = std::os::unix::net::UnixStream;

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn connect(&self) -> Self::Stream {
        self.stream(PULL_SOCKET)
    }

    fn listen(&self) -> Self::Stream {
        self.stream(PUB_SOCKET)
    }

    fn event(&self) -> (Vec<u8>, usize) {
        let body = load::Events::body("idem-status");
        let data = evbus_wire::mapping::json_to_msgpack(body.as_bytes()).unwrap();
        let frame = Frame::of_salt("idem-status", &data)
            .unwrap()
            .pieces()
            .concat();
        let len = frame.len();
        (frame, len)
    }
}

struct Nats {
    process: Process,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Nats {
    fn start(peers: &Peers) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Free a moment ago; the server has no way to say which one it chose.
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let mut command = peers.nats();
        command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
        let mut process = Process::start("nats-server", command, dir.path());
        process.until("its port", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            process,
            port,
            _dir: dir,
        }
    }

    /// A connection over which all has been taken that was said so far.
    fn say(&self, words: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(READ_LIMIT)).unwrap();
        stream.set_write_timeout(Some(READ_LIMIT)).unwrap();
        let hello = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\n{words}PING\r\n");
        stream.write_all(hello.as_bytes()).unwrap();
        let mut lines = BufReader::with_capacity(1, stream.try_clone().unwrap());
        let mut line = String::new();
        while line.trim() != "PONG" {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "NATS hung up");
        }
        stream
    }
}

impl Peer for Nats {
    type Stream = TcpStream;

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn connect(&self) -> TcpStream {
        self.say("")
    }

    fn listen(&self) -> TcpStream {
        self.say(&format!("SUB {SUBJECT} 1\r\n"))
    }

    fn event(&self) -> (Vec<u8>, usize) {
        let body = load::Events::body("idem-status");
        let fired = format!("PUB {SUBJECT} {BODY_BYTES}\r\n{body}\r\n");
        let heard = format!("MSG {SUBJECT} 1 {BODY_BYTES}\r\n{body}\r\n");
        (fired.into_bytes(), heard.len())
    }
}
