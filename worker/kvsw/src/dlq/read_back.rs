//! After a redrive: has each gap closed, and is its audio in the stream?

use std::time::Duration;

use ingest::message::SessionId;
use media::time::EpochMs;
use serde::Serialize;
use tokio::time::Instant;

use super::plan::{GapPlan, Plan, SessionPlan};
use crate::error::Result;
use crate::output::{Output, Pen, Show, Tone};
use crate::readback::StreamReader;
use crate::text::{count, length, ranges, runs};
use crate::world::World;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

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
    pub open: Vec<(u64, u64)>,
    /// Fragments that the stream lists in its time.
    pub fragments: usize,
    /// Their length together, ms.
    pub listed_ms: u64,
}

/// What the stream says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadBack {
    /// Each gap that the plan meant to fill.
    pub gaps: Vec<GapVerdict>,
    /// Messages of these sessions that were parked again meanwhile.
    pub parked_again: usize,
    /// How long it took.
    pub waited_ms: u64,
}

impl ReadBack {
    /// Whether every gap is closed and has audio in the stream.
    pub fn all_closed(&self) -> bool {
        self.parked_again == 0 && self.gaps.iter().all(|gap| gap.closed && gap.fragments > 0)
    }
}

/// Looks until every gap is closed, or `within` has passed.
pub(super) async fn read_back(
    world: &World,
    output: &Output,
    plan: &Plan,
    since: EpochMs,
    within: Duration,
) -> Result<ReadBack> {
    let began = Instant::now();
    let wanted: usize = plan.sessions.iter().map(|session| session.gaps.len()).sum();
    let bar = output.progress(wanted as u64, "reading back");
    let sessions: Vec<Session> =
        plan.sessions.iter().filter_map(|planned| Session::new(world, planned)).collect();
    loop {
        let mut found = look(world, &sessions, since).await?;
        found.waited_ms = began.elapsed().as_millis() as u64;
        let closed = found.gaps.iter().filter(|gap| gap.closed && gap.fragments > 0).count();
        bar.set_position(closed as u64);
        if found.all_closed() || began.elapsed() >= within {
            bar.finish_and_clear();
            return Ok(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A session of the plan, and its stream.
struct Session<'a> {
    id: SessionId,
    planned: &'a SessionPlan,
    reader: StreamReader<'a>,
}

impl<'a> Session<'a> {
    /// `None` for a message group that is no session's name: nothing of it can be in a stream.
    fn new(world: &'a World, planned: &'a SessionPlan) -> Option<Self> {
        let id = SessionId::parse(&planned.session_id).ok()?;
        let reader = StreamReader::new(world, &id.stream_name());
        Some(Self { id, planned, reader })
    }
}

async fn look(world: &World, sessions: &[Session<'_>], since: EpochMs) -> Result<ReadBack> {
    let mut found = ReadBack::default();
    for Session { id, planned, reader } in sessions {
        let notes = world.notes(Some(id.as_str())).await?;
        found.parked_again += notes.iter().filter(|entry| entry.note.parked_at >= since).count();
        if planned.gaps.is_empty() {
            continue;
        }
        let open = world.checkpoint(id).await?.map(|checkpoint| checkpoint.gaps).unwrap_or_default();
        for gap in &planned.gaps {
            let missing = gap.returning.iter().flat_map(|&(first, last)| {
                let same = open.iter().filter(|open| open.chunks.numbering == gap.numbering);
                same.flat_map(move |open| open.chunks.from.max(first)..open.chunks.to.min(last + 1))
            });
            let missing = runs(missing);
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
                listed_ms: listed.iter().map(|fragment| fragment.length_ms).sum(),
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

impl Show for ReadBack {
    fn text(&self, pen: Pen) -> String {
        let mut lines = Vec::new();
        for gap in &self.gaps {
            let name = format!("{} gap {}", gap.session_id, ranges(&[(gap.chunk_first, gap.chunk_last)]));
            lines.push(match (gap.closed, gap.fragments) {
                (false, _) => {
                    pen.tone(Tone::Bad, &format!("{name}: still open, chunks {}", ranges(&gap.open)))
                }
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
        lines.push(match self.all_closed() {
            true if self.gaps.is_empty() => "no gap was to be filled".to_owned(),
            true => format!("read back after {}", length(self.waited_ms)),
            false => format!("not all is filled after {}; --wait gives it longer", length(self.waited_ms)),
        });
        lines.join("\n")
    }
}
