//! Brings a session's capture times to one clock: the one that the speaker's would be if it had never been set back.
//!
//! Everything else compares capture times: which page a chunk is of, which gap, what lies between two chunks. So a delivery's
//! chunks are brought to one clock before. A clock that is set ahead needs nothing here: what comes later is later, and
//! [`Timeline`](crate::timeline::Timeline) tells it from a pause.

use std::collections::BTreeMap;

use media::time::EpochMs;

use crate::checkpoint::{Checkpoint, PastNumbering};
use crate::clock::moved;
use crate::gap::Gap;
use crate::piece::Piece;
use crate::position::Position;
use crate::timeline::HELD_UP_MS;

/// A timestamp that is further from the queue's time tells nothing of when its chunk was captured: no clock is set so far, and no
/// message lies that long in a queue and its DLQ.
const MADE_UP_MS: u64 = 30 * 24 * 3_600_000;
/// Capture times that go back by more within a page were stamped by a clock that was set.
const SET_BACK_MS: u64 = 1_000;
/// The same from a page to the next, whose chunks may overtake each other, where connection and bytes do not show it.
const SET_BEFORE_PAGE_MS: u64 = 5_000;
/// A chunk that seems to come so much too early was stamped before the clock was set back.
const TOO_EARLY_MS: i64 = 500;
/// A recorder that runs hands out no later.
const PACE_MS: u64 = 1_500;
/// The next chunk but a few is still of the same page.
const NEAR: u64 = 4;
/// The same where a page sends what it has kept: concurrent handlers shake it.
const NEAR_IN_BURST: u64 = 64;
/// Chunks that overtake each other on their way were stamped so close together; one that was lost and is sent again with a new time is
/// stamped so much later at the most.
const SENT_AGAIN_MS: std::ops::Range<u64> = 100..20_000;
/// How many of its last chunks a page sends again, at the most.
const SENT_AGAIN: u64 = 8;

/// Brings chunks of one session, as they were stamped, to one clock.
pub fn by_one_clock(checkpoint: &Checkpoint, pieces: &mut [Piece]) {
    let live = &checkpoint.live;
    let pages = single_pages(live, pieces);
    pages.iter().for_each(|page| stamp_before_overtakers(live, pieces, page));
    let mut walk = Walk::new(checkpoint, pieces);
    let mut made_up = Vec::new();
    for i in in_turn(pieces, &pages) {
        let piece = &mut pieces[i];
        let sequence_number = piece.record.sequence_number;
        if is_made_up(piece) {
            made_up.push((i, walk.gap(piece).is_some()));
            (piece.captured_at, piece.clock_ms) = (walk.probably_at(piece), walk.ms);
            continue;
        }
        piece.clock_ms = match sequence_number <= live.last_sequence && piece.index < live.next {
            true => live.clock.at_ms(sequence_number),
            false => walk.added_ms(piece),
        };
        piece.captured_at = moved(piece.captured_at, piece.clock_ms);
    }
    for (i, in_gap) in made_up {
        pieces[i].captured_at = beside(pieces, &pieces[i], in_gap);
    }
}

/// Chunks by index.
type Page = BTreeMap<u64, usize>;

/// What is at hand of each connection that sends one page and no chunk twice: there the indices tell what follows what.
fn single_pages(live: &Position, pieces: &[Piece]) -> Vec<Page> {
    let mut connections: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (i, piece) in pieces.iter().enumerate() {
        connections.entry(&piece.connection_id).or_default().push(i);
    }
    let single = |chunks: Vec<usize>| {
        let another_begins = chunks.iter().any(|i| pieces[*i].opens());
        let ahead: Vec<usize> = chunks.into_iter().filter(|i| pieces[*i].index >= live.next).collect();
        let page: Page = ahead.iter().map(|i| (pieces[*i].index, *i)).collect();
        (!another_begins && page.len() == ahead.len() && times_step_back(pieces, &page) <= 1).then_some(page)
    };
    connections.into_values().filter_map(single).collect()
}

/// How often: once where a clock was set or a chunk was sent again; more often among chunks of two loads.
fn times_step_back(pieces: &[Piece], page: &Page) -> usize {
    let captured: Vec<EpochMs> = page.values().map(|i| pieces[*i].captured_at).collect();
    captured.windows(2).filter(|pair| pair[0].ms_since(pair[1]) > SET_BACK_MS).count()
}

/// A chunk was captured before those behind it that the queue took before it. By a later time it was lost at first, and stamped when it
/// was sent again.
fn stamp_before_overtakers(live: &Position, pieces: &mut [Piece], page: &Page) {
    let in_order: Vec<usize> = page.values().copied().collect();
    for n in (1..in_order.len()).rev() {
        let (again, behind) = (&pieces[in_order[n - 1]], &pieces[in_order[n]]);
        let overtaken = behind.record.sequence_number < again.record.sequence_number
            && behind.index - again.index <= SENT_AGAIN
            && !is_made_up(again);
        // Else they may be of two pages that speak at once.
        let follows = match n.checked_sub(2) {
            Some(before) => pieces[in_order[before]].captured_at <= behind.captured_at,
            None => again.index == live.next,
        };
        let captured_at = behind.captured_at;
        if overtaken && follows && SENT_AGAIN_MS.contains(&again.captured_at.ms_since(captured_at)) {
            pieces[in_order[n - 1]].captured_at = captured_at;
        }
    }
}

/// The queue's order. But what a connection sends at once overtakes itself.
fn in_turn(pieces: &[Piece], pages: &[Page]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_unstable_by_key(|i| pieces[*i].record.sequence_number);
    for page in pages {
        let is_of_page = |i: usize| page.get(&pieces[i].index) == Some(&i);
        let turns: Vec<usize> = (0..order.len()).filter(|turn| is_of_page(order[*turn])).collect();
        turns.into_iter().zip(page.values()).for_each(|(turn, i)| order[turn] = *i);
    }
    order
}

/// A time that is not known, between those of the chunks beside it that are at hand. When a chunk came back into a gap tells nothing.
/// The pieces of a blob have one time.
fn beside(pieces: &[Piece], piece: &Piece, in_gap: bool) -> EpochMs {
    let beside = |index: Option<u64>| {
        let same = |p: &&Piece| Some(p.index) == index && p.connection_id == piece.connection_id;
        pieces.iter().find(same)
    };
    let after = beside(piece.index.checked_add(1));
    // One with the index before that was captured after the one behind is another page's.
    let is_before = |before: &&Piece| after.is_none_or(|after| before.captured_at <= after.captured_at);
    let before = beside(piece.index.checked_sub(1)).filter(is_before);
    let of_blob = after.filter(|_| piece.continues).or(before.filter(|before| before.continues));
    if let Some(of_blob) = of_blob {
        return of_blob.captured_at;
    }
    let [before, after] = [before, after].map(|piece| piece.map(|piece| piece.captured_at));
    let latest = after.or(before.filter(|_| in_gap));
    let captured_at = latest.map_or(piece.captured_at, |latest| latest.min(piece.captured_at));
    captured_at.max(before.unwrap_or_default())
}

fn is_made_up(piece: &Piece) -> bool {
    piece.captured_at.0.abs_diff(piece.record.sent_at.0) > MADE_UP_MS
}

/// A chunk as it was stamped.
struct Stamped {
    connection_id: Option<String>,
    index: u64,
    at: EpochMs,
    sequence_number: u128,
}

/// Goes through a delivery in the queue's order.
struct Walk<'c> {
    checkpoint: &'c Checkpoint,
    /// The chunks at hand, as they were stamped.
    stamped: Vec<Stamped>,
    /// The next chunkIndex.
    next: u64,
    /// The connection of the last chunk, if messages carry it.
    connection_id: Option<String>,
    /// Those before it in this delivery.
    left: Vec<String>,
    /// When the page began, if there was one before it.
    began: Option<EpochMs>,
    /// The latest capture time.
    latest: EpochMs,
    /// How much later a chunk is captured than the one before it.
    pace_ms: u64,
    /// When the queue took the last one.
    sent_at: EpochMs,
    /// What the queue's clock is ahead of the speaker's, if any chunk has told.
    behind_ms: Option<i64>,
    /// What is added to capture times.
    ms: i64,
}

impl<'c> Walk<'c> {
    fn new(checkpoint: &'c Checkpoint, pieces: &[Piece]) -> Self {
        let live = &checkpoint.live;
        let stamp = |piece: &Piece| Stamped {
            connection_id: piece.connection_id.clone(),
            index: piece.index,
            at: piece.captured_at,
            sequence_number: piece.record.sequence_number,
        };
        let stamped = pieces.iter().filter(|piece| !is_made_up(piece)).map(stamp).collect();
        Self {
            checkpoint,
            stamped,
            next: live.next,
            connection_id: live.connection_id.clone(),
            left: Vec::new(),
            began: (live.numbering > 0).then_some(live.numbering_began),
            latest: live.last_captured,
            pace_ms: live
                .last_captured
                .ms_since(live.numbering_began)
                .checked_div(live.next)
                .unwrap_or_default(),
            sent_at: live.timeline.last_sent_at().unwrap_or_default(),
            behind_ms: live.timeline.usually_behind_ms(),
            ms: live.clock.now_ms(),
        }
    }

    /// What is to be added to the capture time of a chunk that has not been seen before.
    fn added_ms(&mut self, piece: &Piece) -> i64 {
        let live = &self.checkpoint.live;
        let same_recording = || live.opened_by.is_some() && live.opened_by == piece.recording();
        let again = || same_recording() && live.has_passed(piece) != Some(false);
        let opens = (piece.opens() && !again() && !self.is_of_past_page(piece) && !self.is_overtaken(piece))
            || self.opens_late(piece);
        let known = self
            .in_gap(piece)
            .or_else(|| self.in_past_page(piece).filter(|_| !opens))
            .or_else(|| self.of_another_setting(piece, opens))
            .or_else(|| self.of_page_left(piece));
        if let Some(ms) = known.or_else(|| self.of_what_is_passed(piece).filter(|_| !opens)) {
            return ms;
        }
        let in_turn = || self.is_at_its_pace(piece) || self.leads_back(piece);
        let before = self.is_of_page_before(piece) && (!in_turn() || self.has_next_beside(piece));
        let in_page = self.goes_on(piece) && !before;
        if self.was_set_back(piece, in_page, opens) {
            self.ms = self.new_setting(piece).map_or(self.ms, |ms| ms.min(self.right_behind(piece, opens)));
        }
        if in_page || opens {
            self.pass(piece, opens);
        }
        self.ms
    }

    /// When a chunk was captured whose timestamp is made up: with those that the queue took with it, or with its gap's.
    fn probably_at(&self, piece: &Piece) -> EpochMs {
        let at = moved(piece.record.sent_at, -self.behind_ms.unwrap_or_default());
        match self.gap(piece) {
            Some(gap) => at.min(gap.captured.1).max(gap.captured.0),
            None if piece.index < self.next => at.min(self.latest),
            None => at,
        }
    }

    /// The gap that has the chunk's index.
    fn gap(&self, piece: &Piece) -> Option<&'c Gap> {
        self.checkpoint.gaps_for(&self.checkpoint.live, piece).next_back()
    }

    fn pass(&mut self, piece: &Piece, opens: bool) {
        let captured_at = moved(piece.captured_at, self.ms);
        if opens && self.next > 0 {
            self.began = Some(captured_at);
        }
        if piece.index == self.next && self.next > 0 {
            self.pace_ms = self.pace_ms.min(captured_at.ms_since(self.latest));
        }
        self.next = piece.index.saturating_add(1);
        if piece.connection_id.is_some() && piece.connection_id != self.connection_id {
            self.left.extend(std::mem::replace(&mut self.connection_id, piece.connection_id.clone()));
        }
        self.latest = self.latest.max(captured_at);
        self.sent_at = piece.record.sent_at;
        let behind_ms = behind_ms(piece, self.ms);
        self.behind_ms = self.behind_ms.map(|usual_ms| usual_ms.min(behind_ms)).or(Some(behind_ms));
    }

    /// A chunk that comes back into a gap was stamped as its neighbours were. The page's next one at its pace was stamped by the
    /// clock as it is now.
    fn in_gap(&self, piece: &Piece) -> Option<i64> {
        let live = &self.checkpoint.live;
        let gaps: Vec<&Gap> = self.checkpoint.gaps_for(live, piece).collect();
        let in_turn = self.is_at_its_pace(piece);
        live.clock.settings().filter(|ms| !in_turn || *ms == self.ms).find(|ms| {
            let captured_at = moved(piece.captured_at, *ms);
            gaps.iter().any(|gap| gap.is_of_time(captured_at))
        })
    }

    /// A chunk that was held up and does not go on with the page, by its index or its time, comes again, if by some setting an earlier
    /// page has passed it: it was redriven, and turned out to be written.
    fn in_past_page(&self, piece: &Piece) -> Option<i64> {
        // By an older setting, what the page goes on with behind a hole, or what others overtook, looks just as late.
        let may_go_on = (self.goes_on(piece) || self.is_in_line(piece)) && !self.is_too_early(piece, self.ms);
        if self.is_at_its_pace(piece) || may_go_on {
            return None;
        }
        let mut settings = std::iter::once(self.ms).chain(self.checkpoint.live.clock.settings());
        settings.find(|ms| {
            let past = self.checkpoint.past_with(piece.index, moved(piece.captured_at, *ms));
            past.is_some() && self.is_held_up(piece, *ms)
        })
    }

    /// Whether the chunk's time is about as far from what is passed as its index, by the page's pace: behind missing chunks, or overtaken
    /// by others.
    fn is_in_line(&self, piece: &Piece) -> bool {
        let Some(began) = self.began else { return false };
        let page_ms = self.latest.ms_since(began);
        let off_ms = moved(piece.captured_at, self.ms).0.abs_diff(self.latest.0);
        let by_pace = off_ms.saturating_mul(self.next);
        match piece.index.checked_sub(self.next) {
            Some(missing) => by_pace.saturating_mul(2) > missing.saturating_mul(page_ms),
            None => by_pace <= (self.next - piece.index).saturating_mul(page_ms).saturating_mul(2),
        }
    }

    /// A chunk that seems to come too early was stamped before the clock was set back, or after it was set right again.
    fn of_another_setting(&self, piece: &Piece, opens: bool) -> Option<i64> {
        if !self.is_too_early(piece, self.ms) {
            return None;
        }
        // One that comes in its turn was not held up: else its clock was set ahead to a time of its own.
        let in_turn = opens || self.goes_on(piece);
        let held_up = |ms: &i64| in_turn && self.is_held_up(piece, *ms);
        let fits = |ms: &i64| !self.is_too_early(piece, *ms) && !held_up(ms);
        let fitting = self.checkpoint.live.clock.settings().filter(fits);
        fitting.max_by_key(|ms| (!self.is_unlikely(piece, *ms), *ms))
    }

    /// A chunk whose index is passed, that was held up and seems to come after all that is passed, comes again, if by another setting it
    /// was captured before: it was redriven.
    fn of_what_is_passed(&self, piece: &Piece) -> Option<i64> {
        if !self.is_unlikely(piece, self.ms) {
            return None;
        }
        self.checkpoint.live.clock.settings().filter(|ms| !self.is_later(piece, *ms)).max()
    }

    /// Whether the chunk, if so much is to be added, came late with a passed index and a new time: hardly any does. Rather it was
    /// captured before, and comes again.
    fn is_unlikely(&self, piece: &Piece, ms: i64) -> bool {
        piece.index < self.next && self.is_later(piece, ms) && self.is_held_up(piece, ms)
    }

    /// Whether the chunk was captured after all that is passed, if so much is to be added.
    fn is_later(&self, piece: &Piece, ms: i64) -> bool {
        moved(piece.captured_at, ms) > self.latest
    }

    /// Whether the chunk took so much less time to the queue than the others, if so much is to be added.
    fn is_too_early(&self, piece: &Piece, ms: i64) -> bool {
        self.behind_ms.is_some_and(|usual_ms| behind_ms(piece, ms) < usual_ms.saturating_sub(TOO_EARLY_MS))
    }

    /// A page that another one has replaced may go on by a clock that was set back: a chunk from before the session is not late.
    fn of_page_left(&self, piece: &Piece) -> Option<i64> {
        let is_odd = self.was_left(piece) && !self.in_session(moved(piece.captured_at, self.ms));
        self.new_setting(piece).filter(|_| is_odd)
    }

    /// What is to be added if the chunk took as long to the queue as the others.
    fn new_setting(&self, piece: &Piece) -> Option<i64> {
        self.behind_ms.map(|usual_ms| behind_ms(piece, 0) - usual_ms)
    }

    /// What is to be added at the most. A page's chunk that was kept, and comes faster than it was spoken, was held up as long as the one
    /// before it: it lies right behind that.
    fn right_behind(&self, piece: &Piece, opens: bool) -> i64 {
        let captured_at = self.latest.plus_ms(self.spoken_ms(piece));
        let was_kept = !opens && self.was_kept(piece);
        if was_kept { captured_at.0 as i64 - piece.captured_at.0 as i64 } else { i64::MAX }
    }

    /// About how long it took to speak the chunk, and what is missing before it.
    fn spoken_ms(&self, piece: &Piece) -> u64 {
        self.pace_ms.saturating_mul(piece.index.saturating_add(1).saturating_sub(self.next))
    }

    /// Whether the chunk comes faster than it was spoken, out of what the page has kept.
    fn was_kept(&self, piece: &Piece) -> bool {
        piece.record.sent_at.ms_since(self.sent_at) < self.spoken_ms(piece) / 2
    }

    /// Whether the chunk came over a connection that another one has followed in this delivery.
    fn was_left(&self, piece: &Piece) -> bool {
        self.left.iter().any(|left| Some(left) == piece.connection_id.as_ref())
    }

    /// Whether the chunk took so much longer to the queue than the others, if so much is to be added.
    fn is_held_up(&self, piece: &Piece, ms: i64) -> bool {
        self.behind_ms.is_some_and(|usual_ms| behind_ms(piece, ms) > usual_ms.saturating_add(HELD_UP_MS))
    }

    fn was_set_back(&self, piece: &Piece, in_page: bool, opens: bool) -> bool {
        let back_ms = self.latest.ms_since(moved(piece.captured_at, self.ms));
        let before_page_ms = if self.begins_another(piece) { 0 } else { SET_BEFORE_PAGE_MS };
        (in_page && back_ms > SET_BACK_MS && !self.has_later_behind(piece))
            || (opens && back_ms > before_page_ms)
    }

    /// Whether another page than the checkpoint's begins with the chunk, by its connection and its bytes, and so late by its time that it
    /// is of no page beside that one: it was loaded after all that this one has recorded.
    fn begins_another(&self, piece: &Piece) -> bool {
        let live = &self.checkpoint.live;
        let ids = live.connection_id.as_ref().zip(piece.connection_id.as_ref());
        let other_connection = ids.is_some_and(|(before, now)| before != now);
        let is_next = self.connection_id == live.connection_id;
        is_next && other_connection && live.has_passed_another(piece) && self.is_held_up(piece, self.ms)
    }

    /// Whether the queue took the chunk right behind the one before it.
    fn is_at_its_pace(&self, piece: &Piece) -> bool {
        let sent_at = piece.record.sent_at;
        piece.index == self.next && sent_at >= self.sent_at && sent_at.ms_since(self.sent_at) < PACE_MS
    }

    /// Whether another chunk with the index is at hand that comes after all that is passed, by the clock as it is.
    fn has_next_beside(&self, piece: &Piece) -> bool {
        self.stamped.iter().any(|other| {
            other.index == piece.index
                && other.at > piece.captured_at
                && moved(other.at, self.ms) > self.latest
        })
    }

    /// Whether a later chunk of the page is at hand that comes after all that is passed, by the clock as it is: no clock was set.
    fn has_later_behind(&self, piece: &Piece) -> bool {
        self.stamped.iter().any(|other| {
            other.index > piece.index
                && other.connection_id == piece.connection_id
                && moved(other.at, self.ms) > self.latest
        })
    }

    /// Whether the chunk was captured before the page began, and in this session.
    fn is_of_page_before(&self, piece: &Piece) -> bool {
        let captured_at = moved(piece.captured_at, self.ms);
        self.began.is_some_and(|began| captured_at < began) && self.in_session(captured_at)
    }

    /// Whether the chunk is of a page before the current one, by its connection or as the one that began it: it comes back, and opens
    /// no page.
    fn is_of_past_page(&self, piece: &Piece) -> bool {
        let Checkpoint { live, past, .. } = self.checkpoint;
        let began = |past: &PastNumbering| {
            live.clock.settings().any(|ms| moved(piece.captured_at, ms) == past.captured.0)
        };
        let other_connection = piece.connection_id.is_some() && piece.connection_id != live.connection_id;
        past.iter().any(|past| {
            (other_connection && past.connection_id == piece.connection_id)
                || (piece.index == 0 && began(past))
        })
    }

    /// Whether the chunk begins a page whose first ones were empty: by a clock that was set back to before the session, or with other
    /// bytes than the only page that there was.
    fn opens_late(&self, piece: &Piece) -> bool {
        let Checkpoint { live, past, .. } = self.checkpoint;
        let is_new = || match live.has_passed(piece) {
            Some(true) => false,
            Some(false) if past.is_empty() => true,
            _ => !self.in_session(moved(piece.captured_at, self.ms)),
        };
        piece.index < self.next && piece.starts_recording() && is_new()
    }

    /// Whether the chunk is the session's first, and others of its connection overtook it: it shows no clock that was set.
    fn is_overtaken(&self, piece: &Piece) -> bool {
        let same_connection = piece.connection_id.is_some() && piece.connection_id == self.connection_id;
        self.checkpoint.live.is_fresh() && self.next > 0 && same_connection
    }

    /// Whether the session had begun then.
    fn in_session(&self, at: EpochMs) -> bool {
        let Checkpoint { live, past, .. } = self.checkpoint;
        at >= past.first().map_or(live.numbering_began, |first| first.captured.0)
    }

    /// Whether the chunk may be the page's next one; over another connection, only the very next is.
    fn goes_on(&self, piece: &Piece) -> bool {
        let other_connection =
            self.connection_id.as_ref().zip(piece.connection_id.as_ref()).is_some_and(|(a, b)| a != b);
        if other_connection {
            let is_next = piece.index == self.next && self.next > 0;
            return is_next && !self.was_left(piece) && !self.is_of_past_page(piece);
        }
        let near = if self.was_kept(piece) { NEAR_IN_BURST } else { NEAR };
        (self.next..self.next.saturating_add(near)).contains(&piece.index)
    }

    /// Whether the chunk that is kept and the next one at hand both go back to before the page: a late chunk of the page before comes
    /// among this one's, but a clock stays where it was set.
    fn leads_back(&self, piece: &Piece) -> bool {
        let began = self.began.unwrap_or_default();
        let behind = self.stamped.iter().filter(|other| {
            other.index > piece.index && other.sequence_number > piece.record.sequence_number
        });
        let next = behind.min_by_key(|other| (other.index, other.at));
        // What the queue took before all that is passed comes again.
        let is_new = piece.record.sequence_number > self.checkpoint.live.last_sequence;
        is_new && self.was_kept(piece) && next.is_some_and(|next| moved(next.at, self.ms) < began)
    }
}

/// What the queue's clock is ahead of the speaker's, where so much is added to that.
fn behind_ms(piece: &Piece, ms: i64) -> i64 {
    piece.record.sent_at.0 as i64 - moved(piece.captured_at, ms).0 as i64
}
