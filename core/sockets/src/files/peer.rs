//! Who may connect.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::SocketAddrUnix;
use rustix::process::{Gid, Uid, geteuid};
use tokio::net::UnixStream;

use evbus_report::OncePerBurst;

/// A program that may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A program of the host's user or of root.
    Own,
    /// A program of a member of the group.
    Member,
}

/// The program at the other end: of this process's user, of root, or of the group that the socket is
/// open to. The modes of the sockets enforce the same; this check also holds if somebody loosens them.
/// Others are counted and refused.
pub fn admitted(socket: &UnixStream, group: Option<Gid>, refused: &AtomicU64) -> Option<Peer> {
    // Not with rustix, which has no way to say that the program has no process id here, as one outside of the
    // host's PID namespace (a container) has none.
    let admitted = socket.peer_cred().ok().and_then(|peer| {
        if may_connect(Uid::from_raw(peer.uid()), geteuid()) {
            return Some(Peer::Own);
        }
        let group = group?;
        let is_member = peer.gid() == group.as_raw() || was_let_in_as(group, socket);
        is_member.then_some(Peer::Member)
    });
    if admitted.is_none() {
        static REFUSED: OncePerBurst = OncePerBurst::new();
        refused.fetch_add(1, Ordering::Relaxed);
        if REFUSED.begins() {
            tracing::warn!(
                "refused a connection from another user; the sockets serve only their owner, root, and the group given with --sock-group (logged once per burst; all are counted)"
            );
        }
    }
    admitted
}

/// Whether the system lets only members of the group, supplementary ones included, connect to this
/// socket beside its owner and root, so that it is one of them who did.
///
/// The program itself cannot be asked: what `/proc` says of its groups is that of a process which may
/// have ended since, as programs do that fire one event, or be another one by now.
fn was_let_in_as(group: Gid, socket: impl AsFd) -> bool {
    let bound = rustix::net::getsockname(socket).ok();
    let file = bound
        .and_then(|address| SocketAddrUnix::try_from(address).ok())
        .and_then(|address| rustix::fs::stat(address.path()?.as_ref()).ok());
    file.is_some_and(|file| file.st_gid == group.as_raw() && file.st_mode & 0o002 == 0)
}

fn may_connect(peer: Uid, own: Uid) -> bool {
    peer == own || peer.is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may_connect() {
        let uid = Uid::from_raw;
        for (peer, own, expected) in [
            (1000, 1000, true),
            (0, 1000, true),
            (0, 0, true),
            (1001, 1000, false),
            (1000, 0, false),
        ] {
            assert_eq!(
                may_connect(uid(peer), uid(own)),
                expected,
                "{peer} to {own}"
            );
        }
    }
}
