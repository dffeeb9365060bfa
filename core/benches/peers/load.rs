//! What is fired: one event over and over, as a line of JSON and as a frame of Salt's, a block at a time; or what a bare
//! loop makes of it.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use evbus_wire::Frame;
use evbus_wire::mapping::json_to_msgpack;

use crate::process::Process;

/// The length of the body without its line feed.
pub(crate) const BODY_BYTES: usize = 223;
/// Events of a block, which is written at once.
const BLOCK: u64 = 256;
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// For one block; a peer that is this slow has stopped.
const WRITE_LIMIT: Duration = Duration::from_mins(2);

/// How a candidate wants its events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    Lines,
    Frames,
}

/// Where a candidate's events come from.
#[derive(Debug)]
pub(crate) enum Source {
    Socket(PathBuf, Form),
    /// A bare loop, which has them in memory.
    Itself,
}

impl Source {
    /// Has the candidate work on so many events until they have arrived.
    pub(crate) fn feed(
        &self,
        process: &mut Process,
        events: &Events,
        count: u64,
        arrived: impl FnMut() -> bool,
    ) {
        match self {
            Self::Socket(socket, form) => std::thread::scope(|scope| {
                scope.spawn(|| events.write(socket, *form, count));
                process.until_done(arrived);
            }),
            Self::Itself => {
                process.tell(count);
                process.until_done(arrived);
            }
        }
    }
}

/// The events that are fired in turn; all have bodies of [`BODY_BYTES`].
#[derive(Debug, Clone)]
pub(crate) struct Events {
    profiles: Vec<&'static str>,
}

impl Events {
    pub(crate) fn of(profiles: &[&'static str]) -> Self {
        assert_eq!(BLOCK % profiles.len() as u64, 0, "a block has whole turns");
        Self {
            profiles: profiles.to_vec(),
        }
    }

    /// The body of an event of this profile: what it is about, and text as filling.
    pub(crate) fn body(profile: &str) -> String {
        let begin = format!(
            r#"{{"profile":"{profile}","tags":{{"type":"state-result","ref":"states.test.present"}},"message":{{"host":"web01.example.com","comment":""#
        );
        let end = r#""},"run_name":"nightly-2026-11-30"}"#;
        let filling = "x".repeat(BODY_BYTES - begin.len() - end.len());
        format!("{begin}{filling}{end}")
    }

    fn block(&self, form: Form) -> Vec<u8> {
        let mut block = Vec::new();
        for profile in self.profiles.iter().cycle().take(BLOCK as usize) {
            let body = Self::body(profile);
            match form {
                Form::Lines => {
                    block.extend(body.as_bytes());
                    block.push(b'\n');
                }
                Form::Frames => {
                    let data = json_to_msgpack(body.as_bytes()).unwrap();
                    block.extend(Frame::of_salt(profile, &data).unwrap().pieces().concat());
                }
            }
        }
        block
    }

    /// Writes so many events, as fast as they are taken.
    pub(crate) fn write(&self, socket: &Path, form: Form, events: u64) {
        assert_eq!(events % BLOCK, 0, "only whole blocks are written");
        let block = self.block(form);
        let mut stream = connect(socket);
        for _ in 0..events / BLOCK {
            stream.write_all(&block).unwrap();
        }
    }

    /// Writes one event at a time, with pauses; gives when each was written.
    pub(crate) fn trickle(
        &self,
        socket: &Path,
        form: Form,
        events: u64,
        pause: Duration,
    ) -> Vec<Instant> {
        let block = self.block(form);
        let event = &block[..block.len() / BLOCK as usize];
        let mut stream = connect(socket);
        let start = Instant::now();
        (0..u32::try_from(events).unwrap())
            .map(|number| {
                let due = pause * number;
                std::thread::sleep(due.saturating_sub(start.elapsed()));
                let written = Instant::now();
                stream.write_all(event).unwrap();
                written
            })
            .collect()
    }
}

/// Between the file's appearance and `listen` a connection is refused.
pub(crate) fn connect(socket: &Path) -> UnixStream {
    let start = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                stream.set_write_timeout(Some(WRITE_LIMIT)).unwrap();
                return stream;
            }
            Err(error) => assert!(start.elapsed() < CONNECT_LIMIT, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
