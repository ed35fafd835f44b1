//! Where a stream goes on after a loss.

use super::super::effort::Effort;
use super::super::item::{Container, Item, RecordingHead};
use super::super::limits;
use super::super::outcome::Proof;
use super::page::Page;
use super::{Ogg, ticks};
use crate::hash::Fnv;
use crate::time::OpusTicks;

/// A place to go on from.
pub(in super::super) struct Proven {
    pub(in super::super) ogg: Ogg,
    /// The head that is made up for a recording whose header was lost.
    pub(in super::super) head: Option<RecordingHead>,
    /// How many bytes it takes to prove it: with one less, it must wait.
    pub(in super::super) proof: usize,
}

/// Tries to go on at the sound `page` that `bytes` begin with: with the stream that was left if it is of that one. Another stream
/// whose header was lost must prove to be Opus: video and other codecs have pages, too.
pub(in super::super) fn prove(
    before: Option<&Ogg>,
    page: &Page<'_>,
    bytes: &[u8],
    effort: &mut Effort,
) -> Proof<Proven> {
    if let Some(before) = before.filter(|before| before.serial == page.serial) {
        let ogg = Ogg { others: before.others.clone(), ..Ogg::at(page, before.tags_due, None) };
        return Proof::Holds(Proven { ogg, head: None, proof: page.whole.len() });
    }
    if before.is_some_and(|before| before.others.contains(&page.serial)) {
        return Proof::Fails;
    }
    effort.spend(page.whole.len());
    prove_opus(page, bytes, effort).map(|proof| {
        let ogg = Ogg::at(page, false, None);
        Proven { ogg, head: Some(head_of(page)), proof }
    })
}

/// Opus is what has well-formed packets of one configuration up to a page whose granule position says that they are as long as
/// they say themselves. Returns how many bytes show that.
fn prove_opus(first: &Page<'_>, bytes: &[u8], effort: &mut Effort) -> Proof<usize> {
    /// Some muxers round times to milliseconds.
    const TOLERANCE: i64 = OpusTicks::RATE_HZ as i64 / 1_000;
    let (mut probe, mut configuration, mut at) = (Ogg::at(first, false, None), None, 0);
    while at <= limits::PROOF {
        let page = match Page::read(&bytes[at..]) {
            Ok(Some(page)) => page,
            Ok(None) => return Proof::Wait,
            Err(no_page) => {
                effort.spend(no_page.cost);
                return Proof::Fails;
            }
        };
        at += page.whole.len();
        if page.serial != first.serial {
            continue;
        }
        let (before, mut items) = (probe.position, Vec::new());
        probe.take(&page, &mut items);
        let (mut total, mut last) = (0, 0);
        for item in &items {
            let Item::Packet(packet) = item else { return Proof::Fails };
            let own = packet.data.first().map(|toc| toc >> 2);
            if packet.duration.0 == 0 || *configuration.get_or_insert(own) != own {
                return Proof::Fails;
            }
            last = ticks(packet.duration);
            total += last;
        }
        if page.granule == -1 || items.is_empty() {
            continue;
        }
        let Some(before) = before else { continue };
        let off = page.granule.saturating_sub(before.saturating_add(total));
        let is_trimmed = page.ends() && (-last..0).contains(&off);
        let is_as_long = is_trimmed || off.saturating_abs() <= TOLERANCE;
        return if is_as_long { Proof::Holds(at) } else { Proof::Fails };
    }
    Proof::Fails
}

/// A recording whose header was lost.
fn head_of(page: &Page<'_>) -> RecordingHead {
    let first = page.parts().into_iter().nth(usize::from(page.continues()));
    let stereo = first.and_then(|part| part.bytes.first().copied()).is_some_and(|toc| toc & 0x04 != 0);
    RecordingHead::made_up(Container::Ogg, Fnv::of(page.whole), stereo)
}
