//! Counters for people and tests.

use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// Counters for people and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Requests by operation.
    pub requests: BTreeMap<String, u64>,
    /// HTTP errors by type.
    pub errors: BTreeMap<String, u64>,
    /// ERROR acks by code.
    pub error_acks: BTreeMap<String, u64>,
    /// PutMedia connections taken.
    pub put_connections: u64,
    /// Fragments stored.
    pub fragments_stored: u64,
    /// Fragments that lasted less than the minimum of one second.
    pub fragments_under_minimum: u64,
    /// Fragments that lay, when stored, over the time of another of their stream.
    pub fragments_overlapping: u64,
    /// Fragments that outlived their retention.
    pub fragments_expired: u64,
    /// Bytes of frames held now.
    pub stored_bytes: u64,
    /// The latest refusals of PutMedia, with the reason that an ack has no room for.
    pub refusals: VecDeque<RefusalNote>,
}

/// Why PutMedia refused a fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusalNote {
    /// The stream.
    pub stream: String,
    /// ErrorCode.
    pub code: String,
    /// For people.
    pub why: String,
}

const REFUSALS_MAX: usize = 32;

impl Stats {
    /// Remembers a refusal, and forgets the oldest beyond a few.
    pub(crate) fn note_refusal(&mut self, stream: &str, code: &str, why: &str) {
        if self.refusals.len() >= REFUSALS_MAX {
            self.refusals.pop_front();
        }
        let (stream, code, why) = (stream.to_owned(), code.to_owned(), why.to_owned());
        self.refusals.push_back(RefusalNote { stream, code, why });
    }
}
