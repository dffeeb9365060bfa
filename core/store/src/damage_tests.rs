//! Stores whose files have damaged blocks, and salvage that is interrupted anywhere: everything written is read, or
//! counted as lost.
#![allow(clippy::unwrap_used)]

mod full_disk;
mod heads;
mod numbers;
mod packs;
mod running;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::salvage::beside;
use super::tests::{
    body_of, event, filled, filled_with_rows, flip_in_bodies, name, read_all, state,
};
use super::*;

const BLOCK: usize = 4096;

/// Files of a store, as they were.
struct Saved(Vec<(PathBuf, Option<Vec<u8>>)>);

impl Saved {
    fn new(file: &Path) -> Self {
        let endings = ["", "-wal", "-shm"].map(|ending| beside(file, ending));
        Self(
            endings
                .map(|path| (path.clone(), fs::read(path).ok()))
                .into(),
        )
    }

    fn restore(&self) {
        for (path, content) in &self.0 {
            match content {
                Some(content) => fs::write(path, content).unwrap(),
                None => {
                    let _ = fs::remove_file(path);
                }
            }
        }
    }
}

/// A store with the events 1 to `last`, as a killed process leaves it: the log is not in the file yet.
async fn left(dir: &Path, last: u64, together: u64) -> Saved {
    let state_dir = state(dir);
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    for number in 1..=last {
        journal.append(number, 0, &event(number), true);
        if number % together == 0 || number == last {
            journal.receipt(number).written().await.unwrap();
        }
    }
    let saved = Saved::new(&state_dir.store_file(&name("idem-*", 0)));
    journal.close().await.unwrap();
    saved
}

/// Opens the store and reads everything; returns how many events there are, and how many missing ones are counted as
/// lost.
async fn account(dir: &Path) -> (u64, u64) {
    let state = state(dir);
    let journal = Journal::open(&state, &name("idem-*", 0)).unwrap();
    let found = journal.found();
    let (seqs, bad) = read_all(&journal).await;
    assert!(seqs.is_sorted_by(|one, other| one < other));
    assert_eq!(
        found.events,
        seqs.len() as u64 + bad,
        "the number of events in the queue is right"
    );
    journal.close().await.unwrap();
    drop(journal);
    let again = Journal::open(&state, &name("idem-*", 0)).unwrap();
    let then = again.found();
    assert_eq!(
        (then.damaged + then.lost, then.events),
        (found.damaged + found.lost + bad, seqs.len() as u64),
        "what is damaged and lost stays counted"
    );
    again.close().await.unwrap();
    (seqs.len() as u64, then.damaged + then.lost)
}

#[tokio::test]
async fn a_destroyed_block_anywhere_in_the_file_costs_its_rows_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled(dir.path(), 3000).await;
    let saved = Saved::new(&file);
    let whole = fs::read(&file).unwrap();
    for (round, block) in (0..whole.len() / BLOCK).enumerate() {
        if block > 12 && round % 5 != 0 {
            continue;
        }
        for fill in [0, 0xa5] {
            saved.restore();
            let mut damaged = whole.clone();
            damaged[block * BLOCK..(block + 1) * BLOCK].fill(fill);
            fs::write(&file, damaged).unwrap();
            let (there, told) = account(dir.path()).await;
            assert!(there >= 3000 - 30, "block {block}: {there} are there");
            assert_eq!(there + told, 3000, "block {block}");
        }
    }
}

#[tokio::test]
async fn a_destroyed_block_anywhere_in_the_log_costs_its_frames_and_counts_them() {
    for (last, together) in [(700, 50), (40, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let saved = left(dir.path(), last, together).await;
        let (log, whole) = saved.0[1].clone();
        let whole = whole.unwrap();
        let blocks = whole.len() / BLOCK;
        let (mut read, mut rounds) = (0, 0);
        for block in 0..blocks {
            if blocks > 40 && block % 3 != 0 && (3..blocks - 3).contains(&block) {
                continue;
            }
            for fill in [0, 0xa5] {
                saved.restore();
                let mut damaged = whole.clone();
                damaged[block * BLOCK..(block + 1) * BLOCK].fill(fill);
                fs::write(&log, damaged).unwrap();
                let (there, told) = account(dir.path()).await;
                assert!(
                    there + 60 >= last,
                    "block {block} of {blocks}: {there} of {last} are there"
                );
                assert!(
                    there + told >= last,
                    "block {block} of {blocks}: {there} are there, {told} told of"
                );
                assert!(
                    there + told <= last + 20,
                    "block {block} of {blocks}: {there} are there, {told} told of"
                );
                read += there;
                rounds += 1;
            }
        }
        assert!(
            read + 20 * rounds >= rounds * last,
            "{read} in {rounds} rounds"
        );
    }
}

/// How many damaged stores are kept.
fn kept(dir: &Path) -> usize {
    let files = fs::read_dir(dir.join("quarantine")).unwrap();
    files
        .filter(|file| {
            let path = file.as_ref().unwrap().path();
            path.extension().is_some_and(|ending| ending == "db")
        })
        .count()
}

#[tokio::test]
async fn a_destroyed_block_of_dead_letters_is_counted_apart_from_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = state(dir.path());
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let burial = |number: u64| Burial {
        seq: None,
        event: event(number),
        error: "refused".to_owned(),
        attempts: 3,
        first_attempt_ns: 1,
        last_attempt_ns: number,
    };
    journal.bury((1..=500).map(burial).collect(), 0);
    journal.append(1, 0, &event(1), true);
    journal.close().await.unwrap();
    drop(journal);
    let file = state_dir.store_file(&name("idem-*", 0));
    let mut content = fs::read(&file).unwrap();
    let last = content.len() / BLOCK - 1;
    content[(last - 3) * BLOCK..(last - 2) * BLOCK].fill(0xa5);
    fs::write(&file, content).unwrap();
    let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
    let found = journal.found();
    assert_eq!((found.events, found.lost), (1, 0));
    assert_eq!(found.dead_letters + journal.letters().lost(), 500);
    assert!((1..=30).contains(&journal.letters().lost()));
    journal.close().await.unwrap();
}

/// A damaged store; a salvage of it may be interrupted at any step.
async fn damaged(dir: &Path) -> PathBuf {
    let file = filled(dir, 3000).await;
    let mut content = fs::read(&file).unwrap();
    let middle = content.len() / BLOCK / 2 * BLOCK;
    content[middle..middle + BLOCK].fill(0);
    fs::write(&file, content).unwrap();
    file
}

#[tokio::test]
async fn salvage_goes_on_wherever_it_ended() {
    let source = tempfile::tempdir().unwrap();
    let file = damaged(source.path()).await;
    let damaged = fs::read(&file).unwrap();
    // What an undisturbed salvage produces.
    let (there, told) = account(source.path()).await;
    let copy = fs::read(&file).unwrap();
    for step in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = state(dir.path());
        let file = state_dir.store_file(&name("idem-*", 0));
        let salvaged = beside(&file, ".salvaged");
        if step < 3 {
            fs::write(&file, &damaged).unwrap();
        }
        fs::write(beside(&file, "-shm"), b"an index").unwrap();
        match step {
            // Killed while the copy was written.
            0 => fs::write(beside(&file, ".salvage"), &copy[..copy.len() / 2]).unwrap(),
            // Killed before anything was moved; in the next step, with a log that does not belong to the copy.
            1 => fs::write(&salvaged, &copy).unwrap(),
            2 => {
                fs::write(&salvaged, &copy).unwrap();
                fs::write(beside(&file, "-wal"), b"a log").unwrap();
            }
            // Killed after the damaged file was moved.
            3 => {
                fs::write(&salvaged, &copy).unwrap();
                let time = fs::metadata(&salvaged).unwrap();
                let time = time.mtime() * 1_000_000_000 + time.mtime_nsec();
                let kept = format!("{}-{time}.db", name("idem-*", 0).file_stem());
                fs::write(state_dir.quarantine().join(kept), &damaged).unwrap();
            }
            // Killed after the copy was renamed.
            _ => {
                fs::write(&file, &copy).unwrap();
                let _ = fs::remove_file(beside(&file, "-shm"));
            }
        }
        drop(state_dir);
        assert_eq!(account(dir.path()).await, (there, told), "step {step}");
        let left: Vec<_> = fs::read_dir(dir.path().join("queues"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("salvage"))
            .collect();
        assert_eq!(left, [""; 0], "step {step}");
        assert_eq!(kept(dir.path()), usize::from(step < 4), "step {step}");
    }
}

#[tokio::test]
async fn the_newest_three_damaged_files_of_a_store_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let file = filled(dir.path(), 30).await;
        let mut content = fs::read(&file).unwrap();
        content[4 * BLOCK..5 * BLOCK].fill(0xa5);
        fs::write(&file, content).unwrap();
        let state_dir = state(dir.path());
        let journal = Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
        journal.close().await.unwrap();
    }
    assert_eq!(kept(dir.path()), 3);
}

#[tokio::test]
async fn a_store_of_the_first_format_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = filled_with_rows(dir.path(), 100).await;
    let store = rusqlite::Connection::open(&file).unwrap();
    store
        .execute_batch(
            "DROP TABLE harm; DROP TABLE counts; DROP TABLE packs;
             CREATE TABLE counts (queued INTEGER NOT NULL, dead INTEGER NOT NULL) STRICT;
             INSERT INTO counts VALUES (100, 0); PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(store);
    assert_eq!(account(dir.path()).await, (100, 0));
}

/// Passes the state directory to the test program that is started as a child.
const CHILD: &str = "EVBUS_STATE_DIR_OF_A_CHILD";

/// The child that other tests start and kill; run directly, it does nothing.
#[test]
fn a_child_opens_its_store() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let state_dir = state(Path::new(&dir));
        Journal::open(&state_dir, &name("idem-*", 0)).unwrap();
        std::process::exit(0);
    }
}

fn child(dir: &Path) -> std::process::Child {
    let (_, module) = module_path!().split_once("::").unwrap();
    let test = format!("{module}::a_child_opens_its_store");
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test])
        .env(CHILD, dir)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn kills_at_any_moment_of_a_salvage_lose_nothing_more() {
    let source = tempfile::tempdir().unwrap();
    let file = filled(source.path(), 10_000).await;
    let mut damaged = fs::read(&file).unwrap();
    let middle = damaged.len() / BLOCK / 2 * BLOCK;
    damaged[middle..middle + BLOCK].fill(0);
    fs::write(&file, &damaged).unwrap();
    let started = std::time::Instant::now();
    assert!(child(source.path()).wait().unwrap().success());
    let takes = started.elapsed();
    let expected = account(source.path()).await;
    for round in 0..10_u32 {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = state(dir.path());
        fs::write(state_dir.store_file(&name("idem-*", 0)), &damaged).unwrap();
        drop(state_dir);
        for again in 0..2 {
            let mut child = child(dir.path());
            // A moment of the work, not a wait for a condition.
            std::thread::sleep(takes * (round + 1) / 10 / (again + 1));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(account(dir.path()).await, expected, "round {round}");
        assert_eq!(kept(dir.path()), 1, "round {round}");
    }
}

#[tokio::test]
async fn a_salvage_ends_soon_when_the_store_is_closed_and_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let file = damaged(dir.path()).await;
    let before = fs::read(&file).unwrap();
    let state_dir = state(dir.path());
    let closing = salvage::Closing::default();
    let long_ago = std::time::Instant::now()
        .checked_sub(std::time::Duration::from_mins(1))
        .unwrap();
    closing.set(long_ago).unwrap();
    let named = name("idem-*", 0);
    let stopped = salvage::replace(&state_dir, &file, &named, "a test", None, &closing);
    let reason = stopped.unwrap_err().to_string();
    assert!(
        reason.contains("interrupted by the host's shutdown"),
        "{reason}"
    );
    assert!(fs::read(&file).unwrap() == before, "it is as it was");
    assert_eq!(kept(dir.path()), 0);
    drop(state_dir);
    let (there, told) = account(dir.path()).await;
    assert_eq!(there + told, 3000);
}

/// A small file system; mounting needs root.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = Self(dir);
        made.mount(&[
            "-t",
            "tmpfs",
            "-o",
            &format!("size={size},mode=0700"),
            "tmpfs",
        ]);
        made
    }

    fn grow(&self, size: &str) {
        self.mount(&["-o", &format!("remount,size={size}")]);
    }

    fn mount(&self, args: &[&str]) {
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(args).arg(self.0.path()).status().unwrap();
        assert!(mounted.success(), "root can mount a tmpfs");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let mut umount = std::process::Command::new("umount");
        let _ = umount.arg("-l").arg(self.0.path()).status();
    }
}

/// The files in the directory of stores, and in the quarantine.
fn files(dir: &Path) -> Vec<String> {
    let names = ["queues", "quarantine"].map(|name| fs::read_dir(dir.join(name)).unwrap());
    let names = names.into_iter().flatten();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
        .collect();
    names.sort();
    names
}
