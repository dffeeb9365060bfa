//! From a socket to a file: every event as it is, and only those of one profile.

use std::fs;
use std::path::Path;

use xtask::peers::Peers;

use crate::Scale;
use crate::load::{BODY_BYTES, Events, Source};
use crate::table::{self, Row};
use crate::work::{Candidate, Work};

/// A profile that the filter lets pass, and one that it does not.
const WANTED: &str = "idem-status";
const OTHER: &str = "idem-others";

/// What is compared: evbus as it is by default, and without waiting for the disk, as the peers do it.
const RUNS: [(&str, Candidate, &str); 4] = [
    ("evbus, every batch synced", Candidate::Evbus, "batch"),
    ("evbus, `fsync: never`", Candidate::Evbus, "never"),
    ("rsyslog", Candidate::Rsyslog, ""),
    ("syslog-ng", Candidate::SyslogNg, ""),
];

/// A candidate's configuration that writes to a file.
type Configuration = fn(Candidate, &str, &Path) -> String;

/// Every event as it is; only evbus looks into it.
pub(crate) fn raw(peers: &Peers, scale: Scale) {
    let aims = ["", "", "1.1", "1.4"];
    compare(peers, scale, &[WANTED], raw_configuration, aims);
}

/// The peers parse the JSON and filter by one field, evbus by the profile; every other event passes.
pub(crate) fn filtered(peers: &Peers, scale: Scale) {
    let aims = ["", "", "3", "3"];
    compare(peers, scale, &[WANTED, OTHER], filtered_configuration, aims);
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
    profiles: &[&'static str],
    configuration: Configuration,
    aims: [&'static str; 4],
) {
    let events = Events::of(profiles);
    let names = RUNS.map(|(name, ..)| name);
    let mut rows: Vec<Row> = names
        .into_iter()
        .zip(aims)
        .map(|(name, aim)| Row::new(name, aim))
        .collect();
    for pass in scale.passes() {
        let arriving = pass.events / profiles.len() as u64;
        for ((_, candidate, fsync), row) in RUNS.into_iter().zip(&mut rows) {
            let work = Work::of(pass, &["plugin-glob", "plugin-file"]);
            let file = work.path().join("out");
            let configuration = configuration(candidate, fsync, &file);
            let (mut process, socket) = work.start(candidate, peers, &configuration);
            let source = Source::Socket(socket, candidate.form());
            let whole = arriving * (BODY_BYTES as u64 + 1);
            row.add(process.measure(pass.events, |process| {
                source.feed(process, &events, pass.events, || {
                    fs::metadata(&file).is_ok_and(|file| file.len() >= whole)
                });
            }));
            check(candidate, &file, arriving);
        }
    }
    table::rates(&rows);
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
