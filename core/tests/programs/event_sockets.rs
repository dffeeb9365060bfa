//! The event sockets of a running host: who may use them, under which names, and how many.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use crate::support::{PATIENCE, RunningHost, evbus, run, stderr, wait_for};
use evbus_testkit::plugin_dir;
use rustix::process::{Gid, Resource, Rlimit, Uid, getegid, geteuid, getrlimit, setrlimit};

const NO_DESTINATIONS: &str = "{}";
const MINION: [&str; 2] = [
    "s/minion_event_1e9498c860_pub.ipc",
    "s/minion_event_1e9498c860_pull.ipc",
];
const MASTER: [&str; 2] = ["s/master_event_pub.ipc", "s/master_event_pull.ipc"];

fn start(more: &[&str]) -> RunningHost {
    let plugins = tempfile::tempdir().unwrap();
    RunningHost::start(NO_DESTINATIONS, plugins.path(), more)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// As Salt programs write it.
fn salt_frame(tag: &str) -> Vec<u8> {
    let body = [tag.as_bytes(), b"\n\n\x80"].concat();
    let mut frame = b"\x82\xa4head\x80\xa4body".to_vec();
    rmp::encode::write_bin(&mut frame, &body).unwrap();
    frame
}

#[test]
fn a_minions_names_are_the_same_bus() {
    let host = start(&["--minion-id", "minion1"]);
    let mut listeners = [MASTER[0], MINION[0]].map(|name| connect(&host.path(name)));
    for name in [MASTER[1], MINION[1]] {
        assert_eq!(mode(&host.path(name)), 0o600);
        let frame = salt_frame(name);
        connect(&host.path(name)).write_all(&frame).unwrap();
        for listener in &mut listeners {
            let mut heard = vec![0; frame.len()];
            listener.read_exact(&mut heard).unwrap();
            assert_eq!(heard, frame);
        }
    }
    assert_eq!(host.status()["host"]["listeners"]["listeners"], 2);
    let (_, _, dir) = host.stop_and_keep();
    let left = fs::read_dir(dir.path().join("s")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn the_sockets_of_a_killed_host_are_replaced_and_those_of_a_living_one_are_not() {
    let host = start(&["--minion-id", "minion1"]);
    let second = run(
        evbus(host.dir.path())
            .args(["run", "--sock-dir"])
            .arg(host.path("s")),
        b"",
    );
    assert_eq!(second.status.code(), Some(78));
    assert!(
        stderr(&second).contains("is in use by another process"),
        "{}",
        stderr(&second)
    );
    host.put("still", "1");
    let dir = host.kill();
    for name in MASTER.into_iter().chain(MINION) {
        assert!(dir.path().join(name).exists(), "{name}");
    }
    let plugins = tempfile::tempdir().unwrap();
    let more = ["--minion-id", "minion1"];
    let host = RunningHost::start_in(dir, NO_DESTINATIONS, plugins.path(), &more);
    for name in MASTER.into_iter().chain(MINION) {
        drop(connect(&host.path(name)));
    }
    host.put("again", "1");
}

/// As root, a thread becomes another user in the group. Other users cannot do that, so the thread stays this user, who
/// has every right.
#[test]
fn a_group_may_fire_and_listen_and_not_control() {
    let is_root = geteuid().is_root();
    let gid = if is_root { 54_321 } else { getegid().as_raw() };
    let host = start(&["--minion-id", "minion1", "--sock-group", &gid.to_string()]);
    assert_eq!(mode(&host.path("s")), 0o750);
    for name in MASTER.into_iter().chain(MINION) {
        assert_eq!(mode(&host.path(name)), 0o660, "{name}");
        assert_eq!(fs::metadata(host.path(name)).unwrap().gid(), gid, "{name}");
    }
    let control = host.path("s/evbus_control.ipc");
    assert_eq!(mode(&control), 0o600);
    // Lets the member enter the directory above.
    fs::set_permissions(host.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let as_member = |act: &(dyn Fn() + Sync)| {
        std::thread::scope(|scope| {
            let acting = || {
                if is_root {
                    // These affect only this thread.
                    let nobody = (Uid::from_raw(65_534), Gid::from_raw(65_534));
                    rustix::thread::set_thread_groups(&[Gid::from_raw(gid)]).unwrap();
                    rustix::thread::set_thread_res_gid(nobody.1, nobody.1, nobody.1).unwrap();
                    rustix::thread::set_thread_res_uid(nobody.0, nobody.0, nobody.0).unwrap();
                }
                act();
            };
            scope.spawn(acting).join().unwrap();
        });
    };
    as_member(&|| {
        let mut listener = connect(&host.path(MINION[0]));
        let frame = salt_frame("from/member");
        connect(&host.path(MASTER[1])).write_all(&frame).unwrap();
        let mut heard = vec![0; frame.len()];
        listener.read_exact(&mut heard).unwrap();
        assert_eq!(heard, frame);
        assert_eq!(UnixStream::connect(&control).is_err(), is_root);
    });
    fs::set_permissions(&control, fs::Permissions::from_mode(0o666)).unwrap();
    as_member(&|| {
        let mut asking = connect(&control);
        let _ = asking.write_all(b"{\"evbus\": 1, \"ask\": \"status\"}\n");
        let answered = asking.read(&mut [0]).is_ok_and(|count| count > 0);
        assert_ne!(answered, is_root);
    });
    assert_eq!(host.status()["host"]["intake"]["refused"], 0);
}

#[test]
fn a_group_that_does_not_exist_is_one_clear_sentence() {
    let home = tempfile::tempdir().unwrap();
    let output = run(
        evbus(home.path())
            .args(["run", "--sock-group", "no-such-group", "--sock-dir"])
            .arg(home.path().join("s")),
        b"",
    );
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        stderr(&output),
        "error: --sock-group: group \"no-such-group\" does not exist; expected the name or number of a group\n"
    );
    assert!(!home.path().join("s").exists());
}

#[test]
fn a_thousand_listeners_need_no_other_limit_than_the_systems_highest() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let mut command = Command::new("sh");
    // A limit that is usual, and a lower one.
    command.args(["-c", "ulimit -Sn 256; exec \"$@\"", "sh"]);
    let plugins = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let host = RunningHost::start_through(command, dir, NO_DESTINATIONS, plugins.path(), &[]);
    let mut listeners: Vec<_> = (0..1000).map(|_| connect(&host.path(MASTER[0]))).collect();
    let frames: Vec<u8> = (0..100)
        .flat_map(|n| salt_frame(&format!("tag/{n}")))
        .collect();
    connect(&host.path(MASTER[1])).write_all(&frames).unwrap();
    for listener in &mut listeners {
        let mut heard = vec![0; frames.len()];
        listener.read_exact(&mut heard).unwrap();
        assert!(heard == frames, "every event, in order, and nothing else");
    }
    let counts = host.status();
    assert_eq!(counts["host"]["listeners"]["listeners"], 1000);
    assert_eq!(counts["host"]["listeners"]["cut_off"], 0);
}

#[test]
fn listeners_that_do_not_read_are_cut_off_counted_and_told_of_once() {
    let host = start(&[]);
    let mut slow: Vec<_> = (0..3).map(|_| connect(&host.path(MASTER[0]))).collect();
    let event = format!(
        "{{\"profile\": \"p\", \"body\": \"{}\"}}\n",
        "x".repeat(1 << 20)
    );
    host.put_events(&event.repeat(40));
    wait_for("the listeners to be cut off", || {
        (host.status()["host"]["listeners"]["cut_off"] == 3).then_some(())
    });
    for stream in &mut slow {
        // What the kernel had buffered, then the end.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let shown = run(
        evbus(host.dir.path())
            .args(["status", "--sock-dir"])
            .arg(host.path("s")),
        b"",
    );
    let shown = stderr(&shown);
    assert!(shown.contains("0 listeners, 40 events"), "{shown}");
    assert!(shown.contains("3 slow listeners cut off"), "{shown}");
    let (_, log) = host.stop();
    assert_eq!(log.matches("cut off").count(), 1, "{log}");
}

#[test]
fn a_listener_that_the_host_turns_away_says_so_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let socket = UnixListener::bind(dir.path().join("master_event_pub.ipc")).unwrap();
    // A host closes the connections of other users; here it does so twice.
    let host = std::thread::spawn(move || (0..2).for_each(|_| drop(socket.accept().unwrap())));
    let mut listen = evbus(dir.path());
    let output = run(listen.args(["listen", "--sock-dir"]).arg(dir.path()), b"");
    host.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("does not let this user listen"), "{said}");
    assert!(!said.contains("too slowly"), "{said}");
}

#[test]
fn a_socket_that_is_removed_under_a_running_host_is_named() {
    let host = start(&[]);
    let socket = Path::new(&host.sock_dir()).join("master_event_pub.ipc");
    let moved = socket.with_extension("moved");
    let lost = |expected: u64| {
        wait_for("the count", || {
            (host.status()["host"]["intake"]["lost_sockets"] == expected).then_some(())
        });
    };
    fs::rename(&socket, &moved).unwrap();
    host.wait_for_log("was removed or replaced while the host was running");
    assert!(host.log().contains(&format!("{socket:?}")));
    lost(1);
    fs::rename(&moved, &socket).unwrap();
    host.wait_for_log("is back");
    lost(0);
}

#[test]
fn a_listener_waits_no_longer_for_a_connection_than_for_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(evbus::sockets::PUB_SOCKET);
    // A host that is stopped, with a full queue of connections.
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let mut before = Vec::new();
    loop {
        let flags = rustix::net::SocketFlags::NONBLOCK;
        let (family, kind) = (
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
        );
        let client = rustix::net::socket_with(family, kind, flags, None).unwrap();
        let address = rustix::net::SocketAddrUnix::new(&path).unwrap();
        match rustix::net::connect(&client, &address) {
            Ok(()) => before.push(client),
            Err(error) => {
                assert_eq!(error, rustix::io::Errno::AGAIN);
                break;
            }
        }
    }
    let output = run(
        evbus(dir.path())
            .args(["listen", "--wait", "1", "--sock-dir"])
            .arg(dir.path()),
        b"",
    );
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("did not accept the connection within 1 s"),
        "{said}"
    );
}

#[test]
fn events_of_programs_that_have_left_and_that_a_host_cannot_keep_at_its_end_are_counted() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    // The directory is missing, and the queue holds one event.
    let acct =
        "file: {'*': {path: '{dir}/missing/out', evbus: {queue: {events: 1}, when_full: block}}}\n";
    let host = RunningHost::start(acct, plugins.path(), &["--drain-timeout", "0"]);
    let mut program = connect(&host.path(MASTER[1]));
    program.write_all(&salt_frame("t").repeat(5)).unwrap();
    drop(program);
    wait_for("the program's connection to be freed", || {
        let status = host.status();
        let waits = status["destinations"][0]["waiting_for_room"] == 1;
        (waits && status["host"]["intake"]["connections"] == 0).then_some(())
    });
    let (status, log) = host.stop();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("4 events were not kept at all destinations, and nobody was told"),
        "{log}"
    );
    assert!(
        log.contains("5 events were neither delivered nor kept"),
        "{log}"
    );
}
