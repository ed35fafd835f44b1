//! The running recording's header once more, in front of a blob: pages put it there so that each blob can be played by itself.
//! Some put the whole first blob there, sound included.
//!
//! A recorder draws its track's UID by lot, so another run has another header. Some do not, and each of their runs has the
//! same; but unless both begin in silence, not the same first block. So a repeated header goes on only if what follows it does:
//! the middle of an element, or a Cluster later than all that was read. Sound from before is the first blob's if it begins with
//! the recording's first block, and that goes on behind it; or, where the UID was drawn, if it ends before what was read. How
//! long the first blob is shows the first time: from then on it is known by its bytes.

use super::super::effort::Effort;
use super::super::item::Item;
use super::super::outcome::{Again, Step};
use super::content::{block_time, is_next};
use super::element::is_segment_child;
use super::state::{First, Webm, open};
use crate::ebml::{self, ElementHeader, id};
use crate::hash::Fnv;
use crate::time::MediaTime;

/// A smaller UID was not drawn by lot.
const DRAWN: u64 = 1 << 20;
/// What a recorder hands out of its next element.
const ELEMENT_START: usize = 16;

/// Where in a chunk that begins with a recording's header the running recording goes on; `None` if another one begins. `tail` is
/// what is held back of an element; there is none while a place to go on from is looked for.
pub(in super::super) fn again(
    running: &Webm,
    tail: Option<&[u8]>,
    chunk: &[u8],
    effort: &mut Effort,
) -> Option<Again> {
    if running.has_ended() || hash_of(chunk)? != running.hash {
        return None;
    }
    let header = Header::read(chunk, effort)?;
    let sound = &chunk[header.len..];
    let cluster = id::CLUSTER.to_be_bytes();
    if !sound.starts_with(&cluster) {
        let waits = !header.is_drawn && cluster.starts_with(sound);
        return Some(if waits { Again::Waits(header.len) } else { Again::GoesOn(header.len) });
    }
    let first = FirstBlob::read(header.webm, sound, running.latest, effort);
    let Some(end) = first.ends.last() else {
        return first.is_passed.then_some(Again::GoesOn(header.len));
    };
    if running.first.differs(&first.begins_with) {
        return None;
    }
    let (seam, rest) = (header.len + end, &sound[first.next_at..]);
    let is_known = header.is_drawn && comes_less_far(first.heard_to, running.latest);
    let is_all = !first.is_passed && is_cut_off(rest);
    let Some(tail) = tail else {
        let is_known = is_known || header.is_drawn && !is_all;
        return is_known.then_some(Again::GoesOn(seam)); // and the search goes on from there
    };
    let read = usize::try_from(running.at).ok()?.checked_add(tail.len())?;
    let is_second =
        first.is_passed && first.goes_on && (seam..=header.len + first.next_at + tail.len()).contains(&read);
    if is_second && chunk.get(..read).is_some_and(|first| first.ends_with(tail)) {
        return Some(Again::FirstBlob(read)); // so far it is all that was read
    }
    if is_all {
        return is_known.then_some(Again::FirstBlob(chunk.len())); // there is nothing else
    }
    // The blob was cut at an element's end, or a byte behind it, as browsers do. What comes next may seem to belong to it.
    let cuts = first
        .ends
        .iter()
        .flat_map(|end| [*end, *end + 1])
        .filter(|&end| header.is_drawn && end <= sound.len());
    let cut =
        cuts.into_iter().find(|&end| !effort.is_spent() && running.goes_on_with(tail, &sound[end..], effort));
    cut.map(|end| Again::FirstBlob(header.len + end)).or(is_known.then_some(Again::Misses(seam)))
}

/// A header's hash, as [`Webm::hash`] has it behind Tracks.
fn hash_of(chunk: &[u8]) -> Option<Fnv> {
    let (webm, mut at) = open(chunk).ok()??;
    let mut hash = webm.hash;
    loop {
        let header = ElementHeader::read(&chunk[at..]).ok()??;
        let end = at.checked_add(header.len)?.checked_add(usize::try_from(header.size?).ok()?)?;
        if matches!(header.id, id::INFO | id::TRACKS) {
            hash.add(chunk.get(at..end)?);
        }
        if header.id == id::TRACKS {
            return Some(hash);
        }
        at = end;
        chunk.get(at..)?;
    }
}

/// Whether sound ends before what is known, by more than clocks differ between two runs of a recorder.
fn comes_less_far(heard_to: Option<MediaTime>, known_to: Option<MediaTime>) -> bool {
    const CLOCKS_DIFFER_MS: i64 = 45;
    let (Some(heard_to), Some(known_to)) = (heard_to, known_to) else { return false };
    known_to.ms_floor().saturating_sub(heard_to.ms_floor()) > CLOCKS_DIFFER_MS
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
#[derive(Default)]
struct FirstBlob {
    /// Where each of its blocks ends.
    ends: Vec<usize>,
    /// The first of them.
    begins_with: First,
    /// When the last of them begins.
    heard_to: Option<MediaTime>,
    /// Whether what follows it is later than what is known.
    is_passed: bool,
    /// Whether that begins where it ends.
    goes_on: bool,
    /// Where it is.
    next_at: usize,
}

impl FirstBlob {
    /// Goes through the blocks that follow a header for as long as each begins where the one before ends.
    fn read(mut webm: Webm, sound: &[u8], known_to: Option<MediaTime>, effort: &mut Effort) -> Self {
        let mut blob = Self::default();
        let (mut at, mut out, mut latest) = (0, Vec::new(), None);
        while at < sound.len() {
            let Step::Took(more) = webm.step(&sound[at..], effort, &mut out) else { break };
            (blob.next_at, at) = (at, at + more);
            for item in out.drain(..) {
                let Item::Packet(packet) = item else { return blob };
                let follows = |(before, duration)| is_next(before, duration, packet.time, webm.scale_ns);
                blob.is_passed = known_to.is_none_or(|known_to| packet.time > known_to);
                blob.goes_on = latest.is_none_or(follows);
                if blob.is_passed || !blob.goes_on {
                    return blob;
                }
                latest = Some((packet.time, packet.duration));
                blob.heard_to = Some(packet.time);
                if blob.ends.last() != Some(&at) {
                    blob.ends.push(at);
                    blob.begins_with.clone_from(&webm.first);
                }
            }
        }
        let time =
            webm.cluster.and_then(|cluster| cluster.time).map(|time| block_time(time, 0, webm.scale_ns));
        blob.next_at = at;
        (blob.is_passed, blob.goes_on) = (time.is_some() && time > known_to, false);
        blob
    }
}

impl Webm {
    /// Whether `rest` completes an element that was held back, so that packets come out which begin right after what was read and
    /// go on to its end.
    fn goes_on_with(&self, tail: &[u8], rest: &[u8], effort: &mut Effort) -> bool {
        effort.spend((tail.len() + rest.len()) / 16); // a copy costs less than a look
        let joined = [tail, rest].concat();
        let (mut probe, mut at, mut out) = (self.clone(), 0, Vec::new());
        let (mut before, mut packets) = (self.latest.map(|latest| (latest, None)), 0);
        while at < joined.len() && !effort.is_spent() {
            match probe.step(&joined[at..], effort, &mut out) {
                Step::Took(more) => at += more,
                Step::Wait => break,
                Step::Header | Step::Broken(_) => return false,
            }
            for item in out.drain(..) {
                let Item::Packet(packet) = item else { return false };
                effort.spend(packet.data.len());
                let follows = before.is_none_or(|(time, duration)| {
                    is_next(time, duration.unwrap_or(packet.duration), packet.time, self.scale_ns)
                });
                if !follows {
                    return false;
                }
                (before, packets) = (Some((packet.time, Some(packet.duration))), packets + 1);
            }
        }
        packets > 1 || packets == 1 && joined.len() - at < ELEMENT_START
    }
}

/// Whether bytes are the start of a block or Cluster whose end is not there.
fn is_cut_off(bytes: &[u8]) -> bool {
    const BLOCKS: [u32; 3] = [id::SIMPLE_BLOCK, id::BLOCK_GROUP, id::CLUSTER];
    match ElementHeader::read(bytes) {
        Ok(Some(element)) => {
            let is_short = element.size.is_none_or(|size| size > (bytes.len() - element.len) as u64);
            is_short && BLOCKS.contains(&element.id)
        }
        Ok(None) => true,
        Err(_) => false,
    }
}
