//! Standard output, or a device.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::lines::{Appended, Lines};
use crate::outcome::Failure;

/// Destinations on one stream take turns writing whole batches. Different streams are independent: a terminal that
/// accepts nothing blocks only those who write to it.
type Turn = Arc<Mutex<()>>;

/// A stream that is open.
struct Open {
    device: u64,
    inode: u64,
    turn: Weak<Mutex<()>>,
}

static OPEN: Mutex<Vec<Open>> = Mutex::new(Vec::new());

fn turn(file: &File) -> io::Result<Turn> {
    let found = file.metadata()?;
    let (device, inode) = (found.dev(), found.ino());
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|stream| stream.turn.strong_count() > 0);
    let known = (open.iter()).find(|stream| (stream.device, stream.inode) == (device, inode));
    if let Some(turn) = known.and_then(|stream| stream.turn.upgrade()) {
        return Ok(turn);
    }
    let new = Turn::default();
    open.push(Open {
        device,
        inode,
        turn: Arc::downgrade(&new),
    });
    Ok(new)
}

/// A target without a length or an end.
#[derive(Debug)]
pub(crate) struct Stream {
    path: PathBuf,
    file: File,
    turn: Turn,
    /// Whether the last write ended within a line.
    torn: bool,
}

impl Stream {
    pub(crate) fn stdout() -> Result<Self, Failure> {
        let path = Path::new("standard output");
        // A separate descriptor has no buffer that could hold half a line.
        let file = io::stdout().as_fd().try_clone_to_owned();
        file.and_then(|file| Self::new(path, file.into()))
            .map_err(|error| Failure::new("write to", path, error))
    }

    pub(crate) fn device(path: &Path) -> Result<Self, Failure> {
        let file = File::options().write(true).open(path);
        file.and_then(|file| Self::new(path, file))
            .map_err(|error| Failure::new("open", path, error))
    }

    fn new(path: &Path, file: File) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            turn: turn(&file)?,
            file,
            torn: false,
        })
    }

    /// Writes whole lines, as many as are accepted. First ends the line that a failed write left.
    pub(crate) fn append(&mut self, lines: &Lines) -> Appended {
        // The lock protects no state that a panic could leave inconsistent.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error| Failure::new("write to", &self.path, error);
        let mut file = &self.file;
        if self.torn {
            if let Err(error) = file.write_all(b"\n") {
                return Appended::failed(failed(error));
            }
            self.torn = false;
        }
        let written = lines.write(0..lines.count(), &mut file);
        self.torn = written.bytes > written.whole;
        Appended {
            lines: written.lines,
            failure: written.error.map(failed),
        }
    }
}
