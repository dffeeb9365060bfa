use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::super::{Framing, PUB_SOCKET, PULL_SOCKET, SocketDir, SocketError, SocketOptions};

fn dir(path: &Path) -> SocketDir {
    SocketDir {
        path: path.to_owned(),
        framing: Framing::Bare,
    }
}

/// A master's sockets and a minion's.
const NAMES: [&str; 4] = [
    PUB_SOCKET,
    PULL_SOCKET,
    "minion_event_1e9498c860_pub.ipc",
    "minion_event_1e9498c860_pull.ipc",
];

fn with_minion() -> SocketOptions {
    SocketOptions {
        // The same one twice is one.
        minion_ids: vec!["minion1".to_owned(), "minion1".to_owned()],
        ..SocketOptions::default()
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it exists").mode() & 0o7777
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("there is room for a directory")
}

fn error(dir: &SocketDir) -> SocketError {
    dir.bind(&SocketOptions::default())
        .expect_err("the directory is of no use")
}

#[test]
fn a_missing_directory_is_made_for_its_owner_alone_and_left_without_sockets() {
    let root = temp();
    let path = root.path().join("a/b");
    for (options, names) in [
        (SocketOptions::default(), &NAMES[..2]),
        (with_minion(), &NAMES),
    ] {
        let bound = dir(&path).bind(&options).expect("nobody else is there");
        assert_eq!(mode(&path), 0o700);
        for name in names {
            assert_eq!(mode(&path.join(name)), 0o600);
        }
        let found = fs::read_dir(&path).expect("it exists").count();
        assert_eq!(found, names.len() + 1, "and the lock");
        drop(bound);
        assert_eq!(fs::read_dir(&path).expect("it exists").count(), 0);
    }
}

#[test]
fn the_sockets_of_a_dead_host_are_replaced() {
    let root = temp();
    for name in NAMES {
        // A listener that is dropped leaves its file, as a killed process does.
        drop(UnixListener::bind(root.path().join(name)).expect("the path is free"));
    }
    let _bound = dir(root.path())
        .bind(&with_minion())
        .expect("the host is dead");
    for name in NAMES {
        UnixStream::connect(root.path().join(name)).expect("the socket is the new one");
    }
}

#[test]
fn a_living_host_keeps_its_directory() {
    let root = temp();
    let bound = dir(root.path())
        .bind(&SocketOptions::default())
        .expect("the directory is new");
    let refused = error(&dir(root.path()));
    assert!(matches!(refused, SocketError::InUse { .. }), "{refused}");
    let path = root.path().display().to_string();
    assert!(refused.to_string().contains(&path), "{refused}");
    UnixStream::connect(root.path().join(PULL_SOCKET)).expect("the first host's socket is there");
    drop(bound);
    dir(root.path())
        .bind(&SocketOptions::default())
        .expect("the first host is gone");
}

/// A Salt master or minion takes no lock, so its sockets alone say that it lives.
#[test]
fn a_living_salt_master_or_minion_keeps_all_its_sockets() {
    for living in NAMES {
        let root = temp();
        let inode = |name| {
            let found = fs::symlink_metadata(root.path().join(name));
            found.map(|found| found.ino()).ok()
        };
        let master = UnixListener::bind(root.path().join(living)).expect("the path is free");
        for name in NAMES.into_iter().filter(|name| *name != living) {
            drop(UnixListener::bind(root.path().join(name)).expect("the path is free"));
        }
        let before = NAMES.map(inode);
        let refused = dir(root.path()).bind(&with_minion()).expect_err("it lives");
        assert!(matches!(refused, SocketError::InUse { .. }), "{refused}");
        assert_eq!(NAMES.map(inode), before, "nothing has been touched");
        drop(master);
        dir(root.path()).bind(&with_minion()).expect("it is gone");
    }
}

#[test]
fn a_living_master_that_accepts_nothing_any_more_keeps_its_sockets() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let root = temp();
    let path = root.path().join(PULL_SOCKET);
    let address = SocketAddrUnix::new(&path).expect("it is short");
    let socket = |flags| {
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .expect("there is room for a socket")
    };
    let master = socket(SocketFlags::CLOEXEC);
    rustix::net::bind(&master, &address).expect("the path is free");
    rustix::net::listen(&master, 0).expect("it is bound");
    let mut waiting = Vec::new();
    loop {
        let program = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
        if rustix::net::connect(&program, &address).is_err() {
            break;
        }
        waiting.push(program);
    }
    let refused = error(&dir(root.path()));
    assert!(matches!(refused, SocketError::InUse { .. }), "{refused}");
    assert!(path.exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let root = temp();
    let path = root.path().join(PULL_SOCKET);
    fs::write(&path, "precious").expect("there is room");
    let refused = error(&dir(root.path()));
    assert!(
        matches!(refused, SocketError::NotASocket { .. }),
        "{refused}"
    );
    assert_eq!(
        fs::read_to_string(&path).expect("it is still there"),
        "precious"
    );
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    let root = temp();
    for exposed in [0o770, 0o707, 0o1777] {
        fs::set_permissions(root.path(), fs::Permissions::from_mode(exposed)).expect("it is ours");
        let refused = error(&dir(root.path()));
        assert!(
            refused.to_string().contains(&format!("mode {exposed:04o}")),
            "{refused}"
        );
    }
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    dir(root.path())
        .bind(&SocketOptions::default())
        .expect("others may only look");
}

#[test]
fn sockets_are_bound_and_taken_over_below_directories_of_any_length() {
    let root = temp();
    let path = root.path().join("x".repeat(120)).join("y".repeat(120));
    let bound = dir(&path)
        .bind(&SocketOptions::default())
        .expect("nobody else is there");
    for name in &NAMES[..2] {
        assert_eq!(mode(&path.join(name)), 0o600);
    }
    // One that lives is found out, and one that is abandoned is replaced.
    assert!(matches!(error(&dir(&path)), SocketError::InUse { .. }));
    drop(bound);
    let deserted = path.join(PULL_SOCKET);
    let short = evbus_wire::SocketPath::new(&deserted).expect("it opens");
    drop(UnixListener::bind(short.as_path()).expect("the path is free"));
    assert!(deserted.exists());
    drop(
        dir(&path)
            .bind(&SocketOptions::default())
            .expect("it is abandoned"),
    );
}

#[test]
fn a_socket_that_somebody_else_put_there_is_not_removed() {
    let root = temp();
    let bound = dir(root.path())
        .bind(&SocketOptions::default())
        .expect("the directory is new");
    let path = root.path().join(PUB_SOCKET);
    fs::remove_file(&path).expect("it is there");
    let _other = UnixListener::bind(&path).expect("the path is free");
    drop(bound);
    assert!(path.exists());
}
