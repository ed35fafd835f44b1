//! After a redrive: is each message that was sent written or parked again, has each gap closed, and is its audio in the stream?
//!
//! Whether a chunk is written is asked of the writer's own sorting, against the session's present state: it would drop the
//! chunk as a duplicate.

mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws::parked_index::Entry;
use aws::queue::Depth;
use ingest::checkpoint::Checkpoint;
use ingest::message::SessionId;
use media::time::EpochMs;
use reader::ranges::Ranges;
use reader::stream::{LAST_BLOCK_MS, LONGEST_FRAGMENT_MS, Listed, StreamReader};
use serde::Serialize;
use tokio::time::Instant;

use super::message::DlqMessage;
use super::plan::{Again, GapPlan, Known, Place, Plan, SessionPlan, places};
use crate::error::Result;
use crate::output::Output;
use crate::stop::Stop;
use crate::world::World;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Consecutive looks at an empty chunk queue after which all of it is taken to be handled: its count is approximate.
const EMPTY_LOOKS: u32 = 4;

/// The notes of more groups than this are asked for all at once.
const FEW_GROUPS: usize = 16;

/// What the queue took, by message group.
pub type Sent = BTreeMap<String, Vec<SentMessage>>;

/// A message that the queue took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// Its id in the queue: under it the writer would park it again.
    pub id: String,
    /// Which chunk it brings, where it tells.
    chunk: Option<Known>,
    /// It only ends the stream.
    is_end_marker: bool,
}

impl SentMessage {
    /// The DLQ's message, which has this id in the queue.
    pub fn of(id: String, message: &DlqMessage) -> Self {
        Self { id, chunk: message.chunk(), is_end_marker: message.is_end_marker() }
    }
}

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
    /// Their length together, ms, each to the end of its last block; no more than the gap's.
    pub listed_ms: u64,
}

/// The verdict on chunks that join a session's live audio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveVerdict {
    /// Whose.
    pub session_id: String,
    /// The chunks that the session has processed, by its checkpoint, and that were not parked again.
    pub written: Ranges,
    /// Fragments that the stream lists behind what was live audio before.
    pub fragments: usize,
}

/// What the stream says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadBack {
    /// Each gap that the plan meant to fill.
    pub gaps: Vec<GapVerdict>,
    /// Each session with chunks that were to join its live audio.
    pub live: Vec<LiveVerdict>,
    /// Messages whose chunks are written.
    pub written: usize,
    /// Messages that were parked again.
    pub parked_again: usize,
    /// Messages that are neither written nor parked again yet.
    pub awaited: usize,
    /// Those of them of which, without their audio, nobody can tell where they belong.
    #[serde(skip)]
    unplaced: usize,
    /// How long it took.
    pub waited_ms: u64,
}

impl ReadBack {
    /// Whether everything is written and in the stream, and nothing was parked again.
    pub fn all_closed(&self) -> bool {
        self.parked_again == 0 && self.is_settled()
    }

    /// Whether what became of each message is known.
    fn is_settled(&self) -> bool {
        self.awaited == 0
            && self.gaps.iter().all(GapVerdict::is_filled)
            && self.live.iter().all(LiveVerdict::is_listed)
    }
}

impl LiveVerdict {
    fn is_listed(&self) -> bool {
        self.written.is_empty() || self.fragments > 0
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

/// Looks until everything is settled, `within` has passed, or somebody asks to stop.
pub(super) async fn read_back(
    world: &World,
    output: &Output,
    redrive: Redrive<'_>,
    within: Duration,
    stop: &Stop,
) -> Result<ReadBack> {
    let began = Instant::now();
    let bar = output.progress(redrive.sent.values().map(Vec::len).sum::<usize>() as u64, "reading back");
    let sessions: Vec<Session> =
        redrive.sent.iter().map(|(group, sent)| Session::new(world, redrive.plan, group, sent)).collect();
    let mut empty = 0;
    loop {
        // The queue first: what it no longer holds was written, dropped or parked before this look.
        let queue = world.queue_attributes(&world.settings.queue_url).await?;
        empty = if Depth::of(&queue).total() == 0 { empty + 1 } else { 0 };
        let notes = redrive.notes(world).await?;
        let mut found = ReadBack::default();
        for session in &sessions {
            session.look(world, &notes, &mut found).await?;
        }
        if empty >= EMPTY_LOOKS {
            found.written += found.unplaced;
            found.awaited -= found.unplaced;
        }
        found.waited_ms = began.elapsed().as_millis() as u64;
        bar.set_position((found.written + found.parked_again) as u64);
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
        if self.sent.len() > FEW_GROUPS {
            return world.notes(None).await;
        }
        let mut notes = Vec::new();
        for group in self.sent.keys() {
            notes.append(&mut world.notes(Some(group)).await?);
        }
        Ok(notes)
    }
}

/// A session of which messages were sent, and its stream.
struct Session<'a> {
    /// `None` for a message group that is not the name of a session: nothing of it can be in a stream.
    id: Option<(SessionId, StreamReader)>,
    group: &'a str,
    /// `None` where all of its messages were without a note.
    planned: Option<&'a SessionPlan>,
    sent: &'a [SentMessage],
}

/// What became of a session's messages.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fates {
    written: usize,
    parked_again: usize,
    awaited: usize,
    /// Of those: see [`ReadBack`].
    unplaced: usize,
    /// Indices of the chunks that are written.
    chunks: Ranges,
}

impl<'a> Session<'a> {
    fn new(world: &World, plan: &'a Plan, group: &'a str, sent: &'a [SentMessage]) -> Self {
        let id = SessionId::parse(group).ok().map(|id| (id.clone(), world.stream(&id)));
        let planned = plan.sessions.iter().find(|session| session.session_id == group);
        Self { id, group, planned, sent }
    }

    async fn look(&self, world: &World, notes: &[Entry], found: &mut ReadBack) -> Result<()> {
        let checkpoint = match &self.id {
            Some((id, _)) => world.checkpoint(id).await?.unwrap_or_default(),
            None => Checkpoint::default(),
        };
        let fates = self.fates(&checkpoint, notes, world.now());
        found.written += fates.written;
        found.parked_again += fates.parked_again;
        found.awaited += fates.awaited;
        found.unplaced += fates.unplaced;
        let Some(((_, reader), planned)) = self.id.as_ref().zip(self.planned) else { return Ok(()) };
        for gap in &planned.gaps {
            found.gaps.push(self.gap(&checkpoint, (gap, reader), world.now()).await?);
        }
        if !planned.appended.is_empty() {
            let written = planned.appended.and(&fates.chunks);
            let time = self.live_time(planned, world.now());
            let fragments = if written.is_empty() { 0 } else { reader.list(Some(time)).await?.len() };
            let session_id = self.group.to_owned();
            found.live.push(LiveVerdict { session_id, written, fragments });
        }
        Ok(())
    }

    /// Where the chunks that join the live audio lie: behind what was live audio before. Where the writer had no state left, the
    /// stream may hold later audio all the same, and only their own capture times tell.
    fn live_time(&self, planned: &SessionPlan, now: EpochMs) -> (EpochMs, EpochMs) {
        let captured = || self.sent.iter().filter_map(|sent| Some(sent.chunk.as_ref()?.captured_at));
        match (planned.live_ends_at, captured().min(), captured().max()) {
            (None, Some(first), Some(last)) => (EpochMs(first.0.saturating_sub(LONGEST_FRAGMENT_MS)), last),
            (ends_at, ..) => (EpochMs(ends_at.unwrap_or_default()), now),
        }
    }

    /// What became of each message, by the session's state and the writer's notes.
    fn fates(&self, checkpoint: &Checkpoint, notes: &[Entry], now: EpochMs) -> Fates {
        let own = notes.iter().filter(|entry| entry.session_id == self.group);
        let again: BTreeSet<&str> = own.map(|entry| entry.note.message_id.as_str()).collect();
        let chunks: Vec<Option<Known>> = self.sent.iter().map(|sent| sent.chunk.clone()).collect();
        // The session has seen them before, if it has seen them: no queue number is newer.
        let places = places(checkpoint, &chunks, (now, 0));
        let mut fates = Fates::default();
        for (sent, place) in self.sent.iter().zip(places) {
            if again.contains(sent.id.as_str()) {
                fates.parked_again += 1;
            } else if sent.is_end_marker || (place == Place::Written && self.id.is_some()) {
                fates.written += 1;
                let index = sent.chunk.as_ref().map(|chunk| chunk.index);
                index.into_iter().for_each(|index| fates.chunks.add(index, index.saturating_add(1)));
            } else {
                fates.awaited += 1;
                fates.unplaced += usize::from(matches!(place, Place::Nowhere { .. }));
            }
        }
        // A session advances beyond a chunk that is refused for itself, and parks it a moment later.
        let refused = self.planned.map_or(0, |planned| {
            let refused = planned.parked_again.iter().filter(|again| again.why == Again::RefusedForItself);
            refused.map(|again| again.messages).sum()
        });
        let still = refused.min(self.sent.len()).saturating_sub(fates.parked_again + fates.awaited);
        fates.written -= still.min(fates.written);
        fates.awaited += still;
        fates
    }

    async fn gap(
        &self,
        checkpoint: &Checkpoint,
        (gap, reader): (&GapPlan, &StreamReader),
        now: EpochMs,
    ) -> Result<GapVerdict> {
        let mut open = Ranges::default();
        for gap in checkpoint.gaps.iter().filter(|open| open.chunks.numbering == gap.numbering) {
            open.add(gap.chunks.from, gap.chunks.to);
        }
        let open = gap.returning.and(&open);
        let listed = match open.is_empty() {
            true => reader.list(Some(time_of(gap, now))).await?,
            false => Vec::new(),
        };
        Ok(GapVerdict {
            session_id: self.group.to_owned(),
            numbering: gap.numbering,
            chunk_first: gap.chunk_first,
            chunk_last: gap.chunk_last,
            closed: open.is_empty(),
            open,
            fragments: listed.len(),
            // Fragments may lie in holes of each other.
            listed_ms: audio_ms(&listed, gap.ends_at)
                .min(gap.ends_at.map_or(u64::MAX, |end| end.saturating_sub(gap.begins_at))),
        })
    }
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

#[cfg(test)]
mod tests {
    use ingest::position::Position;

    use super::super::message::message;
    use super::super::plan::tests::{gap, note};
    use super::*;
    use crate::output::{Pen, Show as _};

    fn sent(id: &str, chunk: u64) -> SentMessage {
        let body = format!("{{\"chunkIndex\":{chunk},\"timestamp\":{}}}", 1_000 + chunk * 300);
        SentMessage::of(id.into(), &message(id, "owl", &body))
    }

    fn parked(id: &str) -> Entry {
        let mut entry = note("owl", Some(4), "NOT_JSON");
        entry.note.message_id = id.into();
        entry
    }

    /// A session that has processed chunks 0 to 9, but for an open gap.
    fn state(gaps: Vec<ingest::gap::Gap>) -> Checkpoint {
        let live = Position { next: 10, last_captured: EpochMs(4_000), ..Position::default() };
        Checkpoint { live, gaps, ..Checkpoint::default() }
    }

    fn fates(sent: &[SentMessage], state: &Checkpoint, notes: &[Entry]) -> (usize, usize, usize) {
        let id = SessionId::parse("owl").unwrap();
        let config = aws_config::SdkConfig::builder();
        let config = config.behavior_version(aws_config::BehaviorVersion::latest()).build();
        let reader = StreamReader::new(&config, &id.stream_name());
        let session = Session { id: Some((id, reader)), group: "owl", planned: None, sent };
        let fates = session.fates(state, notes, EpochMs(5_000));
        (fates.written, fates.parked_again, fates.awaited)
    }

    #[test]
    fn each_message_is_written_or_parked_again_or_awaited() {
        let sent = [sent("a", 4), sent("b", 9), sent("c", 10)];
        assert_eq!(fates(&sent, &Checkpoint::default(), &[]), (0, 0, 3), "nothing has happened yet");
        assert_eq!(fates(&sent, &state(vec![gap(0, 4, 5)]), &[]), (1, 0, 2), "4 is still in its gap");
        assert_eq!(fates(&sent, &state(vec![]), &[]), (2, 0, 1), "10 joins the live audio next");
        // Another message of the session that is parked meanwhile is not the redrive's.
        assert_eq!(fates(&sent, &state(vec![]), &[parked("c"), parked("x")]), (2, 1, 0));
    }

    #[test]
    fn what_has_no_chunk_is_settled_by_its_kind() {
        let of = |body: &str| [SentMessage::of("a".into(), &message("a", "owl", body))];
        let marker = of("{\"action\":\"endStream\"}");
        assert_eq!(fates(&marker, &Checkpoint::default(), &[]), (1, 0, 0), "a marker leaves no trace");
        assert_eq!(fates(&of("no JSON"), &state(vec![]), &[]), (0, 0, 1), "it will be parked again");
        assert_eq!(fates(&of("no JSON"), &state(vec![]), &[parked("a")]), (0, 1, 0));
    }

    #[test]
    fn a_read_back_says_what_is_not_known_yet() {
        let told = |found: ReadBack| (found.all_closed(), found.text(Pen::PLAIN));
        assert_eq!(
            told(ReadBack { written: 2, ..ReadBack::default() }),
            (true, "read back after 0 ms: 2 messages written".into())
        );
        let (closed, text) = told(ReadBack { awaited: 1, waited_ms: 60_000, ..ReadBack::default() });
        assert!(!closed && text.contains("1 message neither written nor parked again yet"), "{text}");
        assert!(text.ends_with("not all is settled after 1 min; use --wait to wait longer"), "{text}");
        let (closed, text) = told(ReadBack { parked_again: 1, ..ReadBack::default() });
        assert!(!closed && text.contains("1 message parked again; `kvsw dlq list` says why"), "{text}");
        let live =
            |fragments| LiveVerdict { session_id: "owl".into(), written: Ranges::one(4, 6), fragments };
        let (closed, text) = told(ReadBack { live: vec![live(1)], ..ReadBack::default() });
        assert!(closed && text.contains("owl chunks 4-5: in the live audio, 1 new fragment"), "{text}");
        assert!(!told(ReadBack { live: vec![live(0)], ..ReadBack::default() }).0);
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
