//! Standard error, written by a separate thread.
//!
//! Its reader may stop, as a paused terminal or a stopped `tee` does. Then lines wait in a bounded buffer, lines
//! that find no room there are dropped and counted, and no logging thread ever waits. The existing crates for
//! this bound lines instead of bytes, do not report what was lost, and do not end in time.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// How many bytes may wait.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// Lines on their way to standard error. Clones share one queue.
#[derive(Debug, Clone, Default)]
pub(super) struct LogWriter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Signals that there is something to write, or that everything is written.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines lost since the last line was written.
    lost: u64,
    is_writing: bool,
    has_thread: bool,
}

impl LogWriter {
    /// Queues one log line, including its line end.
    pub(super) fn line(&self, line: Vec<u8>) {
        let mut waiting = self.0.waiting.lock();
        if waiting.bytes + line.len() > MAX_WAITING {
            waiting.lost += 1;
            return;
        }
        self.put(waiting, line);
    }

    /// Queues a line that is not part of the log. There are few of them, and none is lost.
    pub(super) fn word(&self, line: Vec<u8>) {
        self.put(self.0.waiting.lock(), line);
    }

    fn put(&self, mut waiting: MutexGuard<'_, Waiting>, line: Vec<u8>) {
        if waiting.lost > 0 {
            let lost = std::mem::take(&mut waiting.lost);
            waiting.push(lost_line(lost));
        }
        waiting.push(line);
        if !waiting.has_thread {
            waiting.has_thread = true;
            let shared = Arc::clone(&self.0);
            let name = "evbus log".to_owned();
            let started = (std::thread::Builder::new().name(name))
                .spawn(move || shared.run(&mut io::stderr()));
            if started.is_err() {
                // Without a thread, the logging thread writes.
                waiting.has_thread = false;
                for line in std::mem::take(&mut waiting.lines) {
                    let _ = io::stderr().write_all(&line);
                }
                waiting.bytes = 0;
            }
        }
        self.0.changed.notify_all();
    }

    /// Waits until everything is written, for at most `limit` if there is one.
    pub(super) fn flush(&self, limit: Option<Duration>) {
        let until = limit.map(|limit| Instant::now() + limit);
        let mut waiting = self.0.waiting.lock();
        while waiting.has_thread && (waiting.is_writing || !waiting.lines.is_empty()) {
            match until {
                None => self.0.changed.wait(&mut waiting),
                Some(until) => {
                    if self.0.changed.wait_until(&mut waiting, until).timed_out() {
                        return;
                    }
                }
            }
        }
    }
}

impl Waiting {
    fn push(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }
}

fn lost_line(lost: u64) -> Vec<u8> {
    let lines = evbus_report::counted(lost, "log line was", "log lines were");
    format!("{lines} lost: standard error was not read fast enough\n").into_bytes()
}

impl Shared {
    fn run(&self, out: &mut impl Write) {
        let mut waiting = self.waiting.lock();
        loop {
            let Some(line) = waiting.lines.pop_front() else {
                waiting.is_writing = false;
                if waiting.lost > 0 {
                    let lost = std::mem::take(&mut waiting.lost);
                    waiting.push(lost_line(lost));
                    continue;
                }
                self.changed.notify_all();
                self.changed.wait(&mut waiting);
                continue;
            };
            waiting.is_writing = true;
            drop(waiting);
            // The program that started the host may have closed its end; that is not a reason to stop.
            let _ = out.write_all(&line);
            waiting = self.waiting.lock();
            waiting.bytes -= line.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes a line when it is allowed to.
    struct Slow {
        allowed: mpsc::Receiver<()>,
        written: mpsc::Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.allowed.recv();
            let _ = self
                .written
                .send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nobody_waits() {
        let (allow, allowed) = mpsc::channel();
        let (written, lines) = mpsc::channel();
        let writer = LogWriter::default();
        writer.0.waiting.lock().has_thread = true;
        let shared = Arc::clone(&writer.0);
        std::thread::spawn(move || shared.run(&mut Slow { allowed, written }));
        let line = vec![b'x'; MAX_WAITING / 4];
        for _ in 0..7 {
            writer.line(line.clone());
        }
        let began = Instant::now();
        writer.flush(Some(Duration::from_millis(20)));
        assert!(began.elapsed() >= Duration::from_millis(20));
        drop(allow);
        writer.flush(None);
        let lines: Vec<String> = lines.try_iter().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(
            lines[4],
            "3 log lines were lost: standard error was not read fast enough\n"
        );
        assert_eq!(writer.0.waiting.lock().bytes, 0);
    }
}
