//! The first pass, chunk after chunk: what lies before each, what each holds, and where bytes belong that no chunk has used.

use media::time::{EpochMs, Samples};

use super::demux::Reading;
use super::holes::tell_holes;
use super::taken::{Before, Taken};
use super::vain::Vain;
use crate::piece::{Head, Piece, Place};
use crate::snapshot::{MediaState, Snapshot};

/// What the demuxer may hold back between two chunks of a search: it is stored with a gap's state.
const MAX_UNDECIDED_BYTES: usize = 128 * 1024;

/// Demuxes all chunks, but for those behind `sight`; returns the media state behind them. What was made of those without sound may
/// be known.
pub(super) fn take(
    start: &Snapshot,
    pieces: &[Piece],
    (vain, sight): (Option<&Vain>, Option<Samples>),
) -> (MediaState, Vec<Taken>) {
    let mut taking = Taking::from(start, vain);
    let sight = sight.unwrap_or(Samples(u64::MAX));
    let mut audio = Samples(0);
    for piece in pieces {
        audio += taking.take(piece);
        if audio >= sight {
            break;
        }
    }
    taking.finish(start.media.too_early)
}

/// Where the pass stands.
struct Taking<'v> {
    vain: Option<&'v Vain>,
    reading: Reading,
    taken: Vec<Taken>,
    /// Behind the last chunk.
    place: Place,
    /// What of the chunk at `place` is taken.
    amid: Option<Head>,
    /// The latest capture time.
    captured_to: EpochMs,
    /// When the audio so far had ended at the earliest, by the capture clock.
    ended_at: EpochMs,
    /// The capture clock's time that was passed in search of a place to go on.
    searched_ms: u64,
}

impl<'v> Taking<'v> {
    fn from(start: &Snapshot, vain: Option<&'v Vain>) -> Self {
        let position = &start.position;
        Self {
            vain,
            reading: Reading::from(start.media.clone()),
            taken: Vec::new(),
            place: position.place(),
            amid: position.amid,
            captured_to: position.last_captured,
            ended_at: position.timeline.ended_at(position.last_captured),
            searched_ms: 0,
        }
    }

    /// Takes a chunk; returns its audio.
    fn take(&mut self, piece: &Piece) -> Samples {
        let missing = !self.place.leads_to(piece);
        let same_page = self.place.numbering == piece.numbering;
        if missing || !same_page || piece.starts_recording() {
            self.break_off(missing, same_page);
        }
        let from = self.amid.filter(|_| self.place == piece.place());
        let lost = same_page.then(|| piece.index.saturating_sub(self.place.next));
        let mut out = self.read(piece, Before { missing, lost, from });
        (self.place, self.amid) = (Place::behind(piece), piece.head);
        self.captured_to = self.captured_to.max(piece.ended_at());
        out.disbelieve_hole();
        if let Some(before) = out.hole.as_mut().filter(|_| out.refusal.is_some()) {
            keep_undecided(before, self.taken.last_mut());
        }
        self.ended_at = out.ended_at(self.ended_at, piece.ended_at());
        // What is passed in search of a place to go on is missing, too.
        self.searched_ms = if self.reading.media.is_searching() { out.elapsed_ms } else { 0 };
        let samples = out.samples;
        self.taken.push(out);
        if self.reading.media.demuxer.undecided().len() > MAX_UNDECIDED_BYTES {
            self.pass_undecided();
        }
        samples
    }

    fn read(&mut self, piece: &Piece, lies: Before) -> Taken {
        let elapsed_ms = piece.ended_at().0.saturating_sub(self.captured_to.0);
        let out = Taken::nothing(self.searched_ms + elapsed_ms, piece.ended_at().ms_since(self.ended_at));
        match self.vain {
            Some(vain) => vain.once(&mut self.reading, piece, lies, out),
            None => self.reading.chunk(piece, lies, out),
        }
    }

    /// What comes next does not go on with what is taken: bytes that are undecided end in what is missing, or where another recording
    /// begins, and another page has another recorder.
    fn break_off(&mut self, missing: bool, same_page: bool) {
        match missing {
            true => _ = keep_undecided(&mut self.reading.media, self.taken.last_mut()), // what is missing may go on with them
            false => self.pass_undecided(),
        }
        if !same_page {
            self.reading.media.begin_page();
        }
    }

    /// Keeps undecided bytes with the gap before them; this line does not go on with them.
    fn pass_undecided(&mut self) {
        let media = &mut self.reading.media;
        if keep_undecided(media, self.taken.last_mut()) {
            media.demuxer.pass_undecided();
            media.kept = 0;
        }
    }

    /// The media state behind the chunks, and what they hold.
    fn finish(mut self, too_early: bool) -> (MediaState, Vec<Taken>) {
        let mut media = self.reading.media;
        media.too_early = tell_holes(&mut self.taken, too_early);
        keep_undecided(&mut media, self.taken.last_mut());
        (media, self.taken)
    }
}

/// Bytes that are undecided may end the gap before them or begin the place that is searched for: they are kept with that gap, and
/// go on with this line. Returns whether that gap takes them.
fn keep_undecided(media: &mut MediaState, last: Option<&mut Taken>) -> bool {
    let searching = media.is_searching();
    let Some(last) = last.filter(|last| searching && last.refusal.is_none()) else {
        return false;
    };
    let undecided = media.demuxer.undecided();
    if let Some(more) = undecided.get(media.kept..).filter(|more| !more.is_empty()) {
        last.residue.extend_from_slice(more);
        media.kept = undecided.len();
        last.withheld = last.steps.is_empty();
    }
    true
}
