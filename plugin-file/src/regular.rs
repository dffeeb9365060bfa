//! A regular file that only ever holds whole lines.

use std::fs::{self, DirBuilder, File, Metadata, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use evbus_sdk::serde::de::IgnoredAny;
use evbus_sdk::{serde_json, tracing};

use crate::outcome::Failure;
use crate::{Config, Fsync, Mode, Rotate, rotate};

/// How often the file may be moved away between opening and locking it.
const MAX_MOVES: u32 = 10;
/// Longest unfinished last line that is read to see whether it is JSON; ours never is.
const MAX_TAIL: u64 = 1024 * 1024;

/// A file that is open, locked, and ends with a whole line.
#[derive(Debug)]
pub(crate) struct RegularFile {
    path: PathBuf,
    options: Options,
    file: File,
    identity: Identity,
    /// Bytes of whole lines.
    len: u64,
    /// A failed write left bytes past `len` that could not be cut off.
    torn: bool,
    /// Lines were written that may not be on the disk.
    unsynced: bool,
}

/// What the configuration says about the file.
#[derive(Debug, Clone, Copy)]
struct Options {
    mode: Mode,
    create_dirs: bool,
    fsync: Fsync,
    rotate: Option<Rotate>,
}

/// Device and inode: the file itself, whatever its name.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

impl RegularFile {
    /// Opens the file at an absolute path, creates it if need be, locks it and makes it whole.
    pub(crate) fn open(path: PathBuf, config: &Config) -> Result<Self, Failure> {
        let options = Options {
            mode: config.mode,
            create_dirs: config.create_dirs,
            fsync: config.fsync,
            rotate: config.rotate,
        };
        Self::open_with(path, options)
    }

    fn open_with(path: PathBuf, options: Options) -> Result<Self, Failure> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        if options.create_dirs {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(parent)
                .map_err(|error| Failure::new("create the directory", parent, error))?;
        }
        let (mut file, created, identity) = open_locked(&path, options.mode)?;
        if created && options.fsync != Fsync::Never {
            // Without it, a power failure can take the file's name away.
            File::open(parent)
                .and_then(|directory| directory.sync_all())
                .map_err(|error| Failure::new("sync the directory", parent, error))?;
        }
        let len = make_whole(&mut file, &path)
            .map_err(|error| Failure::new("read the end of", &path, error))?;
        Ok(Self {
            path,
            options,
            file,
            identity,
            len,
            torn: false,
            unsynced: false,
        })
    }

    /// Appends whole lines: all of them, or none when it fails.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), Failure> {
        if self.torn {
            self.cut()
                .map_err(|error| Failure::new("cut a half line off", &self.path, error))?;
        }
        self.follow()?;
        if let Some(rotate) = self.options.rotate
            && self.len > 0
            && self.len + lines.len() as u64 > rotate.max_bytes
        {
            self.rotate(rotate.keep)?;
        }
        let written = self.file.write_all(lines).and_then(|()| {
            if self.options.fsync == Fsync::Batch {
                self.file.sync_data()
            } else {
                self.unsynced = true;
                Ok(())
            }
        });
        match written {
            Ok(()) => {
                self.len += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // What cannot be cut off now is cut off before the next write, or when the file
                // is opened again.
                self.torn = self.cut().is_err();
                Err(Failure::new("write to", &self.path, error))
            }
        }
    }

    /// Forces lines to the disk that may not be there yet.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        if self.unsynced && self.options.fsync != Fsync::Never {
            self.file
                .sync_data()
                .map_err(|error| Failure::new("sync", &self.path, error))?;
        }
        self.unsynced = false;
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.torn = false;
        Ok(())
    }

    /// Opens the path again when another file, or none, stands there: somebody rotated it.
    fn follow(&mut self) -> Result<(), Failure> {
        match fs::metadata(&self.path) {
            Ok(found) if identity(&found) == self.identity => {
                // Somebody may have emptied it (logrotate's copytruncate).
                self.len = found.len();
                Ok(())
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Failure::new("look at", &self.path, error))
            }
            _ => {
                tracing::info!(path = %self.path.display(), "the file was moved; starting a new one");
                self.reopen()
            }
        }
    }

    fn rotate(&mut self, keep: u32) -> Result<(), Failure> {
        // Where the path is a link, the files stay beside the file that it leads to.
        fs::canonicalize(&self.path)
            .and_then(|path| rotate::shift(&path, keep))
            .map_err(|error| Failure::new("rotate", &self.path, error))?;
        self.reopen()
    }

    fn reopen(&mut self) -> Result<(), Failure> {
        self.sync()?;
        *self = Self::open_with(self.path.clone(), self.options)?;
        Ok(())
    }
}

/// Opens and locks the file that stands at the path; creates it when there is none.
fn open_locked(path: &Path, mode: Mode) -> Result<(File, bool, Identity), Failure> {
    let failed = |error| Failure::new("open", path, error);
    for _ in 0..MAX_MOVES {
        // A named pipe must not even be opened: that waits for a reader.
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(Failure::directory(path)),
            Ok(found) if !found.is_file() => return Err(Failure::odd_file(path)),
            _ => {}
        }
        let (file, created) = open_or_create(path, mode).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Failure::locked(path)),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                tracing::warn!(path = %path.display(), "the file system has no locks; take care that nothing else writes to the file");
            }
            Err(TryLockError::Error(error)) => return Err(Failure::new("lock", path, error)),
        }
        let locked = identity(&file.metadata().map_err(failed)?);
        if fs::metadata(path).is_ok_and(|found| identity(&found) == locked) {
            return Ok((file, created, locked));
        }
    }
    Err(Failure::unsteady(path))
}

fn open_or_create(path: &Path, mode: Mode) -> io::Result<(File, bool)> {
    let mut options = File::options();
    options.read(true).append(true);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened.map(|file| (file, false)),
    }
    // Not exclusive: the path may be a link to a file that does not exist yet.
    let file = options.create(true).mode(mode.0).open(path)?;
    // The mode is meant, whatever the host's umask is.
    file.set_permissions(Permissions::from_mode(mode.0))?;
    Ok((file, true))
}

/// Ends the file with a whole line and gives its length.
///
/// A last line without a line break is what a crash left of a batch that was never accepted: it is
/// removed. Only if it is JSON (somebody else wrote it) it is kept and ended.
fn make_whole(file: &mut File, path: &Path) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let whole = end_of_last_line(file, len)?;
    if whole == len {
        return Ok(len);
    }
    if len - whole <= MAX_TAIL {
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(whole))?;
        file.read_to_end(&mut tail)?;
        if serde_json::from_slice::<IgnoredAny>(&tail).is_ok() {
            file.write_all(b"\n")?;
            return Ok(len + 1);
        }
    }
    file.set_len(whole)?;
    tracing::warn!(
        path = %path.display(),
        bytes = len - whole,
        "removed an unfinished last line"
    );
    Ok(whole)
}

/// The position after the last line break before `len`; 0 when there is none.
fn end_of_last_line(file: &mut File, len: u64) -> io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    let mut block = Vec::new();
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(position) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + position as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
