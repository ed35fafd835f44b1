//! What stands before the first Cluster, as readers get it before every fragment.

use super::tags::Tags;
use bytes::Bytes;
use std::ops::Range;

/// EBML header, the Segment's beginning, and all elements before the first Cluster, as they were sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opening {
    bytes: Vec<u8>,
    /// Where the first fragment's tags lie in it.
    tags: Vec<Range<usize>>,
}

impl Opening {
    pub(super) fn add(&mut self, raw: &[u8]) {
        self.bytes.extend_from_slice(raw);
    }

    pub(super) fn add_tags(&mut self, tags: &Tags) {
        let from = self.bytes.len();
        self.add(&tags.raw);
        if !tags.of_muxer {
            self.tags.push(from..self.bytes.len());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What stands before the first fragment, and before each later one: these do not have the first one's tags.
    pub fn into_bytes(self) -> (Bytes, Bytes) {
        let first = Bytes::from(self.bytes.into_boxed_slice());
        if self.tags.is_empty() {
            return (first.clone(), first);
        }
        let mut again = Vec::with_capacity(first.len());
        let mut from = 0;
        for tags in self.tags {
            again.extend_from_slice(&first[from..tags.start]);
            from = tags.end;
        }
        again.extend_from_slice(&first[from..]);
        (first, again.into())
    }
}
