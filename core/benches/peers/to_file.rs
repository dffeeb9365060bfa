//! From a socket to a file: every event as it is, and only those of one profile.

use std::fs;
use std::path::Path;
use std::time::Instant;

use xtask::peers::Peers;

use crate::Scale;
use crate::load::{BODY_BYTES, Events};
use crate::table::{self, Round};
use crate::work::{CANDIDATES, Candidate, Work};

/// A profile that the filter lets pass, and one that it does not.
const WANTED: &str = "idem-status";
const OTHER: &str = "idem-others";

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

pub(crate) fn raw_configuration(candidate: Candidate, file: &Path) -> String {
    let file = file.display();
    match candidate {
        Candidate::Evbus => format!("file:\n  '*': {{path: {file}, format: body}}\n"),
        Candidate::Rsyslog => format!(
            r#"ruleset(name="work") {{ action(type="omfile" file="{file}" template="raw" ioBufferSize="256k" flushOnTXEnd="on") }}"#
        ),
        Candidate::SyslogNg => format!(
            r#"destination d {{ file("{file}" template("$MSG\n")); }};
log {{ source(s); destination(d); flags(flow-control); }};"#
        ),
    }
}

fn filtered_configuration(candidate: Candidate, file: &Path) -> String {
    let file = file.display();
    match candidate {
        Candidate::Evbus => format!("file:\n  {WANTED}: {{path: {file}, format: body}}\n"),
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
    configuration: fn(Candidate, &Path) -> String,
) {
    let mut shown = CANDIDATES.map(|candidate| (candidate.name(), Vec::new()));
    for _ in 0..scale.rounds {
        for (candidate, (_, rounds)) in CANDIDATES.into_iter().zip(&mut shown) {
            let round = round(peers, scale, events, arriving, candidate, configuration);
            rounds.push(round);
        }
    }
    table::rates(&shown);
}

fn round(
    peers: &Peers,
    scale: Scale,
    events: &Events,
    arriving: u64,
    candidate: Candidate,
    configuration: fn(Candidate, &Path) -> String,
) -> Round {
    let work = Work::new(&["plugin-glob", "plugin-file"]);
    let file = work.path().join("out");
    let (mut process, socket) = work.start(candidate, peers, &configuration(candidate, &file));
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
