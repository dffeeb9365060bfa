//! Reads the files that a configuration or the command line names.
//!
//! Such a name may lead to anything: opening a named pipe waits for whoever writes to it, a device never
//! ends, and opening some devices sets something off. So only regular files are read, never more of one
//! than a caller can use, and what a path leads to is looked at before it is opened and again on what was
//! opened. A pipe that this process was started with, as the shell's `<(command)` gives, is read too where
//! the operator named it, for a limited time.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, Stat, fcntl_getfl, fcntl_setfl, fstat, stat};
use rustix::io::Errno;

/// How long a pipe named on the command line may take to end.
pub const PIPE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a file was not read. Callers write the message, because they know what the file is for.
#[derive(Debug)]
pub enum NotRead {
    /// There is no such file.
    Absent,
    /// This user may not read it or enter its directory.
    Forbidden,
    /// It is not a regular file.
    Is(NotAFile),
    /// It is larger than the caller allows.
    TooLarge,
    /// A pipe that did not end within [`PIPE_TIMEOUT`].
    Endless,
    /// An empty pipe, such as one that was read before.
    Drained,
    /// This process or the system has reached its limit of open files.
    NoneLeft(io::Error),
    /// Any other error of the system.
    Failed(io::Error),
}

impl From<io::Error> for NotRead {
    fn from(error: io::Error) -> Self {
        match (error.kind(), Errno::from_io_error(&error)) {
            (io::ErrorKind::NotFound, _) => Self::Absent,
            (io::ErrorKind::PermissionDenied, _) => Self::Forbidden,
            (_, Some(Errno::MFILE | Errno::NFILE)) => Self::NoneLeft(error),
            _ => Self::Failed(error),
        }
    }
}

impl From<Errno> for NotRead {
    fn from(error: Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// A clause with the file as its subject.
impl fmt::Display for NotRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no such file"),
            Self::Forbidden => f.write_str("this user may not read it"),
            Self::Is(kind) => write!(f, "it is {kind}, not a regular file"),
            Self::TooLarge => f.write_str("it is too large"),
            Self::Endless => write!(
                f,
                "it is a pipe that did not end within {} s",
                PIPE_TIMEOUT.as_secs()
            ),
            Self::Drained => f.write_str("it is an empty pipe: a pipe can be read only once"),
            Self::NoneLeft(error) => write!(
                f,
                "no more files can be opened ({error}): raise the limit (`ulimit -n`, LimitNOFILE= of the unit)"
            ),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// The kind of something that is not a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAFile {
    /// A directory.
    Directory,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block or character device, or something unknown.
    Device,
}

impl NotAFile {
    /// What `found` is, unless it is a regular file.
    pub fn of(found: &Stat) -> Option<Self> {
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => None,
            FileType::Directory => Some(Self::Directory),
            FileType::Fifo => Some(Self::Pipe),
            FileType::Socket => Some(Self::Socket),
            _ => Some(Self::Device),
        }
    }
}

/// With its article: "a named pipe".
impl fmt::Display for NotAFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "a directory",
            Self::Pipe => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
        })
    }
}

/// Flags to open a file so that nothing blocks the host, whatever the file is.
pub const READING: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Opens a regular file for reading. Links are followed.
///
/// # Errors
///
/// There is no such file, it cannot be opened, or it is not a regular file.
pub fn open(path: &Path) -> Result<File, NotRead> {
    regular(&stat(path)?)?;
    let file = rustix::fs::open(path, READING, Mode::empty())?;
    regular(&fstat(&file)?)?;
    Ok(file.into())
}

/// Refuses what is at a path, unless it is a regular file or nothing: for a path that a library opens, which would wait
/// at a named pipe. Links are followed.
///
/// # Errors
///
/// It is not a regular file, or it cannot be looked at.
pub fn regular_if_there(path: &Path) -> Result<(), NotRead> {
    match stat(path) {
        Ok(found) => regular(&found),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Appends a regular file to `content`, which grows at most once. At most `max` bytes are read.
///
/// # Errors
///
/// Those of [`open`]; the file is larger than `max` bytes or cannot be read.
pub fn read(path: &Path, max: u64, content: &mut Vec<u8>) -> Result<(), NotRead> {
    read_open(open(path)?, max, content)
}

/// Like [`read`], for an open file that is known to be regular.
///
/// # Errors
///
/// It is larger than `max` bytes or cannot be read.
pub(crate) fn read_open(file: File, max: u64, content: &mut Vec<u8>) -> Result<(), NotRead> {
    let length = file.metadata()?.len();
    if length > max {
        return Err(NotRead::TooLarge);
    }
    // The content may be a secret: a growing buffer would leave copies of it.
    content.reserve_exact(usize::try_from(length + 64).unwrap_or_default());
    let before = content.len();
    // One byte more than permitted shows that the file grew, or that it reports no length.
    file.take(max.saturating_add(1)).read_to_end(content)?;
    if (content.len() - before) as u64 > max {
        return Err(NotRead::TooLarge);
    }
    Ok(())
}

/// Like [`read`], for a file that the operator named: a pipe that this process was started with is read too,
/// to its end. Blocks for at most [`PIPE_TIMEOUT`].
///
/// # Errors
///
/// Those of [`read`]; the pipe does not end in time, or is empty, so that reading a pipe a second time
/// does not look like an empty file.
pub fn read_given(path: &Path, max: u64, content: &mut Vec<u8>) -> Result<(), NotRead> {
    match given(path) {
        Some(pipe) if is_pipe(&pipe)? => read_pipe(&open_pipe(&pipe)?, max, content, PIPE_TIMEOUT),
        _ => read(path, max, content),
    }
}

/// Opens a file that the operator named, or a pipe that this process was started with, for reading bit by
/// bit; reading the pipe blocks.
///
/// # Errors
///
/// Those of [`open`].
pub fn open_given(path: &Path) -> Result<File, NotRead> {
    match given(path) {
        Some(pipe) if is_pipe(&pipe)? => {
            let pipe = open_pipe(&pipe)?;
            fcntl_setfl(&pipe, fcntl_getfl(&pipe)? - OFlags::NONBLOCK)?;
            Ok(pipe)
        }
        _ => open(path),
    }
}

/// Whether a path stands for a descriptor that this process was started with, which whoever started it
/// chose: `/dev/stdin`, or `/dev/fd/63` as a shell writes `<(command)`.
pub fn is_given(path: &Path) -> bool {
    given(path).is_some()
}

/// The canonical name among all names of a descriptor of this process.
fn given(path: &Path) -> Option<PathBuf> {
    let path = path.to_str()?;
    let number = match path {
        "/dev/stdin" => "0",
        path => ["/dev/fd/", "/proc/self/fd/"]
            .iter()
            .find_map(|dir| path.strip_prefix(dir))?,
    };
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| Path::new("/proc/self/fd").join(number))
}

fn is_pipe(path: &Path) -> Result<bool, NotRead> {
    Ok(NotAFile::of(&stat(path)?) == Some(NotAFile::Pipe))
}

/// Few pipes deliver more bytes.
const USUAL_PIPE: u64 = 1024 * 1024;

/// Opens a pipe that this process was started with. Standard input is used directly, because another user's pipe
/// cannot be opened by its name.
fn open_pipe(path: &Path) -> io::Result<File> {
    if path == Path::new("/proc/self/fd/0") {
        return Ok(io::stdin().as_fd().try_clone_to_owned()?.into());
    }
    Ok(rustix::fs::open(path, READING, Mode::empty())?.into())
}

fn read_pipe(
    mut pipe: &File,
    max: u64,
    content: &mut Vec<u8>,
    patience: Duration,
) -> Result<(), NotRead> {
    let until = Instant::now() + patience;
    let mut piece = zeroize::Zeroizing::new([0; 4096]);
    let before = content.len();
    // The content may be a secret: a growing buffer would leave parts of it.
    content.reserve_exact(usize::try_from(max.min(USUAL_PIPE)).unwrap_or_default());
    loop {
        // Reading what is ready does not block, whatever the descriptor's mode.
        wait(pipe, until)?;
        match pipe.read(piece.as_mut_slice()) {
            Ok(0) if content.len() == before => return Err(NotRead::Drained),
            Ok(0) => return Ok(()),
            Ok(length) => content.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        }
        if (content.len() - before) as u64 > max {
            return Err(NotRead::TooLarge);
        }
    }
}

/// Waits until there is something to read, or the end of the pipe.
fn wait(pipe: impl AsFd, until: Instant) -> Result<(), NotRead> {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).unwrap_or_default();
    match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&timeout)) {
        Ok(0) => Err(NotRead::Endless),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn regular(found: &Stat) -> Result<(), NotRead> {
    NotAFile::of(found).map_or(Ok(()), |kind| Err(NotRead::Is(kind)))
}

#[cfg(test)]
mod tests;
