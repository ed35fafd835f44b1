//! What became of each chunk: in a fragment, in the dead-letter queue, refused at the door, or nowhere yet.
//!
//! A chunk is a message with its own `chunkIndex` and capture time; the same message sent twice is one chunk. An index may belong to
//! several chunks, because a reloaded page begins again at 0: then as many places are needed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// Chunk indices, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// First index.
    pub chunk_first: u64,
    /// Last index.
    pub chunk_last: u64,
}

impl Span {
    /// From first to last.
    pub fn new(chunk_first: u64, chunk_last: u64) -> Self {
        Self { chunk_first, chunk_last }
    }

    /// How many indices it holds; one at least.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.chunk_last.saturating_sub(self.chunk_first).saturating_add(1)
    }

    fn holds(&self, index: u64) -> bool {
        (self.chunk_first..=self.chunk_last).contains(&index)
    }

    fn lies_within(&self, other: &Self) -> bool {
        self != other && other.holds(self.chunk_first) && other.holds(self.chunk_last)
    }
}

/// A message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its `chunkIndex`, if it is a number.
    pub index: Option<u64>,
    /// Its `timestamp` as sent, if it is a number.
    pub captured_ms: Option<u64>,
    /// When it went out on the WebSocket, epoch ms.
    pub at_ms: u64,
    /// The door refused it.
    pub refused: bool,
}

/// What is known of the chunks' whereabouts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// The chunks of each persisted fragment.
    pub fragments: Vec<Span>,
    /// Holes that the session has passed; those inside a fragment's span are not in that fragment.
    pub gaps: Vec<Span>,
    /// Parked chunks, one entry per message.
    pub parked: Vec<u64>,
}

impl Whereabouts {
    /// Whether a fragment's span really holds the chunk: a hole inside it may not.
    fn in_fragment(&self, fragment: &Span, index: u64) -> bool {
        let in_hole = |gap: &Span| gap.holds(index) && gap.lies_within(fragment);
        fragment.holds(index) && !self.gaps.iter().any(in_hole)
    }

    fn copies(&self, index: u64) -> usize {
        self.fragments.iter().filter(|fragment| self.in_fragment(fragment, index)).count()
    }
}

/// The result of the count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Distinct chunks sent.
    pub sent: usize,
    /// In a fragment.
    pub written: usize,
    /// In the dead-letter queue.
    pub parked: usize,
    /// Refused at the door.
    pub refused: usize,
    /// Chunks that no fragment holds, in runs of neighbours.
    pub gaps: Vec<Span>,
    /// Neither written nor parked nor refused.
    pub missing: Vec<u64>,
    /// Held by more fragments than chunks were sent.
    pub twice: Vec<u64>,
}

impl Balance {
    /// Nothing is under way any more.
    pub fn is_settled(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Counts. Messages without a `chunkIndex` can only be refused; those that were not are left out of the count: nothing could name them.
pub fn balance(sent: &[Sent], whereabouts: &Whereabouts) -> Balance {
    let mut balance = Balance::default();
    let mut by_index: BTreeMap<u64, BTreeMap<Option<u64>, bool>> = BTreeMap::new();
    for message in sent {
        match message.index {
            Some(index) => {
                let refused = by_index.entry(index).or_default().entry(message.captured_ms).or_insert(true);
                *refused &= message.refused;
            }
            None => {
                balance.sent += 1;
                balance.refused += usize::from(message.refused);
            }
        }
    }
    let mut unwritten = BTreeSet::new();
    for (index, chunks) in by_index {
        let refused = chunks.values().filter(|refused| **refused).count();
        let due = chunks.len() - refused;
        let copies = whereabouts.copies(index);
        let parked = whereabouts.parked.iter().filter(|parked| **parked == index).count();
        let written = copies.min(due);
        let parked = parked.min(due - written);
        balance.sent += chunks.len();
        balance.refused += refused;
        balance.written += written;
        balance.parked += parked;
        if written < chunks.len() {
            unwritten.insert(index);
        }
        if written + parked < due {
            balance.missing.push(index);
        }
        if copies > due {
            balance.twice.push(index);
        }
    }
    balance.gaps = runs(&unwritten);
    balance
}

fn runs(indices: &BTreeSet<u64>) -> Vec<Span> {
    let mut runs: Vec<Span> = Vec::new();
    for &index in indices {
        match runs.last_mut() {
            Some(run) if run.chunk_last.checked_add(1) == Some(index) => run.chunk_last = index,
            _ => runs.push(Span::new(index, index)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(indices: &[u64]) -> Vec<Sent> {
        let chunk = |(i, index): (usize, &u64)| Sent {
            index: Some(*index),
            captured_ms: Some(i as u64),
            at_ms: 0,
            refused: false,
        };
        indices.iter().enumerate().map(chunk).collect()
    }

    #[test]
    fn every_chunk_in_a_fragment_balances() {
        let fragments = vec![Span::new(0, 2), Span::new(3, 3)];
        let found = balance(&sent(&[0, 1, 2, 3]), &Whereabouts { fragments, ..Default::default() });
        assert_eq!(found, Balance { sent: 4, written: 4, ..Default::default() });
    }

    #[test]
    fn a_chunk_that_is_nowhere_is_missing_and_a_gap() {
        let fragments = vec![Span::new(0, 0), Span::new(2, 3)];
        let found = balance(&sent(&[0, 1, 2, 3]), &Whereabouts { fragments, ..Default::default() });
        assert_eq!((found.missing, found.gaps), (vec![1], vec![Span::new(1, 1)]));
    }

    #[test]
    fn a_hole_inside_a_fragment_is_not_in_it_until_a_backfill_brings_it() {
        let holed =
            Whereabouts { fragments: vec![Span::new(0, 3)], gaps: vec![Span::new(1, 2)], parked: vec![1] };
        let found = balance(&sent(&[0, 1, 2, 3]), &holed);
        assert_eq!((found.written, found.parked, found.missing), (2, 1, vec![2]));
        let backfilled = Whereabouts { fragments: vec![Span::new(0, 3), Span::new(1, 2)], ..holed };
        let found = balance(&sent(&[0, 1, 2, 3]), &backfilled);
        assert_eq!((found.written, found.parked, found.twice), (4, 0, vec![]));
    }

    #[test]
    fn a_chunk_in_two_fragments_is_told() {
        let fragments = vec![Span::new(0, 2), Span::new(2, 3)];
        let found = balance(&sent(&[0, 1, 2, 3]), &Whereabouts { fragments, ..Default::default() });
        assert_eq!(found.twice, [2]);
    }

    #[test]
    fn a_resent_message_is_one_chunk_and_a_reloaded_page_makes_two() {
        let mut resent = sent(&[0, 0]);
        resent[1].captured_ms = resent[0].captured_ms;
        let once = Whereabouts { fragments: vec![Span::new(0, 0)], ..Default::default() };
        assert!(balance(&resent, &once).is_settled());
        assert_eq!(balance(&sent(&[0, 0]), &once).missing, [0], "two recordings began, one is there");
    }

    #[test]
    fn what_the_door_refused_is_a_gap_but_not_missing() {
        let mut messages = sent(&[0, 1, 2]);
        messages[1].refused = true;
        messages.push(Sent { index: None, captured_ms: None, at_ms: 0, refused: true });
        let fragments = vec![Span::new(0, 2)];
        let found =
            balance(&messages, &Whereabouts { fragments, gaps: vec![Span::new(1, 1)], parked: vec![] });
        assert!(found.is_settled());
        assert_eq!((found.sent, found.written, found.refused, found.twice.len()), (4, 2, 2, 0));
        assert_eq!(found.gaps, [Span::new(1, 1)]);
    }
}
