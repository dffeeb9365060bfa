//! Standard output, or a device.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::lines::{Appended, Lines};
use crate::outcome::Failure;

/// Destinations on one stream write whole batches in turn. Those on different streams have nothing in
/// common: a terminal that takes nothing stops whoever writes to it, and nobody else.
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

/// Somewhere to write to that has no length and no end.
#[derive(Debug)]
pub(crate) struct Stream {
    path: PathBuf,
    file: File,
    turn: Turn,
    /// The last write ended somewhere in a line.
    torn: bool,
}

impl Stream {
    pub(crate) fn stdout() -> Result<Self, Failure> {
        let path = Path::new("standard output");
        // A descriptor of its own has no buffer in which a half line could wait.
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

    /// Writes whole lines, as many as are taken. What a failed write left of a line is ended first.
    pub(crate) fn append(&mut self, lines: &Lines) -> Appended {
        // The lock guards no state that a panic could spoil.
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
