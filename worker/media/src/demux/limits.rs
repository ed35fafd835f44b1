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
/// Bytes that places which turn out to be none may cost in one push. What is left then is passed unseen. Noise costs less than half
/// of it per 96 KiB; only bytes that were made for it cost more.
pub(super) const IN_VAIN: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound that SPECIFICATION.md gives for a row of its table of limits.
    fn specified(row: &str) -> &'static str {
        let mut rows = include_str!("../../../../SPECIFICATION.md").lines();
        let bound = rows.find_map(|line| line.strip_prefix("| ")?.strip_prefix(row)?.strip_prefix(" | "));
        bound.unwrap_or_else(|| panic!("SPECIFICATION.md has no limit for {row:?}"))
    }

    fn size(bytes: u64) -> String {
        if bytes.is_multiple_of(1 << 20) {
            format!("{} MiB", bytes >> 20)
        } else {
            format!("{} KiB", bytes >> 10)
        }
    }

    #[test]
    fn the_specification_promises_these_limits() {
        let limits = [
            ("bytes that the demuxer buffers", size(crate::demux::Demuxer::MAX_BUFFERED as u64)),
            ("bytes that one chunk may make the demuxer examine in vain", size(IN_VAIN as u64)),
            ("packets and skipped runs out of one chunk", "65,536".to_owned()),
            ("tracks that a header may declare", TRACKS.to_string()),
            (
                "WebM elements: EBML header; Info, Tracks",
                format!("{}; {}", size(EBML_HEADER), size(HEADER_ELEMENT)),
            ),
            (
                "a block of the Opus track; of another declared track",
                format!("{}; {}", size(BLOCK), size(BLOCK_BESIDE)),
            ),
            ("SeekHead, Cues, Tags, Attachments, Chapters", size(SEGMENT_CHILD)),
            (
                "an element of unknown ID, before Tracks; behind Tracks",
                format!("{}; {}", size(PASSED_OVER), size(UNKNOWN_ELEMENT)),
            ),
        ];
        assert_eq!(ITEMS_PER_PUSH, 65_536);
        for (row, limit) in limits {
            let promised = specified(row);
            assert!(
                promised.starts_with(&limit),
                "{row}: the demuxer's limit is {limit}, promised is {promised}"
            );
        }
    }
}
