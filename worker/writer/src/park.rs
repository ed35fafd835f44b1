//! Moving messages to the DLQ: body, group and order kept, the reason beside them. They are acknowledged only after
//! the DLQ has them.

use std::sync::Mutex;

use ingest::batch::{Because, Settled};
use ingest::failure::ServiceFailure;
use ingest::fold::Refusal;
use ingest::message::{Record, Rejected, TRACEPARENT};
use ingest::piece::Piece;
use media::time::EpochMs;

use crate::event::{Event, Telemetry as _};
use crate::ports::{self, Clock as _, Parked, ParkedNote, Ports, Queue as _, Store as _};
use crate::stop::Stop;
use crate::work::SessionWork;
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

#[cfg(test)]
mod tests {
    use super::*;

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
