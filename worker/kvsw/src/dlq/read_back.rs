//! After a redrive: has each gap closed, is its audio in the stream, and what was parked again?

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws::parked_index::Entry;
use ingest::message::SessionId;
use media::time::EpochMs;
use reader::ranges::Ranges;
use reader::stream::{LAST_BLOCK_MS, Listed, StreamReader};
use reader::text::{count, length};
use serde::Serialize;
use tokio::time::Instant;

use super::plan::{GapPlan, Plan, SessionPlan};
use crate::error::Result;
use crate::output::{Output, Pen, Show, Tone};
use crate::stop::Stop;
use crate::world::World;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// The notes of more groups than this are asked for all at once.
const FEW_GROUPS: usize = 16;

/// What the queue took, by message group: under these ids the writer would park it again.
pub type Sent = BTreeMap<String, BTreeSet<String>>;

/// One gap's verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GapVerdict {
    /// Whose.
    pub session_id: String,
    /// Its numbering.
    pub numbering: u32,
    /// Its first chunk.
    pub chunk_first: u64,
    /// Its last chunk.
    pub chunk_last: u64,
    /// Whether the checkpoint has it no longer (of a gap that was to shrink: whether what came back is no longer in it).
    pub closed: bool,
    /// Chunks of it that should have been written and are still missing.
    pub open: Ranges,
    /// Fragments that the stream lists in its time.
    pub fragments: usize,
    /// Their length together, ms, each to the end of its last block.
    pub listed_ms: u64,
}

/// What the stream says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadBack {
    /// Each gap that the plan meant to fill.
    pub gaps: Vec<GapVerdict>,
    /// Messages that were parked again.
    pub parked_again: usize,
    /// Messages of which the plan says that they will be parked again, and that were not seen yet.
    pub awaited: usize,
    /// How long it took.
    pub waited_ms: u64,
}

impl ReadBack {
    /// Whether every gap is closed and has audio in the stream, and nothing was parked again.
    pub fn all_closed(&self) -> bool {
        self.parked_again == 0 && self.is_settled()
    }

    /// Whether what the plan foresaw has happened.
    fn is_settled(&self) -> bool {
        self.awaited == 0 && self.gaps.iter().all(GapVerdict::is_filled)
    }
}

impl GapVerdict {
    fn is_filled(&self) -> bool {
        self.closed && self.fragments > 0
    }
}

/// What a redrive did, as far as its read-back needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Redrive<'a> {
    /// What was meant.
    pub plan: &'a Plan,
    /// What was sent.
    pub sent: &'a Sent,
}

/// Looks until everything has happened that the plan foresaw, `within` has passed, or somebody asks to stop.
pub(super) async fn read_back(
    world: &World,
    output: &Output,
    redrive: Redrive<'_>,
    within: Duration,
    stop: &Stop,
) -> Result<ReadBack> {
    let plan = redrive.plan;
    let began = Instant::now();
    let wanted: usize = plan.sessions.iter().map(|session| session.gaps.len()).sum();
    let bar = output.progress(wanted as u64, "reading back");
    let sessions: Vec<Session> =
        plan.sessions.iter().filter_map(|planned| Session::new(world, planned)).collect();
    loop {
        let mut found = look(world, &sessions).await?;
        (found.parked_again, found.awaited) = redrive.parked_again(&redrive.notes(world).await?);
        found.waited_ms = began.elapsed().as_millis() as u64;
        bar.set_position(found.gaps.iter().filter(|gap| gap.is_filled()).count() as u64);
        if found.is_settled() || began.elapsed() >= within || stop.asked() {
            bar.finish_and_clear();
            return Ok(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Redrive<'_> {
    /// The notes of the groups that were moved.
    async fn notes(&self, world: &World) -> Result<Vec<Entry>> {
        let of_plan = self.plan.sessions.iter().map(|session| &session.session_id);
        let groups: BTreeSet<&String> = of_plan.chain(self.sent.keys()).collect();
        if groups.len() > FEW_GROUPS {
            return world.notes(None).await;
        }
        let mut notes = Vec::new();
        for group in groups {
            notes.append(&mut world.notes(Some(group)).await?);
        }
        Ok(notes)
    }

    /// How many messages were parked again, and of how many more the plan says that they will be.
    fn parked_again(&self, notes: &[Entry]) -> (usize, usize) {
        let mut again: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in notes.iter().filter(|entry| self.came_back(entry)) {
            *again.entry(&entry.session_id).or_default() += 1;
        }
        let awaited = self.plan.sessions.iter().map(|session| {
            let group = &session.session_id[..];
            let foreseen: usize = session.parked_again.iter().map(|again| again.messages).sum();
            // Not all of the plan may have been reached.
            let sent = self.sent.get(group).map_or(0, BTreeSet::len);
            foreseen.min(sent).saturating_sub(again.get(group).copied().unwrap_or_default())
        });
        (again.values().sum(), awaited.sum())
    }

    fn came_back(&self, Entry { session_id, note }: &Entry) -> bool {
        self.sent.get(session_id).is_some_and(|ids| ids.contains(&note.message_id))
    }
}

/// A session of the plan, and its stream.
struct Session<'a> {
    id: SessionId,
    planned: &'a SessionPlan,
    reader: StreamReader,
}

impl<'a> Session<'a> {
    /// `None` for a message group that is no session's name: nothing of it can be in a stream.
    fn new(world: &World, planned: &'a SessionPlan) -> Option<Self> {
        let id = SessionId::parse(&planned.session_id).ok()?;
        Some(Self { reader: world.stream(&id), id, planned })
    }
}

async fn look(world: &World, sessions: &[Session<'_>]) -> Result<ReadBack> {
    let mut found = ReadBack::default();
    for Session { id, planned, reader } in sessions {
        if planned.gaps.is_empty() {
            continue;
        }
        let open = world.checkpoint(id).await?.map(|checkpoint| checkpoint.gaps).unwrap_or_default();
        for gap in &planned.gaps {
            let mut open_chunks = Ranges::default();
            for open in open.iter().filter(|open| open.chunks.numbering == gap.numbering) {
                open_chunks.add(open.chunks.from, open.chunks.to);
            }
            let missing = gap.returning.and(&open_chunks);
            let closed = missing.is_empty();
            let listed = match closed {
                true => reader.list(Some(time_of(gap, world.now()))).await?,
                false => Vec::new(),
            };
            found.gaps.push(GapVerdict {
                session_id: planned.session_id.clone(),
                numbering: gap.numbering,
                chunk_first: gap.chunk_first,
                chunk_last: gap.chunk_last,
                closed,
                open: missing,
                fragments: listed.len(),
                listed_ms: audio_ms(&listed, gap.ends_at),
            });
        }
    }
    Ok(found)
}

/// From a gap's beginning to just before the audio after it.
fn time_of(gap: &GapPlan, now: EpochMs) -> (EpochMs, EpochMs) {
    let end = gap.ends_at.map_or(now.0, |end| end.saturating_sub(1));
    (EpochMs(gap.begins_at), EpochMs(end.max(gap.begins_at)))
}

/// The length of fragments: each reaches to what comes next, where that is no more than a block away.
fn audio_ms(listed: &[Listed], gap_ends_at: Option<u64>) -> u64 {
    let next = |i: usize| listed.get(i + 1).map(|next| next.at.0).or(gap_ends_at);
    let length = |(i, fragment): (usize, &Listed)| {
        let end = fragment.end().0;
        let reaches = next(i).filter(|next| (end..=end + LAST_BLOCK_MS).contains(next));
        reaches.unwrap_or(end).saturating_sub(fragment.at.0)
    };
    listed.iter().enumerate().map(length).sum()
}

impl Show for ReadBack {
    fn text(&self, pen: Pen) -> String {
        let mut lines = Vec::new();
        for gap in &self.gaps {
            let name =
                format!("{} gap {}", gap.session_id, Ranges::inclusive(gap.chunk_first, gap.chunk_last));
            lines.push(match (gap.closed, gap.fragments) {
                (false, _) => pen.tone(Tone::Bad, &format!("{name}: still open, chunks {}", gap.open)),
                (true, 0) => {
                    pen.tone(Tone::Bad, &format!("{name}: closed, but the stream lists no audio there"))
                }
                (true, fragments) => {
                    let audio = length(gap.listed_ms);
                    let text = format!("{name}: closed, {} of {audio}", count(fragments, "fragment"));
                    pen.tone(Tone::Good, &text)
                }
            });
        }
        if self.parked_again > 0 {
            let text =
                format!("{} parked again; `kvsw dlq list` says why", count(self.parked_again, "message"));
            lines.push(pen.tone(Tone::Warn, &text));
        }
        if self.awaited > 0 {
            let many = count(self.awaited, "message");
            let text = format!("{many} that the plan says will be parked again: not seen in the DLQ yet");
            lines.push(pen.tone(Tone::Warn, &text));
        }
        let waited = length(self.waited_ms);
        lines.push(match (self.gaps.iter().all(GapVerdict::is_filled), self.awaited) {
            (true, 0) if self.gaps.is_empty() => "no gap was to be filled".to_owned(),
            (true, 0) => format!("read back after {waited}"),
            (true, _) => format!("not all is known after {waited}; --wait gives it longer"),
            (false, _) => format!("not all is filled after {waited}; --wait gives it longer"),
        });
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{facts, note, owls};
    use super::super::plan::{Unnoted, plan};
    use super::*;

    fn sent(ids: &[&str]) -> Sent {
        [("owl".to_owned(), ids.iter().map(|id| (*id).to_owned()).collect())].into()
    }

    fn parked(id: &str, at: u64) -> Entry {
        let mut entry = note("owl", Some(4), "NOT_JSON");
        (entry.note.message_id, entry.note.parked_at) = (id.into(), EpochMs(at));
        entry
    }

    #[test]
    fn what_is_foreseen_to_be_parked_again_is_waited_for() {
        let plan = plan(&[facts(100, vec![], owls(4..6, "NOT_JSON"))], EpochMs(20_000), Unnoted::default());
        let first = sent(&["a"]);
        let redrive = |sent| Redrive { plan: &plan, sent };
        let both = sent(&["a", "b"]);
        assert_eq!(redrive(&both).parked_again(&[]), (0, 2));
        // Another message of the session that is parked meanwhile is none of the redrive's.
        assert_eq!(redrive(&both).parked_again(&[parked("a", 4_000), parked("x", 6_000)]), (1, 1));
        assert_eq!(redrive(&both).parked_again(&[parked("a", 6_000), parked("b", 6_000)]), (2, 0));
        assert_eq!(redrive(&first).parked_again(&[]), (0, 1), "only one was reached");
    }

    #[test]
    fn a_read_back_says_what_is_not_known_yet() {
        let told = |found: ReadBack| (found.all_closed(), found.text(Pen::PLAIN));
        assert_eq!(told(ReadBack::default()), (true, "no gap was to be filled".into()));
        let (closed, text) = told(ReadBack { awaited: 1, waited_ms: 60_000, ..ReadBack::default() });
        assert!(!closed && text.contains("1 message that the plan says will be parked again"), "{text}");
        assert!(text.ends_with("not all is known after 1 min; --wait gives it longer"), "{text}");
        let (closed, text) = told(ReadBack { parked_again: 1, ..ReadBack::default() });
        assert!(!closed && text.contains("1 message parked again; `kvsw dlq list` says why"), "{text}");
    }

    #[test]
    fn audio_is_as_long_as_the_gap_that_it_fills() {
        let listed = |at: u64, length_ms| Listed {
            number: at.to_string(),
            at: EpochMs(at),
            server_at: EpochMs(0),
            length_ms,
            bytes: 0,
        };
        let one = [listed(10_000, 2_900)];
        assert_eq!(audio_ms(&one, Some(13_000)), 3_000, "the last block is listed without its length");
        assert_eq!(audio_ms(&one, Some(14_000)), 2_900, "what is missing stays missing");
        assert_eq!(audio_ms(&one, None), 2_900);
        assert_eq!(audio_ms(&[listed(10_000, 1_900), listed(12_000, 900)], Some(13_000)), 3_000);
    }
}
