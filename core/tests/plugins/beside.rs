//! What must hold beside a harmful plugin: the other destination delivers, and the host ends at once.

use std::time::{Duration, Instant};

use crate::support::{RunningHost, lines_of, program, wait_for};
use rustix::process::Signal;

/// Fires an event and waits until it has arrived at `fixture-good`, which writes to `good.jsonl`.
pub(crate) fn delivers(host: &RunningHost, body: &str) {
    let body = format!("{body:?}");
    host.put("idem-run", &body);
    let out = host.path("good.jsonl");
    wait_for("the event at the other destination", || {
        let lines = lines_of(&out);
        lines.iter().any(|line| line["body"] == *body).then_some(())
    });
}

/// Ends a host with nothing to deliver, which must not take long. Returns its log.
pub(crate) fn ends_at_once(host: RunningHost) -> String {
    ends_at_once_with(host, 0)
}

/// As `ends_at_once`, with an exit code.
pub(crate) fn ends_at_once_with(host: RunningHost, code: i32) -> String {
    ends_within(host, at_once(), code)
}

/// Ends a host, which must end within a limit.
pub(crate) fn ends_within(host: RunningHost, limit: Duration, code: i32) -> String {
    let began = Instant::now();
    let (status, log, _dir) = host.end(Signal::TERM);
    let took = began.elapsed();
    assert_eq!(status.code(), Some(code), "{took:?}: {log}");
    assert!(took < limit, "{took:?}: {log}");
    log
}

/// A second, or more for a debug build on a busy machine.
fn at_once() -> Duration {
    let is_release = program().iter().any(|part| part == "release");
    Duration::from_secs(if is_release { 1 } else { 4 })
}
