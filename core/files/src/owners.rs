//! Who could change a file or directory: its owner, the group, everybody.

use std::fs::Metadata;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Stat, getxattr};
use rustix::io::Errno;
use rustix::process::geteuid;
use uzers::os::unix::GroupExt as _;

/// In a directory with this bit nobody can rename or remove what belongs to others.
pub const STICKY: u32 = 0o1000;
/// Members of the group can read the file.
pub(crate) const GROUP_MAY_READ: u32 = 0o040;
const GROUP_MAY_WRITE: u32 = 0o020;
/// Members of the group can enter the directory.
pub(crate) const GROUP_MAY_ENTER: u32 = 0o010;
const OTHERS_MAY_WRITE: u32 = 0o002;

/// Whether it belongs to this user or to root.
pub fn is_ours(found: &Stat) -> bool {
    found.st_uid == geteuid().as_raw() || found.st_uid == 0
}

/// Whether nobody else can rename what this user has in a directory: it belongs to this user or to root, and
/// others who may create files in it may not rename those of others.
pub fn keeps_names(dir: &Metadata) -> bool {
    let may_write = GROUP_MAY_WRITE | OTHERS_MAY_WRITE;
    [0, geteuid().as_raw()].contains(&dir.uid())
        && (dir.mode() & may_write == 0 || dir.mode() & STICKY != 0)
}

/// Whether another user may have put a file into a directory where this user is about to replace it, in order to own
/// what is written there.
pub fn may_be_planted(file: &Metadata, dir: &Metadata) -> bool {
    let everybody_creates = dir.mode() & (STICKY | OTHERS_MAY_WRITE) != 0;
    file.uid() != geteuid().as_raw() && everybody_creates
}

/// Checks that neither every user nor a group with other members can write to `opened`. `what` names it
/// with an article, such as "the directory".
///
/// # Errors
///
/// One sentence, with the command that changes it. If the members of the group are unknown, it is accepted:
/// see [`group_that_writes`].
pub(crate) fn check_mode(
    what: &str,
    path: &Path,
    found: &Stat,
    opened: impl AsFd,
) -> Result<(), String> {
    if found.st_mode & OTHERS_MAY_WRITE != 0 {
        return Err(too_open(
            what,
            path,
            found,
            "every user can write to",
            "o-w",
        ));
    }
    match group_that_writes(found, opened) {
        Group::None | Group::Private | Group::Unknown => Ok(()),
        Group::Shared(group) => {
            let who = format!("{group} can write to");
            Err(too_open(what, path, found, &who, "g-w"))
        }
    }
}

/// One sentence: `who` has access, and the `change` for `chmod`.
pub(crate) fn too_open(what: &str, path: &Path, found: &Stat, who: &str, change: &str) -> String {
    format!(
        "{what} {path} has mode {:04o}: {who} it, but only its owner should; run `chmod {change} {path}`",
        found.st_mode & 0o7777,
        path = path.display(),
    )
}

/// Who has a right through the group bits of a mode.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Nobody.
    None,
    /// Only a user who has the right anyway.
    Private,
    /// Other users.
    Shared(String),
    /// A group that is not in the databases of users and groups.
    Unknown,
}

/// Who can write to `opened` through the group bits.
pub(crate) fn group_that_writes(found: &Stat, opened: impl AsFd) -> Group {
    group_with(GROUP_MAY_WRITE, found, opened)
}

/// Who has this right, one of the group bits, to `opened`.
pub(crate) fn group_with(right: u32, found: &Stat, opened: impl AsFd) -> Group {
    if found.st_mode & right == 0 {
        return Group::None;
    }
    // If there is an access list, the group's mode bits limit all users and groups in it.
    let opened = format!("/proc/self/fd/{}", opened.as_fd().as_raw_fd());
    let nothing: &mut [u8] = &mut [];
    match getxattr(opened, "system.posix_acl_access", nothing) {
        Ok(_) => return Group::Shared("users or groups in its access control list".to_owned()),
        Err(Errno::NODATA | Errno::NOTSUP) => {}
        Err(_) => return Group::Unknown,
    }
    group_of(found.st_gid, &[found.st_uid, geteuid().as_raw()])
}

/// Whether a group is one of these users' own, as `adduser` creates it: with the user's name, as the user's primary
/// group, and without other members. A primary group alone may be that of all users.
fn group_of(gid: u32, users: &[u32]) -> Group {
    let Some(group) = uzers::get_group_by_gid(gid) else {
        return Group::Unknown;
    };
    let mut is_known = true;
    for user in users {
        let Some(user) = uzers::get_user_by_uid(*user) else {
            is_known = false;
            continue;
        };
        let is_first = user.primary_group_id() == gid && user.name() == group.name();
        let is_alone = group.members().iter().all(|member| member == user.name());
        if is_first && is_alone && !is_first_of_another(gid, user.uid()) {
            return Group::Private;
        }
    }
    if is_known || !group.members().is_empty() {
        Group::Shared(format!("group {}", group.name().display()))
    } else {
        Group::Unknown
    }
}

/// Whether a group is the primary group of another user of this machine: such users are not listed among its members.
/// Users known only to a name service on the network cannot be listed.
fn is_first_of_another(gid: u32, user: u32) -> bool {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    is_first_of_another_in(&users, gid, user)
}

fn is_first_of_another_in(users: &str, gid: u32, user: u32) -> bool {
    users.lines().any(|line| {
        let mut numbers = line.split(':').skip(2).map(str::parse);
        let (uid, first) = (numbers.next(), numbers.next());
        first == Some(Ok(gid)) && uid != Some(Ok(user))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_users_own_only_under_the_name_and_as_the_first_one_of_the_user() {
        let other = (1..1000).find(|gid| uzers::get_group_by_gid(*gid).is_some());
        let other = other.expect("a system has groups");
        assert!(matches!(group_of(other, &[0]), Group::Shared(_)));
        assert_eq!(group_of(54_321, &[0]), Group::Unknown);
        assert_eq!(group_of(0, &[0]), Group::Private);
    }

    #[test]
    fn a_group_that_is_the_first_of_another_user_is_nobodys_own() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\nbob:x:7777:1000:Bob:/users/bob:/bin/sh\n+::::::\n";
        assert!(!is_first_of_another_in(users, 0, 0));
        assert!(is_first_of_another_in(users, 1000, 1000));
        assert!(!is_first_of_another_in(users, 1000, 7777));
        let with_mallory = format!("{users}mallory:x:7778:0::/:/bin/sh\n");
        assert!(is_first_of_another_in(&with_mallory, 0, 0));
    }
}
