//! Something other than a file at the path of a store.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::deadletters::{self, Filter};
use super::tests::{name, state};
use super::*;

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[test]
fn what_is_not_a_file_is_refused_and_not_waited_for() {
    for ending in ["", "-wal", "-shm", "-journal", ".whole", ".salvaged"] {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let own = name("idem-*", 0);
        let store = state.store_file(&own);
        drop(Journal::open(&state, &own).unwrap());
        let odd = salvage::beside(&store, ending);
        let _ = fs::remove_file(&odd);
        pipe(&odd);
        let expected = format!(
            "{odd:?} is a named pipe, expected a file of a store; move it out of the state directory"
        );
        let refused = |error: Option<StateError>| error.unwrap().to_string();
        assert_eq!(refused(Journal::open(&state, &own).err()), expected);
        assert_eq!(
            refused(StateDir::examine_store(dir.path(), &own).err()),
            expected
        );
        assert_eq!(
            refused(deadletters::each(dir.path(), &Filter::default(), false, |_| true).err()),
            expected
        );
        fs::remove_file(&odd).unwrap();
        let _socket = UnixListener::bind(&odd).unwrap();
        let said = refused(Journal::open(&state, &own).err());
        assert!(said.contains(" is a socket, expected a file"), "{said}");
    }
}

#[test]
fn a_lock_that_is_not_a_file_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join("lock");
    pipe(&lock);
    let expected = format!(
        "cannot lock the state directory with {lock:?}: it is a named pipe, not a regular file; remove it"
    );
    let opened = StateDir::open(dir.path(), StateLimits::default());
    assert_eq!(opened.unwrap_err().to_string(), expected);
    assert_eq!(
        StateDir::examine(dir.path()).unwrap_err().to_string(),
        expected
    );
}
