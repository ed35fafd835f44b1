//! One fragment: a Matroska file of one Segment with one Cluster of PCM, as Kinesis Video Streams takes it; and the
//! reader of what the service gives back.

pub mod read;
mod write;

pub use write::{
    Block, FragmentError, MAX_SPAN_MS, MAX_TAG_NAME, MAX_TAG_VALUE, MAX_TAGS, TRACK_NAME, write,
};
