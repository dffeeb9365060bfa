//! How events are told apart on the way to a host.

/// How frames are written to the pull socket. It cannot be found out, since no host ever says
/// anything there; what a wrong choice costs is every event, without an error.
///
/// A host of evbus takes both. Salt masters take what their own release writes:
///
/// | Salt | takes |
/// |---|---|
/// | 3006.26 and later 3006, 3007.15 and later 3007, 3008.2 and later | [`Prefixed`](Self::Prefixed) |
/// | all before these | [`Bare`](Self::Bare) |
///
/// What a listener reads is independent of this, and needs no choice: it is seen in what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PullFraming {
    /// Each frame after its length in 4 bytes. The default: the current releases of all of Salt's
    /// series take it, and so does evbus.
    #[default]
    Prefixed,
    /// Frames follow one another.
    Bare,
}
