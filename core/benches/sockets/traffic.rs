//! The programs that fire and the listeners: plain threads that write and read frames.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use evbus_wire::{Frame, Framing};

use super::server::{Kind, Server};

/// What is written and read at a time.
const BUFFER_BYTES: usize = 64 * 1024;
/// As many bytes as in the frames that Salt's own servers were measured with.
const PAYLOAD_BYTES: usize = 281;
const DATA_BYTES: usize = 200;
/// Digits of the number at the beginning of the data.
const DIGITS: usize = 16;
/// The pause between trial frames, which are sent until all listeners receive them.
const TRIAL_PAUSE: Duration = Duration::from_millis(20);

/// A frame as Salt's programs write it, with a number in its data; the numbers ascend from 0.
#[derive(Debug, Clone, PartialEq)]
struct Numbered {
    frame: Vec<u8>,
    digits: usize,
}

impl Numbered {
    fn new(framing: Framing) -> Self {
        let mut data = b"\x82\xa4data\xd9\xc8".to_vec();
        data.extend([b'0'; DIGITS]);
        data.extend([b'x'; DATA_BYTES - DIGITS]);
        data.extend(b"\xa6_stamp\xba2026-11-23T00:22:03.419201");
        let frame = Frame::of_salt("salt/minion/bench/load", &data).unwrap();
        assert_eq!(frame.len(), PAYLOAD_BYTES);
        let prefix = frame.prefix();
        let mut bytes = match framing {
            Framing::Bare => Vec::new(),
            Framing::Prefixed => prefix.to_vec(),
        };
        bytes.extend(frame.pieces().concat());
        let digits = bytes.len() - data.len() + b"\x82\xa4data\xd9\xc8".len();
        Self {
            frame: bytes,
            digits,
        }
    }

    /// Increments the number, in decimal.
    fn advance(&mut self) {
        for digit in self.frame[self.digits..][..DIGITS].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
    }
}

/// Sends frame 0 again and again until every listener has received it, because Salt registers a listener some time
/// after it connects.
fn until_heard(
    fire: &mut UnixStream,
    trial: &Numbered,
    listeners: usize,
    heard: &mpsc::Receiver<()>,
) {
    let mut missing = listeners;
    while missing > 0 {
        fire.write_all(&trial.frame).unwrap();
        while missing > 0 && heard.recv_timeout(TRIAL_PAUSE).is_ok() {
            missing -= 1;
        }
    }
}

/// The result of a run.
pub(super) struct Run {
    /// From writing the first frame until the last listener has read the last frame.
    pub(super) took: Duration,
    /// Frames out of order, of all listeners.
    pub(super) misplaced: u64,
}

/// Fires frames as fast as the server accepts them, until every listener has read all of them.
///
/// # Errors
///
/// A listener did not get all, or the program could not write all.
pub(super) fn flood(
    kind: &Kind,
    server: &Server,
    listeners: usize,
    frames: u64,
) -> io::Result<Run> {
    let (towards_host, towards_listeners) = kind.framings();
    let (tell, heard) = mpsc::channel();
    let listening: Vec<_> = (0..listeners)
        .map(|_| {
            let (stream, tell) = (server.listen(), tell.clone());
            thread::spawn(move || listen(stream, &Numbered::new(towards_listeners), frames, &tell))
        })
        .collect();
    let mut fire = server.fire();
    let mut number = Numbered::new(towards_host);
    until_heard(&mut fire, &number, listeners, &heard);
    let start = Instant::now();
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    for _ in 0..frames {
        number.advance();
        if buffer.len() + number.frame.len() > BUFFER_BYTES {
            fire.write_all(&buffer)?;
            buffer.clear();
        }
        buffer.extend_from_slice(&number.frame);
    }
    fire.write_all(&buffer)?;
    let mut misplaced = 0;
    for listener in listening {
        misplaced += listener.join().expect("a listener does not panic")?;
    }
    Ok(Run {
        took: start.elapsed(),
        misplaced,
    })
}

/// Reads `frames` frames after the trials; returns how many were out of order.
fn listen(
    mut stream: UnixStream,
    trial: &Numbered,
    frames: u64,
    tell: &mpsc::Sender<()>,
) -> io::Result<u64> {
    let len = trial.frame.len();
    let mut expected = trial.clone();
    expected.advance();
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut filled, mut read, mut misplaced) = (0, 0, 0);
    let mut told = false;
    while read < frames {
        let count = stream.read(&mut buffer[filled..])?;
        if count == 0 {
            let why = format!("the server ended the connection after {read} of {frames} frames");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        filled += count;
        for frame in buffer[..filled].chunks_exact(len) {
            if frame == expected.frame {
                expected.advance();
                read += 1;
            } else if read == 0 && frame == trial.frame {
                if !told {
                    tell.send(()).unwrap();
                    told = true;
                }
            } else {
                misplaced += 1;
                expected.advance();
                read += 1;
            }
        }
        let rest = filled % len;
        buffer.copy_within(filled - rest..filled, 0);
        filled = rest;
    }
    Ok(misplaced)
}

/// Sends one frame at a time, the next one when the one before has come back; returns how long each
/// took, ascending.
pub(super) fn round_trips(kind: &Kind, server: &Server, count: usize) -> io::Result<Vec<Duration>> {
    let (towards_host, towards_listeners) = kind.framings();
    let mut listener = server.listen();
    let mut fire = server.fire();
    let (mut sent, mut expected) = (
        Numbered::new(towards_host),
        Numbered::new(towards_listeners),
    );
    let trial = expected.clone();
    let mut frame = vec![0; trial.frame.len()];
    // One trial event that arrives shows that the listener is connected; others may follow it.
    listener.set_read_timeout(Some(TRIAL_PAUSE))?;
    loop {
        fire.write_all(&sent.frame)?;
        match listener.read_exact(&mut frame) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    listener.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        sent.advance();
        expected.advance();
        let start = Instant::now();
        fire.write_all(&sent.frame)?;
        loop {
            listener.read_exact(&mut frame)?;
            if frame != trial.frame {
                break;
            }
        }
        times.push(start.elapsed());
        assert_eq!(frame, expected.frame, "one frame at a time keeps its place");
    }
    times.sort();
    Ok(times)
}
