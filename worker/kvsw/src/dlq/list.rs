//! `kvsw dlq list`: what is parked, per session. The writer's notes tell; the queue's own count shows what they miss.

use std::collections::{BTreeMap, BTreeSet};

use aws::parked_index::Entry;
use aws::queue::Depth;
use media::time::EpochMs;
use reader::ranges::Ranges;
use reader::text::{count, length};
use serde::Serialize;

use super::message::MOVED_BY_QUEUE;
use super::queue::right_queue;
use super::select::{Selection, known_reason, nothing};
use super::walk::{Acted, walk};
use crate::args::{self, Filter};
use crate::error::{Exit, Result};
use crate::output::{Output, Pen, Show, Tone, table};
use crate::stop::Stop;
use crate::world::World;

/// Receives that look for messages without a note; each shows the head of at least one group.
const LOOKS: usize = 100;

/// A session's parked messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionParked {
    /// The message group.
    pub session_id: String,
    /// How many.
    pub messages: usize,
    /// How many for each reason.
    pub reasons: BTreeMap<String, usize>,
    /// Their chunk indices, in runs of first and last.
    pub chunks: Ranges,
    /// Messages whose index is not known.
    pub without_index: usize,
    /// First failure, epoch ms.
    pub first_failure_at: u64,
    /// Age of the oldest, ms.
    pub oldest_ms: u64,
}

/// What is parked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DlqList {
    /// By session.
    pub sessions: Vec<SessionParked>,
    /// Messages that the writer noted, of all sessions.
    pub noted: usize,
    /// Messages that the queue counts.
    pub in_queue: Depth,
    /// Messages without a note that a receive showed, by session; there may be more behind them.
    pub not_noted: BTreeMap<String, usize>,
    /// What was asked for, where nothing of it is parked.
    #[serde(skip)]
    pub asked: String,
    /// Whether all messages without a note were received, so that none is of an unknown session.
    pub all_seen: bool,
}

impl DlqList {
    /// Messages in the queue that no note speaks of, by the queue's approximate count.
    pub fn unknown(&self) -> usize {
        self.in_queue.total().saturating_sub(self.noted)
    }

    /// Notes whose messages are gone, by the queue's approximate count.
    pub fn stale(&self) -> usize {
        self.noted.saturating_sub(self.in_queue.total())
    }
}

/// Groups notes by session.
pub fn by_session(notes: &[Entry], now: EpochMs) -> Vec<SessionParked> {
    let mut sessions: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    notes.iter().for_each(|entry| sessions.entry(&entry.session_id).or_default().push(entry));
    let session = |(session_id, entries): (&str, Vec<&Entry>)| {
        let mut reasons = BTreeMap::new();
        entries.iter().for_each(|entry| *reasons.entry(entry.note.reason.clone()).or_default() += 1);
        let oldest = entries.iter().map(|entry| entry.note.parked_at.0).min().unwrap_or(now.0);
        SessionParked {
            session_id: session_id.to_owned(),
            messages: entries.len(),
            reasons,
            chunks: entries.iter().filter_map(|entry| entry.note.chunk_index).collect(),
            without_index: entries.iter().filter(|entry| entry.note.chunk_index.is_none()).count(),
            first_failure_at: entries.iter().map(|e| e.note.first_failure_at.0).min().unwrap_or(0),
            oldest_ms: now.0.saturating_sub(oldest),
        }
    };
    sessions.into_iter().map(session).collect()
}

/// Lists; with `look`, receives where the queue has more than was noted. A receive hides messages for a moment and so would be in
/// the way of a redrive: nobody looks unasked.
///
/// # Errors
/// Those of the state table and of the DLQ; wrong use, where it would look into another queue.
pub async fn list(world: &World, filter: &Filter, look: bool) -> Result<DlqList> {
    if look {
        right_queue(world).await?;
    }
    let (notes, in_queue) = futures::try_join!(world.notes(None), world.dlq_depth())?;
    known_reason(filter, &notes)?;
    let (noted, now) = (notes.len(), world.now());
    let chosen: Vec<Entry> = filter.choose(&notes, now).into_iter().cloned().collect();
    let (not_noted, seen) = match look && in_queue.total() > noted {
        true => not_noted(world, &notes, filter).await?,
        false => (BTreeMap::new(), 0),
    };
    let all_seen = noted + seen >= in_queue.total();
    let asked = nothing(filter);
    Ok(DlqList { sessions: by_session(&chosen, now), noted, in_queue, not_noted, asked, all_seen })
}

/// What a receive shows of messages without a note: those that are meant, by session, and how many there are of all.
async fn not_noted(
    world: &World,
    notes: &[Entry],
    filter: &Filter,
) -> Result<(BTreeMap<String, usize>, usize)> {
    let known: BTreeSet<&str> = notes.iter().map(|entry| entry.note.message_id.as_str()).collect();
    let (mut found, mut seen, mut looks) = (BTreeMap::new(), 0, 0);
    walk(world, Selection::everything(), &Stop::default(), async |_, messages| {
        for message in messages.iter().filter(|message| !known.contains(message.original_id())) {
            seen += 1;
            if filter.means_unnoted(message, world.now()) {
                *found.entry(message.group_id.clone()).or_default() += 1;
            }
        }
        looks += 1;
        Ok(Acted { ends: looks >= LOOKS, ..Acted::default() })
    })
    .await?;
    Ok((found, seen))
}

impl Show for DlqList {
    fn text(&self, pen: Pen) -> String {
        let rows = self.sessions.iter().map(|session| {
            let reasons: Vec<String> =
                session.reasons.iter().map(|(reason, n)| format!("{reason} × {n}")).collect();
            let mut chunks = session.chunks.to_string();
            if session.without_index > 0 {
                let unknown = format!("{} without index", session.without_index);
                chunks = if chunks.is_empty() { unknown } else { format!("{chunks}, {unknown}") };
            }
            let messages = session.messages.to_string();
            [session.session_id.clone(), messages, chunks, reasons.join(", "), length(session.oldest_ms)]
        });
        let mut lines = Vec::new();
        if !self.sessions.is_empty() {
            lines.push(table(["SESSION", "MESSAGES", "CHUNKS", "REASONS", "OLDEST"], rows));
            lines.push(String::new());
        }
        let shown: usize = self.sessions.iter().map(|session| session.messages).sum();
        let (messages, sessions) = (count(shown, "message"), count(self.sessions.len(), "session"));
        lines.push(match (self.sessions.len(), self.is_certain()) {
            (0, true) => pen.tone(Tone::Good, &self.asked),
            (0, false) => format!("{}, as far as the writer noted", self.asked),
            _ => format!("{messages} of {sessions}; the DLQ holds about {}", self.in_queue.total()),
        });
        lines.extend(self.doubts(pen));
        lines.join("\n")
    }
}

impl DlqList {
    /// Whether no message without a note can be one that was asked for.
    fn is_certain(&self) -> bool {
        self.all_seen && self.not_noted.is_empty()
    }

    fn doubts(&self, pen: Pen) -> Vec<String> {
        let mut lines = Vec::new();
        if self.unknown() > 0 {
            let many = count(self.unknown(), "message");
            let text = format!(
                "{many} in the DLQ without a note, of any session ({MOVED_BY_QUEUE}: SQS moved them itself)"
            );
            lines.push(pen.tone(Tone::Warn, &text));
            let more = if self.all_seen { "" } else { " or more" };
            let shown = |(session, n): (&String, &usize)| format!("  {session}: {n}{more}");
            lines.extend(self.not_noted.iter().map(shown));
            if self.not_noted.is_empty() && !self.all_seen {
                lines.push(pen.tone(Tone::Faint, "  --look receives once to see whose they are"));
            }
        }
        if self.stale() > 0 {
            let many = count(self.stale(), "note");
            let text = format!(
                "{many} of messages that are no longer in the DLQ: moved by other means, or the count lags"
            );
            lines.push(pen.tone(Tone::Faint, &text));
        }
        lines
    }
}

/// The command.
///
/// # Errors
/// Those of [`list`].
pub async fn run(world: &World, output: &Output, args: &args::DlqList) -> Result<Exit> {
    let listed = list(world, &args.filter, args.look).await?;
    output.show(&listed)?;
    let found = !listed.sessions.is_empty() || !listed.is_certain();
    Ok(if found { Exit::Finding } else { Exit::Fine })
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::note;
    use super::*;

    fn listed(notes: &[Entry], visible: usize) -> DlqList {
        let sessions = by_session(notes, EpochMs(1_000_000));
        let in_queue = Depth { visible, ..Depth::default() };
        let (noted, not_noted, asked) = (notes.len(), BTreeMap::new(), "nothing is parked".into());
        DlqList { sessions, noted, in_queue, not_noted, asked, all_seen: noted >= visible }
    }

    #[test]
    fn sessions_show_how_many_since_when_and_why() {
        let notes = [
            note("owl", Some(4), "ack-5001"),
            note("owl", Some(5), "ack-5001"),
            note("owl", None, "NOT_JSON"),
            note("fox", Some(0), "CRASHED"),
        ];
        let text = listed(&notes, 4).text(Pen::PLAIN);
        let owl = text.lines().find(|line| line.contains("owl")).unwrap();
        for part in ["3", "4-5, 1 without index", "NOT_JSON × 1, ack-5001 × 2", "16 min 38 s"] {
            assert!(owl.contains(part), "{part} in {owl}");
        }
        assert!(text.contains("4 messages of 2 sessions; the DLQ holds about 4"), "{text}");
    }

    #[test]
    fn a_difference_between_notes_and_queue_is_told_in_both_directions() {
        let notes = [note("owl", Some(4), "ack-5001")];
        assert!(listed(&notes, 3).text(Pen::PLAIN).contains("2 messages in the DLQ without a note"));
        assert!(listed(&notes, 0).text(Pen::PLAIN).contains("1 note of messages that are no longer"));
        assert_eq!(listed(&[], 0).text(Pen::PLAIN), "nothing is parked");
        let text = listed(&[], 2).text(Pen::PLAIN);
        assert!(
            text.starts_with("nothing is parked, as far as the writer noted\n2 messages in the DLQ"),
            "{text}"
        );
    }

    #[test]
    fn nothing_of_a_session_is_said_only_where_it_is_known() {
        let mut nobody = DlqList { asked: "nothing of session nobody is parked".into(), ..listed(&[], 3) };
        nobody.noted = 3;
        nobody.all_seen = true;
        assert_eq!(nobody.text(Pen::PLAIN), "nothing of session nobody is parked");
        (nobody.noted, nobody.all_seen) = (1, false);
        assert!(
            nobody
                .text(Pen::PLAIN)
                .starts_with("nothing of session nobody is parked, as far as the writer noted\n2 messages")
        );
    }
}
