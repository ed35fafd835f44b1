//! One session's part of a delivery: from its records to batches, one after the other.

use std::sync::Mutex;

use futures::future::{Either, select};
use ingest::batch::Settled;
use ingest::checkpoint::{Checkpoint, Gap, Lease, Line, Snapshot};
use ingest::decide::{Decision, View, decide};
use ingest::failure::ServiceFailure;
use ingest::fold::{Piece, fold};
use ingest::message::{Content, Record, SessionId};
use ingest::plan::{Plan, plan};
use ingest::sort::{Entry, Sorted, sort};
use media::time::EpochMs;

use crate::event::{Event, Telemetry as _};
use crate::parking::Reason;
use crate::ports::{
    Clock as _, Ports, Queue as _, Saved, SessionStatus, Sessions as _, Store as _, Streams as _,
};
use crate::warm::Warm;
use crate::{Delivered, Writer, lock};

/// The longest that chunks are given back for while a service is away.
const MAX_AWAY_SECONDS: u32 = 300;
/// Audio that ends later than now by less than this is clock jitter.
const FUTURE_TOLERANCE_MS: u64 = 500;
/// Audio further in the future than this will not become past by waiting: the service's refusal parks it.
const MAX_FUTURE_MS: u64 = 20_000;

/// Why the session's work stops before its records are settled.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Somebody else owns the session now.
    NotOurs { seconds: u32 },
    /// A failure that may pass; without `seconds`, the wait grows with the deliveries.
    Failed { failure: ServiceFailure, seconds: Option<u32> },
    /// The invocation's time is up.
    TimeIsUp,
    /// The stored state cannot be read: nothing is touched, and an operator has to look.
    Unreadable(String),
}

impl From<ServiceFailure> for Stop {
    fn from(failure: ServiceFailure) -> Self {
        Self::Failed { failure, seconds: None }
    }
}

/// A checkpoint as it lies in the store.
pub(crate) struct Held {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) version: Option<u64>,
    /// The stream could not be asked about the lease for so long that its batch is to be parked as it is.
    pub(crate) unsure: Option<ServiceFailure>,
}

/// A batch about to be written.
pub(crate) struct Batch<'a> {
    pub(crate) line: Line,
    pub(crate) pieces: &'a [Piece],
}

/// A line and the chunks at hand for it.
struct Candidate<'a> {
    line: Line,
    gap: Option<&'a Gap>,
    /// Numbering and index of the chunk that should come first.
    next: (u32, u64),
    pieces: &'a [Piece],
    start: Warm,
}

/// The work on one session within one invocation.
pub(crate) struct SessionWork<'a, P> {
    pub(crate) writer: &'a Writer<P>,
    pub(crate) session: SessionId,
    pub(crate) stop_at: EpochMs,
    /// See [`View::delivery_full`].
    pub(crate) delivery_full: bool,
    pub(crate) settled: &'a Mutex<Settled>,
}

impl<P: Ports> SessionWork<'_, P> {
    /// Settles what can be settled; the rest is given back to the queue for a fitting time. Returns all of its messages.
    pub(crate) async fn run(self, entries: Vec<Entry>) -> Vec<Delivered> {
        let delivered = entries.iter().map(|entry| Delivered::of(record(entry))).collect();
        let mut entries = entries;
        let time_is_up = self.writer.ports.clock().sleep_ms(self.remaining_ms());
        let stop = match select(Box::pin(self.work(&mut entries)), Box::pin(time_is_up)).await {
            Either::Left((result, _)) => result.err(),
            Either::Right(_) => Some(Stop::TimeIsUp),
        };
        let growing = || growing_seconds(&entries, self.now());
        match stop {
            None => {}
            Some(Stop::NotOurs { seconds }) => {
                let why = "another worker holds the session";
                self.give_back(&entries, seconds, "session", "not-ours", why).await
            }
            Some(Stop::Failed { failure, seconds }) => {
                let seconds = seconds.unwrap_or_else(growing);
                let class = failure.class().as_str();
                self.give_back(&entries, seconds, class, &failure.reason(), &failure.to_string()).await;
            }
            Some(Stop::TimeIsUp) => {
                let why = "the invocation's time is up";
                self.give_back(&entries, growing(), "passing", "time-is-up", why).await;
            }
            Some(Stop::Unreadable(why)) => {
                tracing::error!(session = %self.session, why, "the session's state cannot be read");
                self.give_back(&entries, growing(), "state", "unreadable", &why).await;
            }
        }
        delivered
    }

    async fn work(&self, entries: &mut Vec<Entry>) -> Result<(), Stop> {
        let (mut held, status) = futures::try_join!(self.load(), self.status())?;
        if self.refuse(&held, status, entries).await? {
            return Ok(());
        }
        loop {
            self.forget_settled(entries);
            if entries.is_empty() {
                return Ok(());
            }
            self.resolve_lease(&mut held).await?;
            let sorted = sort(&held.checkpoint, entries.clone());
            self.drop_duplicates(&sorted).await?;
            if !self.next_batch(&mut held, &sorted).await? {
                return Ok(());
            }
            if self.remaining_ms() < self.writer.config.put_within_ms / 2 {
                return Err(Stop::NotOurs { seconds: 0 });
            }
        }
    }

    /// Writes or parks the next batch. `false` when what is left waits for more, or nothing is.
    async fn next_batch(&self, held: &mut Held, sorted: &Sorted) -> Result<bool, Stop> {
        if let Some((failure, lease)) = held.unsure.take().zip(held.checkpoint.lease.clone()) {
            self.park_unsure(held, sorted, lease, failure).await?;
            return Ok(true);
        }
        if !sorted.live.is_empty() {
            let start = self.live_start(&held.checkpoint).await?;
            let next = (held.checkpoint.live.numbering, held.checkpoint.live.next);
            let candidate = Candidate { line: Line::Live, gap: None, next, pieces: &sorted.live, start };
            if self.batch(held, candidate, sorted).await? {
                return Ok(true);
            }
        }
        for (gap, pieces) in &sorted.backfill {
            let Some(start) = self.gap_start(gap).await? else {
                self.park_unplaceable(pieces).await?;
                continue;
            };
            if self.already_stored(held, gap, pieces).await? || self.park_stragglers(gap, pieces).await? {
                return Ok(true);
            }
            let next = (gap.chunks.numbering, gap.chunks.from);
            let line = Line::Gap { numbering: next.0, from: next.1 };
            let candidate = Candidate { line, gap: Some(gap), next, pieces, start };
            if self.batch(held, candidate, sorted).await? {
                return Ok(true);
            }
        }
        if sorted.live.is_empty() {
            self.settle(&sorted.ends);
        }
        Ok(false)
    }

    /// Decides on one line's chunks. `true`: written or parked, look again; `false`: deferred.
    async fn batch(&self, held: &mut Held, c: Candidate<'_>, sorted: &Sorted) -> Result<bool, Stop> {
        let now = self.now();
        let folded = fold(&c.start.snapshot, c.gap, c.pieces);
        // A gap's last chunks fill it: there is nothing more to wait for, unless some are missing amid them.
        let fills = c.gap.is_some_and(|gap| folded.end.next >= gap.chunks.to && folded.gaps.is_empty());
        let end = if fills { Some(None) } else { (!sorted.ends.is_empty()).then_some(sorted.last_index) };
        let delivery_full = self.delivery_full;
        let view = View { pieces: c.pieces, folded: &folded, next: c.next, end, delivery_full, now };
        let chunks = match decide(&view, &self.writer.config.policy) {
            None => return Ok(false),
            Some(Decision::Defer { seconds, why }) => {
                if c.line == Line::Live {
                    self.writer.warm.put(&self.session, &held.checkpoint.live_snapshot, c.start);
                }
                self.defer(c.pieces, &sorted.ends, seconds, why.as_str()).await;
                return Ok(false);
            }
            Some(Decision::Write { chunks }) => as_leased(&held.checkpoint, c.line, c.pieces, chunks),
        };
        let (pieces, mut plan) = match fitting(&c, chunks) {
            Ok(fits) => fits,
            Err(too_much) => {
                self.park_unplaceable(std::slice::from_ref(too_much)).await?;
                return Ok(true);
            }
        };
        self.heal(&held.checkpoint, &mut plan).await?;
        let ahead_ms = plan.advance.until.0.saturating_sub(now.0);
        if (FUTURE_TOLERANCE_MS..MAX_FUTURE_MS).contains(&ahead_ms) {
            self.defer(c.pieces, &sorted.ends, ahead_ms.div_ceil(1000) as u32, "future").await;
            return Ok(false);
        }
        self.attempt(held, Batch { line: c.line, pieces }, plan, c.start.decoder).await?;
        Ok(true)
    }

    async fn load(&self) -> Result<Held, Stop> {
        match self.writer.ports.store().load(&self.session).await? {
            None => Ok(Held { checkpoint: Checkpoint::default(), version: None, unsure: None }),
            Some(stored) => {
                let checkpoint =
                    Checkpoint::decode(&stored.bytes).map_err(|e| Stop::Unreadable(e.to_string()))?;
                Ok(Held { checkpoint, version: Some(stored.version), unsure: None })
            }
        }
    }

    /// Writes the checkpoint on the version that was read. From then on the session is ours, or it never was.
    pub(crate) async fn save(&self, held: &mut Held) -> Result<(), Stop> {
        let bytes = held.checkpoint.encode();
        match self.writer.ports.store().save(&self.session, held.version, &bytes).await? {
            Saved::Yes => {
                held.version = Some(held.version.map_or(1, |v| v + 1));
                Ok(())
            }
            Saved::Conflict => Err(Stop::NotOurs { seconds: 1 }),
        }
    }

    async fn status(&self) -> Result<SessionStatus, Stop> {
        Ok(self.writer.ports.sessions().status(&self.session).await?)
    }

    /// Parks the records of a session that may not be written. `true` when nothing is left.
    async fn refuse(
        &self,
        held: &Held,
        status: SessionStatus,
        entries: &mut Vec<Entry>,
    ) -> Result<bool, Stop> {
        if status == SessionStatus::Active {
            return Ok(false);
        }
        let sorted = sort(&held.checkpoint, entries.clone());
        let (reason, refused): (Reason, Vec<&Piece>) = match status {
            SessionStatus::Active | SessionStatus::Unknown => {
                self.settle(sorted.ends.iter().chain(&sorted.duplicates));
                let backfill = sorted.backfill.iter().flat_map(|(_, pieces)| pieces);
                (
                    Reason::SessionUnknown,
                    sorted.live.iter().chain(backfill).chain(&sorted.unplaceable).collect(),
                )
            }
            SessionStatus::Ended { at } => {
                let late = |p: &&Piece| at.is_none_or(|at| p.captured_at > at);
                (Reason::SessionEnded, sorted.live.iter().filter(late).collect())
            }
        };
        self.park_pieces(&refused, reason, 1, self.now()).await?;
        self.forget_settled(entries);
        Ok(entries.is_empty())
    }

    /// A lease left behind: its fragment is stored, or surely not, or it is too early to tell.
    async fn resolve_lease(&self, held: &mut Held) -> Result<(), Stop> {
        let Some(lease) = held.checkpoint.lease.clone() else {
            return Ok(());
        };
        if lease.surely_not_stored {
            return Ok(());
        }
        if self.now() < lease.expires_at {
            let seconds = (lease.expires_at.0 - self.now().0).div_ceil(1000) as u32;
            return Err(Stop::NotOurs { seconds });
        }
        let certain_at = lease.expires_at.0 + self.writer.config.probe_patience_ms;
        loop {
            // The clock first: an answer is believed for what was stored before the question.
            let asked_at = self.now().0;
            match self.writer.ports.streams().find(&self.session, lease.advance.at).await {
                Ok(Some(found)) => return self.commit(held, lease, found, None).await,
                Ok(None) => {}
                Err(failure) => {
                    let blocked_ms = asked_at.saturating_sub(lease.first_attempt_at.0);
                    if blocked_ms < self.writer.config.max_blocked_ms {
                        return Err(failure.into());
                    }
                    held.unsure = Some(failure);
                    return Ok(());
                }
            }
            if asked_at >= certain_at {
                return Ok(());
            }
            let wait_ms = (certain_at - asked_at).min(500);
            if self.remaining_ms() < wait_ms + 1_000 {
                return Err(Stop::NotOurs { seconds: 1 });
            }
            self.writer.ports.clock().sleep_ms(wait_ms).await;
        }
    }

    /// The live audio's state: from memory where this process wrote it last, from the store otherwise. The checkpoint knows
    /// what has come back meanwhile.
    pub(crate) async fn live_start(&self, checkpoint: &Checkpoint) -> Result<Warm, Stop> {
        let key = &checkpoint.live_snapshot;
        if let Some(mut warm) = self.writer.warm.take(&self.session, key) {
            warm.snapshot.position.clone_from(&checkpoint.live);
            return Ok(warm);
        }
        if key.is_empty() {
            return Ok(Warm { snapshot: Snapshot::default(), decoder: None });
        }
        let mut snapshot = match self.snapshot(key).await? {
            Some(snapshot) => snapshot,
            None => {
                // Kept for a day: the session slept longer. Audio goes on at the next Cluster or header.
                let mut snapshot = Snapshot::default();
                snapshot.media.demuxer.bytes_missing();
                snapshot
            }
        };
        snapshot.position.clone_from(&checkpoint.live);
        Ok(Warm { snapshot, decoder: None })
    }

    /// A gap whose batch was parked while nobody could tell whether it is stored: now the stream can. The same is asked of
    /// the gap that this one's last packet goes on in.
    async fn already_stored(&self, held: &mut Held, gap: &Gap, pieces: &[Piece]) -> Result<bool, Stop> {
        let goes_on = gap.looks_on_at.and_then(|at| held.checkpoint.gap(gap.chunks.numbering, at));
        for gap in [Some(gap.clone()), goes_on.cloned()].into_iter().flatten() {
            let Some(advance) = &gap.unsure else { continue };
            if self.writer.ports.streams().find(&self.session, advance.at).await?.is_none() {
                continue;
            }
            held.checkpoint.close_stored(&gap, advance);
            self.save(held).await?;
            let missing = |p: &Piece| advance.gaps.iter().any(|hole| hole.chunks.holds(p.index));
            let stored = pieces.iter().filter(|p| advance.chunks.holds(p.index) && !missing(p));
            self.settle(stored.map(|p| &p.record));
            return Ok(true);
        }
        Ok(false)
    }

    /// Messages of a parked batch that come only now, without its beginning: written alone they would be decoded without
    /// it. `true` when there were such.
    async fn park_stragglers(&self, gap: &Gap, pieces: &[Piece]) -> Result<bool, Stop> {
        let Some(parked) = &gap.parked else { return Ok(false) };
        let beginning = parked.first.max(gap.chunks.from);
        let late = |p: &&Piece| p.record.sent_at <= parked.at;
        let stragglers: Vec<&Piece> = pieces.iter().filter(late).collect();
        if pieces.iter().any(|p| p.index == beginning) || stragglers.is_empty() {
            return Ok(false);
        }
        self.park_pieces(&stragglers, Reason::BatchParked, 1, self.now()).await?;
        Ok(true)
    }

    /// What a backfill brings back may be what the live audio, or the next gap, is looking for.
    async fn heal(&self, checkpoint: &Checkpoint, plan: &mut Plan) -> Result<(), Stop> {
        let Some((numbering, next)) = plan.reaches() else { return Ok(()) };
        let live = &checkpoint.live;
        match checkpoint.gap(numbering, next) {
            Some(gap) => {
                if let Some(snapshot) = self.snapshot(&gap.snapshot).await? {
                    plan.heal_gap(snapshot);
                }
            }
            None if (numbering, next) == (live.numbering, live.next) => plan.heal_live(live),
            None => {}
        }
        Ok(())
    }

    /// The state at a gap's start, with what later batches skipped on their way to the next Cluster.
    async fn gap_start(&self, gap: &Gap) -> Result<Option<Warm>, Stop> {
        let Some(mut snapshot) = self.snapshot(&gap.snapshot).await? else {
            return Ok(None);
        };
        if let Some(until) = gap.taken_until {
            snapshot.position.timeline.go_on_after(until);
        }
        for key in &gap.skipped {
            snapshot.residue.extend(self.snapshot(key).await?.unwrap_or_default().residue);
        }
        Ok(Some(Warm { snapshot, decoder: None }))
    }

    async fn snapshot(&self, key: &str) -> Result<Option<Snapshot>, Stop> {
        let bytes = self.writer.ports.store().load_snapshot(&self.session, key).await?;
        let decoded = bytes.map(|bytes| Snapshot::decode(&bytes)).transpose();
        decoded.map_err(|e| Stop::Unreadable(e.to_string()))
    }

    async fn drop_duplicates(&self, sorted: &Sorted) -> Result<(), Stop> {
        if !sorted.duplicates.is_empty() {
            self.settle(&sorted.duplicates);
            self.emit(Event::DuplicatesDropped {
                session_id: self.session.to_string(),
                messages: sorted.duplicates.len() as u64,
            });
        }
        self.park_unplaceable(&sorted.unplaceable).await
    }

    async fn park_unplaceable(&self, pieces: &[Piece]) -> Result<(), Stop> {
        let pieces: Vec<&Piece> = pieces.iter().collect();
        self.park_pieces(&pieces, Reason::NoPlace, 1, self.now()).await
    }

    async fn defer(&self, pieces: &[Piece], ends: &[Record], seconds: u32, why: &'static str) {
        let records = pieces.iter().map(|p| &p.record).chain(ends);
        let records = self.hide(records, seconds).await;
        let (chunk_first, chunk_last) = (pieces.first().map(|p| p.index), pieces.last().map(|p| p.index));
        let session_id = self.session.to_string();
        self.emit(Event::Deferred { session_id, records, seconds, why, chunk_first, chunk_last });
    }

    async fn give_back(
        &self,
        entries: &[Entry],
        seconds: u32,
        class: &'static str,
        reason: &str,
        message: &str,
    ) {
        let indices = || entries.iter().filter_map(index);
        let (chunk_first, chunk_last) = (indices().min(), indices().max());
        let open: Vec<&Record> = entries.iter().map(record).filter(|r| !self.is_settled(r)).collect();
        let records = self.hide(open.into_iter(), seconds).await;
        self.emit(Event::GivenBack {
            session_id: self.session.to_string(),
            records,
            seconds,
            chunk_first,
            chunk_last,
            class,
            reason: reason.to_owned(),
            message: message.to_owned(),
        });
    }

    /// Makes records invisible for a while, all of the group alike. Where that fails, the queue's own visibility
    /// time-out does it, later.
    async fn hide(&self, records: impl Iterator<Item = &Record>, seconds: u32) -> u64 {
        let handles: Vec<String> = records.map(|r| r.receipt_handle.clone()).collect();
        if let Err(failure) = self.writer.ports.queue().hide(&handles, seconds).await {
            tracing::warn!(session = %self.session, %failure, "records could not be handed back early");
        }
        handles.len() as u64
    }

    pub(crate) fn settle<'r>(&self, records: impl IntoIterator<Item = &'r Record>) {
        let mut settled = lock(self.settled);
        records.into_iter().for_each(|record| settled.settle(&record.message_id));
    }

    fn is_settled(&self, record: &Record) -> bool {
        let settled = lock(self.settled);
        settled.holds(&record.message_id)
    }

    fn forget_settled(&self, entries: &mut Vec<Entry>) {
        entries.retain(|entry| !self.is_settled(record(entry)));
        // A marker alone has nothing to end.
        let only_ends = entries
            .iter()
            .all(|e| matches!(e, Ok(arrival) if matches!(arrival.content, Content::EndOfStream { .. })));
        if only_ends {
            self.settle(entries.iter().map(record));
            entries.clear();
        }
    }

    pub(crate) fn now(&self) -> EpochMs {
        self.writer.ports.clock().now()
    }

    pub(crate) fn remaining_ms(&self) -> u64 {
        self.stop_at.0.saturating_sub(self.now().0)
    }

    pub(crate) fn emit(&self, event: Event) {
        self.writer.ports.telemetry().emit(&event);
    }
}

fn index(entry: &Entry) -> Option<u64> {
    match entry {
        Ok(arrival) => match &arrival.content {
            Content::Chunk(chunk) => Some(chunk.index),
            Content::EndOfStream { .. } => None,
        },
        Err(rejected) => rejected.chunk.map(|(index, _)| index),
    }
}

fn record(entry: &Entry) -> &Record {
    match entry {
        Ok(arrival) => &arrival.record,
        Err(rejected) => &rejected.record,
    }
}

/// A batch that was leased before is tried again as it was, where its chunks are at hand.
fn as_leased(checkpoint: &Checkpoint, line: Line, pieces: &[Piece], chunks: usize) -> usize {
    let Some(Lease { advance, .. }) = &checkpoint.lease else {
        return chunks;
    };
    let range = advance.chunks;
    let same = pieces.iter().take_while(|p| (p.numbering, p.index) < (range.numbering, range.to)).count();
    let whole = same > 0 && pieces[same - 1].index + 1 == range.to && pieces[0].index <= range.from;
    if advance.line == line && whole { same } else { chunks }
}

/// The longest beginning of a batch that fits into its gap, or the chunk that is too much: one that came late into a parked
/// batch, whose other chunks have their places.
fn fitting<'a>(c: &Candidate<'a>, chunks: usize) -> Result<(&'a [Piece], Plan), &'a Piece> {
    let planned = |n: usize| (&c.pieces[..n], plan(&c.start.snapshot, c.line, c.gap, &c.pieces[..n]));
    let whole = planned(chunks);
    let Some(gap) = c.gap.filter(|gap| !whole.1.fits(gap)) else { return Ok(whole) };
    let placed = &c.start.snapshot.placements;
    let was_late = |p: &&Piece| !placed.is_empty() && !placed.iter().any(|(index, _)| *index == p.index);
    if let Some(late) = whole.0.iter().find(was_late) {
        return Err(late);
    }
    (1..chunks).rev().map(planned).find(|(_, plan)| plan.fits(gap)).ok_or(&c.pieces[0])
}

/// 1, 2, 4 s and so on: longer with each delivery, but no longer than half as long as the chunks have waited so far. A short
/// trouble is over soon; one that lasts for hours does not use up the receives that the queue's redrive policy allows.
fn growing_seconds(entries: &[Entry], now: EpochMs) -> u32 {
    let deliveries = entries.iter().map(|entry| record(entry).receive_count).max().unwrap_or(1);
    let oldest = entries.iter().map(|entry| record(entry).sent_at).min().unwrap_or(now);
    let waited = u32::try_from(now.ms_since(oldest) / 2_000).unwrap_or(MAX_AWAY_SECONDS);
    (1 << deliveries.clamp(1, 16).saturating_sub(1)).min(waited).clamp(1, MAX_AWAY_SECONDS)
}
