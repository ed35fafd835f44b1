//! How far a session's audio has come, as the writer's checkpoint shows it. Nothing else in this crate knows that layout.

use ingest::checkpoint::{Checkpoint, Unreadable};
use ingest::gap::{ChunkRange, Gap, State};
use media::time::EpochMs;
use serde::Serialize;
use writer::ports::SessionStatus;

/// Answer to `{"action":"status"}`. As JSON it is what the page receives:
/// `{"type":"status","session":"active","now":…,"written":{…},"pages":[…],"gaps":[…],…}`. Times are epoch ms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "status", rename_all = "camelCase")]
pub struct Status {
    /// `active`, `ended` or `unknown`, by the Sessions table.
    pub session: &'static str,
    /// This function's clock.
    pub now: u64,
    /// In the stream, since the session began.
    pub written: Written,
    /// Chunks moved to the DLQ, each time counted.
    pub parked_chunks: u64,
    /// Runs of chunkIndex, oldest first: one for each time that a page began again at 0. At most 17.
    pub pages: Vec<Page>,
    /// Chunks that the session has passed and that are not in the stream, oldest first. At most 48.
    pub gaps: Vec<Missing>,
    /// How long before `now` the last chunk passed was captured; absent before the first one. Grows while no chunks come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<u64>,
    /// Since when every attempt to write has failed; absent in good times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<u64>,
    /// Every chunk that the session has passed is in the stream, and no write is under way.
    pub complete: bool,
}

/// Counts of what is in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Fragments.
    pub fragments: u64,
    /// Chunks in them.
    pub chunks: u64,
    /// Audio in them.
    pub ms: u64,
}

/// A run of chunkIndex. A page knows its own by the time at which it captured its first chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// Its number in the session, from 0.
    pub page: u32,
    /// Capture time of its first chunk.
    pub first_captured_at: u64,
    /// The latest capture time that was passed.
    pub last_captured_at: u64,
    /// The session has passed every chunk before this one: it is in the stream, or in `gaps`.
    pub next_chunk_index: u64,
}

/// Chunks that are not in the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// The page they belong to.
    pub page: u32,
    /// First chunkIndex.
    pub chunk_first: u64,
    /// Last chunkIndex.
    pub chunk_last: u64,
    /// How long the hole is, once that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// What became of them.
    pub reason: MissingReason,
    /// Why they, or some of them, were parked last: a code of SPECIFICATION.md's two tables of failures, such as `UNDECODABLE_AUDIO` or
    /// `ack-4006`. Absent where they were not, or where an older writer parked them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,
}

/// Why chunks are not in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MissingReason {
    /// They, or some of them, are in the DLQ; an operator can bring them back.
    Parked,
    /// They did not arrive in time. If they arrive, they are written at their true time.
    Missing,
    /// So many gaps opened after this one that its place is no longer known.
    GivenUp,
}

impl Status {
    /// From the checkpoint as stored, if there is one yet.
    ///
    /// # Errors
    /// [`Unreadable`], when a newer version wrote it or it is damaged.
    pub fn read(stored: Option<&[u8]>, session: SessionStatus, now: EpochMs) -> Result<Self, Unreadable> {
        let checkpoint = stored.map(Checkpoint::decode).transpose()?.unwrap_or_default();
        let gaps = missing(&checkpoint);
        let pages = pages(&checkpoint);
        Ok(Self {
            session: match session {
                SessionStatus::Active => "active",
                SessionStatus::Ended { .. } => "ended",
                SessionStatus::Unknown => "unknown",
            },
            now: now.0,
            written: Written {
                fragments: checkpoint.totals.fragments,
                chunks: checkpoint.totals.chunks,
                ms: checkpoint.totals.samples.ms_ceil(),
            },
            parked_chunks: checkpoint.totals.parked,
            lag_ms: pages.last().map(|page| now.0.saturating_sub(page.last_captured_at)),
            failing_since: checkpoint.failing_since.map(|at| at.0),
            complete: gaps.is_empty() && checkpoint.lease.is_none(),
            pages,
            gaps,
        })
    }
}

/// The pages before, and the current one if it has passed anything.
fn pages(checkpoint: &Checkpoint) -> Vec<Page> {
    let past = checkpoint.past.iter().map(|past| Page {
        page: past.numbering,
        first_captured_at: past.captured.0.0,
        last_captured_at: past.captured.1.0,
        next_chunk_index: past.next,
    });
    let live = &checkpoint.live;
    let live = (live.next > 0).then_some(Page {
        page: live.numbering,
        first_captured_at: live.numbering_began.0,
        last_captured_at: live.last_captured.0,
        next_chunk_index: live.next,
    });
    past.chain(live).collect()
}

fn missing(checkpoint: &Checkpoint) -> Vec<Missing> {
    let given_up = checkpoint.given_up.iter().map(|range| of_range(range, MissingReason::GivenUp));
    let open = checkpoint.gaps.iter().map(|gap| {
        // Chunks behind the gap that cannot be decoded without it are kept with it.
        Missing {
            ms: gap.ends_at.map(|end| end.ms_since(gap.begins_at)),
            cause: gap.cause.clone(),
            ..of_range(&gap.with_withheld(), reason(gap))
        }
    });
    given_up.chain(open).collect()
}

fn reason(gap: &Gap) -> MissingReason {
    match gap.state() == State::Open && gap.cause.is_empty() {
        true => MissingReason::Missing,
        false => MissingReason::Parked,
    }
}

fn of_range(range: &ChunkRange, reason: MissingReason) -> Missing {
    Missing {
        page: range.numbering,
        chunk_first: range.from,
        chunk_last: range.to.saturating_sub(1),
        ms: None,
        reason,
        cause: String::new(),
    }
}

#[cfg(test)]
mod tests;
