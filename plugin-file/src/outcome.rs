//! What failed, and whether another attempt may succeed.
//!
//! | what happened | while connecting | while publishing |
//! |---|---|---|
//! | a directory or another odd file stands at the path, others could have put it there, a directory is missing, no permission, a read-only file system, a name too long | permanent | retry |
//! | the file is locked by another writer | retry | retry |
//! | disk or quota full, a limit of file size, an I/O error, anything else | retry | retry |
//! | a body with a line break under `format: body` | | rejected |
//!
//! The outcomes of publishing apply to events whose lines were not written: events that were completely
//! written before the failure, and synced if configured, are accepted.
//!
//! No fault of the file makes an event undeliverable: once the operator has fixed it, the same event can
//! be written. Where each event chooses its path, one whose name cannot be a file is rejected: a directory stands there,
//! its directory is missing, a link leads out of the fixed directory.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use evbus_sdk::{ConnectError, Outcome};

/// An operation on a file that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    doing: &'static str,
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    /// A sentence that needs no error code.
    Said {
        what: Cow<'static, str>,
        kind: Kind,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Another attempt may succeed.
    Passing,
    /// Somebody must change something.
    Permanent,
    /// Nothing can be written under this name, but under another one.
    OfName,
}

impl Failure {
    /// `doing` completes "cannot ... PATH".
    pub(crate) fn new(doing: &'static str, path: &Path, error: io::Error) -> Self {
        Self {
            doing,
            path: path.to_owned(),
            cause: Cause::Io(error),
        }
    }

    pub(crate) fn directory(path: &Path) -> Self {
        Self::said(
            path,
            "it is a directory; expected a file path",
            Kind::OfName,
        )
    }

    pub(crate) fn odd_file(path: &Path) -> Self {
        Self::said(
            path,
            "it is a named pipe, a socket or a disk; expected a regular file, or - for standard \
             output",
            Kind::OfName,
        )
    }

    pub(crate) fn locked(path: &Path) -> Self {
        Self::said(
            path,
            "another destination or program, such as a running host, is writing to it; give each destination its own path",
            Kind::Passing,
        )
    }

    pub(crate) fn unsteady(path: &Path) -> Self {
        Self::said(
            path,
            "it is moved away each time it is opened",
            Kind::Passing,
        )
    }

    /// The other files of the batch took so long that the host waits for an answer.
    pub(crate) fn late(path: &Path) -> Self {
        let what = "writing to the other files of the batch took too long; choose fewer files, or sync less often (`fsync`)";
        Self::said(path, what, Kind::Passing)
    }

    /// Somebody else could have chosen what is written to; `what` says how.
    pub(crate) fn foreign(path: &Path, what: String) -> Self {
        Self::said(path, what, Kind::Permanent)
    }

    /// A link leads out of the directory that a templated path must not leave.
    pub(crate) fn outside(path: &Path, directory: &Path) -> Self {
        let what = format!(
            "a link leads out of {}, which the template must not leave; remove the link",
            directory.display()
        );
        Self::said(path, what, Kind::OfName)
    }

    fn said(path: &Path, what: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        Self {
            doing: "open",
            path: path.to_owned(),
            cause: Cause::Said {
                what: what.into(),
                kind,
            },
        }
    }

    /// Whether there is no such directory or file.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(&self.cause, Cause::Io(error) if error.kind() == ErrorKind::NotFound)
    }

    fn is_permanent(&self) -> bool {
        match &self.cause {
            Cause::Said { kind, .. } => *kind != Kind::Passing,
            Cause::Io(error) => matches!(
                error.kind(),
                ErrorKind::NotFound
                    | ErrorKind::PermissionDenied
                    | ErrorKind::IsADirectory
                    | ErrorKind::NotADirectory
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::InvalidFilename
            ),
        }
    }

    /// Whether it concerns the file's name, so that events for other names can be written.
    pub(crate) fn is_of_name(&self) -> bool {
        match &self.cause {
            Cause::Said { kind, .. } => *kind == Kind::OfName,
            Cause::Io(error) => matches!(
                error.kind(),
                ErrorKind::NotFound
                    | ErrorKind::IsADirectory
                    | ErrorKind::NotADirectory
                    | ErrorKind::InvalidFilename
            ),
        }
    }

    /// Whether it concerns the whole disk.
    pub(crate) fn is_of_disk(&self) -> bool {
        matches!(&self.cause, Cause::Io(error) if matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem
        ))
    }

    /// The error as the result of a connection attempt.
    pub(crate) fn into_connect_error(self) -> ConnectError {
        if self.is_permanent() {
            ConnectError::permanent(self.to_string())
        } else {
            ConnectError::retry(self.to_string())
        }
    }

    /// The error as the outcome of a batch's events.
    pub(crate) fn into_outcome(self) -> Outcome {
        Outcome::retry(self.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: ", self.doing, self.path.display())?;
        match &self.cause {
            Cause::Said { what, .. } => f.write_str(what),
            Cause::Io(error) => {
                write!(f, "{error}")?;
                f.write_str(advice(error.kind()))
            }
        }
    }
}

/// Advice for the operator, if there is any.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "; create its directory, or set `create_dirs: true`",
        ErrorKind::PermissionDenied => {
            "; allow the host's user to write there, or choose another path"
        }
        ErrorKind::NotADirectory => "; part of its path is a file, not a directory",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space on its disk",
        ErrorKind::FileTooLarge => {
            "; the file size limit (`ulimit -f`, or that of the file system) is reached: raise it, \
             or set `rotate`"
        }
        _ => "",
    }
}
