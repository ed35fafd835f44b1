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
}
