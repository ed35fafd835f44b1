//! The bounds that hold whatever the bytes claim. Each is well above what recorders write.

/// Info or Tracks; a browser's are 150 bytes together.
pub(super) const HEADER_ELEMENT: u64 = 32 * 1024;
/// The EBML header; a browser's is 36 or 43 bytes.
pub(super) const EBML_HEADER: u64 = 1024;
/// A SimpleBlock or BlockGroup of the Opus track. The largest Opus packet without padding has 61 kB.
pub(super) const BLOCK: u64 = 128 * 1024;
/// An element that is passed over without being kept: Void and the like, and whatever stands before Tracks.
pub(super) const PASSED_OVER: u64 = 1024 * 1024;
/// The same, if its ID has four bytes and no noise looks like it: Cues, Tags, Attachments with cover art.
pub(super) const SEGMENT_CHILD: u64 = 64 * 1024 * 1024;
/// A block of another declared track: a video's key frame.
pub(super) const BLOCK_BESIDE: u64 = 16 * 1024 * 1024;
/// An element of an unknown ID. It is held back until what follows shows that it is one, and not damage.
pub(super) const UNKNOWN_ELEMENT: u64 = 64 * 1024;
/// A Cluster of known size, where one is looked for among noise.
pub(super) const CLUSTER: u64 = 64 * 1024 * 1024;
/// Tracks that a header may declare.
pub(super) const TRACKS: usize = 32;
/// Bytes that a place to go on from may need to prove itself.
pub(super) const PROOF: usize = 128 * 1024;
/// An element in there that proves little: Void, PrevSize, one of an unknown ID.
pub(super) const PROOF_ELEMENT: u64 = 4 * 1024;
/// Packets and skipped runs out of one push: 22 minutes of 20 ms. A chunk gives a few dozen.
pub(super) const ITEMS_PER_PUSH: usize = 65_536;
/// Bytes that places which turn out to be none may cost in one push. What is left then is passed unseen. Noise costs a
/// tenth of it per 96 KiB; only bytes that were made for it cost more.
pub(super) const IN_VAIN: usize = 1024 * 1024;
