//! What a parser says of the bytes at hand.

use super::item::SkipReason;

/// What became of the bytes at hand.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// What begins there is not complete.
    Wait,
    /// This many bytes are done with.
    Took(usize),
    /// A recording's header begins there.
    Header,
    /// What begins there breaks the format.
    Broken(SkipReason),
}

/// What becomes of a chunk that begins with the running recording's header.
#[derive(Debug, PartialEq)]
pub(super) enum Again {
    /// The recording goes on behind this many bytes of it.
    GoesOn(usize),
    /// The same, and they are the whole first blob.
    FirstBlob(usize),
    /// The same, but something is missing between what was read and there.
    Misses(usize),
    /// Each run of this recorder has this header, and nothing follows it yet that tells which it is. This one would go on behind so
    /// many bytes.
    Waits(usize),
}

/// What became of a place that might be one where the recording goes on.
#[derive(Debug, PartialEq)]
pub(super) enum Proof<T> {
    /// It is none.
    Fails,
    /// More bytes are needed to decide.
    Wait,
    /// It is one: how to go on there.
    Holds(T),
}

impl<T> Proof<T> {
    pub(super) fn map<U>(self, to: impl FnOnce(T) -> U) -> Proof<U> {
        match self {
            Self::Fails => Proof::Fails,
            Self::Wait => Proof::Wait,
            Self::Holds(place) => Proof::Holds(to(place)),
        }
    }
}
