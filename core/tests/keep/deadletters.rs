//! `evbus deadletters` on stores that no host has open.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{evbus, json_lines, run, stderr};
use evbus::store::{StateDir, StateLimits};
use rusqlite::{Connection, params};
use serde_json::json;
use tempfile::TempDir;

/// A store in format 1, which this and every later version must be able to read.
const FORMAT_1: &str = "
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
CREATE TABLE destination (provider TEXT NOT NULL, pattern TEXT NOT NULL, nth INTEGER NOT NULL) STRICT;
CREATE TABLE counts (queued INTEGER NOT NULL, dead INTEGER NOT NULL) STRICT;
INSERT INTO counts VALUES (0, 0);
CREATE TABLE queue (
    seq INTEGER PRIMARY KEY, attempts INTEGER NOT NULL,
    id BLOB NOT NULL, time INTEGER NOT NULL, profile TEXT NOT NULL, content_type TEXT NOT NULL,
    attributes TEXT, body BLOB NOT NULL, checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    error TEXT NOT NULL, attempts INTEGER NOT NULL, first_attempt INTEGER NOT NULL, last_attempt INTEGER NOT NULL,
    id BLOB NOT NULL, time INTEGER NOT NULL, profile TEXT NOT NULL, content_type TEXT NOT NULL,
    attributes TEXT, body BLOB NOT NULL, checksum INTEGER NOT NULL
) STRICT;
PRAGMA application_id = 0x65766273;
PRAGMA user_version = 1;
";

/// 2025-06-01T12:00:00Z.
const TIME: u64 = 1_748_779_200_000_000_000;

const FIRST: &str = "01a2068f-b371-7000-8000-000000000001";

/// A state directory with dead letters of two destinations.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("state/queues")).unwrap();
        let bench = Self { dir };
        let kafka = bench.store("kafka", "idem-*", 0);
        bury(
            &kafka,
            1,
            "idem-run",
            "application/json",
            b"{\"n\":1}",
            TIME,
        );
        bury(&kafka, 2, "idem-state", "text/plain", b"plain", now());
        let pika = bench.store("pika", "*", 1);
        bury(
            &pika,
            1,
            "idem-run",
            "application/msgpack",
            b"\x81\xff",
            TIME,
        );
        bench
    }

    fn store(&self, provider: &str, pattern: &str, nth: u32) -> Connection {
        let file = self.dir.path().join(format!("state/queues/{provider}.db"));
        let store = Connection::open(file).unwrap();
        store.execute_batch(FORMAT_1).unwrap();
        store
            .execute(
                "INSERT INTO destination VALUES (?, ?, ?)",
                params![provider, pattern, nth],
            )
            .unwrap();
        store
    }

    fn run(&self, args: &[&str]) -> Output {
        run(
            evbus(self.dir.path())
                .arg("deadletters")
                .args(args)
                .env("EVBUS_STATE_DIR", self.state()),
            b"",
        )
    }

    fn state(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    /// How many rows a table of all stores has.
    fn rows(&self, table: &str) -> u32 {
        ["kafka", "pika"]
            .iter()
            .map(|provider| {
                let file = self.state().join(format!("queues/{provider}.db"));
                let store = Connection::open(file).unwrap();
                let count = format!("SELECT count(*) FROM {table}");
                store
                    .query_row(&count, [], |row| row.get::<_, u32>(0))
                    .unwrap()
            })
            .sum()
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_nanos().try_into().unwrap()
}

fn bury(
    store: &Connection,
    id: u8,
    profile: &str,
    content_type: &str,
    body: &[u8],
    last_attempt: u64,
) {
    let id = [
        0x01, 0xa2, 0x06, 0x8f, 0xb3, 0x71, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, id,
    ];
    let mut checksum = crc32fast::Hasher::new();
    // A dead letter has no position in the queue.
    checksum.update(&0_u64.to_le_bytes());
    checksum.update(&TIME.to_le_bytes());
    for part in [
        &id[..],
        profile.as_bytes(),
        content_type.as_bytes(),
        b"",
        body,
    ] {
        checksum.update(&(part.len() as u64).to_le_bytes());
        checksum.update(part);
    }
    store
        .execute(
            "INSERT INTO dead_letters (error, attempts, first_attempt, last_attempt, id, time, profile, \
             content_type, attributes, body, checksum) VALUES (?, 3, ?, ?, ?, ?, ?, ?, NULL, ?, ?)",
            params![
                "refused:\nno such topic",
                TIME.cast_signed(),
                last_attempt.cast_signed(),
                id,
                TIME.cast_signed(),
                profile,
                content_type,
                body,
                checksum.finalize()
            ],
        )
        .unwrap();
    store
        .execute("UPDATE counts SET dead = dead + 1", [])
        .unwrap();
}

#[track_caller]
fn check(output: &Output, code: i32, sentence: &str) -> String {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(sentence), "expected {sentence:?} in:\n{said}");
    assert!(!said.contains("panicked at"), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn list_shows_what_was_not_delivered_and_why() {
    let bench = Bench::new();
    let table = check(&bench.run(&["list", "--older-than", "3600"]), 0, "");
    assert_eq!(
        table,
        "\
LAST ATTEMPT          DESTINATION   PROFILE   ID                                    ATTEMPTS  BYTES  ERROR
2025-06-01T12:00:00Z  kafka idem-*  idem-run  01a2068f-b371-7000-8000-000000000001  3         7      refused:\\nno such topic
2025-06-01T12:00:00Z  pika * #1     idem-run  01a2068f-b371-7000-8000-000000000001  3         2      refused:\\nno such topic
"
    );
    for (filter, expected) in [
        (&[][..], 3),
        (&["--provider", "kafka"], 2),
        (&["--pattern", "idem-*"], 2),
        (&["--profile", "idem-state"], 1),
        (&["--id", FIRST], 2),
        (&["--id", &FIRST.to_uppercase(), "--provider", "pika"], 1),
        (&["--older-than", "1e9"], 0),
    ] {
        let output = bench.run(&[&["list", "--json"], filter].concat());
        check(&output, 0, "");
        let letters = json_lines(&output);
        assert_eq!(letters.len(), expected, "{filter:?}: {letters:?}");
        for letter in letters {
            assert_eq!(letter["error"], "refused:\nno such topic");
            assert!(letter.get("body").is_none(), "{letter}");
        }
    }
    let nothing = check(&bench.run(&["list", "--provider", "none"]), 0, "");
    assert_eq!(nothing.lines().count(), 1, "{nothing}");
    assert!(nothing.starts_with("LAST ATTEMPT"), "{nothing}");
}

#[test]
fn show_gives_bodies_as_they_are() {
    let bench = Bench::new();
    let output = bench.run(&["show", FIRST]);
    check(&output, 0, "");
    let letters = json_lines(&output);
    assert_eq!(letters.len(), 2, "one of each destination");
    assert_eq!(letters[0]["body"], json!({"n": 1}));
    assert_eq!(letters[0]["attempts"], 3);
    assert_eq!(letters[1]["body_base64"], "gf8=");
    let output = bench.run(&["show", FIRST, "--body", "--provider", "pika"]);
    check(&output, 0, "");
    assert_eq!(output.stdout, b"\x81\xff");
    let output = bench.run(&["show", "--id", "01a2068f-b371-7000-8000-000000000002"]);
    check(&output, 0, "");
    assert_eq!(json_lines(&output)[0]["body"], "plain");
    check(
        &bench.run(&["show", "unknown"]),
        2,
        "expected the id of an event",
    );
    check(&bench.run(&["show"]), 2, "<ID>");
}

#[test]
fn replay_without_a_host_puts_letters_back_for_the_next_one() {
    let bench = Bench::new();
    check(&bench.run(&["replay"]), 2, "or --all");
    assert_eq!(bench.rows("queue"), 0);
    let said = check(
        &bench.run(&["replay", "--provider", "kafka", "--profile", "idem-run"]),
        0,
        "will be delivered when one starts",
    );
    assert_eq!(said, "1 dead letter put back into the queue\n");
    let said = check(&bench.run(&["replay", "--all", "--json"]), 0, "");
    assert_eq!(said, "{\"replayed\":2}\n");
    assert_eq!((bench.rows("queue"), bench.rows("dead_letters")), (3, 0));
    check(
        &bench.run(&["replay", "--all"]),
        1,
        "no dead letter matches",
    );
}

#[test]
fn replay_asks_nobody_who_does_not_answer() {
    let bench = Bench::new();
    let _held = StateDir::open(&bench.state(), StateLimits::default()).unwrap();
    check(
        &bench.run(&["replay", "--all"]),
        1,
        "is in use by another process",
    );
    assert_eq!(bench.rows("dead_letters"), 3);
}

#[test]
fn purge_deletes_what_it_was_told_to() {
    let bench = Bench::new();
    check(&bench.run(&["purge"]), 2, "or --all");
    check(
        &bench.run(&["purge", "--all", "--provider", "kafka"]),
        2,
        "",
    );
    assert_eq!(bench.rows("dead_letters"), 3);
    // Nobody else may write while a process holds the directory.
    let held = StateDir::open(&bench.state(), StateLimits::default()).unwrap();
    check(&bench.run(&["list"]), 0, "");
    check(
        &bench.run(&["purge", "--all"]),
        1,
        "is in use by another process",
    );
    assert_eq!(bench.rows("dead_letters"), 3);
    drop(held);
    let said = check(&bench.run(&["purge", "--older-than", "3600"]), 0, "");
    assert_eq!(said, "2 dead letters deleted\n");
    let said = check(&bench.run(&["purge", "--all", "--json"]), 0, "");
    assert_eq!(said, "{\"purged\":1}\n");
    assert_eq!((bench.rows("queue"), bench.rows("dead_letters")), (0, 0));
    let said = check(&bench.run(&["purge", "--all"]), 0, "");
    assert_eq!(said, "nothing to purge\n");
}

#[test]
fn a_directory_that_is_none_or_a_newer_one_is_named() {
    let bench = Bench::new();
    let absent = |dir: &Path| {
        let mut command = evbus(bench.dir.path());
        command
            .args(["deadletters", "list", "--state-dir"])
            .arg(dir);
        run(&mut command, b"")
    };
    check(
        &absent(&bench.dir.path().join("absent")),
        78,
        "absent: it does not exist; use the one",
    );
    check(&absent(Path::new("/dev/null")), 78, "is not a directory");
    check(
        &run(evbus(bench.dir.path()).args(["deadletters", "list"]), b""),
        78,
        "default-state: it does not exist",
    );
    let other = tempfile::tempdir().unwrap();
    let expected = format!(
        "{:?} is not a state directory: it has no directory \"queues\"",
        other.path()
    );
    for command in [
        &["list"][..],
        &["show", FIRST],
        &["replay", "--all"],
        &["purge", "--all"],
    ] {
        let mut foreign = evbus(bench.dir.path());
        foreign
            .arg("deadletters")
            .args(command)
            .arg("--state-dir")
            .arg(other.path());
        check(&run(&mut foreign, b""), 78, &expected);
    }
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);

    let store = Connection::open(bench.state().join("queues/kafka.db")).unwrap();
    store.pragma_update(None, "user_version", 9).unwrap();
    for command in [
        &["list"][..],
        &["show", FIRST],
        &["replay", "--all"],
        &["purge", "--all"],
    ] {
        check(&bench.run(command), 78, "has format 9; expected 4 or less");
    }
    assert_eq!(bench.rows("dead_letters"), 3);
}
