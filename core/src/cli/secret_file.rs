//! Files that only their owner may read, written completely or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use evbus_files::owners::may_be_planted;
use evbus_files::written_file::Place;
use rustix::fs::{FileType, Gid, Uid, fchown};

use super::exit::Exit;

/// Writes a file with mode 0600; it replaces an existing file that is empty or that `may_replace` is true of, and keeps
/// its owner. `ready` is called when the whole content is on disk; if it fails, nothing has been changed.
pub(super) fn write(
    path: &Path,
    content: &[u8],
    may_replace: impl FnOnce(&Path) -> bool,
    ready: impl FnOnce() -> Result<(), Exit>,
) -> Result<(), Exit> {
    let failed = |error: io::Error| {
        Exit::failed(format!("cannot write the file {}: {error}", path.display()))
    };
    let other_kind = || {
        Exit::usage(format!(
            "cannot write {}: not a regular file; give another name with --output-file",
            path.display()
        ))
    };
    // A link stays a link, and its target is replaced.
    let place = match Place::find(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Err(other_kind()),
        found => found.map_err(failed)?,
    };
    let (target, dir) = (place.path(), place.dir());
    let replaced = match place.kind {
        Some(FileType::RegularFile) => fs::symlink_metadata(&target).ok(),
        Some(_) => return Err(other_kind()),
        None => None,
    };
    // Made with mode 0600, and removed unless it takes the name.
    let mut file = tempfile::Builder::new()
        .prefix(".evbus-")
        .tempfile_in(&dir)
        .map_err(failed)?;
    if let Some(replaced) = &replaced {
        if replaced.len() > 0 && !may_replace(&target) {
            return Err(Exit::usage(format!(
                "cannot replace the existing file {}; use --force to replace it, or give another name with --output-file",
                path.display()
            )));
        }
        let is_planted = fs::metadata(&dir).is_ok_and(|dir| may_be_planted(replaced, &dir));
        if is_planted {
            return Err(Exit::usage(format!(
                "cannot write {}: the file belongs to user {} in a directory where everybody may create files, so that user could read the new one; remove it, or give another name",
                path.display(),
                replaced.uid()
            )));
        }
        let made = file.as_file().metadata().map_err(failed)?;
        if (made.uid(), made.gid()) != (replaced.uid(), replaced.gid()) {
            let (uid, gid) = (Uid::from_raw(replaced.uid()), Gid::from_raw(replaced.gid()));
            fchown(file.as_file(), Some(uid), Some(gid)).map_err(|error| {
                Exit::failed(format!(
                    "cannot give the new file {} to the owner of the old one: {error}; run the command as that owner",
                    path.display()
                ))
            })?;
        }
    }
    file.write_all(content)
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
    ready()?;
    let placed = if replaced.is_some() {
        file.persist(&target)
    } else {
        // Another program may have made it meanwhile.
        file.persist_noclobber(&target)
    };
    placed.map_err(|error| failed(error.error))?;
    // Without this the old file could return after a crash of the machine.
    place.sync().map_err(failed)
}
