//! Finds what would stop the event sockets of a directory, without opening any.

use std::path::Path;

use rustix::process::{getegid, geteuid, getgroups};

use crate::files::directory::{SocketDir, SocketOptions};
use crate::files::error::{SocketError, at};
use crate::files::group::SocketGroup;
use crate::files::names::{CONTROL_SOCKET, LOCK};
use crate::files::socket_file::is_abandoned;
use evbus_files::lock::FileLock;
use evbus_files::usable_dir;

impl SocketDir {
    /// Whether an evbus host serves the directory now; if not, a host could be started on it. Creates
    /// and changes nothing.
    ///
    /// # Errors
    ///
    /// Why a host could not serve it.
    pub fn examine(&self, options: &SocketOptions) -> Result<bool, SocketError> {
        let names = options.names();
        let files = names.iter().flat_map(|names| [&names.publish, &names.pull]);
        let paths: Vec<_> = (files.map(|name| self.path.join(&**name)))
            .chain([self.path.join(CONTROL_SOCKET)])
            .collect();
        let group = options.group.as_ref();
        // As when it is served: whose it is comes before what this user may do there.
        let usable = || at("use the socket directory", &self.path);
        if let Some(found) = usable_dir::find(&self.path).map_err(usable())? {
            self.check(&found, group)?;
        }
        usable_dir::look(&self.path).map_err(usable())?;
        if let Some(group) = group.filter(|group| !is_member(group)) {
            return Err(SocketError::NotInGroup {
                path: self.path.clone(),
                group: group.to_string(),
            });
        }
        if is_served(&self.path) {
            return Ok(true);
        }
        for path in &paths {
            is_abandoned(path)?;
        }
        let lock = self.path.join(LOCK);
        FileLock::examine(&lock).map_err(at("lock the socket directory with", &lock))?;
        Ok(false)
    }
}

/// Whether this user may give files to the group.
fn is_member(group: &SocketGroup) -> bool {
    geteuid().is_root()
        || getegid() == group.gid()
        || getgroups().is_ok_and(|groups| groups.contains(&group.gid()))
}

/// Whether a host answers in this directory, which is a socket directory or a state directory. Connects
/// to its control socket.
pub fn is_served(dir: &Path) -> bool {
    // What is not a socket, or one that cannot be asked, is nobody's here.
    examine_control(dir).unwrap_or_default()
}

/// As [`is_served`].
///
/// # Errors
///
/// Why a host could not bind its control socket there.
pub fn examine_control(dir: &Path) -> Result<bool, SocketError> {
    match is_abandoned(&dir.join(CONTROL_SOCKET)) {
        Ok(_) => Ok(false),
        Err(SocketError::InUse { .. }) => Ok(true),
        Err(fault) => Err(fault),
    }
}
