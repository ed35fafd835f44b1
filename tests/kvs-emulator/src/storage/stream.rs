//! One stream: what it is, what it holds, who is connected to it.

use super::StoredFragment;
use crate::operation::Operation;
use crate::rules::quota::{Pace, Rate};
use crate::rules::stream::{Life, Status};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What CreateStream asks for, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewStream {
    /// Name.
    pub name: String,
    /// Hours; 0 keeps media for five minutes only and never answers PERSISTED.
    pub retention_hours: u64,
    /// MediaType.
    pub media_type: Option<String>,
    /// DeviceName.
    pub device_name: Option<String>,
    /// KmsKeyId; `None` is the service's own key.
    pub kms_key: Option<String>,
    /// DefaultStorageTier: HOT or WARM.
    pub storage_tier: String,
    /// Stream tags.
    pub tags: BTreeMap<String, String>,
}

/// One stream.
pub struct Stream {
    /// What was asked for, and changed since.
    pub is: NewStream,
    /// Its ARN.
    pub arn: String,
    /// States and times.
    pub life: Life,
    /// Changes with every update.
    pub version: u64,
    /// By number.
    pub fragments: BTreeMap<String, Arc<StoredFragment>>,
    /// Bytes of all frames in `fragments`.
    pub bytes: u64,
    /// PutMedia connections by number.
    pub putting: BTreeSet<u64>,
    /// A cut connection's slot is free again from then on.
    pub free_from_ms: u64,
    /// GetMedia connections.
    pub getting: usize,
    /// GetMediaForFragmentList connections.
    pub listing: usize,
    /// The last fragment number given, as a counter.
    pub(super) last_number: u64,
    put_bytes: Pace,
    put_fragments: Pace,
    rates: HashMap<Operation, Rate>,
}

const HOUR_MS: u64 = 3_600_000;
/// Without retention the service still holds a buffer for readers.
const BUFFER_MS: u64 = 300_000;

impl Stream {
    pub(super) fn new(is: NewStream, arn: String, life: Life) -> Self {
        Self {
            is,
            arn,
            life,
            version: 1,
            fragments: BTreeMap::new(),
            bytes: 0,
            putting: BTreeSet::new(),
            free_from_ms: 0,
            getting: 0,
            listing: 0,
            last_number: 0,
            put_bytes: Pace::default(),
            put_fragments: Pace::default(),
            rates: HashMap::new(),
        }
    }

    /// Spends `points` of `operation`'s rate on this stream.
    pub fn spend(&mut self, operation: Operation, per_second: u64, points: u64, now_ms: u64) -> bool {
        self.rates.entry(operation).or_insert_with(|| Rate::new(per_second)).spend(points, now_ms)
    }

    /// Takes media in; gives how many milliseconds its producer has to wait.
    pub fn pace(
        &mut self,
        bytes: u64,
        bytes_per_second: u64,
        fragments: u64,
        per_second: u64,
        now_ms: u64,
    ) -> u64 {
        let for_bytes = self.put_bytes.take(bytes, bytes_per_second, now_ms);
        for_bytes.max(self.put_fragments.take(fragments, per_second, now_ms))
    }

    /// True if media is taken at `now_ms`.
    pub fn takes_media(&self, now_ms: u64) -> bool {
        matches!(self.life.status(now_ms), Some(Status::Active | Status::Updating))
    }

    /// True if it can be changed or deleted.
    pub fn is_active(&self, now_ms: u64) -> bool {
        self.life.status(now_ms) == Some(Status::Active)
    }

    /// Version as the API shows it: 20 letters and digits.
    pub fn version_text(&self) -> String {
        format!("{:020}", self.version)
    }

    /// Counts a change that takes until `updated_ms`.
    pub fn updated(&mut self, updated_ms: u64) {
        self.version += 1;
        self.life.updated_ms = updated_ms;
    }

    pub(super) fn insert(&mut self, fragment: Arc<StoredFragment>) {
        self.bytes += fragment.size_bytes;
        self.fragments.insert(fragment.number.clone(), fragment);
    }

    /// True if everything before `end_ms` has outlived the retention; never without one, which has no archive.
    pub fn outlives(&self, end_ms: u64, now_ms: u64) -> bool {
        let keep_ms = self.is.retention_hours * HOUR_MS;
        keep_ms > 0 && end_ms.saturating_add(keep_ms) < now_ms
    }

    /// Takes out the oldest fragment if it has outlived the retention, or the buffer of a stream without one.
    pub(super) fn pop_expired(&mut self, now_ms: u64, buffer_bytes_max: u64) -> Option<Arc<StoredFragment>> {
        let hours = self.is.retention_hours;
        let keep_ms = if hours == 0 { BUFFER_MS } else { hours * HOUR_MS };
        let (_, oldest) = self.fragments.first_key_value()?;
        let aged = oldest.server_timestamp_ms.saturating_add(keep_ms) <= now_ms;
        if !aged && (hours > 0 || self.bytes <= buffer_bytes_max) {
            return None;
        }
        let (_, oldest) = self.fragments.pop_first()?;
        self.bytes -= oldest.size_bytes;
        Some(oldest)
    }
}
