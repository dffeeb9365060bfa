//! Where a key or a value of the tree comes from.

use std::sync::Arc;

use super::{Location, Position};

/// Where a key or a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file without text, which is an encrypted one, or nowhere.
    NoText,
    /// The file's text.
    Text(Position),
    /// A flag of the command line, which is to blame for what is wrong there.
    Flag(&'static str),
}

impl Place {
    /// The location that a fault of the file names.
    pub(crate) fn within(self, file: &Arc<str>) -> Location {
        match self {
            Self::NoText => Location::whole(file),
            Self::Text(position) => Location::at(file, position),
            Self::Flag(flag) => Location::whole(&Arc::from(flag)),
        }
    }

    /// The place in the file's text, if it is there.
    pub(crate) fn position(self) -> Option<Position> {
        match self {
            Self::Text(position) => Some(position),
            Self::NoText | Self::Flag(_) => None,
        }
    }

    /// With the position in the text moved.
    pub(crate) fn moved(self, moved: impl FnOnce(Position) -> Position) -> Self {
        match self {
            Self::Text(position) => Self::Text(moved(position)),
            other => other,
        }
    }
}

impl From<Position> for Place {
    fn from(position: Position) -> Self {
        Self::Text(position)
    }
}
