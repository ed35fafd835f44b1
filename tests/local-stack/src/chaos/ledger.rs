//! The count: every chunk that went in is in exactly one fragment, or parked.
//!
//! The stream alone is asked, never the worker's own word. A chunk is known by its page and index, which a fragment's tags tell
//! (`numbering`, `chunkFirst`, `chunkLast`); how much audio a fragment must hold follows from the reference. So a fragment whose tags span a hole is known
//! by its length.

use std::collections::{BTreeMap, BTreeSet};

use media::fragment::read::ReadFragment;
use serde::Serialize;

/// Page (the worker calls it numbering) and chunkIndex.
pub type Key = (u32, u64);

/// How much the audio of a fragment with a hole in it may differ from that of its chunks, in samples at 16 kHz: the bytes between the hole's
/// end and the place where decoding goes on belong to the chunk before.
const HOLE_TOLERANCE: usize = 4_800;

/// Times are whole milliseconds, and those of audio that drifts lie up to 1.5 % closer: so much two blocks of 100 ms may overlap that do not.
const ROUNDING_MS: u64 = 3;

/// A fragment, as its tags and blocks tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// The service's number.
    pub number: String,
    /// `numbering`.
    pub page: u32,
    /// `chunkFirst`.
    pub first: u64,
    /// `chunkLast`.
    pub last: u64,
    /// Producer timestamp, epoch ms.
    pub at_ms: u64,
    /// Time and samples of each block.
    pub blocks: Vec<(u64, usize)>,
}

impl Fragment {
    /// Reads the tags; `None` where they are missing.
    pub fn of(read: &ReadFragment) -> Option<Self> {
        let tag = |name| read.tags.get(name)?.parse::<u64>().ok();
        Some(Self {
            number: read.number.clone().unwrap_or_default(),
            page: u32::try_from(tag("numbering")?).ok()?,
            first: tag("chunkFirst")?,
            last: tag("chunkLast")?,
            at_ms: read.producer_ms.unwrap_or(read.cluster_ms).0,
            blocks: read.blocks.iter().map(|(at, bytes)| (at.0, bytes.len() / 2)).collect(),
        })
    }

    fn samples(&self) -> usize {
        self.blocks.iter().map(|(_, samples)| samples).sum()
    }

    /// When its last block begins.
    fn last_ms(&self) -> u64 {
        self.blocks.iter().map(|(at, _)| *at).max().unwrap_or(self.at_ms)
    }

    fn spans(&self, key: Key) -> bool {
        key.0 == self.page && (self.first..=self.last).contains(&key.1)
    }

    fn lies_within(&self, other: &Self) -> bool {
        let inside = self.page == other.page && other.first <= self.first && self.last <= other.last;
        inside && (self.first, self.last) != (other.first, other.last)
    }

    fn name(&self) -> String {
        format!("{}-{} of page {} at {} ({})", self.first, self.last, self.page, self.at_ms, self.number)
    }
}

/// The count of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Chunks that went in.
    pub chunks_in: usize,
    /// Chunks in exactly one fragment.
    pub written_once: usize,
    /// Chunks in the DLQ and in no fragment.
    pub parked: usize,
    /// Chunks in the DLQ although they are written: copies that a redrive drops.
    pub parked_and_written: usize,
    /// Chunks that are nowhere.
    pub lost: Vec<Key>,
    /// Chunks in more than one fragment.
    pub twice: Vec<Key>,
    /// Pairs of fragments whose times overlap.
    pub overlaps: Vec<(String, String)>,
    /// Fragments whose audio is not that of their chunks.
    pub odd: Vec<String>,
    /// Fragments with a hole inside: its chunks came too late for them.
    pub with_holes: usize,
}

impl Account {
    /// Nothing lost, nothing twice.
    pub fn holds(&self) -> bool {
        self.lost.is_empty() && self.twice.is_empty() && self.overlaps.is_empty() && self.odd.is_empty()
    }
}

/// Chunks that came so late that their session had passed them, and that no DLQ ever held: those of fragments that arrived after later
/// audio, also in a hole of one fragment.
pub fn late_chunks(fragments: &[Fragment], parked: &BTreeSet<Key>) -> BTreeSet<Key> {
    let arrived_late = |fragment: &&Fragment| {
        fragments.iter().any(|other| other.number < fragment.number && other.last_ms() > fragment.at_ms)
    };
    let keys = |fragment: &Fragment| {
        let page = fragment.page;
        (fragment.first..=fragment.last).map(move |index| (page, index))
    };
    let late = fragments.iter().filter(arrived_late).flat_map(keys);
    late.filter(|key| !parked.contains(key)).collect()
}

/// Counts. `chunks` are those that went in, with the samples of each.
pub fn account(chunks: &BTreeMap<Key, usize>, fragments: &[Fragment], parked: &BTreeSet<Key>) -> Account {
    let mut account =
        Account { chunks_in: chunks.len(), overlaps: overlaps(fragments), ..Account::default() };
    let mut copies: BTreeMap<Key, usize> = BTreeMap::new();
    for fragment in fragments {
        match held(fragment, chunks, fragments, parked) {
            Held::All(keys) => keys.into_iter().for_each(|key| *copies.entry(key).or_default() += 1),
            Held::AllButHoles(keys) => {
                account.with_holes += 1;
                keys.into_iter().for_each(|key| *copies.entry(key).or_default() += 1);
            }
            Held::Odd(keys, why) => {
                account.odd.push(format!("{}: {why}", fragment.name()));
                keys.into_iter().for_each(|key| *copies.entry(key).or_default() += 1);
            }
        }
    }
    for key in chunks.keys() {
        match (copies.get(key).copied().unwrap_or(0), parked.contains(key)) {
            (0, true) => account.parked += 1,
            (0, false) => account.lost.push(*key),
            (1, also_parked) => {
                account.written_once += 1;
                account.parked_and_written += usize::from(also_parked);
            }
            (_, _) => account.twice.push(*key),
        }
    }
    account
}

enum Held {
    All(Vec<Key>),
    AllButHoles(Vec<Key>),
    Odd(Vec<Key>, String),
}

/// The chunks that a fragment holds: all that its tags span, or all but those that lie in a hole.
fn held(
    fragment: &Fragment,
    chunks: &BTreeMap<Key, usize>,
    fragments: &[Fragment],
    parked: &BTreeSet<Key>,
) -> Held {
    let spanned: Vec<Key> = (fragment.first..=fragment.last)
        .map(|index| (fragment.page, index))
        .filter(|k| chunks.contains_key(k))
        .collect();
    if spanned.len() as u64 != fragment.last.saturating_sub(fragment.first) + 1 {
        return Held::Odd(spanned, "its tags name chunks that were never sent".into());
    }
    let samples = |keys: &[Key]| keys.iter().map(|key| chunks[key]).sum::<usize>();
    if samples(&spanned) == fragment.samples() {
        return Held::All(spanned);
    }
    let elsewhere =
        |key: &Key| fragments.iter().any(|other| other.lies_within(fragment) && other.spans(*key));
    let inside: Vec<Key> =
        spanned.iter().filter(|key| !elsewhere(key) && !parked.contains(key)).copied().collect();
    let whole = inside.len() == spanned.len();
    if samples(&inside).abs_diff(fragment.samples()) <= HOLE_TOLERANCE {
        // Without a hole that explains it: audio beside a hole that was filled before or after.
        return if whole { Held::All(inside) } else { Held::AllButHoles(inside) };
    }
    let why = format!("it holds {} samples, its chunks {}", fragment.samples(), samples(&spanned));
    Held::Odd(spanned, why)
}

fn overlaps(fragments: &[Fragment]) -> Vec<(String, String)> {
    let mut blocks: Vec<(u64, usize, &Fragment)> =
        fragments.iter().flat_map(|f| f.blocks.iter().map(move |(at, samples)| (*at, *samples, f))).collect();
    blocks.sort_by_key(|(at, _, fragment)| (*at, &fragment.number));
    let overlap = |pair: &[(u64, usize, &Fragment)]| {
        let [(at, samples, fragment), (next, _, other)] = pair else { return None };
        let end = at + *samples as u64 / 16;
        (end > *next + ROUNDING_MS).then(|| (fragment.name(), other.name()))
    };
    let pairs: BTreeSet<_> = blocks.windows(2).filter_map(overlap).collect();
    pairs.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(pages: &[u64]) -> BTreeMap<Key, usize> {
        let page =
            |(page, count): (usize, &u64)| (0..*count).map(move |index| ((page as u32, index), 16_000));
        pages.iter().enumerate().flat_map(page).collect()
    }

    /// A fragment of chunks of one second each, at the second that its first chunk names.
    fn fragment(page: u32, first: u64, last: u64, seconds: usize) -> Fragment {
        let at_ms = u64::from(page) * 1_000_000 + first * 1_000;
        let blocks = (0..seconds).map(|i| (at_ms + 1_000 * i as u64, 16_000)).collect();
        Fragment { number: format!("{page}/{first}"), page, first, last, at_ms, blocks }
    }

    fn nothing_parked() -> BTreeSet<Key> {
        BTreeSet::new()
    }

    #[test]
    fn what_is_written_once_or_parked_balances() {
        let fragments = [fragment(0, 0, 2, 3), fragment(1, 0, 1, 2)];
        let account = account(&chunks(&[5, 2]), &fragments, &BTreeSet::from([(0, 3), (0, 4), (0, 0)]));
        assert!(account.holds());
        assert_eq!((account.chunks_in, account.written_once, account.parked), (7, 5, 2));
        assert_eq!(account.parked_and_written, 1, "a copy in the DLQ of what is written does no harm");
    }

    #[test]
    fn a_chunk_of_the_second_page_is_not_that_of_the_first() {
        let account = account(&chunks(&[2, 2]), &[fragment(0, 0, 1, 2)], &nothing_parked());
        assert_eq!(account.lost, [(1, 0), (1, 1)]);
    }

    #[test]
    fn a_chunk_in_two_fragments_is_twice_and_they_overlap() {
        let account =
            account(&chunks(&[4]), &[fragment(0, 0, 2, 3), fragment(0, 2, 3, 2)], &nothing_parked());
        assert_eq!(account.twice, [(0, 2)]);
        assert_eq!(account.overlaps.len(), 1);
        assert!(!account.holds());
    }

    #[test]
    fn the_same_fragment_stored_twice_is_found_although_both_are_alike() {
        let mut again = fragment(0, 0, 2, 3);
        again.number = "again".into();
        let account = account(&chunks(&[3]), &[fragment(0, 0, 2, 3), again], &nothing_parked());
        assert_eq!(account.twice.len(), 3);
        assert!(!account.overlaps.is_empty());
    }

    #[test]
    fn a_hole_inside_a_fragment_is_filled_by_another_or_parked() {
        let mut holed = fragment(0, 0, 3, 2);
        holed.blocks[1].0 = 3_000;
        let filled = [holed.clone(), fragment(0, 1, 2, 2)];
        let both = account(&chunks(&[4]), &filled, &nothing_parked());
        assert!(both.holds(), "{both:?}");
        assert_eq!((both.written_once, both.with_holes), (4, 1));
        let parked = account(&chunks(&[4]), std::slice::from_ref(&holed), &BTreeSet::from([(0, 1), (0, 2)]));
        assert!(parked.holds() && parked.parked == 2, "{parked:?}");
        let lost = account(&chunks(&[4]), &[holed], &nothing_parked());
        assert!(!lost.holds(), "audio is missing and nobody has it: {lost:?}");
    }

    #[test]
    fn late_chunks_are_those_that_came_after_later_audio_but_not_out_of_the_dlq() {
        let numbered = |first, last, number: &str| {
            let seconds = (last - first + 1) as usize;
            Fragment { number: number.into(), ..fragment(0, first, last, seconds) }
        };
        let fragments = [numbered(0, 1, "1"), numbered(2, 2, "5"), numbered(3, 3, "3"), numbered(4, 5, "4")];
        assert_eq!(late_chunks(&fragments, &nothing_parked()), BTreeSet::from([(0, 2)]));
        assert_eq!(late_chunks(&fragments, &BTreeSet::from([(0, 2)])), BTreeSet::new());
        let mut holed = numbered(0, 3, "1");
        holed.blocks.remove(1);
        let into_its_hole = [holed, numbered(1, 1, "2")];
        assert_eq!(late_chunks(&into_its_hole, &nothing_parked()), BTreeSet::from([(0, 1)]));
    }

    #[test]
    fn a_fragment_of_chunks_that_were_never_sent_is_odd() {
        let account = account(&chunks(&[2]), &[fragment(0, 0, 4, 5)], &nothing_parked());
        assert_eq!(account.odd.len(), 1);
    }
}
