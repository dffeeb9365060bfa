//! Messages from a plugin's process to the host.
//!
//! The plugin's threads must never wait for the host, and its last messages before a crash should still
//! arrive: so a frame is sent at once if the socket accepts it, and a thread sends the rest. Answers are
//! few (the host bounds the batches in flight) and always kept; only the newest state of the link is
//! kept; log lines beyond a bound are dropped and counted.

use std::collections::VecDeque;
use std::io::Write as _;
use std::os::unix::net::UnixStream;

use evbus_abi::v1::{HostObjectV1, LevelV1, LinkV1};
use parking_lot::{Condvar, Mutex};
use rustix::net::{SendFlags, send};

use super::wire::{self, ToHost, one_line};
use evbus_report::counted;

/// How many bytes of log lines may wait.
const MAX_WAITING_LINES: usize = 1024 * 1024;

/// Frames on their way to the host.
pub(super) struct Outbox {
    socket: UnixStream,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// The rest of a frame that was sent in part. It must be sent next.
    rest: Vec<u8>,
    answers: VecDeque<Vec<u8>>,
    link: Option<Vec<u8>>,
    lines: VecDeque<Vec<u8>>,
    line_bytes: usize,
    lines_lost: u64,
    /// Whether the thread is sending.
    sending: bool,
    /// Whether the host is gone.
    over: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.rest.is_empty()
            && self.answers.is_empty()
            && self.link.is_none()
            && self.lines.is_empty()
            && self.lines_lost == 0
    }

    /// The next bytes to be sent.
    fn next(&mut self) -> Option<Vec<u8>> {
        if !self.rest.is_empty() {
            return Some(std::mem::take(&mut self.rest));
        }
        if let Some(frame) = self.answers.pop_front().or_else(|| self.link.take()) {
            return Some(frame);
        }
        if let Some(line) = self.lines.pop_front() {
            self.line_bytes -= line.len();
            return Some(line);
        }
        self.lost()
    }

    /// Appends a log line if there is room.
    fn line(&mut self, frame: Vec<u8>) {
        if self.line_bytes + frame.len() > MAX_WAITING_LINES {
            self.lines_lost += 1;
            return;
        }
        for frame in self.lost().into_iter().chain([frame]) {
            self.line_bytes += frame.len();
            self.lines.push_back(frame);
        }
    }

    /// A line with the number of lost lines, if there are any.
    fn lost(&mut self) -> Option<Vec<u8>> {
        let lost = std::mem::take(&mut self.lines_lost);
        (lost > 0).then(|| {
            let text = format!(
                "{} lost: the plugin logs faster than the host reads",
                counted(lost, "log line was", "log lines were")
            );
            frame_of(&ToHost::Log {
                level: LevelV1::WARN.0,
                target: module_path!().into(),
                message: text.into(),
            })
        })
    }
}

impl Outbox {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            waiting: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Sends an answer.
    pub(super) fn answer(&self, message: &ToHost<'_>) {
        let frame = frame_of(message);
        self.post(|waiting| waiting.answers.push_back(frame));
    }

    fn post(&self, put: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting.lock();
        if waiting.over {
            return;
        }
        put(&mut waiting);
        if waiting.sending {
            return;
        }
        while let Some(mut frame) = waiting.next() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            // The sending thread meets the same error and handles it.
            let sent = send(&self.socket, &frame, flags).unwrap_or(0);
            if sent < frame.len() {
                waiting.rest = frame.split_off(sent);
                self.changed.notify_all();
                return;
            }
        }
    }

    /// Sends what the socket did not accept at once. Runs on its own thread, and never returns.
    pub(super) fn run(&self) {
        let mut waiting = self.waiting.lock();
        loop {
            match waiting.next() {
                Some(frame) => {
                    waiting.sending = true;
                    drop(waiting);
                    let sent = (&self.socket).write_all(&frame);
                    waiting = self.waiting.lock();
                    waiting.sending = false;
                    if sent.is_err() {
                        // The thread that reads the socket ends the process.
                        *waiting = Waiting {
                            over: true,
                            ..Waiting::default()
                        };
                    }
                    if waiting.is_empty() {
                        self.changed.notify_all();
                    }
                }
                None => self.changed.wait(&mut waiting),
            }
        }
    }

    /// Waits until everything is sent.
    pub(super) fn flush(&self) {
        let mut waiting = self.waiting.lock();
        while waiting.sending || !waiting.is_empty() {
            self.changed.wait(&mut waiting);
        }
    }
}

/// The host, as seen by a plugin in its own process.
pub(super) struct RemoteHost(pub(super) std::sync::Arc<Outbox>);

impl HostObjectV1 for RemoteHost {
    fn log(&self, level: LevelV1, target: &str, message: &str) {
        let frame = log(level, target, message);
        self.0.post(|waiting| waiting.line(frame));
    }

    fn link(&self, link: LinkV1, reason: &str) {
        let frame = frame_of(&ToHost::Link {
            link: link.0,
            reason: one_line(reason),
        });
        self.0.post(|waiting| waiting.link = Some(frame));
    }
}

/// The host, as seen by code that belongs to no instance and so has no link.
pub(super) struct RemoteVoice(pub(super) std::sync::Arc<Outbox>);

impl HostObjectV1 for RemoteVoice {
    fn log(&self, level: LevelV1, target: &str, message: &str) {
        let frame = log(level, target, message);
        self.0.post(|waiting| waiting.line(frame));
    }

    fn link(&self, _: LinkV1, _: &str) {}
}

fn log(level: LevelV1, target: &str, message: &str) -> Vec<u8> {
    frame_of(&ToHost::Log {
        level: level.0,
        target: one_line(target),
        message: one_line(message),
    })
}

/// A message's frame. Only an outcome could be too large; the batch then gets no outcome.
fn frame_of(message: &ToHost<'_>) -> Vec<u8> {
    wire::frame(message).unwrap_or_else(|_| {
        let ToHost::Outcome { batch, .. } = message else {
            return Vec::new();
        };
        frame_of(&ToHost::Outcome {
            batch: *batch,
            outcome: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::StreamExt as _;
    use tokio_util::codec::FramedRead;

    use super::*;

    #[tokio::test]
    async fn a_flood_of_lines_is_bounded_and_counted_and_holds_no_answer_up() {
        const LINES: u64 = 50_000;
        let (ours, theirs) = UnixStream::pair().expect("a socket");
        ours.set_nonblocking(true).expect("a socket");
        let host = tokio::net::UnixStream::from_std(ours).expect("a socket");
        let mut frames = FramedRead::new(host, wire::frames(wire::MAX_FRAME));
        let outbox = Arc::new(Outbox::new(theirs));
        let sending = Arc::clone(&outbox);
        std::thread::spawn(move || sending.run());
        // Nobody reads yet, but nothing here waits.
        let remote = RemoteHost(Arc::clone(&outbox));
        for _ in 0..LINES {
            remote.log(LevelV1::INFO, "flood", &"x".repeat(100));
        }
        remote.link(LinkV1::DOWN, "gone");
        remote.link(LinkV1::UP, "back");
        outbox.answer(&ToHost::Outcome {
            batch: 1,
            outcome: None,
        });
        assert!(outbox.waiting.lock().line_bytes <= MAX_WAITING_LINES);

        let (mut flooded, mut before_answer) = (0, None);
        let mut states = Vec::new();
        let lost = loop {
            let frame = frames.next().await.expect("more").expect("a frame");
            match wire::message(&frame).expect("a message") {
                ToHost::Log { target, .. } if target == "flood" => flooded += 1,
                ToHost::Log { message, .. } => break message.into_owned(),
                ToHost::Link { link, .. } => states.push(LinkV1(link)),
                ToHost::Outcome { batch: 1, .. } => before_answer = Some(flooded),
                _ => panic!("nothing else was sent"),
            }
        };
        let count = LINES - flooded;
        assert!(
            lost.starts_with(&format!("{count} log lines were lost")),
            "{lost}"
        );
        assert!(count > 0 && before_answer.is_some_and(|before| before < flooded));
        assert_eq!(states, [LinkV1::UP], "only the newest counts");
        outbox.flush();
    }
}
