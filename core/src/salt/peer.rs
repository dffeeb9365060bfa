//! Who may connect.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Uid, geteuid};

/// Whether the program at the other end belongs to this process's user or to root. The sockets'
/// modes say the same; this holds too where somebody loosened them. Others are counted.
pub(crate) fn is_admitted(socket: impl AsFd, refused: &AtomicU64) -> bool {
    let admitted = socket_peercred(socket).is_ok_and(|peer| may_connect(peer.uid, geteuid()));
    if !admitted && refused.fetch_add(1, Ordering::Relaxed) == 0 {
        tracing::warn!(
            "refused a connection from another user; the sockets serve their owner and root (told once; the rest is counted)"
        );
    }
    admitted
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
