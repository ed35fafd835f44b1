//! Where a recording can begin or go on: at its header, and after a loss at a Cluster or page that proves itself.

use super::ogg::{self, Page};
use super::webm::{self, Proof};
use super::{Demuxer, Format, Item, Mode, RecordingHead, SkipReason, Skipped, Step, limits};
use crate::ebml::id;

/// A place where a recording begins or goes on: its parser, the bytes that are read already, and the head if a
/// recording begins whose head is known here (WebM's comes with its Tracks).
struct Place {
    format: Format,
    used: usize,
    head: Option<RecordingHead>,
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

    /// Passes bytes until a place proves itself. Each place is looked at once, and again only while it waits for the
    /// bytes that decide it.
    pub(super) fn seek(&mut self, reason: SkipReason, bytes: &[u8], out: &mut Vec<Item>) -> Step {
        let (mut at, mut false_pages) = (0, 0);
        let place = loop {
            at += next_signature(&bytes[at..]);
            let is_page = bytes[at..].starts_with(&OGG);
            if is_page && false_pages == limits::FALSE_PAGES {
                at += 1;
                continue;
            }
            match self.prove(&reason, &bytes[at..]) {
                Proof::Fails if at < bytes.len() => {
                    false_pages += usize::from(is_page);
                    at += 1;
                }
                Proof::Fails | Proof::Wait => break None,
                Proof::Holds(place) => break Some(place),
            }
        };
        if at > 0 {
            out.push(Item::Skipped(Skipped::new(&bytes[..at], reason)));
        }
        match place {
            Some(place) => Step::Took(at + self.enter(place, out)),
            None if at > 0 => Step::Took(at),
            None => Step::Wait,
        }
    }

    fn enter(&mut self, place: Place, out: &mut Vec<Item>) -> usize {
        self.mode = Mode::Inside;
        self.format = Some(place.format);
        out.extend(place.head.map(Item::RecordingStart));
        place.used
    }

    fn prove(&self, reason: &SkipReason, bytes: &[u8]) -> Proof<Place> {
        if bytes.starts_with(&EBML) || bytes.starts_with(&OGG) {
            match header(bytes) {
                Ok(Some(place)) => return Proof::Holds(place),
                Ok(None) => return Proof::Wait,
                Err(_) => {}
            }
        }
        if bytes.len() < EBML.len() {
            return if bytes.is_empty() { Proof::Fails } else { Proof::Wait };
        }
        if matches!(reason, SkipReason::UnsupportedCodec(_)) {
            return Proof::Fails; // its Clusters and pages would pass for a recording whose header was lost
        }
        if bytes.starts_with(&CLUSTER) { self.prove_cluster(bytes) } else { self.prove_page(bytes) }
    }

    fn prove_cluster(&self, bytes: &[u8]) -> Proof<Place> {
        let before = match &self.format {
            Some(Format::Webm(webm)) => Some(webm),
            _ => None,
        };
        match webm::prove_cluster(before, bytes) {
            Proof::Fails => Proof::Fails,
            Proof::Wait => Proof::Wait,
            Proof::Holds((webm, used, head)) => {
                Proof::Holds(Place { format: Format::Webm(webm), used, head })
            }
        }
    }

    fn prove_page(&self, bytes: &[u8]) -> Proof<Place> {
        let before = match &self.format {
            Some(Format::Ogg(ogg)) => Some(ogg),
            _ => None,
        };
        match Page::read(bytes) {
            Err(_) => Proof::Fails,
            Ok(None) => Proof::Wait,
            Ok(Some(page)) if page.begins() => Proof::Fails, // a header, and not one of Opus
            Ok(Some(page)) => {
                let (ogg, head) = ogg::resume(before, &page);
                Proof::Holds(Place { format: Format::Ogg(ogg), used: 0, head })
            }
        }
    }
}

/// The recording header at the start of `bytes`; `None` if they end too early.
fn header(bytes: &[u8]) -> Result<Option<Place>, SkipReason> {
    let known = bytes.len().min(OGG.len());
    if bytes[..known] != OGG[..known] {
        let opened = webm::open(bytes)?;
        return Ok(opened.map(|(webm, used)| Place { format: Format::Webm(webm), used, head: None }));
    }
    let Some(page) = Page::read(bytes).map_err(|_| SkipReason::NotMedia)? else {
        return Ok(None);
    };
    if !page.begins() {
        return Err(SkipReason::NotMedia);
    }
    let (ogg, head) = ogg::open(&page)?;
    Ok(Some(Place { format: Format::Ogg(ogg), used: 0, head: Some(head) }))
}

/// Where the first signature begins in `bytes`, or what may become one at their end; their length if nowhere.
fn next_signature(bytes: &[u8]) -> usize {
    let begins = |rest: &[u8]| {
        let known = rest.len().min(EBML.len());
        [EBML, CLUSTER, OGG].iter().any(|signature| rest[..known] == signature[..known])
    };
    let first = |byte: &u8| matches!(*byte, 0x1a | 0x1f | b'O');
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(first) {
        at += next;
        if begins(&bytes[at..]) {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_found_whole_and_begun() {
        assert_eq!(next_signature(b"ab\x1f\x43\xb6\x75"), 2);
        assert_eq!(next_signature(b"ab\x1f\x43\x00\x1a\x45"), 5, "what the end begins may become one");
        assert_eq!(next_signature(b"OOggS"), 1);
        assert_eq!(next_signature(b"O1\x1a\x1f."), 5);
        assert_eq!(next_signature(b""), 0);
    }
}
