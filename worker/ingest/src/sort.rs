//! Sorts a delivery's records of one session: whose chunk is it, and what has become of that chunk so far?
//!
//! `chunkIndex` begins again at 0 when the page is reloaded, so an index alone names no chunk. A *numbering* is a run of
//! indices that belong together; the capture time (and the queue's sequence number) distinguishes a new
//! numbering's chunk from a duplicate: every chunk that the session has passed was captured no later than the last one it passed. Redriven
//! chunks are known by index and capture time, not by anything SQS says about them (aws-facts 0-F).

use std::cmp::Ordering;
use std::collections::HashMap;

use media::time::EpochMs;

use crate::checkpoint::{Advance, Checkpoint, Line};
use crate::clock::{SET_BACK_MS, SET_BEFORE_PAGE_MS};
use crate::gap::{ChunkRange, Gap};
use crate::message::{Entry, Record};
use crate::piece::{Piece, Place};
use crate::position::Position;
use crate::reckon::by_one_clock;

/// No page is reloaded faster.
const PAGE_TURN_MS: u64 = 100;
/// How far a chunk's time may lie outside its gap's, by a clock that was set while the gap was open.
const GAP_CLOCK_OFF_MS: u64 = 5_000;

/// A delivery's records of one session, sorted by what is to be done with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sorted {
    /// Chunks that the live audio waits for, by numbering and index.
    pub live: Vec<Piece>,
    /// Whether some of these were set aside as an earlier page's.
    pub renumbered: bool,
    /// Chunks that have come back into a gap, with the gap itself, by index.
    pub backfill: Vec<(Gap, Vec<Piece>)>,
    /// Delivered again although written: acknowledge.
    pub duplicates: Vec<Record>,
    /// Those of the delivery that were dropped so before: as long as it is worked on, they tell of a worker's death.
    pub came_again: Vec<Record>,
    /// Chunks whose place is no longer known: park.
    pub unplaceable: Vec<Piece>,
    /// Chunks of a page that another one has replaced: park.
    pub replaced: Vec<Piece>,
    /// End-of-stream markers.
    pub ends: Vec<Record>,
    /// The highest last index that `ends` name.
    pub last_index: Option<u64>,
}

impl Sorted {
    /// What of a batch is at hand.
    pub fn of(&self, batch: &Advance) -> Vec<&Piece> {
        let of_line = match batch.line {
            Line::Live => self.live.as_slice(),
            Line::Gap(id) => {
                self.backfill.iter().find(|(gap, _)| gap.id() == id).map_or(&[][..], |(_, pieces)| pieces)
            }
        };
        let leased = batch.chunks;
        of_line.iter().filter(|p| p.numbering == leased.numbering && leased.holds(p.index)).collect()
    }
}

/// Whose a chunk is.
enum Whose<'c> {
    /// The live audio's, in the walk's numbering.
    Live,
    /// Of a gap that is open.
    Gap(&'c Gap),
    /// Written before.
    Written,
    /// Of a page that another one has replaced.
    Replaced,
    /// Its place is no longer known, or never was.
    Nobodys,
}

/// Sorts `entries` (one session's) against the checkpoint; `aside` are the chunks that its state keeps.
pub fn sort(checkpoint: &Checkpoint, entries: &[Entry], aside: &[Piece]) -> Sorted {
    let mut sorted = Sorted::default();
    let mut pieces: Vec<Piece> =
        aside.iter().filter(|p| p.place() >= checkpoint.live.place()).cloned().collect();
    for entry in entries {
        match entry {
            Entry::Chunk(chunk) => pieces.push(Piece::of(checkpoint.live.numbering, chunk.clone())),
            Entry::End { record, last_index } => {
                sorted.ends.push(record.clone());
                sorted.last_index = sorted.last_index.max(*last_index);
            }
        }
    }
    by_one_clock(checkpoint, &mut pieces);
    let mut walk = Walk::new(&checkpoint.live);
    let pieces = in_time(pieces);
    for (i, piece) in pieces.iter().enumerate() {
        let mut piece = piece.clone();
        let kept_as = piece.set_aside.then_some(piece.numbering);
        match walk.classify(checkpoint, &mut piece, &pieces[i + 1..]) {
            Whose::Live => {
                sorted.renumbered |= kept_as.is_some_and(|numbering| numbering != piece.numbering);
                sorted.live.push(piece);
            }
            Whose::Gap(gap) => {
                piece.numbering = gap.chunks.numbering;
                match sorted.backfill.iter_mut().find(|(g, _)| g.id() == gap.id()) {
                    Some((_, pieces)) => pieces.push(piece),
                    None => sorted.backfill.push((gap.clone(), vec![piece])),
                }
            }
            Whose::Replaced => sorted.replaced.push(piece),
            Whose::Nobodys if piece.is_empty() => sorted.duplicates.push(piece.record.clone()),
            Whose::Nobodys => sorted.unplaceable.push(piece),
            Whose::Written => sorted.duplicates.push(piece.record.clone()),
        }
    }
    let Sorted { live, backfill, duplicates, unplaceable, .. } = &mut sorted;
    for pieces in backfill.iter_mut().map(|(_, pieces)| pieces).chain([live]) {
        once(pieces, duplicates, unplaceable);
    }
    sorted
}

/// In the order of capture, so that a numbering's end and the next one's beginning fall apart in the right place. Within one page of
/// a connection the indices give the order, whatever the speaker's clock is set to meanwhile.
fn in_time(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut by_index: Vec<usize> = (0..pieces.len()).collect();
    let openers: Vec<&Piece> = pieces.iter().filter(|piece| piece.opens()).collect();
    by_index.sort_by_cached_key(|i| (page_of_connection(&pieces[*i], &openers, &pieces), pieces[*i].index));
    let mut latest: HashMap<&str, EpochMs> = HashMap::new();
    let mut order = Vec::with_capacity(pieces.len());
    for i in by_index {
        let piece = &pieces[i];
        let captured_at = match piece.connection_id.as_deref() {
            None => piece.captured_at,
            Some(connection) => {
                let latest = latest.entry(connection).or_default();
                let is_of_other_page = latest.ms_since(piece.captured_at) > SET_BACK_MS;
                *latest = if is_of_other_page { piece.captured_at } else { piece.captured_at.max(*latest) };
                *latest
            }
        };
        order.push((captured_at, piece.index, piece.record.sequence_number, i));
    }
    order.sort_unstable();
    let mut pieces: Vec<Option<Piece>> = pieces.into_iter().map(Some).collect();
    order.into_iter().filter_map(|(.., i)| pieces[i].take()).collect()
}

/// How many pages of its connection have begun with the piece: a page sends what its last load left over its own connection, and first.
fn page_of_connection(piece: &Piece, openers: &[&Piece], pieces: &[Piece]) -> usize {
    let is_before = |opener: &Piece| {
        let earlier_ms = opener.captured_at.ms_since(piece.captured_at);
        let sent_before = piece.record.sequence_number < opener.record.sequence_number;
        // Handlers may overtake each other on the way to the queue: then the capture time alone tells.
        (earlier_ms > PAGE_TURN_MS || (earlier_ms > 0 && sent_before))
            && !is_missing_behind(piece, opener, pieces)
    };
    let of_connection = openers.iter().filter(|opener| opener.connection_id == piece.connection_id);
    of_connection.filter(|opener| !is_before(opener)).count()
}

/// Whether the chunk is the one that the opener's page lacks: a clock was set back by less than [`SET_BACK_MS`] behind the opener.
fn is_missing_behind(piece: &Piece, opener: &Piece, pieces: &[Piece]) -> bool {
    let indices = || {
        let of_page = pieces.iter().filter(|other| {
            other.connection_id == piece.connection_id && other.captured_at >= opener.captured_at
        });
        of_page.map(|other| other.index)
    };
    opener.captured_at.ms_since(piece.captured_at) <= SET_BACK_MS
        && indices().any(|index| index > piece.index)
        && !indices().any(|index| index == piece.index)
}

/// Orders by index and keeps the first of each: two messages may carry one chunk. One with other bytes is another chunk, of an
/// unknown page; an empty one of any page is nothing beside one that is not.
fn once(pieces: &mut Vec<Piece>, duplicates: &mut Vec<Record>, unplaceable: &mut Vec<Piece>) {
    pieces.sort_by_key(|p| (p.numbering, p.index, !p.set_aside, p.record.sequence_number));
    let mut kept: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces.drain(..) {
        let Some(last) = kept.last_mut().filter(|last| last.place() == piece.place()) else {
            kept.push(piece);
            continue;
        };
        let is_same = last.captured_at == piece.captured_at || last.audio == piece.audio;
        if is_same || piece.is_empty() {
            duplicates.push(piece.record.clone());
        } else if last.is_empty() {
            let empty = std::mem::replace(last, piece);
            duplicates.extend((!empty.set_aside).then(|| empty.record.clone()));
        } else {
            unplaceable.push(piece);
        }
    }
    *pieces = kept;
}

/// How far the speaker has come, the delivery's earlier chunks included.
struct Walk {
    at: Position,
    /// What the checkpoint waits for; 0 in a numbering that begins in this delivery.
    waits_for: u64,
    /// One past the highest index of the numbering seen in this delivery.
    seen_to: u64,
    /// Whether the numbering's opening chunk was seen in this delivery: what comes behind it is of no page before.
    opened: bool,
    /// The connection of a page that another one has replaced in this delivery.
    replaced: Option<String>,
    /// The sequence number of the numbering's first chunk, if that is in this delivery.
    began_sequence: u128,
}

impl Walk {
    fn new(live: &Position) -> Self {
        let at = live.clone();
        Self { at, waits_for: live.next, seen_to: 0, opened: false, replaced: None, began_sequence: 0 }
    }

    /// `later` are the delivery's chunks that were captured later.
    fn classify<'c>(&mut self, checkpoint: &'c Checkpoint, piece: &mut Piece, later: &[Piece]) -> Whose<'c> {
        if piece.set_aside {
            return self.pass_aside(checkpoint, piece);
        }
        let same_connection = self.same_connection(piece);
        let same_bytes = self.has_passed(piece, later);
        if let Some(gap) = self.gap_of(checkpoint, piece, same_bytes) {
            return Whose::Gap(gap);
        }
        if same_connection == Some(false) && self.is_replaced(checkpoint, piece) {
            return self.sent_before(checkpoint, piece).unwrap_or(Whose::Replaced);
        }
        let newer = piece.record.sequence_number > self.at.last_sequence || checkpoint.is_of_new_page(piece);
        let from_before = self.at.numbering > 0 && piece.captured_at < self.at.numbering_began;
        // A capture time from before the session began shows nothing but a clock that was set; any other one shows a late chunk.
        let odd = checkpoint.past.first().is_some_and(|first| piece.captured_at < first.captured.0);
        if from_before && same_connection != Some(true) && !(odd && newer && piece.index == self.waits_for) {
            return from_past_numbering(checkpoint, piece);
        }
        // The page's own connection has also brought what its last load left.
        if from_before
            && !newer
            && let Some(past) = checkpoint.past_with(piece.index, piece.captured_at)
        {
            return in_gap_or_written(checkpoint, past.numbering, piece);
        }
        if from_before && self.was_left(checkpoint, piece) {
            return Whose::Nobodys;
        }
        let later_ms = piece.captured_at.ms_since(self.at.last_captured);
        let turned = later_ms > PAGE_TURN_MS;
        // A page's first blobs may be empty, and tell nothing; then its first header tells.
        let opens_other =
            self.at.opened_otherwise(piece) || (same_bytes == Some(false) && piece.starts_recording());
        let begins_other = (turned && (newer || same_bytes == Some(false))) || piece.opens() || opens_other;
        let repeats = piece.index < self.seen_to && same_bytes != Some(true) && begins_other;
        if piece.index < self.waits_for || repeats {
            // Nothing that was passed was captured later; sequence numbers prove less, since pages overtake each other.
            let begins = piece.opens() || piece.starts_recording();
            // On the page's own connection, a new page begins with a header; all else is a resend. On another one, a resend keeps its time.
            let is_new = newer && same_bytes != Some(true) && !piece.is_empty();
            let not_again = begins || (is_new && same_connection == Some(false));
            let later = (turned && (begins || same_connection != Some(true) || same_bytes == Some(false)))
                || (later_ms > 0 && not_again);
            let clock_set_back = newer && !self.is_straggler(piece);
            let other_page = later || (clock_set_back && opens_other && same_connection != Some(true));
            // An empty blob that is sent again looks like any other one; a page's first may be empty.
            let is_nothing = piece.index > 0 && piece.is_empty();
            if other_page && same_bytes != Some(true) && !is_nothing {
                piece.numbering = self.at.numbering + 1;
                self.begin_page(piece);
            } else if piece.index < self.waits_for {
                return self.passed(checkpoint, piece, same_bytes);
            }
        }
        piece.numbering = self.at.numbering;
        self.pass(piece)
    }

    /// Whether the chunk's bytes were passed with its index, where that is known. A header or silence that tells nothing by itself was
    /// sent again if what follows it over its connection was.
    fn has_passed(&self, piece: &Piece, later: &[Piece]) -> Option<bool> {
        let own = self.at.has_passed(piece);
        let is_of_past_page = self.at.numbering > 0 && piece.captured_at < self.at.numbering_began;
        if own.is_some() || piece.index >= self.at.next || is_of_past_page {
            return own; // behind an index that was not passed, none was
        }
        let follows = |other: &&Piece| {
            other.index > piece.index
                && other.connection_id == piece.connection_id
                && other.record.sequence_number > piece.record.sequence_number
        };
        let following = later.iter().filter(follows).find_map(|other| self.at.has_passed(other));
        following.filter(|same| *same)
    }

    /// A chunk that was set aside as a page's may be of a later one: that one's first chunks were not at hand then. What a lease has
    /// stays as it was planned.
    fn pass_aside<'c>(&mut self, checkpoint: &Checkpoint, piece: &mut Piece) -> Whose<'c> {
        let same_connection = self.same_connection(piece);
        let leased = checkpoint.lease.as_ref().map(|lease| &lease.advance.chunks);
        let is_leased = leased.is_some_and(|c| c.numbering == piece.numbering && c.holds(piece.index));
        let may_be_later = self.opened || piece.numbering == self.at.numbering;
        if may_be_later && same_connection != Some(false) && !is_leased {
            let turned = piece.captured_at.ms_since(self.at.last_captured) > PAGE_TURN_MS;
            let repeats = piece.index < self.seen_to && turned && self.at.has_passed(piece) == Some(false);
            piece.numbering = piece.numbering.max(self.at.numbering + u32::from(repeats));
        }
        match piece.numbering.cmp(&self.at.numbering) {
            Ordering::Less => return Whose::Live, // by a clock that was set, the page before has not ended yet
            Ordering::Equal => {}
            Ordering::Greater => self.begin_page(piece),
        }
        self.pass(piece)
    }

    fn begin_page(&mut self, piece: &Piece) {
        if self.same_connection(piece) == Some(false) {
            self.replaced = self.at.connection_id.take();
        }
        self.at.begin_page(piece.numbering, piece.captured_at);
        (self.waits_for, self.seen_to, self.opened) = (0, 0, piece.opens());
        self.began_sequence = piece.record.sequence_number;
    }

    fn pass<'c>(&mut self, piece: &Piece) -> Whose<'c> {
        match piece.index < self.seen_to {
            true => self.at.note_between(piece),
            false => {
                self.at.pass(piece, Some(piece).filter(|piece| piece.opens()).and_then(Piece::recording))
            }
        }
        self.seen_to = self.seen_to.max(piece.index.saturating_add(1));
        Whose::Live
    }

    /// A chunk whose index the current page has passed; `same_bytes` as there, where that is known.
    fn passed<'c>(
        &self,
        checkpoint: &'c Checkpoint,
        piece: &mut Piece,
        same_bytes: Option<bool>,
    ) -> Whose<'c> {
        piece.numbering = self.at.numbering;
        let never_seen = piece.index > 0 && piece.captured_at < self.at.numbering_began;
        match same_bytes {
            Some(true) => return written(checkpoint, self.at.numbering, piece),
            Some(false) => return Whose::Nobodys,
            None if self.at.opened_otherwise(piece) || never_seen => return Whose::Nobodys,
            None => {}
        }
        in_gap_or_written(checkpoint, self.at.numbering, piece)
    }

    /// The open gap this chunk belongs to: its index lies inside, and so does its capture time, or it is the current page's by its
    /// connection or (it was passed, and parked) its bytes.
    fn gap_of<'c>(
        &self,
        checkpoint: &'c Checkpoint,
        piece: &Piece,
        same_bytes: Option<bool>,
    ) -> Option<&'c Gap> {
        let own = self.same_connection(piece) == Some(true) || same_bytes == Some(true);
        checkpoint.gaps_for(&self.at, piece).find(|gap| {
            gap.is_of_time(piece.captured_at) || (own && gap.chunks.numbering == self.at.numbering)
        })
    }

    /// Whether the chunk is from a page that another one has replaced.
    fn is_replaced(&self, checkpoint: &Checkpoint, piece: &Piece) -> bool {
        let past = checkpoint.past.iter().filter_map(|past| past.connection_id.as_ref());
        let mut replaced = past.chain(&self.replaced);
        piece.captured_at >= self.at.numbering_began
            && replaced.any(|id| Some(id) == piece.connection_id.as_ref())
    }

    /// A page's chunk that the queue took before the first one of the page that replaced it: it seems to be captured later, by a clock
    /// that was set back in between.
    fn sent_before<'c>(&self, checkpoint: &Checkpoint, piece: &mut Piece) -> Option<Whose<'c>> {
        let place = Place { numbering: self.at.numbering.checked_sub(1)?, next: piece.index };
        let is_left = self.replaced.is_some() && self.replaced == piece.connection_id;
        let is_earlier = piece.record.sequence_number < self.began_sequence;
        (is_left && is_earlier && place >= checkpoint.live.place()).then(|| {
            piece.numbering = place.numbering;
            Whose::Live
        })
    }

    /// Whether the page's last load left the chunk: it goes on with that one by its index and its time.
    fn was_left(&self, checkpoint: &Checkpoint, piece: &Piece) -> bool {
        checkpoint.past.last().is_some_and(|last| {
            piece.index >= last.next
                && piece.captured_at >= last.captured.1
                && self.at.numbering_began.ms_since(piece.captured_at) > PAGE_TURN_MS
        })
    }

    /// Whether the chunk was captured just before the page began: it is from the page before, of which little was seen.
    fn is_straggler(&self, piece: &Piece) -> bool {
        let began = self.at.numbering_began;
        piece.captured_at < began && began.ms_since(piece.captured_at) <= SET_BEFORE_PAGE_MS
    }

    /// Whether the chunk came over the page's last connection, if both are known.
    fn same_connection(&self, piece: &Piece) -> Option<bool> {
        Some(self.at.connection_id.as_ref()? == piece.connection_id.as_ref()?)
    }
}

/// A chunk of a numbering that was passed: of a gap that has its index, also where a speaker's clock that was set meanwhile, or is a
/// little off, hides it.
fn in_gap_or_written<'c>(checkpoint: &'c Checkpoint, numbering: u32, piece: &Piece) -> Whose<'c> {
    let off_ms = |gap: &Gap| {
        let (a, b) = gap.captured;
        a.min(b).ms_since(piece.captured_at).max(piece.captured_at.ms_since(a.max(b)))
    };
    let holds = |gap: &&Gap| gap.chunks.numbering == numbering && gap.chunks.holds(piece.index);
    match checkpoint.gaps.iter().filter(holds).find(|gap| off_ms(gap) <= GAP_CLOCK_OFF_MS) {
        Some(gap) => Whose::Gap(gap),
        None => written(checkpoint, numbering, piece),
    }
}

/// A chunk that was passed: written, unless it lies where the checkpoint knows that it was not.
fn written<'c>(checkpoint: &Checkpoint, numbering: u32, piece: &Piece) -> Whose<'c> {
    let holds = |range: &ChunkRange| range.numbering == numbering && range.holds(piece.index);
    let open = checkpoint.gaps.iter().map(|gap| &gap.chunks);
    if checkpoint.given_up.iter().chain(open).any(holds) { Whose::Nobodys } else { Whose::Written }
}

/// A chunk captured before the current numbering began. What may never have been seen is parked, not dropped.
fn from_past_numbering<'c>(checkpoint: &'c Checkpoint, piece: &Piece) -> Whose<'c> {
    match checkpoint.past_with(piece.index, piece.captured_at) {
        Some(past) => in_gap_or_written(checkpoint, past.numbering, piece),
        None => Whose::Nobodys,
    }
}
