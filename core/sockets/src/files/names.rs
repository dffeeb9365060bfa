//! The names of the event sockets.

use std::borrow::Cow;

use evbus_report::hex;
use evbus_wire::{PUB_SOCKET, PULL_SOCKET};
use sha2::{Digest as _, Sha256};

/// The name of the control socket, in each socket directory and in the state directory.
pub const CONTROL_SOCKET: &str = "evbus_control.ipc";

/// The file that locks a socket directory, in it.
pub(crate) const LOCK: &str = ".evbus.lock";

/// The names of two sockets that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// Listeners connect to it.
    pub(crate) publish: Cow<'static, str>,
    /// Programs that fire connect to it.
    pub(crate) pull: Cow<'static, str>,
}

impl Names {
    /// A Salt master's.
    pub(crate) fn master() -> Self {
        Self {
            publish: PUB_SOCKET.into(),
            pull: PULL_SOCKET.into(),
        }
    }

    /// Those of the Salt minion with this id, where its `hash_type` is the default, sha256.
    pub(crate) fn minion(id: &str) -> Self {
        let hash = hex(&Sha256::digest(id.as_bytes())[..5]);
        Self {
            publish: format!("minion_event_{hash}_pub.ipc").into(),
            pull: format!("minion_event_{hash}_pull.ipc").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minions_sockets_have_salts_names() {
        let names = Names::minion("minion1");
        assert_eq!(names.publish, "minion_event_1e9498c860_pub.ipc");
        assert_eq!(names.pull, "minion_event_1e9498c860_pull.ipc");
    }
}
