//! What a redrive will do, from notes and checkpoints alone: the same value for the dry run and the real one.
//!
//! The writer's own [`sort`](ingest::sort::sort) places each noted chunk by its index and capture time, so the two cannot disagree about that: a
//! chunk of an open gap is written there; one that the live audio waits for joins it; one that is written already is dropped;
//! what nobody can place, and what was refused for itself, is parked again. Notes hold no audio, so the plan cannot tell
//! chunks apart by the recording that they open.

mod place;
mod show;

use std::collections::{BTreeMap, BTreeSet};

use aws::parked_index::Entry;
use ingest::checkpoint::Checkpoint;
use ingest::gap::Gap;
use media::time::EpochMs;
use reader::ranges::Ranges;
use serde::Serialize;
use writer::is_after_end;
use writer::ports::{ParkedNote, SessionStatus};

pub use self::place::{GapKey, Known, Place, places};
use self::place::{key, places_of_notes};
use crate::reasons::advice;
use crate::world::status_name;

/// What is known of a session before its messages are moved.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionFacts {
    /// The message group.
    pub session_id: String,
    /// By the Sessions table.
    pub status: SessionStatus,
    /// The writer's state; `None` where it never wrote the session.
    pub checkpoint: Option<Checkpoint>,
    /// Gaps whose state before them is still stored, by numbering and first index.
    pub placeable: BTreeSet<(u32, u64)>,
    /// Hours for which its stream keeps fragments, where there is a stream.
    pub retention_hours: Option<u64>,
    /// The messages to move.
    pub chosen: Vec<Entry>,
    /// Parked messages that stay.
    pub staying: Vec<Entry>,
}

/// Why chunks will be parked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Again {
    /// The message or its audio was refused for itself.
    RefusedForItself,
    /// The Sessions table does not know the session.
    SessionUnknown,
    /// Captured after the session's end.
    SessionEnded,
    /// The gap's state was given up, because too many gaps were open.
    GivenUp,
    /// The gap's state is no longer stored.
    Expired,
    /// The writer could not place it before, and no gap has opened for it since.
    Placeless,
}

impl Again {
    fn why(self) -> &'static str {
        match self {
            Self::RefusedForItself => "the message itself was refused; a redrive does not change it",
            Self::SessionUnknown => "the Sessions table does not know the session",
            Self::SessionEnded => "captured after the session's end",
            Self::GivenUp => "too many gaps were open: the state before this one was given up",
            Self::Expired => "the state before the gap is no longer stored",
            Self::Placeless => "the writer could not place it before, and no open gap holds it",
        }
    }
}

/// What happens to one gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GapPlan {
    /// Which numbering of chunkIndex; counts page reloads.
    pub numbering: u32,
    /// Its first chunk.
    pub chunk_first: u64,
    /// Its last chunk.
    pub chunk_last: u64,
    /// Where its audio begins, epoch ms.
    pub begins_at: u64,
    /// Where the audio after it begins, where known.
    pub ends_at: Option<u64>,
    /// Chunks that come back.
    pub returning: Ranges,
    /// Chunks that are parked and were not chosen.
    pub staying: Ranges,
    /// Chunks that are in no note: never sent, or moved by SQS itself.
    pub nowhere: Ranges,
}

impl GapPlan {
    /// Whether nothing of the gap will be left.
    pub fn closes(&self) -> bool {
        self.staying.is_empty() && self.nowhere.is_empty()
    }
}

/// Chunks that will be parked again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgainPlan {
    /// Why.
    pub why: Again,
    /// The reason that they were parked for.
    pub reason: String,
    /// How many messages.
    pub messages: usize,
    /// Their chunks, where known.
    pub chunks: Ranges,
}

/// What happens to one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPlan {
    /// The message group.
    pub session_id: String,
    /// `active`, `ended` or `unknown`.
    pub status: &'static str,
    /// Messages to move.
    pub messages: usize,
    /// Gaps that shrink or close.
    pub gaps: Vec<GapPlan>,
    /// Chunks that join the live audio.
    pub appended: Ranges,
    /// Chunks that are written already; the writer drops them.
    pub written: Ranges,
    /// Messages without a chunk index that are not refused for themselves: nothing can be foreseen of them.
    pub unforeseen: usize,
    /// Where the live audio ends now, epoch ms; what joins it lies behind.
    pub live_ends_at: Option<u64>,
    /// What will be parked again.
    pub parked_again: Vec<AgainPlan>,
    /// The stream keeps fragments for less time than has passed since this gap (epoch ms): what is written there may expire at
    /// once.
    pub older_than_retention: Option<u64>,
}

/// The whole plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// By session.
    pub sessions: Vec<SessionPlan>,
    /// Messages in the queue without a note.
    pub unnoted: Unnoted,
}

/// Messages in the queue without a note: only receiving them shows whose they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unnoted {
    /// How many, of all sessions, by the queue's own count.
    pub messages: usize,
    /// Whether they are moved too.
    pub meant: bool,
    /// The session whose are; `None` means all.
    pub only_of: Option<String>,
}

impl Unnoted {
    /// How many a search has to look for at most.
    pub fn wanted(&self) -> usize {
        if self.meant { self.messages } else { 0 }
    }
}

/// Plans.
pub fn plan(facts: &[SessionFacts], now: EpochMs, unnoted: Unnoted) -> Plan {
    let sessions = facts.iter().map(|facts| session(facts, now)).collect();
    Plan { sessions, unnoted }
}

/// One message, and what will become of it.
struct Foreseen<'e> {
    note: &'e ParkedNote,
    place: Place,
    /// Why it will be parked again, if it will.
    again: Option<Again>,
}

impl Foreseen<'_> {
    fn is_in(&self, gap: &Gap) -> bool {
        self.place == Place::Gap(key(gap))
    }
}

fn session(facts: &SessionFacts, now: EpochMs) -> SessionPlan {
    let fresh = Checkpoint::default();
    let checkpoint = facts.checkpoint.as_ref().unwrap_or(&fresh);
    let chosen = foresee(facts, checkpoint, &facts.chosen, now);
    let left = foresee(facts, checkpoint, &facts.staying, now);
    let (going, coming_back): (Vec<Foreseen>, Vec<Foreseen>) =
        chosen.into_iter().partition(|message| message.again.is_none());
    let gaps = checkpoint.gaps.iter().map(|gap| gap_plan(gap, &going, left.iter().chain(&coming_back)));
    let gaps: Vec<GapPlan> = gaps.filter(|gap| !gap.returning.is_empty()).collect();
    let chunks = |is: fn(Place) -> bool| {
        going.iter().filter(move |m| is(m.place)).filter_map(|m| m.note.chunk_index).collect::<Ranges>()
    };
    SessionPlan {
        session_id: facts.session_id.clone(),
        status: status_name(facts.status),
        messages: facts.chosen.len(),
        older_than_retention: older_than_retention(&gaps, facts.retention_hours, now),
        gaps,
        appended: chunks(|place| matches!(place, Place::Live { .. })),
        written: chunks(|place| place == Place::Written),
        live_ends_at: checkpoint.live.timeline.end().map(|at| at.0),
        unforeseen: going.iter().filter(|m| m.place == Place::Unknown).count(),
        parked_again: again_plans(&coming_back),
    }
}

fn foresee<'e>(
    facts: &SessionFacts,
    checkpoint: &Checkpoint,
    notes: &'e [Entry],
    now: EpochMs,
) -> Vec<Foreseen<'e>> {
    let foreseen = |(Entry { note, .. }, place): (&'e Entry, Place)| {
        let again = parked_again(facts, checkpoint, note, (place, now));
        Foreseen { note, place, again }
    };
    notes.iter().zip(places_of_notes(checkpoint, facts.status, (notes, now))).map(foreseen).collect()
}

/// Why the writer will park a chunk again, if it will: its own order of questions.
fn parked_again(
    facts: &SessionFacts,
    checkpoint: &Checkpoint,
    note: &ParkedNote,
    (place, now): (Place, EpochMs),
) -> Option<Again> {
    if !advice(&note.reason).redrive && matches!(note.class.as_str(), "message" | "audio") {
        return Some(Again::RefusedForItself);
    }
    match (facts.status, place) {
        // An older writer's note does not tell where it lies; that writer could not place it either.
        (_, Place::Written | Place::Live { .. })
            if note.reason == "NO_PLACE" && note.captured_at.is_none() =>
        {
            Some(Again::Placeless)
        }
        (_, Place::Written) => None,
        (SessionStatus::Unknown, _) => Some(Again::SessionUnknown),
        (_, Place::Gap(gap)) => (!facts.placeable.contains(&gap)).then_some(Again::Expired),
        (SessionStatus::Ended { at }, Place::Live { captured_at }) => {
            let end = at.or(checkpoint.seen_ended_at).unwrap_or(now);
            let config = writer::Config::default();
            is_after_end(checkpoint, &config, end, (captured_at, now)).then_some(Again::SessionEnded)
        }
        (_, Place::Nowhere { numbering }) => {
            let holds =
                |index| checkpoint.given_up.iter().any(|r| r.numbering == numbering && r.holds(index));
            Some(if note.chunk_index.is_some_and(holds) { Again::GivenUp } else { Again::Placeless })
        }
        (_, Place::Live { .. } | Place::Unknown) => None,
    }
}

fn again_plans(coming_back: &[Foreseen]) -> Vec<AgainPlan> {
    let mut by_reason: BTreeMap<(Again, &str), Vec<&ParkedNote>> = BTreeMap::new();
    for message in coming_back {
        let key = message.again.map(|why| (why, message.note.reason.as_str()));
        key.into_iter().for_each(|key| by_reason.entry(key).or_default().push(message.note));
    }
    let plan = |((why, reason), notes): ((Again, &str), Vec<&ParkedNote>)| AgainPlan {
        why,
        reason: reason.to_owned(),
        messages: notes.len(),
        chunks: notes.into_iter().filter_map(|note| note.chunk_index).collect(),
    };
    by_reason.into_iter().map(plan).collect()
}

fn gap_plan<'m>(gap: &Gap, going: &[Foreseen], staying: impl Iterator<Item = &'m Foreseen<'m>>) -> GapPlan {
    let chunk = |message: &Foreseen| message.note.chunk_index.filter(|_| message.is_in(gap));
    let returning: Ranges = going.iter().filter_map(chunk).collect();
    let staying = staying.filter_map(chunk).collect::<Ranges>().without(&returning);
    let nowhere = Ranges::one(gap.chunks.from, gap.chunks.to).without(&returning).without(&staying);
    GapPlan {
        numbering: gap.chunks.numbering,
        chunk_first: gap.chunks.from,
        chunk_last: gap.chunks.to.saturating_sub(1),
        begins_at: gap.begins_at.0,
        ends_at: gap.ends_at.map(|at| at.0),
        returning,
        staying,
        nowhere,
    }
}

fn older_than_retention(gaps: &[GapPlan], hours: Option<u64>, now: EpochMs) -> Option<u64> {
    let kept_from = now.0.saturating_sub(hours?.saturating_mul(3_600_000));
    gaps.iter().map(|gap| gap.begins_at).filter(|at| *at < kept_from).min()
}

impl Plan {
    /// Whether nothing is to be moved.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.unnoted.wanted() == 0
    }

    /// Messages to move that have a note.
    pub fn messages(&self) -> usize {
        self.sessions.iter().map(|session| session.messages).sum()
    }

    /// Gaps that should be closed afterwards.
    pub fn closing(&self) -> usize {
        self.sessions.iter().flat_map(|session| &session.gaps).filter(|gap| gap.closes()).count()
    }

    /// Messages that will be parked again.
    pub fn parked_again(&self) -> usize {
        self.sessions.iter().flat_map(|session| &session.parked_again).map(|again| again.messages).sum()
    }
}

#[cfg(test)]
pub(crate) mod tests;
