//! How events are separated on the way to a host.

/// How frames are written to the pull socket. It cannot be detected, because no host ever sends
/// anything there; with the wrong choice every event is lost, without an error.
///
/// A host of evbus accepts both. A Salt master accepts what its own release writes:
///
/// | Salt | accepts |
/// |---|---|
/// | 3006.26 and later 3006, 3007.15 and later 3007, 3008.2 and later | [`Prefixed`](Self::Prefixed) |
/// | all earlier releases | [`Bare`](Self::Bare) |
///
/// A listener needs no such setting: it detects the framing from the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PullFraming {
    /// Each frame is preceded by its length in 4 bytes. The default: the current releases of all Salt series
    /// accept it, and so does evbus.
    #[default]
    Prefixed,
    /// Frames follow one another directly.
    Bare,
}
