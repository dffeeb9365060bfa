//! A run of a real master with real minions, recorded once.
//!
//! What a run fires depends only on the release and on the script, so the recording lies in the release's environment,
//! beside a copy of the script that made it, and is made again when either changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{home, prepare};
use crate::brokers::BrokerError;
use crate::brokers::port::Port;
use crate::brokers::server::Server;
use crate::python::{PythonError, interpreter, lock};

/// The release that is run.
pub const RECORDED: &str = "3008.5";
const SCRIPT: &str = include_str!("run.py");

/// The events of a run of Salt [`RECORDED`], in their order: a file of lines with `{"tag": ..., "data": ...}`. A master and
/// the minions `web1`, `web2` and `db1` accept each other's keys, run jobs, states that succeed and fail, and a runner; a
/// minion fires an event and has a beacon.
///
/// The first call makes the recording, which takes about seven seconds, and leaves no process behind; processes that call
/// it meanwhile wait.
///
/// # Errors
///
/// Those of [`prepare`], and when the run fails; then the error contains the end of what Salt wrote.
pub fn recording() -> Result<PathBuf, PythonError> {
    prepare()?;
    let environment = home().join(RECORDED);
    let recording = environment.join("run.jsonl");
    let made_by = environment.join("run.py");
    let _lock = lock(&environment)?;
    if recording.is_file() && fs::read_to_string(&made_by).is_ok_and(|made_by| made_by == SCRIPT) {
        return Ok(recording);
    }
    if recording.exists() {
        fs::remove_file(&recording).map_err(PythonError::file("remove the old", &recording))?;
    }
    fs::write(&made_by, SCRIPT).map_err(PythonError::file("write", &made_by))?;
    record(&interpreter(&environment), &made_by, &recording).map_err(|error| {
        PythonError::Step {
            doing: format!("record a run of Salt {RECORDED}"),
            why: error.to_string(),
        }
    })?;
    Ok(recording)
}

/// Runs the script, which is a server in so far as it waits for its end once the recording is there.
fn record(python: &Path, script: &Path, recording: &Path) -> Result<(), BrokerError> {
    let reserve = || Port::reserve().map_err(BrokerError::io("reserve a port"));
    let ports = [reserve()?, reserve()?];
    let mut server = Server::new("salt")?;
    let mut run: Command = server.command(python);
    run.args(["-E", "-s"])
        .env("PYTHONUTF8", "1")
        .arg(script)
        .args([server.dir(), recording])
        .args(ports.iter().map(|port| port.number().to_string()));
    server.launch(run, || {
        let unfinished = || "the recording is not complete".to_owned();
        recording.is_file().then_some(()).ok_or_else(unfinished)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_made_once() {
        let made = recording().expect("Salt runs");
        let written = || fs::metadata(&made).and_then(|file| file.modified());
        let first = written().expect("it is there");
        assert_eq!(recording().expect("it is there"), made);
        assert_eq!(written().expect("it is there"), first);
    }
}
