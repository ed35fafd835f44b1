//! Kinesis Video Streams: one PutMedia connection per stream, fragments with their producer timestamps, a
//! ListFragments that lags behind (aws-facts 0-B, 1, 3.3).

use std::collections::BTreeMap;

use ingest::failure::ServiceFailure;
use media::fragment::read::{ReadFragment, read_fragments};
use media::time::EpochMs;
use writer::ports::Found;

/// How far ahead of the service's clock a producer timestamp may be. (The real tolerance is not published.)
const FUTURE_MS: u64 = 0;
/// Kinesis Video's longest fragment.
const MAX_DURATION_MS: u64 = 20_000;

/// A persisted fragment.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// `FragmentNumber`.
    pub number: u64,
    /// Producer timestamp.
    pub at: EpochMs,
    /// When it was persisted.
    pub stored_ms: u64,
    /// From when ListFragments shows it.
    pub listed_ms: u64,
    /// What was written.
    pub media: ReadFragment,
}

/// One session's stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// In the order of ingestion.
    pub fragments: Vec<Fragment>,
    /// When PutMedia was first called for a producer timestamp.
    pub first_tried_ms: BTreeMap<EpochMs, u64>,
    connected_until_ms: u64,
}

/// All streams, by session.
#[derive(Debug, Default)]
pub struct Streams {
    /// By sessionId.
    pub by_session: BTreeMap<String, Stream>,
    numbers: u64,
}

impl Streams {
    /// Notes that PutMedia is called.
    pub fn note_try(&mut self, session: &str, at: EpochMs, now_ms: u64) {
        let stream = self.by_session.entry(session.to_owned()).or_default();
        stream.first_tried_ms.entry(at).or_insert(now_ms);
    }

    /// Opens the one connection until `until_ms`.
    ///
    /// # Errors
    /// ConnectionLimitExceededException while another one is open.
    pub fn connect(&mut self, session: &str, now_ms: u64, until_ms: u64) -> Result<(), ServiceFailure> {
        let stream = self.by_session.entry(session.to_owned()).or_default();
        if stream.connected_until_ms > now_ms {
            return Err(ServiceFailure::Service {
                operation: "PutMedia".into(),
                status: 400,
                code: "ConnectionLimitExceededException".into(),
                message: "one connection per stream".into(),
            });
        }
        stream.connected_until_ms = until_ms;
        Ok(())
    }

    /// The connection is gone at `until_ms`.
    pub fn disconnect(&mut self, session: &str, until_ms: u64) {
        self.by_session.entry(session.to_owned()).or_default().connected_until_ms = until_ms;
    }

    /// Checks a fragment as the service does.
    ///
    /// # Errors
    /// The ERROR acknowledgement that the service sends.
    pub fn check(fragment: &[u8], at: EpochMs, now_ms: u64) -> Result<ReadFragment, ServiceFailure> {
        let refuse = |id: u32, code: &str| Err(ServiceFailure::Ack { id, code: code.into() });
        let Ok(mut clusters) = read_fragments(fragment) else {
            return refuse(4006, "INVALID_MKV_DATA");
        };
        let Some(media) = clusters.pop().filter(|_| clusters.is_empty()) else {
            return refuse(4006, "INVALID_MKV_DATA");
        };
        let end = media.blocks.iter().map(|(at, pcm)| at.0 + pcm.len() as u64 / 32).max();
        match end {
            None => refuse(4006, "INVALID_MKV_DATA"),
            Some(end) if end - media.cluster_ms.0 > MAX_DURATION_MS => {
                refuse(4002, "MAX_FRAGMENT_DURATION_REACHED")
            }
            Some(_) if media.cluster_ms != at || at.0 > now_ms + FUTURE_MS => {
                refuse(4007, "INVALID_PRODUCER_TIMESTAMP")
            }
            Some(_) => Ok(media),
        }
    }

    /// Persists a fragment; returns its number.
    pub fn persist(&mut self, session: &str, media: ReadFragment, now_ms: u64, listed_ms: u64) -> u64 {
        self.numbers += 1;
        let fragment =
            Fragment { number: self.numbers, at: media.cluster_ms, stored_ms: now_ms, listed_ms, media };
        self.by_session.entry(session.to_owned()).or_default().fragments.push(fragment);
        self.numbers
    }

    /// ListFragments for exactly this producer timestamp.
    pub fn find(&self, session: &str, at: EpochMs, now_ms: u64) -> Vec<Found> {
        let stored = self.by_session.get(session).map_or(&[][..], |stream| &stream.fragments);
        stored.iter().filter(|f| f.at == at && f.listed_ms <= now_ms).map(found).collect()
    }
}

/// The service counts a fragment's length to the beginning of its last block.
fn found(fragment: &Fragment) -> Found {
    let blocks = &fragment.media.blocks;
    let last = blocks.iter().map(|(at, _)| at.0).max().unwrap_or_default();
    Found {
        fragment_number: fragment.number.to_string(),
        bytes: blocks.iter().map(|(_, pcm)| pcm.len() as u64).sum(),
        length_ms: last.saturating_sub(fragment.at.0),
    }
}
