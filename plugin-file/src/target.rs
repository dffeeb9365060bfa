//! Where lines go.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::Config;
use crate::lines::{Appended, Lines};
use crate::outcome::Failure;
use crate::place::Place;
use crate::regular::RegularFile;
use crate::stream::Stream;

/// An open target. All calls block until the operating system is done.
#[derive(Debug)]
pub(crate) enum Target {
    Regular(RegularFile),
    Stream(Stream),
}

impl Target {
    /// Opens what the configuration names, if it is the same for all events.
    pub(crate) fn open(config: &Config) -> Result<Self, Failure> {
        if config.is_stdout() {
            return Stream::stdout().map(Self::Stream);
        }
        let given = Path::new(config.path.constant().unwrap_or_default());
        let path =
            std::path::absolute(given).map_err(|error| Failure::new("open", given, error))?;
        match fs::metadata(&path) {
            Ok(found) if found.file_type().is_char_device() => {
                match Place::find(&path) {
                    // A terminal's name may belong to another file, as in a container.
                    Err(failure) if !failure.is_absence() => return Err(failure),
                    _ => {}
                }
                Stream::device(&path).map(Self::Stream)
            }
            // A link in /proc to a pipe cannot be opened by its name.
            Ok(found) if found.file_type().is_fifo() || found.file_type().is_socket() => {
                Err(Failure::odd_file(&path))
            }
            // Any other file, and any error, is reported when the file is opened.
            _ => RegularFile::open(path, config).map(Self::Regular),
        }
    }

    /// Appends whole lines, as many as the target takes.
    pub(crate) fn append(&mut self, lines: &Lines) -> Appended {
        match self {
            Self::Regular(file) => file.append(lines),
            Self::Stream(stream) => stream.append(lines),
        }
    }

    /// Syncs what is not on the disk yet.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        match self {
            Self::Regular(file) => file.sync(),
            Self::Stream(_) => Ok(()),
        }
    }
}
