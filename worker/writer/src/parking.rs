//! Moving messages to the DLQ: body, group and order kept, the reason beside them. They are acknowledged only after
//! the DLQ has them.

use std::sync::Mutex;

use ingest::batch::Settled;
use ingest::failure::ServiceFailure;
use ingest::fold::{Piece, Refusal};
use ingest::message::{Record, Rejected, TRACEPARENT};
use media::time::EpochMs;

use crate::Writer;
use crate::event::{Event, Telemetry as _};
use crate::ports::{self, Clock as _, Parked, ParkedNote, Ports, Queue as _, Store as _};

/// Why messages are parked; every variant is a row of SPECIFICATION.md's table of failures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the Sessions table does not know the session")]
    SessionUnknown,
    #[error("the session ended before this was captured")]
    SessionEnded,
    #[error("the session went past this chunk so long ago that its place is no longer known")]
    NoPlace,
    #[error("{0}")]
    Service(ServiceFailure),
    #[error("the session's stream has failed since {}, and this has waited its time", since.0)]
    StreamFailing { since: EpochMs },
    #[error("the batch that this belongs to was parked")]
    BatchParked,
    #[error("{attempts} workers ended without finishing this batch")]
    Crashed { attempts: u32 },
}

impl Reason {
    /// Every code but those of refused messages and chunks, and of service failures.
    pub(crate) const CODES: [&'static str; 6] =
        ["SESSION_UNKNOWN", "SESSION_ENDED", "NO_PLACE", "STREAM_FAILING", "BATCH_PARKED", "CRASHED"];

    pub(crate) fn code(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.code().into(),
            Self::SessionUnknown => "SESSION_UNKNOWN".into(),
            Self::SessionEnded => "SESSION_ENDED".into(),
            Self::NoPlace => "NO_PLACE".into(),
            Self::Service(failure) => failure.reason(),
            Self::StreamFailing { .. } => "STREAM_FAILING".into(),
            Self::BatchParked => "BATCH_PARKED".into(),
            Self::Crashed { .. } => "CRASHED".into(),
        }
    }

    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::Message(_)) => "message",
            Self::Refused(Refusal::Audio(_) | Refusal::TooLong { .. }) => "audio",
            Self::SessionUnknown | Self::SessionEnded | Self::NoPlace => "session",
            Self::Service(failure) => failure.class().as_str(),
            Self::StreamFailing { .. } | Self::BatchParked | Self::Crashed { .. } => "passing",
        }
    }
}

/// The trace context goes with the copy, so that a redriven chunk is still found under it.
fn trace(record: &Record) -> Vec<(&'static str, String)> {
    record.traceparent().map(|context| (TRACEPARENT, context.to_owned())).into_iter().collect()
}

/// A parked chunk's place in its session, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    index: u64,
    captured_at: EpochMs,
    numbering: Option<u32>,
}

impl Place {
    pub(crate) fn of(piece: &Piece) -> Self {
        Self { index: piece.index, captured_at: piece.captured_at, numbering: Some(piece.numbering) }
    }
}

/// A set of messages parked for one reason.
pub(crate) struct Parking<'a> {
    pub(crate) session_id: &'a str,
    /// Records with their chunks' places, where known.
    pub(crate) records: Vec<(&'a Record, Option<Place>)>,
    pub(crate) reason: Reason,
    pub(crate) attempts: u32,
    pub(crate) first_failure_at: EpochMs,
}

impl Parking<'_> {
    /// First and last chunkIndex, where known.
    fn chunks(&self) -> Option<(u64, u64)> {
        let indices = || self.records.iter().filter_map(|(_, place)| Some(place.as_ref()?.index));
        indices().min().zip(indices().max())
    }
}

impl<P: Ports> Writer<P> {
    /// Parks what could not even be understood; what fails to park stays in the queue.
    pub(crate) async fn park_refused(&self, refused: Vec<Rejected>, settled: &Mutex<Settled>) {
        for rejected in &refused {
            let place = |(index, captured_at)| Place { index, captured_at, numbering: None };
            let parking = Parking {
                session_id: &rejected.record.group_id,
                records: vec![(&rejected.record, rejected.chunk.map(place))],
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
        self.note(&parking).await;
        let mut settled = crate::lock(settled);
        parking.records.iter().for_each(|(record, _)| settled.settle(&record.message_id));
        drop(settled);
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
        let note = |(record, place): &(&Record, Option<Place>)| ParkedNote {
            message_id: record.message_id.clone(),
            chunk_index: place.map(|place| place.index),
            captured_at: place.map(|place| place.captured_at),
            numbering: place.and_then(|place| place.numbering),
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
            Reason::StreamFailing { since },
            Reason::BatchParked,
            Reason::Crashed { attempts: 4 },
        ];
        for reason in &reasons {
            match reason {
                Reason::Refused(_) | Reason::Service(_) => unreachable!("their codes are listed elsewhere"),
                // A reason that is new belongs into the list above, too.
                Reason::SessionUnknown
                | Reason::SessionEnded
                | Reason::NoPlace
                | Reason::StreamFailing { .. }
                | Reason::BatchParked
                | Reason::Crashed { .. } => {}
            }
        }
        assert_eq!(reasons.map(|reason| reason.code()), Reason::CODES);
    }
}
