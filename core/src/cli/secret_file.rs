//! Files that only their owner may read, written completely or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use evbus_files::owners::may_be_planted;
use evbus_files::written_file::Place;
use evbus_report::system_text;
use rustix::fs::{FileType, Gid, Uid, fchown};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::exit::Exit;

/// A file that is to be written, with everything that could prevent it checked.
pub(super) struct SecretFile {
    path: PathBuf,
    place: Place,
    replaces: bool,
    /// In the same directory; it is removed unless it takes the name.
    made: NamedTempFile,
}

impl SecretFile {
    /// Prepares a file with mode 0600 at `path`; it will replace an existing file that is empty or that `may_replace`
    /// is true of, and keep its owner.
    pub(super) fn prepare(
        path: &Path,
        may_replace: impl FnOnce(&Path) -> bool,
    ) -> Result<Self, Exit> {
        let failed = |error| unwritable(path, &error);
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
        // Made with mode 0600.
        let made = tempfile::Builder::new()
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
            let new = made.as_file().metadata().map_err(failed)?;
            if (new.uid(), new.gid()) != (replaced.uid(), replaced.gid()) {
                let (uid, gid) = (Uid::from_raw(replaced.uid()), Gid::from_raw(replaced.gid()));
                fchown(made.as_file(), Some(uid), Some(gid)).map_err(|error| {
                    Exit::failed(format!(
                        "cannot give the new file {} to the owner of the old one: {}; run the command as that owner",
                        path.display(),
                        system_text(&error.into())
                    ))
                })?;
            }
        }
        Ok(Self {
            path: path.to_owned(),
            replaces: replaced.is_some(),
            place,
            made,
        })
    }

    /// The path that was given.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the content, completely or not at all. `ready` is called when all of it is on disk; if it fails, nothing
    /// has been changed.
    pub(super) fn write(
        self,
        content: &[u8],
        ready: impl FnOnce() -> Result<(), Exit>,
    ) -> Result<(), Exit> {
        let Self {
            path,
            place,
            replaces,
            mut made,
        } = self;
        let failed = |error| unwritable(&path, &error);
        made.write_all(content)
            .and_then(|()| made.as_file().sync_all())
            .map_err(failed)?;
        ready()?;
        let placed = if replaces {
            made.persist(place.path())
        } else {
            // Another program may have made it meanwhile.
            made.persist_noclobber(place.path())
        };
        placed.map_err(|error| failed(error.error))?;
        // Without this the old file could return after a crash of the machine.
        place.sync().map_err(failed)
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Exit {
    let why = match Errno::from_io_error(error) {
        Some(Errno::NOENT) => {
            "its directory does not exist; create it, or give another name".to_owned()
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            "this user may not create files in its directory; change its mode, or give another name"
                .to_owned()
        }
        Some(_) => format!(
            "{}; check the disk, or give another name",
            system_text(error)
        ),
        // A sentence that says what to do.
        None => error.to_string(),
    };
    Exit::failed(format!("cannot write the file {}: {why}", path.display()))
}
