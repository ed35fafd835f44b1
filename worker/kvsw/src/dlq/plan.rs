//! What a redrive will do, from notes and checkpoints alone: the same value for the dry run and the real one.
//!
//! It foresees what the writer decides: a chunk inside an open gap is written there; one behind the live audio joins
//! it; one that was gone past elsewhere is written already; what nobody can place, and what was refused for itself, is
//! parked again.

use std::collections::{BTreeMap, BTreeSet};

use aws::parked_index::Entry;
use ingest::checkpoint::{Checkpoint, Gap};
use media::time::EpochMs;
use serde::Serialize;
use writer::ports::SessionStatus;

use crate::output::{Pen, Show, Tone};
use crate::reasons::advice;
use crate::text::{count, holes, length, moment, ranges, runs};

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
            Self::RefusedForItself => "refused for itself; a redrive does not change the message",
            Self::SessionUnknown => "the Sessions table does not know the session",
            Self::SessionEnded => "captured after the session's end",
            Self::GivenUp => "too many gaps were open: the state before this one was given up",
            Self::Expired => "the state before the gap is no longer stored",
            Self::Placeless => "the writer could not place it before, and it lies in no open gap",
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
    pub returning: Vec<(u64, u64)>,
    /// Chunks that are parked and were not chosen.
    pub staying: Vec<(u64, u64)>,
    /// Chunks that are in no note: never sent, or moved by SQS itself.
    pub nowhere: Vec<(u64, u64)>,
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
    pub chunks: Vec<(u64, u64)>,
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
    pub appended: Vec<(u64, u64)>,
    /// Chunks that are written already; the writer drops them.
    pub written: Vec<(u64, u64)>,
    /// Messages without a chunk index that are not refused for themselves: nothing can be foreseen of them.
    pub unforeseen: usize,
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

/// Plans.
pub fn plan(facts: &[SessionFacts], now: EpochMs, unnoted: Unnoted) -> Plan {
    let sessions = facts.iter().map(|facts| session(facts, now)).collect();
    Plan { sessions, unnoted }
}

/// What the writer will do with one chunk.
enum Fate {
    Gap,
    Append(u64),
    Written(u64),
    Unforeseen,
    Again(Again),
}

fn session(facts: &SessionFacts, now: EpochMs) -> SessionPlan {
    let fresh = Checkpoint::default();
    let checkpoint = facts.checkpoint.as_ref().unwrap_or(&fresh);
    let mut taken: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); checkpoint.gaps.len()];
    let (mut appended, mut written, mut unforeseen) = (Vec::new(), Vec::new(), 0);
    let mut again: BTreeMap<(Again, String), Vec<Option<u64>>> = BTreeMap::new();
    for entry in &facts.chosen {
        match fate(facts, checkpoint, entry, &mut taken) {
            Fate::Gap => {}
            Fate::Append(index) => appended.push(index),
            Fate::Written(index) => written.push(index),
            Fate::Unforeseen => unforeseen += 1,
            Fate::Again(why) => {
                again.entry((why, entry.note.reason.clone())).or_default().push(entry.note.chunk_index);
            }
        }
    }
    let gaps = checkpoint.gaps.iter().zip(&taken).filter(|(_, returning)| !returning.is_empty());
    let gaps: Vec<GapPlan> = gaps.map(|(gap, returning)| gap_plan(gap, returning, &facts.staying)).collect();
    SessionPlan {
        session_id: facts.session_id.clone(),
        status: status_name(facts.status),
        messages: facts.chosen.len(),
        older_than_retention: older_than_retention(&gaps, facts.retention_hours, now),
        gaps,
        appended: runs(appended),
        written: runs(written),
        unforeseen,
        parked_again: again
            .into_iter()
            .map(|((why, reason), indices)| AgainPlan {
                why,
                reason,
                messages: indices.len(),
                chunks: runs(indices.into_iter().flatten()),
            })
            .collect(),
    }
}

/// The writer's own order of questions.
fn fate(facts: &SessionFacts, checkpoint: &Checkpoint, entry: &Entry, taken: &mut [BTreeSet<u64>]) -> Fate {
    let note = &entry.note;
    if !advice(&note.reason).redrive && matches!(note.class.as_str(), "message" | "audio") {
        return Fate::Again(Again::RefusedForItself);
    }
    if facts.status == SessionStatus::Unknown {
        return Fate::Again(Again::SessionUnknown);
    }
    let Some(index) = note.chunk_index else { return Fate::Unforeseen };
    // The page may have been reloaded: then two gaps hold the index, and two messages may.
    let holding = |(i, gap): &(usize, &Gap)| gap.chunks.holds(index) && !taken[*i].contains(&index);
    if let Some((i, gap)) = checkpoint.gaps.iter().enumerate().find(holding) {
        if !facts.placeable.contains(&(gap.chunks.numbering, gap.chunks.from)) {
            return Fate::Again(Again::Expired);
        }
        taken[i].insert(index);
        return Fate::Gap;
    }
    if checkpoint.gaps.iter().any(|gap| gap.chunks.holds(index)) {
        return Fate::Written(index); // a second message of one chunk
    }
    if note.reason == "NO_PLACE" {
        return Fate::Again(Again::Placeless);
    }
    if index >= checkpoint.live.next {
        let ended = matches!(facts.status, SessionStatus::Ended { .. }) && note.reason == "SESSION_ENDED";
        return if ended { Fate::Again(Again::SessionEnded) } else { Fate::Append(index) };
    }
    match checkpoint.given_up.iter().any(|range| range.holds(index)) {
        true => Fate::Again(Again::GivenUp),
        false => Fate::Written(index),
    }
}

fn gap_plan(gap: &Gap, returning: &BTreeSet<u64>, staying: &[Entry]) -> GapPlan {
    let (from, to) = (gap.chunks.from, gap.chunks.to);
    let parked = staying.iter().filter_map(|entry| entry.note.chunk_index);
    let staying: BTreeSet<u64> =
        parked.filter(|index| gap.chunks.holds(*index) && !returning.contains(index)).collect();
    let known: BTreeSet<u64> = returning.union(&staying).copied().collect();
    GapPlan {
        numbering: gap.chunks.numbering,
        chunk_first: from,
        chunk_last: to.saturating_sub(1),
        begins_at: gap.begins_at.0,
        ends_at: gap.ends_at.map(|at| at.0),
        returning: runs(returning.iter().copied()),
        staying: runs(staying),
        nowhere: holes(from, to, &known),
    }
}

fn older_than_retention(gaps: &[GapPlan], hours: Option<u64>, now: EpochMs) -> Option<u64> {
    let kept_from = now.0.saturating_sub(hours?.saturating_mul(3_600_000));
    gaps.iter().map(|gap| gap.begins_at).filter(|at| *at < kept_from).min()
}

pub(crate) fn status_name(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Active => "active",
        SessionStatus::Ended { .. } => "ended",
        SessionStatus::Unknown => "unknown",
    }
}

impl Plan {
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

impl Show for Plan {
    fn text(&self, pen: Pen) -> String {
        let mut lines = Vec::new();
        for session in &self.sessions {
            session.write(&mut lines, pen);
        }
        lines.extend(self.unnoted.line(pen));
        let moved = count(self.messages(), "message");
        let gaps = count(self.closing(), "gap");
        let mut total = format!("plan: move {moved}{}, close {gaps}", self.unnoted.in_total());
        if self.parked_again() > 0 {
            total.push_str(&format!("; {} will be parked again", self.parked_again()));
        }
        lines.push(total);
        lines.join("\n")
    }
}

impl Unnoted {
    /// How many a walk has to look for at most.
    pub fn wanted(&self) -> usize {
        if self.meant { self.messages } else { 0 }
    }

    fn line(&self, pen: Pen) -> Option<String> {
        let many = count(self.messages, "message");
        let fate = match (self.meant, &self.only_of) {
            (false, _) => "left where they are, since they have no reason".to_owned(),
            (true, None) => "moved too; what becomes of them is not foreseen".to_owned(),
            (true, Some(session)) => format!("those of {session} are moved too"),
        };
        let text = format!("{many} in the queue without a note, of whatever session: {fate}");
        (self.messages > 0).then(|| pen.tone(Tone::Warn, &text))
    }

    /// As it stands after the number of messages that are noted.
    fn in_total(&self) -> String {
        match (self.wanted(), &self.only_of) {
            (0, _) => String::new(),
            (n, None) => format!(" and about {n} without a note"),
            (n, Some(session)) => format!(" and those of {session} among about {n} without a note"),
        }
    }
}

impl SessionPlan {
    fn write(&self, lines: &mut Vec<String>, pen: Pen) {
        lines.push(format!("{} ({}): {}", self.session_id, self.status, count(self.messages, "message")));
        for gap in &self.gaps {
            lines.push(gap.line(pen));
        }
        if let Some(at) = self.older_than_retention {
            let text = format!(
                "  the gap at {} is older than the stream's retention: what is written there may expire at once",
                moment(EpochMs(at))
            );
            lines.push(pen.tone(Tone::Warn, &text));
        }
        if !self.appended.is_empty() {
            lines.push(format!("  chunks {}: join the session's live audio", ranges(&self.appended)));
        }
        if !self.written.is_empty() {
            let text = format!(
                "  chunks {}: in no gap, so written already; the writer drops them",
                ranges(&self.written)
            );
            lines.push(pen.tone(Tone::Faint, &text));
        }
        if self.unforeseen > 0 {
            lines.push(format!("  {} without a chunk index", count(self.unforeseen, "message")));
        }
        for again in &self.parked_again {
            let chunks = match again.chunks.is_empty() {
                true => count(again.messages, "message"),
                false => format!("chunks {}", ranges(&again.chunks)),
            };
            let text = format!("  {chunks} ({}): will be parked again: {}", again.reason, again.why.why());
            lines.push(pen.tone(Tone::Warn, &text));
        }
    }
}

impl GapPlan {
    fn line(&self, pen: Pen) -> String {
        let gap = ranges(&[(self.chunk_first, self.chunk_last)]);
        let long = self
            .ends_at
            .map_or(String::new(), |end| format!(" ({})", length(end.saturating_sub(self.begins_at))));
        let place = format!("  gap {gap} at {}{long}", moment(EpochMs(self.begins_at)));
        if self.closes() {
            return format!("{place}: {}", pen.tone(Tone::Good, "will be filled"));
        }
        let mut left = Vec::new();
        if !self.staying.is_empty() {
            left.push(format!("{} stay parked", ranges(&self.staying)));
        }
        if !self.nowhere.is_empty() {
            left.push(format!("{} are in no note", ranges(&self.nowhere)));
        }
        let shrinks = format!("{} come back, {}", ranges(&self.returning), left.join(", "));
        format!("{place}: {}", pen.tone(Tone::Warn, &shrinks))
    }
}

#[cfg(test)]
pub(crate) mod tests;
