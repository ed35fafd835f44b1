//! Writes one fragment (RFC 9559): one Segment, Info, Tracks, Tags, one Cluster of SimpleBlocks, all of known size.
//!
//! The layout is that of the service's own generator: DocType `matroska` version 2, 1 ms ticks, one audio track,
//! tags before the Cluster. All sizes are known, since the whole fragment is, so a reader can see
//! whether the body was cut off. The same input gives the same bytes.

use thiserror::Error;

use crate::ebml::{id, write as ebml};
use crate::time::{EpochMs, Samples};

/// The longest time from a fragment's first sample to its last: a block's time is 16 bits after its Cluster's. (The
/// service itself takes 20 s.)
pub const MAX_SPAN_MS: u64 = 32_000;
/// Tags that the service takes with a fragment.
pub const MAX_TAGS: usize = 10;
/// Bytes of a tag's name.
pub const MAX_TAG_NAME: usize = 128;
/// Bytes of a tag's value.
pub const MAX_TAG_VALUE: usize = 256;
/// The track's name, by which a reader finds it.
pub const TRACK_NAME: &str = "audio";

/// The longest SimpleBlock. The service measures a fragment by its block times, so one block would be 0 ms long.
const BLOCK: Samples = Samples::from_ms(100);
/// Readers count in nanoseconds, 63 bits of them.
const MAX_EPOCH_MS: u64 = i64::MAX as u64 / 1_000_000 - MAX_SPAN_MS;
const TICK_NS: u64 = 1_000_000;
const TRACK: u8 = 1;
const AUDIO_TRACK: u64 = 2;
const KEYFRAME: u8 = 0x80;
const APP: &str = "kvs-stream-writer";

/// A run of samples that begins at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// When the first sample was captured.
    pub at: EpochMs,
    /// 16 kHz mono.
    pub pcm: Vec<i16>,
    /// How much time the samples take: their number, or a little more or less where the recorder's sample clock drifts. The times of
    /// the SimpleBlocks are scaled by it.
    pub time: Samples,
}

impl Block {
    /// A run whose samples take their own time.
    pub fn new(at: EpochMs, pcm: Vec<i16>) -> Self {
        let time = Samples::from(pcm.len());
        Self { at, pcm, time }
    }

    fn end(&self) -> EpochMs {
        self.at.plus(self.time)
    }

    /// How much time its first `samples` take.
    fn time_of(&self, samples: Samples) -> Samples {
        let of = u128::from(samples.0) * u128::from(self.time.0) / (self.pcm.len() as u128).max(1);
        Samples(u64::try_from(of).unwrap_or(u64::MAX))
    }
}

/// What the service, or the format, would refuse.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FragmentError {
    /// There are no samples; the service refuses a fragment without blocks.
    #[error("a fragment needs samples; these {0} runs have none")]
    NoSamples(usize),
    /// A run begins before the one ahead of it ends.
    #[error("a run of samples begins at {at}, before the one ahead of it ends ({earliest})")]
    Backwards {
        /// When it begins.
        at: EpochMs,
        /// When it may begin at the earliest.
        earliest: EpochMs,
    },
    /// The fragment is too long for the times of its blocks.
    #[error("the fragment would span {span_ms} ms, {MAX_SPAN_MS} ms are possible; make it two")]
    TooLong {
        /// From the first sample to the last.
        span_ms: u64,
    },
    /// The time does not fit into the nanoseconds that readers count in.
    #[error("the time {0} is beyond the year 2262; is it in milliseconds?")]
    TimeOutOfRange(EpochMs),
    /// More tags than the service takes.
    #[error("{0} tags, the service takes {MAX_TAGS} with a fragment")]
    TooManyTags(usize),
    /// A tag's name is empty, too long, or begins with the service's own prefix.
    #[error("tag name {0:?}: the service takes 1 to {MAX_TAG_NAME} bytes that do not begin with AWS")]
    TagName(String),
    /// A tag's value is too long.
    #[error("the value of tag {name:?} has {bytes} bytes, the service takes {MAX_TAG_VALUE}")]
    TagValue {
        /// The tag.
        name: String,
        /// How long its value is.
        bytes: usize,
    },
}

/// Writes runs of samples, and tags, as one fragment whose producer timestamp is the first run's time.
///
/// Each run is cut into SimpleBlocks of 100 ms, its remainder exact in samples; runs without samples are left out.
///
/// # Errors
/// [`FragmentError`] names what the service or the format would refuse.
pub fn write(blocks: &[Block], tags: &[(&str, String)]) -> Result<Vec<u8>, FragmentError> {
    let runs: Vec<&Block> = blocks.iter().filter(|block| !block.pcm.is_empty()).collect();
    let start = runs.first().ok_or(FragmentError::NoSamples(blocks.len()))?.at;
    check_times(start, &runs)?;
    check_tags(tags)?;
    let mut parts = vec![info(start), tracks()];
    if !tags.is_empty() {
        parts.push(tag_list(tags));
    }
    parts.push(cluster(start, &runs));
    Ok([header(), ebml::master(id::SEGMENT, &parts)].concat())
}

fn check_times(start: EpochMs, runs: &[&Block]) -> Result<(), FragmentError> {
    let mut earliest = start;
    for run in runs {
        if run.at.0 > MAX_EPOCH_MS {
            return Err(FragmentError::TimeOutOfRange(run.at));
        }
        if run.at < earliest {
            return Err(FragmentError::Backwards { at: run.at, earliest });
        }
        earliest = run.end();
        let span_ms = earliest.ms_since(start);
        if span_ms > MAX_SPAN_MS {
            return Err(FragmentError::TooLong { span_ms });
        }
    }
    Ok(())
}

fn check_tags(tags: &[(&str, String)]) -> Result<(), FragmentError> {
    if tags.len() > MAX_TAGS {
        return Err(FragmentError::TooManyTags(tags.len()));
    }
    for (name, value) in tags {
        if name.is_empty() || name.len() > MAX_TAG_NAME || name.starts_with("AWS") {
            return Err(FragmentError::TagName((*name).to_owned()));
        }
        if value.len() > MAX_TAG_VALUE {
            return Err(FragmentError::TagValue { name: (*name).to_owned(), bytes: value.len() });
        }
    }
    Ok(())
}

fn header() -> Vec<u8> {
    let fields = [
        ebml::uint(id::EBML_VERSION, 1),
        ebml::uint(id::EBML_READ_VERSION, 1),
        ebml::uint(id::EBML_MAX_ID_LENGTH, 4),
        ebml::uint(id::EBML_MAX_SIZE_LENGTH, 8),
        ebml::element(id::DOC_TYPE, b"matroska"),
        ebml::uint(id::DOC_TYPE_VERSION, 2),
        ebml::uint(id::DOC_TYPE_READ_VERSION, 2),
    ];
    ebml::master(id::EBML, &fields)
}

/// SegmentUID is made of the start time, so that fragments differ in it and a rewritten one does not.
fn info(start: EpochMs) -> Vec<u8> {
    let uid = [*b"kvsw-seg", start.0.to_be_bytes()].concat();
    let fields = [
        ebml::element(id::SEGMENT_UID, &uid),
        ebml::uint(id::TIMESTAMP_SCALE, TICK_NS),
        ebml::element(id::MUXING_APP, APP.as_bytes()),
        ebml::element(id::WRITING_APP, APP.as_bytes()),
    ];
    ebml::master(id::INFO, &fields)
}

fn tracks() -> Vec<u8> {
    let audio = [
        ebml::element(id::SAMPLING_FREQUENCY, &f64::from(Samples::RATE_HZ).to_be_bytes()),
        ebml::uint(id::CHANNELS, 1),
        ebml::uint(id::BIT_DEPTH, 16),
    ];
    let entry = [
        ebml::uint(id::TRACK_NUMBER, TRACK.into()),
        ebml::uint(id::TRACK_UID, TRACK.into()),
        ebml::uint(id::TRACK_TYPE, AUDIO_TRACK),
        ebml::element(id::NAME, TRACK_NAME.as_bytes()),
        ebml::element(id::CODEC_ID, b"A_PCM/INT/LIT"),
        ebml::master(id::AUDIO, &audio),
    ];
    ebml::master(id::TRACKS, &[ebml::master(id::TRACK_ENTRY, &entry)])
}

fn tag_list(tags: &[(&str, String)]) -> Vec<u8> {
    let simple_tag = |(name, value): &(&str, String)| {
        let fields =
            [ebml::element(id::TAG_NAME, name.as_bytes()), ebml::element(id::TAG_STRING, value.as_bytes())];
        ebml::master(id::SIMPLE_TAG, &fields)
    };
    // No Targets: the official producer writes none, and the service publishes no list of what it accepts.
    let tag: Vec<Vec<u8>> = tags.iter().map(simple_tag).collect();
    ebml::master(id::TAGS, &[ebml::master(id::TAG, &tag)])
}

fn cluster(start: EpochMs, runs: &[&Block]) -> Vec<u8> {
    let mut children =
        vec![ebml::element(id::TIMESTAMP, &start.0.to_be_bytes()), ebml::uint(id::POSITION, 0)];
    for run in runs {
        for (n, pcm) in run.pcm.chunks(BLOCK.as_usize()).enumerate() {
            let relative = run.at.ms_since(start) + run.time_of(Samples(n as u64 * BLOCK.0)).ms_floor();
            children.push(simple_block(relative, pcm));
        }
    }
    ebml::master(id::CLUSTER, &children)
}

/// `relative` is at most [`MAX_SPAN_MS`], which fits into 15 bits.
fn simple_block(relative: u64, pcm: &[i16]) -> Vec<u8> {
    let mut content = Vec::with_capacity(4 + 2 * pcm.len());
    content.push(0x80 | TRACK);
    content.extend_from_slice(&(relative as i16).to_be_bytes());
    content.push(KEYFRAME);
    content.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
    ebml::element(id::SIMPLE_BLOCK, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(at: u64, samples: usize) -> Block {
        Block::new(EpochMs(at), vec![1; samples])
    }

    #[test]
    fn what_the_service_would_refuse_is_refused_by_name() {
        let error = |blocks: &[Block]| write(blocks, &[]).unwrap_err();
        assert_eq!(error(&[]), FragmentError::NoSamples(0));
        assert_eq!(error(&[run(5, 0)]), FragmentError::NoSamples(1));
        let backwards = FragmentError::Backwards { at: EpochMs(1099), earliest: EpochMs(1100) };
        assert_eq!(error(&[run(1000, 1600), run(1099, 16)]), backwards);
        assert_eq!(error(&[run(0, 512_016)]), FragmentError::TooLong { span_ms: 32_001 });
        assert_eq!(error(&[run(0, 16), run(32_001, 1)]), FragmentError::TooLong { span_ms: 32_001 });
        let micros = 1_795_335_945_729_000_000;
        assert_eq!(error(&[run(micros, 16)]), FragmentError::TimeOutOfRange(EpochMs(micros)));
        assert!(write(&[run(0, 512_000)], &[]).is_ok(), "32 s are just possible");
    }

    #[test]
    fn tags_beyond_the_limits_are_refused_by_name() {
        let error = |name: &str, value: &str| write(&[run(0, 16)], &[(name, value.to_owned())]).unwrap_err();
        assert_eq!(error("AWS_X", ""), FragmentError::TagName("AWS_X".to_owned()));
        assert_eq!(error("", ""), FragmentError::TagName(String::new()));
        assert_eq!(error(&"n".repeat(129), ""), FragmentError::TagName("n".repeat(129)));
        let long = FragmentError::TagValue { name: "n".to_owned(), bytes: 257 };
        assert_eq!(error("n", &"v".repeat(257)), long);
        let many: Vec<(&str, String)> = vec![("n", String::new()); 11];
        assert_eq!(write(&[run(0, 16)], &many), Err(FragmentError::TooManyTags(11)));
        assert!(write(&[run(0, 16)], &[(&"n".repeat(128), "v".repeat(256))]).is_ok());
    }

    #[test]
    fn a_runs_remainder_may_be_shorter_than_a_millisecond() {
        let blocks = [run(1000, 1601), run(1100, 1)];
        assert!(write(&blocks, &[]).is_ok(), "runs that touch within a millisecond do not overlap");
    }
}
