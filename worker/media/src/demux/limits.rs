//! The bounds that hold whatever the bytes claim. Each is well above what recorders write.

/// Info or Tracks; a browser's are 150 bytes together.
pub(super) const HEADER_ELEMENT: u64 = 32 * 1024;
/// The EBML header; a browser's is 36 or 43 bytes.
pub(super) const EBML_HEADER: u64 = 1024;
/// A SimpleBlock or BlockGroup. The largest Opus packet without padding has 61 kB.
pub(super) const BLOCK: u64 = 128 * 1024;
/// An element that is passed over without being kept: Void, Cues, Tags and the like.
pub(super) const PASSED_OVER: u64 = 1024 * 1024;
/// A Cluster of known size, where one is looked for among noise.
pub(super) const CLUSTER: u64 = 64 * 1024 * 1024;
/// Tracks that a header may declare.
pub(super) const TRACKS: usize = 8;
/// Elements between a Cluster's start and its first block.
pub(super) const BEFORE_FIRST_BLOCK: usize = 8;
/// The size of each of them.
pub(super) const BEFORE_FIRST_BLOCK_BYTES: u64 = 1024;
/// Packets and skipped runs out of one push: 22 minutes of 20 ms. A chunk gives a few dozen.
pub(super) const ITEMS_PER_PUSH: usize = 65_536;
/// Pages of a wrong checksum that are looked at in one search: each costs a pass over its 65 kB.
pub(super) const FALSE_PAGES: usize = 16;
