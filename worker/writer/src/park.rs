//! Moving messages to the DLQ: body, group and order kept, the reason beside them. They are acknowledged only after
//! the DLQ has them.

use std::sync::Mutex;

use ingest::batch::{Because, Settled};
use ingest::checkpoint::{Advance, Lease, Line, Try};
use ingest::failure::ServiceFailure;
use ingest::fold::{Around, Refusal};
use ingest::gap::{Gap, ParkedBatch, cause};
use ingest::message::{Record, Rejected, TRACEPARENT};
use ingest::opening::Opening;
use ingest::piece::Piece;
use ingest::plan::{self, Plan};
use ingest::snapshot::Kind;
use ingest::sort::Sorted;
use media::time::EpochMs;

use crate::event::{Event, Telemetry as _};
use crate::ports::{self, Clock as _, Parked, ParkedNote, Ports, Queue as _, Store as _};
use crate::state::{State, slept_too_long};
use crate::stop::Stop;
use crate::work::{Batch, SessionWork};
use crate::writer::{Writer, lock};

/// Why messages are parked; SPECIFICATION.md's two tables of failures have each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the Sessions table does not know the session")]
    SessionUnknown,
    #[error("the session ended before this was captured")]
    SessionEnded,
    #[error("the session advanced past this chunk too long ago; its position is no longer stored")]
    NoPlace,
    #[error("another page of the same speaker has taken over the session")]
    Replaced,
    #[error("{0}")]
    Service(ServiceFailure),
    #[error("the session's stream has failed since {}, and this has waited its time", since.0)]
    StreamFailing { since: EpochMs },
    #[error("the batch that this belongs to was parked")]
    BatchParked,
    #[error("it was received {receives} times and could not be written{why}")]
    ReceivedTooOften { receives: u32, why: String },
    #[error("{attempts} workers ended without finishing this batch")]
    Crashed { attempts: u32 },
}

impl Reason {
    /// Every code but those of refused messages and chunks, and of service failures.
    pub(crate) const CODES: [&'static str; 8] = [
        "SESSION_UNKNOWN",
        "SESSION_ENDED",
        "NO_PLACE",
        "REPLACED",
        "STREAM_FAILING",
        "BATCH_PARKED",
        "RECEIVED_TOO_OFTEN",
        "CRASHED",
    ];

    pub(crate) fn code(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.code().into(),
            Self::SessionUnknown => "SESSION_UNKNOWN".into(),
            Self::SessionEnded => "SESSION_ENDED".into(),
            Self::NoPlace => "NO_PLACE".into(),
            Self::Replaced => "REPLACED".into(),
            Self::Service(failure) => failure.reason(),
            Self::StreamFailing { .. } => "STREAM_FAILING".into(),
            Self::BatchParked => "BATCH_PARKED".into(),
            Self::ReceivedTooOften { .. } => "RECEIVED_TOO_OFTEN".into(),
            Self::Crashed { .. } => "CRASHED".into(),
        }
    }

    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::Message(_)) => "message",
            Self::Refused(Refusal::Audio(_) | Refusal::TooLong { .. }) => "audio",
            Self::SessionUnknown | Self::SessionEnded | Self::NoPlace | Self::Replaced => "session",
            Self::Service(failure) => failure.class().as_str(),
            Self::StreamFailing { .. }
            | Self::BatchParked
            | Self::ReceivedTooOften { .. }
            | Self::Crashed { .. } => "passing",
        }
    }
}

/// The trace context goes with the copy, so that a redriven chunk is still found under it.
fn trace(record: &Record) -> Vec<(&'static str, String)> {
    record.traceparent().map(|context| (TRACEPARENT, context.to_owned())).into_iter().collect()
}

/// A set of messages parked for one reason.
pub(crate) struct Parking<'a> {
    pub(crate) session_id: &'a str,
    /// Records with their chunks, if they carry one.
    pub(crate) records: Vec<(&'a Record, Option<&'a Piece>)>,
    pub(crate) reason: Reason,
    pub(crate) attempts: u32,
    pub(crate) first_failure_at: EpochMs,
}

impl Parking<'_> {
    /// First and last chunkIndex, where known.
    fn chunks(&self) -> Option<(u64, u64)> {
        let indices = || self.records.iter().filter_map(|(_, piece)| Some(piece.as_ref()?.index));
        indices().min().zip(indices().max())
    }
}

impl<P: Ports> Writer<P> {
    /// Parks messages that could not be parsed; those that cannot be parked stay in the queue.
    pub(crate) async fn park_refused(&self, refused: Vec<Rejected>, settled: &Mutex<Settled>) {
        for rejected in &refused {
            let parking = Parking {
                session_id: &rejected.record.group_id,
                records: vec![(&rejected.record, None)],
                reason: Reason::Refused(Refusal::Message(rejected.rejection.clone())),
                attempts: 1,
                first_failure_at: self.ports.clock().now(),
            };
            if let Err(failure) = self.park(parking, settled).await {
                tracing::warn!(%failure, "a refused message could not be parked and stays in the queue");
            }
        }
    }

    /// Parks messages and settles them.
    pub(crate) async fn park(&self, parking: Parking<'_>, settled: &Mutex<Settled>) -> ports::Result<()> {
        if parking.records.is_empty() {
            return Ok(());
        }
        let attributes = self.attributes(&parking);
        let messages: Vec<Parked> = parking
            .records
            .iter()
            .map(|(record, _)| Parked {
                message_id: record.message_id.clone(),
                group_id: record.group_id.clone(),
                body: record.body.clone(),
                attributes: [attributes.clone(), trace(record)].concat(),
            })
            .collect();
        self.ports.queue().park(&messages).await?;
        let settle = |(record, _): &(&Record, Option<&Piece>)| lock(settled).settle(record, Because::Parked);
        parking.records.iter().for_each(settle);
        self.note(&parking).await;
        self.ports.telemetry().emit(&Event::Parked {
            session_id: parking.session_id.to_owned(),
            messages: messages.len() as u64,
            reason: parking.reason.code(),
            class: parking.reason.class(),
            message: parking.reason.to_string(),
            chunk_first: parking.chunks().map(|c| c.0),
            chunk_last: parking.chunks().map(|c| c.1),
        });
        Ok(())
    }

    async fn note(&self, parking: &Parking<'_>) {
        let parked_at = self.ports.clock().now();
        let note = |(record, piece): &(&Record, Option<&Piece>)| ParkedNote {
            message_id: record.message_id.clone(),
            chunk_index: piece.map(|piece| piece.index),
            captured_at: piece.map(|piece| piece.captured_at),
            numbering: piece.map(|piece| piece.numbering),
            reason: parking.reason.code(),
            class: parking.reason.class().to_owned(),
            attempts: parking.attempts,
            first_failure_at: parking.first_failure_at,
            parked_at,
        };
        let notes: Vec<ParkedNote> = parking.records.iter().map(note).collect();
        if let Err(failure) = self.ports.store().note_parked(parking.session_id, &notes).await {
            tracing::warn!(%failure, "parked messages are missing from the operator's index");
        }
    }

    fn attributes(&self, parking: &Parking<'_>) -> Vec<(&'static str, String)> {
        let mut attributes = vec![
            ("reason", parking.reason.code()),
            ("class", parking.reason.class().to_owned()),
            ("message", parking.reason.to_string().chars().take(256).collect()),
            ("attempts", parking.attempts.to_string()),
            ("firstFailureAt", parking.first_failure_at.0.to_string()),
            ("workerVersion", self.config.worker_version.clone()),
        ];
        if let Some((first, last)) = parking.chunks() {
            attributes.push(("chunkRange", format!("{first}-{last}")));
        }
        attributes
    }
}

impl<P: Ports> SessionWork<'_, P> {
    /// Passes the batch: the checkpoint first, so that a copy that comes back is known as the gap's; then the DLQ.
    pub(crate) async fn park_batch(
        &self,
        state: &mut State,
        batch: &Batch<'_>,
        plan: Plan,
        lease: &Lease,
        reason: Reason,
    ) -> Result<(), Stop> {
        let mut unsure = (!lease.tries.is_empty()).then(|| plan.advance.clone());
        if let Some((rest, snapshots)) = plan.rest_if_parked().filter(|_| unsure.is_some()) {
            self.save_snapshots(&snapshots).await?;
            unsure.iter_mut().for_each(|stored| stored.gaps.push(rest.clone()));
        }
        // A chunk is parked as a whole.
        let to_chunk_end = batch.to_chunk_end();
        let (pieces, plan) = match &to_chunk_end {
            Some(pieces) => {
                (&pieces[..], plan::plan(&batch.start, pieces, Around::of(batch.gap, &self.writer.vain)))
            }
            None => (batch.pieces, plan),
        };
        let mut gap = match batch.gap {
            Some(gap) => {
                self.renew(gap).await?;
                gap.clone()
            }
            None => {
                let (gap, snapshots) = plan.if_parked(&batch.start);
                self.save_snapshots(&snapshots).await?;
                self.save_snapshots(&plan.snapshots).await?;
                gap
            }
        };
        let (attempts, since) = (lease.attempt.max(1), lease.first_attempt_at);
        let (before, behind) = by_reason(pieces, &plan, &reason);
        for (reason, pieces) in before {
            self.park_pieces(&pieces, reason, attempts, since).await?;
        }
        gap.cause = cause(&reason.code());
        self.pass(state, plan.advance, gap, (unsure, lease.tries.clone())).await?;
        for (reason, pieces) in behind {
            self.park_pieces(&pieces, reason, attempts, since).await?;
        }
        Ok(())
    }

    /// Parks refused chunks that are set aside before the checkpoint passes them: no message would bring them back if the DLQ failed.
    pub(crate) async fn park_refused_aside(&self, batch: &Batch<'_>, plan: &Plan) -> Result<(), Stop> {
        for (i, refusal) in &plan.refused {
            let piece = &batch.pieces[*i];
            if piece.set_aside {
                self.park_pieces(&[piece], Reason::Refused(refusal.clone()), 1, self.now()).await?;
            }
        }
        Ok(())
    }

    /// Passes what a lease may have stored while the stream cannot be asked, and parks those of its chunks that are at hand.
    pub(crate) async fn park_unsure(
        &self,
        state: &mut State,
        sorted: &Sorted,
        lease: Lease,
        reason: Reason,
    ) -> Result<(), Stop> {
        let tries = lease.open_tries();
        let mut leased = lease.advance;
        let mut unsure = leased.clone();
        state.checkpoint.failed_at = Some(self.now());
        let mut gap = match leased.line {
            Line::Live => {
                let start = self.live_start(&state.checkpoint).await?.snapshot;
                let mut goes_on_at = leased.search_goes_on_at();
                if leased.ends_amid_chunk() {
                    let of_chunk = sorted.of(&leased).into_iter().find(|piece| piece.index == leased.to.next);
                    let (rest, searches) = self.pass_chunk(&mut leased, of_chunk).await?;
                    unsure.gaps.push(rest);
                    goes_on_at = searches.then_some(leased.to.next);
                }
                let (gap, snapshots) = Opening::over(&start, &leased, goes_on_at).open();
                self.save_snapshots(&snapshots).await?;
                gap
            }
            Line::Gap(id) => {
                let gap = state.checkpoint.gap(id).cloned();
                let gap =
                    gap.ok_or_else(|| Stop::Unreadable("a lease on a gap that is not there".to_owned()))?;
                self.renew(&gap).await?;
                gap
            }
        };
        let pieces = sorted.of(&leased);
        let (before, behind) = pieces.split_at(to_last_aside(pieces.iter().copied()));
        let (attempts, since) = (lease.attempt.max(1), lease.first_attempt_at);
        self.park_pieces(before, reason.clone(), attempts, since).await?;
        gap.cause = cause(&reason.code());
        self.pass(state, leased, gap, (Some(unsure), tries)).await?;
        self.park_pieces(behind, reason, attempts, since).await
    }

    /// Lets the live audio go on behind the chunk that a lease ends inside, as if the rest of it had not come if it is not at hand.
    /// Returns the gap that is left of the chunk if the lease is stored, and whether the audio behind it has to search for its place.
    async fn pass_chunk(&self, leased: &mut Advance, chunk: Option<&Piece>) -> Result<(Gap, bool), Stop> {
        let end = match &leased.snapshot {
            Some(key) => self.snapshot(key).await?,
            None => None,
        };
        let mut end = end.unwrap_or_else(slept_too_long);
        let (rest, rest_snapshots) = Opening::rest_of(leased, end.clone()).open();
        self.save_snapshots(&rest_snapshots).await?;
        if let Some(chunk) = chunk {
            let of_rest = plan::plan(&end, std::slice::from_ref(chunk), Around::default());
            self.save_snapshots(&of_rest.snapshots).await?;
            (leased.to, leased.snapshot) = (of_rest.advance.to, of_rest.advance.snapshot);
            leased.placements.extend(of_rest.advance.placements);
            return Ok((rest, false));
        }
        leased.to.last_captured = leased.to.captured_to();
        (leased.to.next, leased.to.amid) = (leased.to.next + 1, None);
        end.position.clone_from(&leased.to);
        end.media.lose_chunks();
        let key = end.key(Kind::Live);
        leased.snapshot = Some(key.clone());
        self.save_snapshots(&[(key, end)]).await?;
        Ok((rest, true))
    }

    /// Moves the checkpoint behind a batch that is to be parked; it leaves `gap`, or stays in it. `unsure` may be stored, by these tries.
    async fn pass(
        &self,
        state: &mut State,
        batch: Advance,
        mut gap: Gap,
        (unsure, tries): (Option<Advance>, Vec<Try>),
    ) -> Result<(), Stop> {
        let is_live = batch.line == Line::Live;
        (gap.unsure, gap.tries) = (unsure.map(Box::new), tries);
        gap.parked = Some(ParkedBatch { first: batch.chunks.from, at: self.now() });
        let given_up = state.checkpoint.park(batch, gap.clone());
        self.park_withheld(&given_up).await?;
        self.save(state).await?;
        if is_live {
            self.report_gaps(&[gap], &given_up);
        }
        Ok(())
    }

    pub(crate) async fn park_all(&self, pieces: &[Piece], reason: Reason) -> Result<(), Stop> {
        let pieces: Vec<&Piece> = pieces.iter().collect();
        self.park_pieces(&pieces, reason, 1, self.now()).await
    }

    pub(crate) async fn park_pieces(
        &self,
        pieces: &[&Piece],
        reason: Reason,
        attempts: u32,
        first_failure_at: EpochMs,
    ) -> Result<(), Stop> {
        let parking = Parking {
            session_id: self.session.as_str(),
            records: pieces.iter().map(|piece| (&piece.record, Some(*piece))).collect(),
            reason,
            attempts,
            first_failure_at,
        };
        Ok(self.writer.park(parking, self.settled).await?)
    }
}

/// Chunks to be parked together.
type Parcels<'a> = Vec<(Reason, Vec<&'a Piece>)>;

/// A batch's chunks by why they are parked: up to the last one that is set aside, and those behind it. Copies of the first must be in
/// the DLQ before the checkpoint passes them, since no message brings them again; redriven, a copy of a written one is a duplicate.
fn by_reason<'a>(pieces: &'a [Piece], plan: &Plan, reason: &Reason) -> (Parcels<'a>, Parcels<'a>) {
    let until = to_last_aside(pieces.iter());
    let (mut before, mut behind) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for (i, piece) in pieces.iter().enumerate().filter(|(_, piece)| piece.ends_chunk()) {
        let (own, others) = if i < until { &mut before } else { &mut behind };
        match plan.refused.iter().find(|(refused, _)| *refused == i) {
            Some((_, refusal)) => own.push((Reason::Refused(refusal.clone()), vec![piece])),
            None => others.push(piece),
        }
    }
    let parcels = |(mut own, others): (Parcels<'a>, Vec<&'a Piece>)| {
        own.push((reason.clone(), others));
        own
    };
    (parcels(before), parcels(behind))
}

/// How many of the chunks lie before or at the last one that is set aside. Those that were delivered go to the DLQ with them, in
/// order: redriven, ten chunks would hide one before them.
fn to_last_aside<'a>(mut pieces: impl DoubleEndedIterator<Item = &'a Piece> + ExactSizeIterator) -> usize {
    pieces.rposition(|piece| piece.set_aside).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use ingest::message::Chunk;

    use super::*;

    #[test]
    fn what_was_delivered_is_parked_in_order_with_what_is_set_aside() {
        let piece = |set_aside| Piece { set_aside, ..Piece::new(0, Chunk::default()) };
        let pieces = [true, false, true, false].map(piece);
        assert_eq!(
            to_last_aside(pieces.iter()),
            3,
            "redriven behind ten others, the second would come too late"
        );
        assert_eq!(to_last_aside(pieces[3..].iter()), 0);
    }

    #[test]
    fn every_code_of_a_reason_is_listed() {
        let since = EpochMs(0);
        let reasons = [
            Reason::SessionUnknown,
            Reason::SessionEnded,
            Reason::NoPlace,
            Reason::Replaced,
            Reason::StreamFailing { since },
            Reason::BatchParked,
            Reason::ReceivedTooOften { receives: 90, why: String::new() },
            Reason::Crashed { attempts: 4 },
        ];
        for reason in &reasons {
            match reason {
                Reason::Refused(_) | Reason::Service(_) => unreachable!("their codes are listed elsewhere"),
                // A reason that is new belongs into the list above, too.
                Reason::SessionUnknown
                | Reason::SessionEnded
                | Reason::NoPlace
                | Reason::Replaced
                | Reason::StreamFailing { .. }
                | Reason::BatchParked
                | Reason::ReceivedTooOften { .. }
                | Reason::Crashed { .. } => {}
            }
        }
        assert_eq!(reasons.map(|reason| reason.code()), Reason::CODES);
    }
}
