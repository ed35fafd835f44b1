//! A fragment as a reader sees it, and when two fragments are the same one.

use std::collections::BTreeSet;

use media::fragment::read::ReadFragment;
use media::time::{EpochMs, Samples};

/// Blocks this close to each other touch: times are whole milliseconds.
const TOUCH_MS: u64 = 1;

/// A piece of audio: 16 kHz, mono.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// When its first sample was spoken.
    pub at: EpochMs,
    /// Its samples.
    pub pcm: Vec<i16>,
}

impl Block {
    /// When its last sample ends, rounded up.
    pub fn end(&self) -> EpochMs {
        EpochMs(self.at.0.saturating_add(Samples::from(self.pcm.len()).ms_ceil()))
    }
}

/// The audio of a fragment that was read, in time order.
pub fn blocks(read: &ReadFragment) -> Vec<Block> {
    let pcm =
        |bytes: &[u8]| bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    read.blocks.iter().map(|(at, bytes)| Block { at: *at, pcm: pcm(bytes) }).collect()
}

/// A fragment without its samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// `FragmentNumber`; grows in the order of ingestion.
    pub number: String,
    /// Producer timestamp: when its first sample was spoken.
    pub at: EpochMs,
    /// When the service took it, where it says so.
    pub server_at: Option<EpochMs>,
    /// It came back into a gap, by its tags.
    pub backfilled: bool,
    /// Audio without a hole: beginning and length, in time order.
    pub stretches: Vec<(EpochMs, Samples)>,
    /// Which numbering of chunkIndex, from its tags.
    pub numbering: Option<u32>,
    /// First and last chunkIndex, from its tags.
    pub chunks: Option<(u64, u64)>,
    /// How many bytes of its first chunk earlier fragments hold, where that chunk is too long for one.
    pub first_from: Option<u64>,
}

impl Fragment {
    /// From a fragment that was read.
    pub fn of(read: &ReadFragment) -> Self {
        let tag = |name: &str| read.tags.get(name)?.parse::<u64>().ok();
        let mut stretches: Vec<(EpochMs, Samples)> = Vec::new();
        for (at, bytes) in &read.blocks {
            let samples = Samples::from(bytes.len() / 2);
            match stretches.last_mut() {
                Some((begin, length)) if at.0.abs_diff(begin.0 + length.ms_ceil()) <= TOUCH_MS => {
                    *length += samples;
                }
                _ => stretches.push((*at, samples)),
            }
        }
        Self {
            number: read.number.clone().unwrap_or_default(),
            at: read.producer_ms.unwrap_or(read.cluster_ms),
            server_at: read.server_ms,
            backfilled: read.tags.get("line").is_some_and(|line| line == "backfill"),
            stretches,
            numbering: tag("numbering").and_then(|n| u32::try_from(n).ok()),
            chunks: tag("chunkFirst").zip(tag("chunkLast")).filter(|(first, last)| first <= last),
            first_from: tag("chunkFirstFrom"),
        }
    }

    /// When its last sample ends, rounded up.
    pub fn end(&self) -> EpochMs {
        self.stretches.last().map_or(self.at, |(at, length)| EpochMs(at.0.saturating_add(length.ms_ceil())))
    }

    /// Its audio.
    pub fn samples(&self) -> Samples {
        self.stretches.iter().map(|(_, length)| *length).sum()
    }

    /// Numbering and index of its first chunk.
    pub fn begins(&self) -> Option<(u32, u64)> {
        self.numbering.zip(self.chunks.map(|(first, _)| first))
    }

    /// Numbering and index of the chunk after its last one.
    pub fn ends(&self) -> Option<(u32, u64)> {
        self.numbering.zip(self.chunks.map(|(_, last)| last.saturating_add(1)))
    }

    /// Sorts by ingestion: numbers grow, and have up to 128 digits.
    pub fn order(&self) -> (usize, &str) {
        (self.number.len(), &self.number)
    }

    /// `None` for a fragment that was not written by this project: its content is unknown.
    fn identity(&self) -> Option<Identity> {
        Some((self.at, self.numbering?, self.chunks?))
    }
}

/// Producer time, numbering, first and last chunk.
type Identity = (EpochMs, u32, (u64, u64));

/// Lets each fragment pass once: **the same producer time, numbering and chunk range is one fragment**, whatever its number.
///
/// No writer can exclude that the service stores a fragment late that it has said it does not have, so that the fragment
/// is written again. Both copies hold the same bytes; a reader takes the first that it meets.
#[derive(Clone, Debug, Default)]
pub struct Once {
    met: BTreeSet<Identity>,
    again: usize,
}

impl Once {
    /// Whether this fragment was not met before.
    pub fn is_new(&mut self, fragment: &Fragment) -> bool {
        let is_new = fragment.identity().is_none_or(|identity| self.met.insert(identity));
        self.again += usize::from(!is_new);
        is_new
    }

    /// How many fragments were copies of others.
    pub fn again(&self) -> usize {
        self.again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(number: &str, at: u64, numbering: u32, chunks: (u64, u64)) -> Fragment {
        let (numbering, chunks) = (Some(numbering), Some(chunks));
        Fragment { number: number.into(), at: EpochMs(at), numbering, chunks, ..Fragment::default() }
    }

    #[test]
    fn the_same_time_and_chunk_range_is_one_fragment_and_nothing_else_is() {
        let mut once = Once::default();
        assert!(once.is_new(&fragment("1", 1_000, 0, (0, 6))));
        assert!(!once.is_new(&fragment("9", 1_000, 0, (0, 6))), "stored twice, it would be heard twice");
        for other in [(2_000, 0, (0, 6)), (1_000, 1, (0, 6)), (1_000, 0, (0, 5)), (1_000, 0, (1, 6))] {
            assert!(once.is_new(&fragment("2", other.0, other.1, other.2)), "{other:?} would be left out");
        }
        let foreign = Fragment { at: EpochMs(1_000), ..Fragment::default() };
        assert!(once.is_new(&foreign) && once.is_new(&foreign), "what has no tags cannot be compared");
        assert_eq!(once.again(), 1);
    }

    #[test]
    fn a_pause_inside_a_fragment_is_seen_and_rounding_is_none() {
        let block = |at: u64, samples: usize| (EpochMs(at), vec![0; 2 * samples]);
        let read = ReadFragment {
            blocks: vec![block(1_000, 1_600), block(1_100, 1_601), block(1_201, 1_600), block(1_400, 16)],
            ..ReadFragment::default()
        };
        let fragment = Fragment::of(&read);
        assert_eq!(fragment.stretches, [(EpochMs(1_000), Samples(4_801)), (EpochMs(1_400), Samples(16))]);
        assert_eq!((fragment.end(), fragment.samples()), (EpochMs(1_401), Samples(4_817)));
        assert_eq!(blocks(&read).last().map(Block::end), Some(EpochMs(1_401)));
    }
}
