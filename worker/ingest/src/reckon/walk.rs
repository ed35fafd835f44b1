//! What is to be added to each capture time: chunk by chunk, by what the checkpoint and those before tell of the speaker's clock.

use media::time::EpochMs;

use super::made_up::is_made_up;
use crate::checkpoint::{Checkpoint, PastNumbering};
use crate::clock::{SET_BACK_MS, SET_BEFORE_PAGE_MS, moved};
use crate::gap::Gap;
use crate::piece::Piece;
use crate::timeline::HELD_UP_MS;

/// A chunk that seems to come so much too early was stamped before the clock was set back.
const TOO_EARLY_MS: i64 = 500;
/// A recorder that runs hands out no later.
const PACE_MS: u64 = 1_500;
/// The next chunk but a few is still of the same page.
const NEAR: u64 = 4;
/// The same where a page sends what it has kept: concurrent handlers shake it.
const NEAR_IN_BURST: u64 = 64;

/// A chunk as it was stamped.
struct Stamped {
    connection_id: Option<String>,
    index: u64,
    at: EpochMs,
    sequence_number: u128,
}

/// Goes through a delivery in the queue's order.
pub(super) struct Walk<'c> {
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
    pub(super) ms: i64,
}

impl<'c> Walk<'c> {
    pub(super) fn new(checkpoint: &'c Checkpoint, pieces: &[Piece]) -> Self {
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
            pace_ms: live.pace_ms().unwrap_or_default(),
            sent_at: live.timeline.last_sent_at().unwrap_or_default(),
            behind_ms: live.timeline.usually_behind_ms(),
            ms: live.clock.now_ms(),
        }
    }

    /// What is to be added to the capture time of a chunk that has not been seen before.
    pub(super) fn added_ms(&mut self, piece: &Piece) -> i64 {
        let live = &self.checkpoint.live;
        let same_recording = || live.opened_by.is_some() && live.opened_by == piece.recording();
        let again = || same_recording() && live.has_passed(piece).unwrap_or(!self.is_forgotten(piece));
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
        let is_left_over = || self.has_next_beside(piece) || self.goes_on_with_last(piece);
        let before = self.is_of_page_before(piece) && (!in_turn() || is_left_over());
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
    pub(super) fn probably_at(&self, piece: &Piece) -> EpochMs {
        let at = moved(piece.record.sent_at, -self.behind_ms.unwrap_or_default());
        match self.gap(piece) {
            Some(gap) => at.min(gap.captured.1).max(gap.captured.0),
            None if piece.index < self.next => at.min(self.latest),
            None => at,
        }
    }

    /// The gap that has the chunk's index.
    pub(super) fn gap(&self, piece: &Piece) -> Option<&'c Gap> {
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
        let other_connection = ids.is_none_or(|(before, now)| before != now);
        let is_next = self.connection_id == live.connection_id;
        let is_other = live.has_passed_another(piece) || self.is_forgotten(piece);
        is_next && other_connection && is_other && self.is_held_up(piece, self.ms)
    }

    /// Whether the checkpoint's page passed a chunk with this index too long ago to know it, and did not begin with this one.
    fn is_forgotten(&self, piece: &Piece) -> bool {
        let live = &self.checkpoint.live;
        !live.is_recent(piece.index) && !live.clock.may_show(piece.captured_at, live.numbering_began)
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

    /// Whether the chunk goes on with the checkpoint's page at that one's pace, by its index and its time: a clock would hardly be set so.
    fn goes_on_with_last(&self, piece: &Piece) -> bool {
        let live = &self.checkpoint.live;
        let Some((chunks, pace_ms)) = piece.index.checked_sub(live.next).zip(live.pace_ms()) else {
            return false;
        };
        let spoken_ms = pace_ms.saturating_mul(chunks.saturating_add(1));
        let goes_on_at = live.last_captured.plus_ms(spoken_ms);
        let off_ms = moved(piece.captured_at, live.clock.now_ms()).0.abs_diff(goes_on_at.0);
        off_ms <= spoken_ms / 2
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
        let other_connection = piece.connection_id.is_some() && piece.connection_id != live.connection_id;
        let is_of = |past: &PastNumbering| other_connection && past.connection_id == piece.connection_id;
        past.iter().any(is_of) || self.checkpoint.began_with(piece)
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
        self.checkpoint.live.is_fresh() && self.next > 0 && piece.connection_id == self.connection_id
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
        let goes_back = next.is_some_and(|next| moved(next.at, self.ms) < began);
        is_new && self.was_kept(piece) && goes_back
    }
}

/// What the queue's clock is ahead of the speaker's, where so much is added to that.
fn behind_ms(piece: &Piece, ms: i64) -> i64 {
    piece.record.sent_at.0 as i64 - moved(piece.captured_at, ms).0 as i64
}
