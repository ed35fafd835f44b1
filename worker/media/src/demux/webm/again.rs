//! The running recording's header once more, in front of a blob: pages put it there so that each blob can be played by itself.
//! Some put the whole first blob there, sound included.
//!
//! A recorder draws its track's UID by lot, so another run has another header. Some do not, and each of their runs has the
//! same. So a repeated header goes on only if what follows it does: the middle of an element, or a Cluster later than all that
//! was read. Sound from before is the first blob's if the recording goes on behind it, to the byte; or if the UID was drawn, and
//! the blob comes less far than the recording has come.

use super::super::effort::Effort;
use super::super::{Again, Item, Packet, Step};
use super::content::is_next;
use super::{Webm, block_time, is_cluster_child, is_segment_child, open};
use crate::ebml::{self, ElementHeader, id};
use crate::time::MediaTime;

/// A smaller UID was not drawn by lot.
const DRAWN: u64 = 1 << 20;

/// Where in a chunk that begins with a recording's header the running recording goes on, whose head has this `id`; `None` if
/// another one begins. `tail` is what is held back of an element; there is none while a place to go on from is looked for.
pub(in super::super) fn again(
    running: &Webm,
    id: &str,
    tail: Option<&[u8]>,
    chunk: &[u8],
    effort: &mut Effort,
) -> Option<Again> {
    let header = Header::read(chunk, effort).filter(|header| header.webm.hash.id() == id)?;
    if running.has_ended() {
        return None;
    }
    let sound = &chunk[header.len..];
    if !sound.starts_with(&id::CLUSTER.to_be_bytes()) {
        return Some(Again::GoesOn(header.len));
    }
    let first = FirstBlob::read(header.webm, sound, running.latest, effort);
    if first.len == 0 {
        return first.is_passed.then_some(Again::GoesOn(header.len));
    }
    let seam = header.len + first.len;
    let comes_less_far = header.is_drawn && first.heard_to < running.latest;
    let Some(tail) = tail else {
        return comes_less_far.then_some(Again::GoesOn(seam));
    };
    let joint = (seam..=chunk.len()).find(|&at| running.goes_on_with(tail, &chunk[at..], effort));
    match joint {
        Some(at) => Some(Again::GoesOn(at)),
        None if !comes_less_far => None,
        None if is_cut_off(&chunk[seam..]) => Some(Again::GoesOn(chunk.len())),
        None => Some(Again::Misses(seam)),
    }
}

/// A recording's header, up to its first Cluster.
struct Header {
    webm: Webm,
    /// Whether a track's UID was drawn by lot.
    is_drawn: bool,
    len: usize,
}

impl Header {
    fn read(chunk: &[u8], effort: &mut Effort) -> Option<Self> {
        let (mut webm, mut len) = open(chunk).ok()??;
        let (mut is_drawn, mut out) = (false, Vec::new());
        while len < chunk.len() {
            let next = ElementHeader::read(&chunk[len..]).ok().flatten().filter(|_| webm.pass == 0);
            if let Some(tracks) = next.filter(|next| next.id == id::TRACKS) {
                is_drawn |= has_drawn_uid(&chunk[len + tracks.len..]);
            }
            // Behind Tracks, only what no middle of an element looks like belongs to the header.
            let belongs = next.is_some_and(|next| is_segment_child(next.id) && next.id != id::CLUSTER);
            if webm.track.is_some() && webm.pass == 0 && !belongs {
                break;
            }
            match webm.step(&chunk[len..], effort, &mut out) {
                Step::Took(more) => len += more,
                _ => return None,
            }
        }
        webm.track.is_some().then_some(Self { webm, is_drawn, len })
    }
}

fn has_drawn_uid(tracks: &[u8]) -> bool {
    let entries = ebml::children(tracks).flatten().filter(|(child, _)| *child == id::TRACK_ENTRY);
    let mut fields = entries.flat_map(|(_, entry)| ebml::children(entry).flatten());
    fields.any(|(field, value)| field == id::TRACK_UID && ebml::uint(value) >= Some(DRAWN))
}

/// The sound at a recording's start, as far as it is known from before.
struct FirstBlob {
    /// Bytes up to the end of its last block.
    len: usize,
    /// When that block begins.
    heard_to: Option<MediaTime>,
    /// Whether what follows it is later than what is known.
    is_passed: bool,
}

impl FirstBlob {
    /// Goes through the blocks that follow a header for as long as each begins where the one before ends.
    fn read(mut webm: Webm, sound: &[u8], known_to: Option<MediaTime>, effort: &mut Effort) -> Self {
        let mut blob = Self { len: 0, heard_to: None, is_passed: false };
        let (mut at, mut out) = (0, Vec::new());
        while let Step::Took(more) = webm.step(&sound[at..], effort, &mut out) {
            at += more;
            for packet in out.drain(..).filter_map(packet) {
                let begins_after = |before| is_next(before, packet.duration, packet.time, webm.scale_ns);
                blob.is_passed = known_to.is_none_or(|known_to| packet.time > known_to);
                if blob.is_passed || !blob.heard_to.is_none_or(begins_after) {
                    return blob;
                }
                (blob.len, blob.heard_to) = (at, Some(packet.time));
            }
            if at == sound.len() {
                break;
            }
        }
        let time =
            webm.cluster.and_then(|cluster| cluster.time).map(|time| block_time(time, 0, webm.scale_ns));
        blob.is_passed = time.is_some() && time > known_to;
        blob
    }
}

impl Webm {
    /// Whether `rest` completes an element that was held back, and goes on from there to its end, later than what was read.
    fn goes_on_with(&self, tail: &[u8], rest: &[u8], effort: &mut Effort) -> bool {
        let Some(first_len) = joint(tail, rest).filter(|_| !effort.is_spent()) else { return false };
        let (mut probe, mut out) = (self.clone(), Vec::new());
        let first = [tail, &rest[..first_len]].concat();
        let mut at = 0;
        while at < tail.len() {
            match probe.step(&first[at..], effort, &mut out) {
                Step::Took(more) => at += more,
                _ => return false,
            }
        }
        at -= tail.len();
        let mut is_next_heard = false;
        loop {
            for item in out.drain(..) {
                let Item::Packet(packet) = item else { return false };
                let is_next = |latest| is_next(latest, packet.duration, packet.time, self.scale_ns);
                is_next_heard = is_next_heard || self.latest.is_none_or(is_next);
                if !is_next_heard {
                    effort.spend(first.len());
                    return false;
                }
            }
            match probe.step(&rest[at..], effort, &mut out) {
                _ if at == rest.len() => return is_next_heard,
                Step::Took(more) => at += more,
                Step::Wait => return is_next_heard,
                Step::Header | Step::Broken(_) => return false,
            }
        }
    }
}

/// How much of `rest` belongs to an element whose beginning was held back, if it can end there: by its header, and by the first
/// byte of the next one. Nearly all that cannot are told by this.
fn joint(tail: &[u8], rest: &[u8]) -> Option<usize> {
    const NEXT: [u8; 12] = [0xa3, 0xa0, 0xe7, 0xec, 0xbf, 0xa7, 0xab, 0xaf, 0x1f, 0x1c, 0x12, 0x1a];
    let mut start = [0; 12];
    let mut known = 0;
    for (slot, byte) in start.iter_mut().zip(tail.iter().chain(rest)) {
        (*slot, known) = (*byte, known + 1);
    }
    let element = ElementHeader::read(&start[..known]).ok()??;
    let size = if element.id == id::CLUSTER { 0 } else { element.size? };
    let end =
        usize::try_from((element.len as u64).checked_add(size)?.checked_sub(tail.len() as u64)?).ok()?;
    let next = rest.get(..end).map(|_| rest.get(end))?;
    let fits = element.id == id::CLUSTER
        || is_cluster_child(element.id) && next.is_none_or(|next| NEXT.contains(next));
    fits.then_some(end)
}

/// Whether bytes are the start of an element whose end is not there.
fn is_cut_off(bytes: &[u8]) -> bool {
    match ElementHeader::read(bytes) {
        Ok(Some(element)) => element.size.is_some_and(|size| size > (bytes.len() - element.len) as u64),
        Ok(None) => true,
        Err(_) => false,
    }
}

fn packet(item: Item) -> Option<Packet> {
    match item {
        Item::Packet(packet) => Some(packet),
        _ => None,
    }
}
