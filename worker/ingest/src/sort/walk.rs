//! Whose a chunk is: chunk by chunk, by what the checkpoint and those before tell.

use std::cmp::Ordering;

use crate::checkpoint::Checkpoint;
use crate::clock::SET_BEFORE_PAGE_MS;
use crate::gap::{ChunkRange, Gap};
use crate::piece::{Piece, Place};
use crate::position::Position;

/// No page is reloaded faster.
pub(super) const PAGE_TURN_MS: u64 = 100;
/// How far a chunk's time may lie outside its gap's, by a clock that was set while the gap was open.
const GAP_CLOCK_OFF_MS: u64 = 5_000;

/// Whose a chunk is.
pub(super) enum Whose<'c> {
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

/// How far the speaker has come, the delivery's earlier chunks included.
pub(super) struct Walk {
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

/// What a chunk shows beside the one that was passed with its index, and beside the last ones.
struct Signs {
    /// It came over the page's last connection, if both are known.
    same_connection: Option<bool>,
    /// It has the bytes that were passed with its index, if those are known.
    same_bytes: Option<bool>,
    /// The queue took it later than all that was passed, or from a page that is new.
    newer: bool,
    /// It was captured later than all that was passed.
    is_later: bool,
    /// So much later that a page may have been reloaded in between.
    turned: bool,
    /// It opens another recording than the page's first chunk.
    opens_other: bool,
}

impl Signs {
    /// Whether a page may begin with the chunk, whose index was seen in this delivery.
    fn begins_other(&self, piece: &Piece) -> bool {
        let is_other = self.turned && (self.newer || self.same_bytes == Some(false));
        is_other || piece.opens() || self.opens_other
    }
}

impl Walk {
    pub(super) fn new(live: &Position) -> Self {
        let at = live.clone();
        Self { at, waits_for: live.next, seen_to: 0, opened: false, replaced: None, began_sequence: 0 }
    }

    /// `later` are the delivery's chunks that were captured later.
    pub(super) fn classify<'c>(
        &mut self,
        checkpoint: &'c Checkpoint,
        piece: &mut Piece,
        later: &[Piece],
    ) -> Whose<'c> {
        if piece.set_aside {
            return self.pass_aside(checkpoint, piece);
        }
        let signs = self.signs(checkpoint, piece, later);
        if let Some(gap) = self.gap_of(checkpoint, piece, &signs) {
            return Whose::Gap(gap);
        }
        if signs.same_connection == Some(false) && self.is_replaced(checkpoint, piece) {
            return self.sent_before(checkpoint, piece).unwrap_or(Whose::Replaced);
        }
        if let Some(whose) = self.captured_before(checkpoint, piece, &signs) {
            return whose;
        }
        let is_passed = piece.index < self.waits_for;
        let repeats =
            piece.index < self.seen_to && signs.same_bytes != Some(true) && signs.begins_other(piece);
        if (is_passed || repeats) && self.is_of_next_page(piece, &signs) {
            piece.numbering = self.at.numbering + 1;
            self.begin_page(piece);
        } else if is_passed {
            return self.passed(checkpoint, piece, signs.same_bytes);
        }
        piece.numbering = self.at.numbering;
        self.pass(piece)
    }

    fn signs(&self, checkpoint: &Checkpoint, piece: &Piece, later: &[Piece]) -> Signs {
        let same_bytes = self.has_passed(piece, later);
        let later_ms = piece.captured_at.ms_since(self.at.last_captured);
        Signs {
            same_connection: self.same_connection(piece),
            same_bytes,
            newer: piece.record.sequence_number > self.at.last_sequence || checkpoint.is_of_new_page(piece),
            is_later: later_ms > 0,
            turned: later_ms > PAGE_TURN_MS,
            // A page's first blobs may be empty, and tell nothing; then its first header tells.
            opens_other: self.at.opened_otherwise(piece)
                || (same_bytes == Some(false) && piece.starts_recording()),
        }
    }

    /// Whose a chunk is that was captured before the page began, unless it is the page's own after all.
    fn captured_before<'c>(
        &self,
        checkpoint: &'c Checkpoint,
        piece: &Piece,
        signs: &Signs,
    ) -> Option<Whose<'c>> {
        if self.at.numbering == 0 || piece.captured_at >= self.at.numbering_began {
            return None;
        }
        // A capture time from before the session began shows nothing but a clock that was set; any other one shows a late chunk.
        let odd = checkpoint.past.first().is_some_and(|first| piece.captured_at < first.captured.0);
        let goes_on = odd && signs.newer && piece.index == self.waits_for;
        if signs.same_connection != Some(true) && !goes_on {
            return Some(from_past_numbering(checkpoint, piece));
        }
        // The page's own connection has also brought what its last load left.
        if !signs.newer
            && let Some(past) = checkpoint.past_with(piece.index, piece.captured_at)
        {
            return Some(in_gap_or_written(checkpoint, past.numbering, piece));
        }
        self.was_left(checkpoint, piece).then_some(Whose::Nobodys)
    }

    /// Whether a chunk whose index was passed is another page's. Nothing that was passed was captured later; sequence numbers prove
    /// less, since pages overtake each other.
    fn is_of_next_page(&self, piece: &Piece, signs: &Signs) -> bool {
        let Signs { same_connection, same_bytes, newer, is_later, turned, opens_other } = *signs;
        let begins = piece.opens() || piece.starts_recording();
        // On the page's own connection, a new page begins with a header; all else is a resend. On another one, a resend keeps its time.
        let is_new = newer && same_bytes != Some(true) && !piece.is_empty();
        let not_again = begins || (is_new && same_connection == Some(false));
        let later = (turned && (begins || same_connection != Some(true) || same_bytes == Some(false)))
            || (is_later && not_again);
        let clock_set_back = newer && !self.is_straggler(piece);
        let other_page = later || (clock_set_back && opens_other && same_connection != Some(true));
        // An empty blob that is sent again looks like any other one; a page's first may be empty.
        let is_nothing = piece.index > 0 && piece.is_empty();
        other_page && same_bytes != Some(true) && !is_nothing
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
    fn gap_of<'c>(&self, checkpoint: &'c Checkpoint, piece: &Piece, signs: &Signs) -> Option<&'c Gap> {
        let own = signs.same_connection == Some(true) || signs.same_bytes == Some(true);
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
