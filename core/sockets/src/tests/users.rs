//! Who gets in. As root, a thread takes on another user and its groups; no other user can play that
//! part, and then the thread is this user, whom every rule lets in.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::super::{
    Framing, LISTENER_QUEUE_BYTES, SocketDir, SocketError, SocketGroup, SocketOptions,
};
use super::{Bus, next_tag, salt_frame, soon, until};
use evbus_client::Listener;
use evbus_wire::{PUB_SOCKET, PULL_SOCKET};

const NOBODY: u32 = 65_534;

/// A group that root may give files to, and in which this user is.
fn group() -> u32 {
    if geteuid().is_root() {
        54_321
    } else {
        getegid().as_raw()
    }
}

fn options(group: Option<u32>) -> SocketOptions {
    SocketOptions {
        group: group.map(|gid| SocketGroup::find(&gid.to_string()).expect("a number is a group")),
        minion_ids: vec!["minion1".to_owned()],
        ..SocketOptions::default()
    }
}

/// A bus in a directory that everybody may enter.
fn bus(options: &SocketOptions) -> Bus {
    let root = tempfile::tempdir().expect("there is room for a directory");
    chmod(root.path(), 0o755);
    Bus::with_options(root, LISTENER_QUEUE_BYTES, options)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Mode and group.
fn access(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).expect("it exists");
    (found.mode() & 0o7777, found.gid())
}

/// Does something as nobody with a primary group and one more.
fn as_nobody<T: Send>(primary: u32, more: u32, act: impl FnOnce() -> T + Send) -> T {
    let acting = || {
        if geteuid().is_root() {
            // All of these hold for this thread alone.
            let [user, primary, more] = [NOBODY, primary, more];
            let (user, primary) = (Uid::from_raw(user), Gid::from_raw(primary));
            set_thread_groups(&[Gid::from_raw(more)]).expect("root may");
            set_thread_res_gid(primary, primary, primary).expect("root may");
            set_thread_res_uid(user, user, user).expect("root may");
        }
        act()
    };
    std::thread::scope(|scope| scope.spawn(acting).join().expect("the thread ends"))
}

fn sockets(bus: &Bus) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = fs::read_dir(bus.dir())
        .expect("it exists")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "ipc"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 4, "a master's and a minion's: {names:?}");
    names
}

fn connect(path: &PathBuf) -> io::Result<UnixStream> {
    UnixStream::connect(path)
}

/// Whether the host ends a connection without a word.
fn is_closed(mut stream: &UnixStream) -> bool {
    stream
        .set_read_timeout(Some(super::LIMIT))
        .expect("it is a socket");
    matches!(stream.read(&mut [0]), Ok(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_refused_by_the_modes() {
    let bus = bus(&options(None));
    let is_other = geteuid().is_root();
    for loosened in [0o700, 0o755] {
        chmod(&bus.dir(), loosened);
        for socket in sockets(&bus) {
            let connected = as_nobody(NOBODY, NOBODY, || connect(&socket));
            assert_eq!(connected.is_err(), is_other, "{socket:?}: {connected:?}");
        }
    }
    assert_eq!(bus.server.counts().refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_refused_even_where_the_modes_let_it_in() {
    let bus = bus(&options(None));
    let is_other = geteuid().is_root();
    let sockets = sockets(&bus);
    chmod(&bus.dir(), 0o755);
    for socket in &sockets {
        chmod(socket, 0o666);
    }
    // Root's own group makes nobody a root.
    for (primary, more) in [(NOBODY, NOBODY), (0, 0)] {
        for socket in &sockets {
            let stream = as_nobody(primary, more, || connect(socket)).expect("the modes let it in");
            if is_other {
                assert!(is_closed(&stream), "{socket:?}");
            }
        }
    }
    let expected = u64::from(is_other) * sockets.len() as u64;
    until(|| bus.server.counts().refused + bus.publisher.counts().refused == 2 * expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_the_group_fire_and_listen() {
    let gid = group();
    let mut bus = bus(&options(Some(gid)));
    assert_eq!(access(&bus.dir()), (0o750, gid));
    let sockets = sockets(&bus);
    for socket in &sockets {
        assert_eq!(access(socket), (0o660, gid), "{socket:?}");
    }
    let (publish, pull): (Vec<_>, Vec<_>) = sockets
        .iter()
        .partition(|path| path.to_string_lossy().ends_with("_pub.ipc"));
    for (primary, more) in [(NOBODY, gid), (gid, NOBODY)] {
        let listeners: Vec<_> = (publish.iter())
            .map(|socket| as_nobody(primary, more, || connect(socket)).expect("it may connect"))
            .collect();
        for socket in &pull {
            as_nobody(primary, more, || {
                let mut stream = connect(socket).expect("it may connect");
                stream.write_all(&salt_frame("from/nobody", &[0x80]))
            })
            .expect("the host reads");
            let event = soon(bus.taken.recv()).await.expect("the host runs");
            assert_eq!(event.profile(), "from/nobody");
        }
        for stream in listeners {
            let mut listener = Listener::over(stream).expect("it is a socket");
            for _ in &pull {
                assert_eq!(next_tag(&mut listener).await, "from/nobody");
            }
        }
    }
    assert_eq!(
        bus.server.counts().refused + bus.publisher.counts().refused,
        0
    );
    // The group connects, and that is all.
    let placed = as_nobody(NOBODY, gid, || fs::write(bus.dir().join("x"), "x"));
    let removed = as_nobody(NOBODY, gid, || fs::remove_file(&sockets[0]));
    if geteuid().is_root() {
        assert!(placed.is_err() && removed.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_in_the_group_is_refused_even_where_the_modes_let_it_in() {
    let bus = bus(&options(Some(group())));
    let is_other = geteuid().is_root();
    let sockets = sockets(&bus);
    for socket in &sockets {
        let connected = as_nobody(NOBODY, NOBODY, || connect(socket));
        assert_eq!(connected.is_err(), is_other, "{socket:?}: {connected:?}");
    }
    chmod(&bus.dir(), 0o755);
    for socket in &sockets {
        chmod(socket, 0o666);
        let stream = as_nobody(NOBODY, NOBODY, || connect(socket)).expect("the modes let it in");
        if is_other {
            assert!(is_closed(&stream), "{socket:?}");
        }
    }
    let expected = u64::from(is_other) * sockets.len() as u64;
    until(|| bus.server.counts().refused + bus.publisher.counts().refused == expected).await;
}

#[test]
fn a_directory_that_exists_is_never_opened_to_the_group() {
    let gid = group();
    let root = tempfile::tempdir().expect("there is room for a directory");
    let dir = SocketDir {
        path: root.path().join("a/b"),
        framing: Framing::Bare,
    };
    drop(dir.bind(&options(None)).expect("it is new"));
    let closed = access(&dir.path);
    let refused = dir
        .bind(&options(Some(gid)))
        .expect_err("nobody else may enter");
    assert!(
        matches!(refused, SocketError::ClosedToGroup { .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("has mode 0700"), "{refused}");
    assert_eq!(access(&dir.path), closed);
    // Whoever opened it did so on purpose, and it stays as it is.
    chmod(&dir.path, 0o711);
    if closed.1 != gid {
        drop(dir.bind(&options(Some(gid))).expect("everybody may enter"));
        assert_eq!(access(&dir.path), (0o711, closed.1));
    }
    std::os::unix::fs::chown(&dir.path, None, Some(gid)).expect("it is ours");
    chmod(&dir.path, 0o701);
    let refused = dir
        .bind(&options(Some(gid)))
        .expect_err("the group may not enter");
    assert!(
        matches!(refused, SocketError::ClosedToGroup { .. }),
        "{refused}"
    );
    chmod(&dir.path, 0o750);
    drop(dir.bind(&options(Some(gid))).expect("the group may enter"));
    chmod(&dir.path, 0o770);
    let refused = dir
        .bind(&options(Some(gid)))
        .expect_err("the group may write");
    assert!(matches!(refused, SocketError::Exposed { .. }), "{refused}");
    assert_eq!(access(&dir.path), (0o770, gid));
    // What is made for the group can be reached by it.
    let dir = SocketDir {
        path: root.path().join("c/d"),
        framing: Framing::Bare,
    };
    drop(dir.bind(&options(Some(gid))).expect("it is new"));
    for made in ["c", "c/d"] {
        assert_eq!(access(&root.path().join(made)), (0o750, gid), "{made}");
    }
}

#[test]
fn a_group_is_a_name_or_a_number() {
    let root = SocketGroup::find("root").expect("every system has it");
    assert_eq!(
        (root.gid().as_raw(), root.to_string().as_str()),
        (0, "root (0)")
    );
    let number = SocketGroup::find("54321").expect("it is a number");
    assert_eq!(
        (number.gid().as_raw(), number.to_string().as_str()),
        (54_321, "54321")
    );
    for unknown in ["no such group", "", "-1", "4294967295", "4294967296"] {
        let refused = SocketGroup::find(unknown).expect_err("there is none");
        assert_eq!(
            refused.to_string(),
            format!("group {unknown:?} does not exist; expected the name or number of a group")
        );
    }
}

#[test]
fn a_group_that_this_user_may_not_give_files_to_is_refused_and_nothing_is_left() {
    let root = tempfile::tempdir().expect("there is room for a directory");
    chmod(root.path(), 0o1777);
    // Nobody else may have this one, so it is nobody's own without root too.
    let foreign = if geteuid().is_root() { 54_321 } else { 0 };
    let dir = SocketDir {
        path: root.path().join("s"),
        framing: Framing::Bare,
    };
    let refused = as_nobody(NOBODY, NOBODY, || {
        dir.bind(&options(Some(foreign))).map(drop)
    })
    .expect_err("only root may");
    assert!(
        refused
            .to_string()
            .contains("run the host as a member of the group or as root"),
        "{refused}"
    );
    assert!(!dir.path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_of_the_group_keep_neither_the_hosts_user_nor_waiting_members_out() {
    let gid = group();
    let mut options = options(Some(gid));
    (options.limits.senders, options.limits.listeners) = (4, 4);
    let mut bus = bus(&options);
    let (pull, publish) = (bus.dir().join(PULL_SOCKET), bus.dir().join(PUB_SOCKET));
    let as_member = |path: &PathBuf| as_nobody(NOBODY, gid, || connect(path)).expect("it may");
    // Three have slots, one waits, and two more are closed.
    let mut silent: Vec<_> = (0..4).map(|_| as_member(&pull)).collect();
    until(|| bus.server.counts().connections == 4).await;
    let beyond = [as_member(&pull), as_member(&pull)];
    let listeners: Vec<_> = (0..4).map(|_| as_member(&publish)).collect();
    if geteuid().is_root() {
        for stream in &beyond {
            assert!(is_closed(stream));
        }
        until(|| bus.publisher.counts().turned_away == 1).await;
        assert_eq!(bus.publisher.counts().listeners, 3);
        assert_eq!(bus.server.counts().turned_away, 2);
        // There is always room for the host's own user.
        let mut own = connect(&pull).expect("it may");
        own.write_all(&salt_frame("own", &[0x80]))
            .expect("the host reads");
        let event = soon(bus.taken.recv()).await.expect("the host runs");
        assert_eq!(event.profile(), "own");
        let mut own = super::listener(&bus.dir()).await;
        bus.publisher.publish(&super::listeners::event("heard"));
        assert_eq!(next_tag(&mut own).await, "heard");
    }
    drop((beyond, listeners));
    // What the one that waits has written is read when another one ends.
    let mut last = silent.pop().expect("there are four");
    last.write_all(&salt_frame("waited", &[0x80]))
        .expect("the kernel takes it");
    silent.pop();
    let event = soon(bus.taken.recv()).await.expect("the host runs");
    assert_eq!(event.profile(), "waited");
}
