//! Where a recording can begin or go on: at its header, and after a loss at a Cluster, block or page that proves itself.

use std::ops::Range;

use super::effort::Effort;
use super::ogg::{self, Page};
use super::outcome::{Proof, Step};
use super::webm;
use super::{Demuxer, Format, Item, Mode, RecordingHead, SkipReason, Skipped};
use crate::ebml::id;

/// A place where a recording begins or goes on: its parser, the bytes that are read already, and the head if a
/// recording begins whose head is known here (WebM's comes with its Tracks).
struct Place {
    format: Format,
    used: usize,
    head: Option<RecordingHead>,
    /// How many bytes from there on prove it: with one less, it must wait.
    proof: usize,
}

const EBML: [u8; 4] = id::EBML.to_be_bytes();
const CLUSTER: [u8; 4] = id::CLUSTER.to_be_bytes();
const OGG: [u8; 4] = *b"OggS";

impl Demuxer {
    /// Takes a recording's header.
    pub(super) fn start(&mut self, bytes: &[u8], out: &mut Vec<Item>) -> Step {
        match header(bytes) {
            Ok(Some(place)) => Step::Took(self.enter(place, out)),
            Ok(None) => Step::Wait,
            Err(reason) => Step::Broken(reason),
        }
    }

    /// Passes bytes until a place proves itself.
    pub(super) fn seek(
        &mut self,
        reason: SkipReason,
        bytes: &[u8],
        effort: &mut Effort,
        out: &mut Vec<Item>,
    ) -> Step {
        let (passed, place) = self.find(self.signatures(&reason), bytes, effort);
        if passed > 0 {
            out.push(Item::Skipped(Skipped::new(&bytes[..passed], reason)));
        }
        match place {
            Some(place) => Step::Took(passed + self.enter(place, out)),
            None if passed > 0 => Step::Took(passed),
            None => Step::Wait,
        }
    }

    /// The place to go on from, and how many bytes lie before it; without one, how many bytes cannot begin one.
    ///
    /// A place that must wait for more bytes does not keep a later one from being found: the recording goes on where the proof
    /// ends first, even if all bytes of an earlier place's longer proof are there, too. So it does not matter how the bytes are cut.
    fn find(&self, signatures: Signatures, bytes: &[u8], effort: &mut Effort) -> (usize, Option<Place>) {
        let (mut at, mut waits, mut found) = (0, None, None);
        // Once a place is found, those behind it are tried with the bytes before its proof's last one.
        let mut within = bytes;
        // No block or Timestamp is a place while so many bytes are there: an earlier place holds them back.
        let mut held_back: Vec<Range<usize>> = Vec::new();
        while at < within.len() {
            at += next_signature(&within[at..], signatures);
            if at == within.len() {
                break;
            }
            if effort.is_spent() {
                waits = None;
                break;
            }
            let mut holds_back = 0..0;
            match self.prove(&within[at..], signatures, effort, &mut holds_back) {
                Proof::Holds(place) => {
                    let is_block = within[at] >= 0x80;
                    let proved = at + place.proof;
                    let proved = if is_block { behind(&held_back, proved) } else { proved };
                    if proved <= within.len() {
                        within = &within[..proved - 1];
                        found = Some((at, place));
                    }
                }
                Proof::Wait => _ = waits.get_or_insert(at),
                Proof::Fails => {}
            }
            if !holds_back.is_empty() {
                held_back.push(at + holds_back.start..at.saturating_add(holds_back.end));
            }
            at += 1;
        }
        match found {
            Some((at, place)) => (at, Some(place)),
            None => (waits.unwrap_or(bytes.len()), None),
        }
    }

    fn enter(&mut self, place: Place, out: &mut Vec<Item>) -> usize {
        self.mode = Mode::Inside;
        self.format = Some(place.format);
        out.extend(place.head.map(Item::RecordingStart));
        place.used
    }

    /// What the search looks for.
    fn signatures(&self, reason: &SkipReason) -> Signatures {
        match (reason, &self.format) {
            // Its Clusters and pages would pass for a recording whose header was lost.
            (SkipReason::UnsupportedCodec(_), _) => Signatures::Headers,
            (_, Some(Format::Ogg(_))) => Signatures::Structure,
            _ => Signatures::All,
        }
    }

    fn prove(
        &self,
        bytes: &[u8],
        signatures: Signatures,
        effort: &mut Effort,
        holds_back: &mut Range<usize>,
    ) -> Proof<Place> {
        let known = &bytes[..bytes.len().min(EBML.len())];
        if OGG.starts_with(known) {
            return self.prove_page(bytes, signatures, effort);
        }
        if EBML.starts_with(known) {
            return match header(bytes) {
                Ok(Some(place)) => Proof::Holds(place),
                Ok(None) => Proof::Wait,
                Err(_) => {
                    effort.spend(bytes.len().min(1024));
                    Proof::Fails
                }
            };
        }
        if signatures == Signatures::Headers {
            return Proof::Fails;
        }
        let before = match &self.format {
            Some(Format::Webm(webm)) => Some(webm),
            _ => None,
        };
        let proven = webm::prove(before, bytes, effort, holds_back);
        proven.map(|webm::Proven { webm, used, head, proof }| Place {
            format: Format::Webm(webm),
            used,
            head,
            proof,
        })
    }

    fn prove_page(&self, bytes: &[u8], signatures: Signatures, effort: &mut Effort) -> Proof<Place> {
        let before = match &self.format {
            Some(Format::Ogg(ogg)) => Some(ogg),
            _ => None,
        };
        let page = match Page::read(bytes) {
            Ok(Some(page)) => page,
            Ok(None) => return Proof::Wait,
            Err(no_page) => {
                effort.spend(no_page.cost);
                return Proof::Fails;
            }
        };
        if !page.begins() {
            return match signatures {
                Signatures::Headers => Proof::Fails,
                _ => ogg::prove(before, &page, bytes, effort).map(|proven| Place {
                    format: Format::Ogg(proven.ogg),
                    used: 0,
                    head: proven.head,
                    proof: proven.proof,
                }),
            };
        }
        match ogg::open(&page) {
            Ok((ogg, head)) => {
                let proof = page.whole.len();
                Proof::Holds(Place { format: Format::Ogg(ogg), used: 0, head: Some(head), proof })
            }
            Err(_) => Proof::Fails,
        }
    }
}

/// The first number from `at` on that lies in none of the ranges.
fn behind(ranges: &[Range<usize>], mut at: usize) -> usize {
    while let Some(range) = ranges.iter().find(|range| range.contains(&at)) {
        at = range.end;
    }
    at
}

/// The recording header at the start of `bytes`; `None` if they end too early.
fn header(bytes: &[u8]) -> Result<Option<Place>, SkipReason> {
    let known = bytes.len().min(OGG.len());
    if bytes[..known] != OGG[..known] {
        let opened = webm::open(bytes)?;
        return Ok(opened.map(|(webm, used)| Place {
            format: Format::Webm(webm),
            used,
            head: None,
            proof: used,
        }));
    }
    let Some(page) = Page::read(bytes).map_err(|_| SkipReason::NotMedia)? else {
        return Ok(None);
    };
    if !page.begins() {
        return Err(SkipReason::NotMedia);
    }
    let (ogg, head) = ogg::open(&page)?;
    Ok(Some(Place { format: Format::Ogg(ogg), used: 0, head: Some(head), proof: page.whole.len() }))
}

/// What a search looks for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Signatures {
    /// EBML headers and first Ogg pages.
    Headers,
    /// All Ogg pages and Clusters as well.
    Structure,
    /// Timestamps and blocks as well.
    All,
}

/// Where the first signature begins in `bytes`, or what may become one at their end; their length if nowhere.
fn next_signature(bytes: &[u8], signatures: Signatures) -> usize {
    let begins = |rest: &[u8]| {
        let known = rest.len().min(EBML.len());
        [EBML, CLUSTER, OGG].iter().any(|signature| rest[..known] == signature[..known])
    };
    let blocks = signatures == Signatures::All;
    let mut at = 0;
    loop {
        let first = |byte: &u8| match u32::from(*byte) {
            0x1a | 0x1f | 0x4f => true,
            id::SIMPLE_BLOCK | id::BLOCK_GROUP | id::TIMESTAMP => blocks,
            _ => false,
        };
        let Some(next) = bytes[at..].iter().position(first) else { return bytes.len() };
        at += next;
        if bytes[at] >= 0x80 || begins(&bytes[at..]) {
            return at;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_found_whole_and_begun() {
        let next = |bytes: &[u8]| next_signature(bytes, Signatures::Structure);
        assert_eq!(next(b"ab\x1f\x43\xb6\x75"), 2);
        assert_eq!(next(b"ab\x1f\x43\x00\x1a\x45"), 5, "what the end begins may become one");
        assert_eq!(next(b"OOggS"), 1);
        assert_eq!(next(b"O1\x1a\x1f."), 5);
        assert_eq!(next(b""), 0);
        assert_eq!(next(b"ab\xa3\x1f\x43\xb6\x75"), 3);
        assert_eq!(next_signature(b"ab\xa3\x1f\x43\xb6\x75", Signatures::All), 2);
    }
}
