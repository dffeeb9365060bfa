//! Files that only their owner may read, written whole or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use evbus_files::written_file::Place;
use rustix::fs::{FileType, Gid, Uid, fchown};

use super::exit::Exit;

/// Writes a file of mode 0600 in place of the one that may be there, and keeps that one's owner. `ready`
/// is called when all of it is on the disk; where that fails, nothing was changed.
pub(super) fn write(
    path: &Path,
    content: &[u8],
    ready: impl FnOnce() -> Result<(), Exit>,
) -> Result<(), Exit> {
    let failed = |error: io::Error| {
        Exit::failed(format!(
            "{}: the file cannot be written: {error}",
            path.display()
        ))
    };
    let other_kind = || {
        Exit::usage(format!(
            "{}: found something other than a file, expected one, or a new name; change --output-file",
            path.display()
        ))
    };
    // A link stays one, and what it leads to is replaced.
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
    if let Some(replaced) = replaced {
        let made = file.as_file().metadata().map_err(failed)?;
        if (made.uid(), made.gid()) != (replaced.uid(), replaced.gid()) {
            let (uid, gid) = (Uid::from_raw(replaced.uid()), Gid::from_raw(replaced.gid()));
            fchown(file.as_file(), Some(uid), Some(gid)).map_err(|error| {
                Exit::failed(format!(
                    "{}: the new file cannot be given to the owner of the old one: {error}; run this as that owner",
                    path.display()
                ))
            })?;
        }
    }
    file.write_all(content)
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
    ready()?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    // Without this a crash of the machine could bring the old file back.
    place.sync().map_err(failed)
}
