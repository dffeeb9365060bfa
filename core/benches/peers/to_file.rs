//! From a socket to a file: every event as it is, and only those of one profile.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use xtask::peers::Peers;

use crate::Scale;
use crate::load::{BODY_BYTES, Events};
use crate::process::Process;
use crate::table::{self, Round};
use crate::work::{Candidate, Work};

/// A profile that the filter lets pass, and one that it does not.
const WANTED: &str = "idem-status";
const OTHER: &str = "idem-others";

/// What is compared: evbus as it is by default, and without waiting for the disk, as the peers do it.
const RUNS: [(&str, Candidate, &str); 4] = [
    ("evbus, `fsync: never`", Candidate::Evbus, "never"),
    ("evbus, every batch synced", Candidate::Evbus, "batch"),
    ("rsyslog", Candidate::Rsyslog, ""),
    ("syslog-ng", Candidate::SyslogNg, ""),
];

/// A candidate's configuration that writes to a file.
type Configuration = fn(Candidate, &str, &Path) -> String;

/// Every event as it is; only evbus looks into it.
pub(crate) fn raw(peers: &Peers, scale: Scale) {
    let events = Events::of(&[WANTED]);
    compare(peers, scale, &events, scale.events, raw_configuration);
}

/// The peers parse the JSON and filter by one field, evbus by the profile; every other event passes.
pub(crate) fn filtered(peers: &Peers, scale: Scale) {
    let events = Events::of(&[WANTED, OTHER]);
    compare(
        peers,
        scale,
        &events,
        scale.events / 2,
        filtered_configuration,
    );
}

pub(crate) fn raw_configuration(candidate: Candidate, fsync: &str, file: &Path) -> String {
    let file = file.display();
    match candidate {
        Candidate::Evbus => {
            format!("file:\n  '*': {{path: {file}, format: body, fsync: {fsync}}}\n")
        }
        Candidate::Rsyslog => format!(
            r#"ruleset(name="work") {{ action(type="omfile" file="{file}" template="raw" ioBufferSize="256k" flushOnTXEnd="on") }}"#
        ),
        Candidate::SyslogNg => format!(
            r#"destination d {{ file("{file}" template("$MSG\n")); }};
log {{ source(s); destination(d); flags(flow-control); }};"#
        ),
    }
}

fn filtered_configuration(candidate: Candidate, fsync: &str, file: &Path) -> String {
    let file = file.display();
    match candidate {
        Candidate::Evbus => {
            format!("file:\n  {WANTED}: {{path: {file}, format: body, fsync: {fsync}}}\n")
        }
        Candidate::Rsyslog => format!(
            r#"module(load="mmjsonparse")
ruleset(name="work") {{
  action(type="mmjsonparse" cookie="" useRawMsg="on")
  if $!profile == "{WANTED}" then action(type="omfile" file="{file}" template="raw" ioBufferSize="256k" flushOnTXEnd="on")
}}"#
        ),
        Candidate::SyslogNg => format!(
            r#"destination d {{ file("{file}" template("$MSG\n")); }};
parser p {{ json-parser(prefix(".json.")); }};
filter f {{ "${{.json.profile}}" eq "{WANTED}" }};
log {{ source(s); parser(p); filter(f); destination(d); flags(flow-control); }};"#
        ),
    }
}

fn compare(
    peers: &Peers,
    scale: Scale,
    events: &Events,
    arriving: u64,
    configuration: Configuration,
) {
    let mut shown = RUNS.map(|(name, ..)| (name, Vec::new()));
    for _ in 0..scale.rounds {
        for ((_, candidate, fsync), (_, rounds)) in RUNS.into_iter().zip(&mut shown) {
            let work = Work::new(&["plugin-glob", "plugin-file"]);
            let configuration = configuration(candidate, fsync, &work.path().join("out"));
            let started = work.start(candidate, peers, &configuration);
            rounds.push(round(&work, started, scale, events, arriving, candidate));
        }
    }
    table::rates(&shown);
}

fn round(
    work: &Work,
    (mut process, socket): (Process, PathBuf),
    scale: Scale,
    events: &Events,
    arriving: u64,
    candidate: Candidate,
) -> Round {
    let file = work.path().join("out");
    let before = process.processor_time();
    let whole = arriving * (BODY_BYTES as u64 + 1);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| events.write(&socket, candidate.form(), scale.events));
        process.until_done(|| fs::metadata(&file).is_ok_and(|file| file.len() >= whole));
    });
    let took = start.elapsed();
    let processor = process.processor_time() - before;
    let peak_memory = process.peak_memory();
    check(candidate, &file, arriving);
    Round {
        events: scale.events,
        took,
        processor,
        peak_memory,
    }
}

/// Every line must be the body that was fired, and none may be missing or more.
fn check(candidate: Candidate, file: &Path, arriving: u64) {
    let text = fs::read(file).unwrap();
    let body = Events::body(WANTED) + "\n";
    assert_eq!(
        text.len() as u64,
        arriving * body.len() as u64,
        "{}",
        candidate.name()
    );
    for line in text.chunks(body.len()) {
        assert_eq!(line, body.as_bytes(), "{}", candidate.name());
    }
}
