//! Where elements may stand, and how long they may be.

use super::super::item::SkipReason;
use crate::ebml::{ElementHeader, id};

/// Elements that stand in a Segment beside its Clusters, and other Clusters: each ends a Cluster of unknown size.
pub(super) fn is_segment_child(element: u32) -> bool {
    use id::{ATTACHMENTS, CHAPTERS, CLUSTER, CUES, INFO, SEEK_HEAD, SEGMENT, TAGS, TRACKS};
    matches!(element, SEEK_HEAD | INFO | TRACKS | CHAPTERS | CLUSTER | CUES | ATTACHMENTS | TAGS | SEGMENT)
}

/// Elements that stand in a Cluster only.
pub(super) fn is_cluster_child(element: u32) -> bool {
    use id::{BLOCK_GROUP, ENCRYPTED_BLOCK, POSITION, PREV_SIZE, SILENT_TRACKS, SIMPLE_BLOCK, TIMESTAMP};
    matches!(
        element,
        TIMESTAMP | SIMPLE_BLOCK | BLOCK_GROUP | ENCRYPTED_BLOCK | POSITION | PREV_SIZE | SILENT_TRACKS
    )
}

/// The size of a Segment or Cluster. Some recorders leave a size of 0 where they would have written it at the end.
pub(super) fn size_or_unknown(header: ElementHeader) -> Option<u64> {
    header.size.filter(|&size| size > 0)
}

pub(super) fn known_size(header: ElementHeader, limit: u64) -> Result<usize, SkipReason> {
    match header.size {
        Some(size) if size <= limit => Ok(size as usize),
        Some(bytes) => Err(SkipReason::TooLarge { id: header.id, bytes }),
        None => Err(SkipReason::BadElement { id: header.id }),
    }
}
