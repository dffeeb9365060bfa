//! A regular file to which whole lines are appended.

use std::fs::{self, DirBuilder, File, Metadata, Permissions, TryLockError};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evbus_sdk::serde::de::IgnoredAny;
use evbus_sdk::{serde_json, tracing};
use rustix::fs::FileType;

use crate::lines::{Appended, Lines};
use crate::message::LINE_START;
use crate::outcome::Failure;
use crate::place::Place;
use crate::{Config, Fsync, Mode, Rotate, lines, room, rotate};

/// How often the file may be moved away between opening and locking it.
const MAX_MOVES: u32 = 10;

/// A file that is open and locked.
#[derive(Debug)]
pub(crate) struct RegularFile {
    path: PathBuf,
    /// The directory that the path must not leave, if events choose it.
    base: Option<Arc<Path>>,
    options: Options,
    file: File,
    identity: Identity,
    /// Its length, as far as this program knows.
    len: u64,
    /// The file's length with half a line that a failed write left after `len` and that could not be removed.
    torn: Option<u64>,
    /// Whether the last line has no line break.
    unended: bool,
    /// Whether lines were written that may not be on the disk.
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

impl Options {
    fn of(config: &Config) -> Self {
        Self {
            mode: config.mode,
            create_dirs: config.create_dirs,
            fsync: config.fsync,
            rotate: config.rotate,
        }
    }
}

/// Device and inode: the file itself, whatever its name.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

impl RegularFile {
    /// Opens the file at an absolute path, creates it if necessary, locks it and repairs its end.
    pub(crate) fn open(path: PathBuf, config: &Config) -> Result<Self, Failure> {
        Self::open_with(path, None, Options::of(config))
    }

    /// The same for a path below a directory, which no link may leave.
    pub(crate) fn open_below(
        base: &Arc<Path>,
        path: PathBuf,
        config: &Config,
    ) -> Result<Self, Failure> {
        Self::open_with(path, Some(Arc::clone(base)), Options::of(config))
    }

    fn open_with(
        path: PathBuf,
        base: Option<Arc<Path>>,
        options: Options,
    ) -> Result<Self, Failure> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        if options.create_dirs
            && base.is_none()
            && Place::find(&path).is_err_and(|failure| failure.is_absence())
        {
            create_directories(parent)?;
        }
        let find = || match &base {
            Some(base) => Place::find_below(base, &path, options.create_dirs),
            None => Place::find(&path),
        };
        let (mut file, created, identity) = open_locked(&path, options.mode, find)?;
        if let Some(place) = created
            && options.fsync != Fsync::Never
        {
            // Without this, a power failure can lose the file's name.
            place
                .sync()
                .map_err(|error| Failure::new("sync the directory", parent, error))?;
        }
        let len = drop_half_line(&mut file, &path)
            .map_err(|error| Failure::new("read the end of", &path, error))?;
        let unended = is_unended(&file, len)
            .map_err(|error| Failure::new("read the end of", &path, error))?;
        Ok(Self {
            path,
            base,
            options,
            file,
            identity,
            len,
            torn: None,
            unended,
            unsynced: false,
        })
    }

    /// Appends whole lines, as many as fit.
    pub(crate) fn append(&mut self, lines: &Lines) -> Appended {
        match self.prepare(lines.bytes().len() as u64) {
            Ok(()) => self.write(lines),
            Err(failure) => Appended::failed(failure),
        }
    }

    /// Makes sure that the right file is open and that its last line is complete.
    fn prepare(&mut self, bytes: u64) -> Result<(), Failure> {
        if let Some(torn) = self.torn {
            self.cut(torn).map_err(|error| {
                Failure::new("remove an incomplete line from", &self.path, error)
            })?;
        }
        self.follow()?;
        if let Some(rotate) = self.options.rotate
            && self.len > 0
            && self.len + bytes > rotate.max_bytes
        {
            self.rotate(rotate.keep)?;
        }
        if self.unended {
            // Another program left half a line, to which nothing may be appended.
            self.file
                .write_all(b"\n")
                .map_err(|error| Failure::new("write to", &self.path, error))?;
            self.len += 1;
            self.unended = false;
        }
        Ok(())
    }

    fn write(&mut self, lines: &Lines) -> Appended {
        let mut appended = Appended::default();
        while appended.failure.is_none() && appended.lines < lines.count() {
            let before = self.len;
            let written = self.write_some(lines, appended.lines);
            appended.lines += written.lines;
            let failed = |error| Failure::new("write to", &self.path, error);
            appended.failure = written.error.map(failed);
            let end = before + written.bytes as u64;
            self.len = before + written.whole as u64;
            if appended.failure.is_some() {
                // If truncating fails, it is done before the next write, or when the file is opened again. It also
                // gives back reserved room that is not used.
                self.torn = Some(end);
                let _ = self.cut(end);
            }
        }
        if appended.lines > 0 && self.options.fsync == Fsync::Batch {
            if let Err(error) = self.file.sync_data() {
                let end = self.len;
                self.len -= lines.end(appended.lines) as u64;
                self.torn = Some(end);
                let _ = self.cut(end);
                return Appended::failed(Failure::new("sync", &self.path, error));
            }
        } else {
            self.unsynced |= appended.lines > 0;
        }
        appended
    }

    /// Writes lines from this position on, as many as fit.
    fn write_some(&mut self, lines: &Lines, from: usize) -> lines::Written {
        let start = lines.end(from);
        match room::lines_that_fit(&self.file, self.len, start, &lines.ends()[from..]) {
            Ok(count) => lines.write(from..from + count, &mut self.file),
            Err(error) => lines::Written::nothing(error),
        }
    }

    /// Syncs lines that may not be on the disk yet.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        if self.unsynced && self.options.fsync != Fsync::Never {
            self.file
                .sync_data()
                .map_err(|error| Failure::new("sync", &self.path, error))?;
        }
        self.unsynced = false;
        Ok(())
    }

    /// Removes what a failed write left, unless another program has appended something since, so that the file's
    /// length is no longer `torn`.
    fn cut(&mut self, torn: u64) -> io::Result<()> {
        let found = self.file.metadata()?.len();
        if found == torn {
            self.file.set_len(self.len)?;
        } else {
            self.len = found;
            self.unended = is_unended(&self.file, found)?;
        }
        self.torn = None;
        Ok(())
    }

    /// Opens the path again if another file, or none, is there because somebody rotated it.
    fn follow(&mut self) -> Result<(), Failure> {
        match fs::metadata(&self.path) {
            Ok(found) if identity(&found) == self.identity => {
                // Another program has truncated it (logrotate's copytruncate), or appended to it.
                if found.len() != self.len {
                    self.len = found.len();
                    self.unended = is_unended(&self.file, self.len)
                        .map_err(|error| Failure::new("read the end of", &self.path, error))?;
                }
                Ok(())
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Failure::new("inspect", &self.path, error))
            }
            _ => {
                self.reopen()?;
                tracing::info!(path = %self.path.display(), "the file was moved or removed; started a new one");
                Ok(())
            }
        }
    }

    fn rotate(&mut self, keep: u32) -> Result<(), Failure> {
        // If the path is a link, rotated files stay beside its target.
        fs::canonicalize(&self.path)
            .and_then(|path| rotate::shift(&path, keep))
            .map_err(|error| Failure::new("rotate", &self.path, error))?;
        self.reopen()
    }

    fn reopen(&mut self) -> Result<(), Failure> {
        self.sync()?;
        *self = Self::open_with(self.path.clone(), self.base.clone(), self.options)?;
        Ok(())
    }
}

/// Creates a directory and those above it, if they are missing.
pub(crate) fn create_directories(path: &Path) -> Result<(), Failure> {
    let mut builder = DirBuilder::new();
    (builder.recursive(true).mode(0o755).create(path))
        .map_err(|error| Failure::new("create the directory", path, error))
}

/// Opens and locks the file at the path; creates it if it is missing, and then returns its place.
fn open_locked(
    path: &Path,
    mode: Mode,
    find: impl Fn() -> Result<Place, Failure>,
) -> Result<(File, Option<Place>, Identity), Failure> {
    let failed = |error| Failure::new("open", path, error);
    for _ in 0..MAX_MOVES {
        let place = find()?;
        match place.kind {
            Some(FileType::Directory) => return Err(Failure::directory(path)),
            Some(FileType::RegularFile) | None => {}
            Some(_) => return Err(Failure::odd_file(path)),
        }
        let Some((file, is_new)) = place.open(mode.0)? else {
            continue;
        };
        if is_new {
            // The configured mode applies whatever the host's umask.
            file.set_permissions(Permissions::from_mode(mode.0))
                .map_err(failed)?;
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Failure::locked(path)),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                tracing::warn!(path = %path.display(), "the file system does not support locks; make sure that nothing else writes to the file");
            }
            Err(TryLockError::Error(error)) => return Err(Failure::new("lock", path, error)),
        }
        let locked = identity(&file.metadata().map_err(failed)?);
        if fs::metadata(path).is_ok_and(|found| identity(&found) == locked) {
            return Ok((file, is_new.then_some(place), locked));
        }
    }
    Err(Failure::unsteady(path))
}

/// Removes what a crash left of this program's last line, and returns the file's length.
///
/// Such a line was never accepted. Its beginning distinguishes it from half a line of another program, which is kept;
/// after a power failure it may consist of zeros. A line that only lacks its line break is kept too, because an editor
/// may have removed the line break.
fn drop_half_line(file: &mut File, path: &Path) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let whole = end_of_last_line(file, len)?;
    if whole == len || !is_our_half_line(file, whole, len - whole)? {
        return Ok(len);
    }
    file.set_len(whole)?;
    tracing::warn!(
        path = %path.display(),
        bytes = len - whole,
        "removed an incomplete last line"
    );
    Ok(whole)
}

fn is_our_half_line(file: &mut File, start: u64, len: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(start))?;
    let mut beginning = Vec::new();
    file.take(LINE_START.len() as u64)
        .read_to_end(&mut beginning)?;
    if beginning.iter().all(|byte| *byte == 0) {
        return Ok(true);
    }
    if !LINE_START.as_bytes().starts_with(&beginning) {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(start))?;
    let tail = BufReader::new(file.take(len));
    Ok(serde_json::from_reader::<_, IgnoredAny>(tail).is_err())
}

/// Whether the last byte before `len` is not a line break.
fn is_unended(file: &File, len: u64) -> io::Result<bool> {
    let Some(last) = len.checked_sub(1) else {
        return Ok(false);
    };
    let mut byte = [b'\n'];
    // A file that became shorter in the meantime is checked again before the next batch.
    file.read_at(&mut byte, last)?;
    Ok(byte != [b'\n'])
}

/// The position after the last line break before `len`; 0 if there is none.
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
