use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::super::{Framing, PUB_SOCKET, PULL_SOCKET, SocketDir, SocketError};
use super::{Bus, until};

fn dir(path: &Path) -> SocketDir {
    SocketDir {
        path: path.to_owned(),
        framing: Framing::Bare,
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it exists").mode() & 0o7777
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("there is room for a directory")
}

fn error(dir: &SocketDir) -> SocketError {
    dir.bind().expect_err("the directory is no use")
}

#[test]
fn a_missing_directory_is_made_for_its_owner_alone_and_left_without_sockets() {
    let root = temp();
    let path = root.path().join("a/b");
    let bound = dir(&path).bind().expect("the directory is new");
    assert_eq!(mode(&path), 0o700);
    for name in [PUB_SOCKET, PULL_SOCKET] {
        assert_eq!(mode(&path.join(name)), 0o600);
    }
    drop(bound);
    assert_eq!(fs::read_dir(&path).expect("it exists").count(), 0);
}

#[test]
fn the_sockets_of_a_dead_host_are_replaced() {
    let root = temp();
    // A listener that is dropped leaves its file, as a killed process does.
    drop(UnixListener::bind(root.path().join(PUB_SOCKET)).expect("the path is free"));
    drop(UnixListener::bind(root.path().join(PULL_SOCKET)).expect("the path is free"));
    let _bound = dir(root.path()).bind().expect("the host is dead");
    UnixStream::connect(root.path().join(PULL_SOCKET)).expect("the socket is the new one");
}

#[test]
fn a_living_host_keeps_its_directory() {
    let root = temp();
    let bound = dir(root.path()).bind().expect("the directory is new");
    let refused = error(&dir(root.path()));
    assert!(matches!(refused, SocketError::InUse { .. }), "{refused}");
    let path = root.path().display().to_string();
    assert!(refused.to_string().contains(&path), "{refused}");
    UnixStream::connect(root.path().join(PULL_SOCKET)).expect("the first host's socket is there");
    drop(bound);
    dir(root.path()).bind().expect("the first host is gone");
}

#[test]
fn a_living_salt_master_keeps_its_directory() {
    let root = temp();
    let _master = UnixListener::bind(root.path().join(PULL_SOCKET)).expect("the path is free");
    let refused = error(&dir(root.path()));
    assert!(matches!(refused, SocketError::InUse { .. }), "{refused}");
    assert!(
        !root.path().join(PUB_SOCKET).exists(),
        "the half that was bound is gone"
    );
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
    dir(root.path()).bind().expect("others may only look");
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_refused_before_anything_is_made() {
    let root = temp();
    let free = 107 - 1 - PULL_SOCKET.len() - root.path().as_os_str().len() - 1;
    let longest = root.path().join("x".repeat(free));
    drop(dir(&longest).bind().expect("the path has just room"));
    let path = root.path().join("x".repeat(free + 1));
    let refused = error(&dir(&path));
    assert!(
        refused.to_string().contains("is 108 bytes long"),
        "{refused}"
    );
    assert!(!path.exists());
}

#[test]
fn a_socket_that_somebody_else_put_there_is_not_removed() {
    let root = temp();
    let bound = dir(root.path()).bind().expect("the directory is new");
    let path = root.path().join(PUB_SOCKET);
    fs::remove_file(&path).expect("it is there");
    let _other = UnixListener::bind(&path).expect("the path is free");
    drop(bound);
    assert!(path.exists());
}

/// As root, a thread takes on another user and connects; no other user can play that part, and
/// then the rule alone is tested, in `peer`.
#[tokio::test]
async fn another_user_is_refused_even_where_the_modes_let_it_in() {
    use rustix::thread::set_thread_res_uid;
    let root = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .expect("there is room for a directory");
    let bus = Bus::start_in(root);
    let sockets = [PUB_SOCKET, PULL_SOCKET].map(|name| bus.dir().join(name));
    fs::set_permissions(bus.dir(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    for socket in &sockets {
        fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).expect("it is ours");
    }
    let other = if rustix::process::geteuid().is_root() {
        rustix::process::Uid::from_raw(65_534)
    } else {
        rustix::process::geteuid()
    };
    let is_other = other != rustix::process::geteuid();
    let connecting = std::thread::spawn(move || {
        // Holds for this thread alone.
        set_thread_res_uid(other, other, other).expect("root may become anyone");
        sockets.map(|socket| UnixStream::connect(socket).expect("the modes let anyone in"))
    });
    let [publish, pull] = connecting.join().expect("the thread connects");
    let expected = u64::from(is_other);
    until(|| bus.server.counts().refused == expected).await;
    until(|| bus.publisher.counts().refused == expected).await;
    if is_other {
        for mut socket in [publish, pull] {
            socket.set_nonblocking(false).expect("it is a socket");
            let read = std::io::Read::read(&mut socket, &mut [0]);
            assert!(matches!(read, Ok(0)), "{read:?}");
        }
    }
}
