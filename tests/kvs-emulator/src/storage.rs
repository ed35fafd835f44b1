//! Streams and fragments in memory: retention honoured, size bounded, nothing dropped before its time.

use crate::config::{Config, Limits};
use crate::error::ApiError;
use crate::operation::Operation;
use crate::rules::document::Block;
use crate::rules::fragment::Fragment;
use crate::rules::quota::Rate;
use crate::rules::stream::{self, Life, Status};
use crate::rules::tracks::Header;
use bytes::Bytes;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// A fragment as the service keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredFragment {
    /// 47 digits, growing in the order of arrival.
    pub number: String,
    /// The producer's time of its Cluster, milliseconds since 1970.
    pub producer_timestamp_ms: u64,
    /// When the service had all of it, milliseconds since 1970.
    pub server_timestamp_ms: u64,
    /// From the first to the last block's time (FragmentLengthInMilliseconds).
    pub length_ms: u64,
    /// From the first block's time to the end of the last one's PCM; `length_ms` for other codecs.
    pub media_ms: u64,
    /// Bytes of all frames.
    pub size_bytes: u64,
    /// The producer's tags in their order.
    pub tags: Vec<(String, String)>,
    /// Tracks and timebase.
    pub header: Arc<Header>,
    /// The Cluster's Timestamp as it was sent, in ticks.
    pub cluster_ticks: u64,
    /// The frames.
    pub blocks: Vec<Block>,
    /// Which PutMedia connection brought it, counted from 1 for the whole emulator.
    pub connection: u64,
    /// When ListFragments begins to show it.
    pub listed_from_ms: u64,
}

impl StoredFragment {
    /// The frames of one track, one after the other: for PCM, its samples.
    pub fn payload(&self, track: u64) -> Vec<u8> {
        let frames = self.blocks.iter().filter(|block| block.track == track);
        frames.flat_map(|block| block.data.iter().copied()).collect()
    }

    /// The value of a producer's tag.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// One stream.
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// States and times.
    pub life: Life,
    /// 0 keeps media for five minutes only and never answers PERSISTED.
    pub retention_hours: u64,
    /// As given.
    pub media_type: Option<String>,
    /// As given.
    pub device_name: Option<String>,
    /// As given, or the service's own key.
    pub kms_key: Option<String>,
    /// Stream tags.
    pub tags: BTreeMap<String, String>,
    /// Changes with every update.
    pub version: u64,
    /// By number.
    pub fragments: BTreeMap<String, Arc<StoredFragment>>,
    /// The one PutMedia connection, and until when it blocks others after a cut.
    pub putting: Option<u64>,
    /// A cut connection's slot is free again from then on.
    pub free_from_ms: u64,
    /// GetMedia connections.
    pub getting: usize,
    /// GetMediaForFragmentList connections.
    pub listing: usize,
    next_number: u64,
    rates: HashMap<Operation, Rate>,
}

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

/// The account.
pub struct Store {
    streams: BTreeMap<String, Stream>,
    change_rates: HashMap<Operation, Rate>,
    limits: Limits,
    next_connection: u64,
    /// Counters.
    pub stats: Stats,
}

const HOUR_MS: u64 = 3_600_000;
/// Without retention the service still holds a buffer for readers.
const BUFFER_MS: u64 = 300_000;

impl Store {
    /// An empty account.
    pub fn new(limits: Limits) -> Self {
        let stats = Stats::default();
        Self { streams: BTreeMap::new(), change_rates: HashMap::new(), limits, next_connection: 0, stats }
    }

    /// Drops what is gone at `now_ms`: deleted streams and expired fragments of `name`.
    fn settle(&mut self, name: &str, now_ms: u64) {
        let Some(stream) = self.streams.get_mut(name) else { return };
        if stream.life.status(now_ms).is_none() {
            self.streams.remove(name);
            return;
        }
        let keep_ms = if stream.retention_hours == 0 { BUFFER_MS } else { stream.retention_hours * HOUR_MS };
        let stats = &mut self.stats;
        stream.fragments.retain(|_, fragment| {
            let keep = fragment.server_timestamp_ms.saturating_add(keep_ms) > now_ms;
            if !keep {
                stats.fragments_expired += 1;
                stats.stored_bytes -= fragment.size_bytes;
            }
            keep
        });
    }

    /// A stream of any state.
    ///
    /// # Errors
    /// ResourceNotFoundException.
    pub fn stream(&mut self, name: &str, now_ms: u64) -> Result<&mut Stream, ApiError> {
        self.settle(name, now_ms);
        self.streams.get_mut(name).ok_or_else(|| ApiError::not_found(name))
    }

    /// Spends one call of `operation` on a stream and in the account.
    ///
    /// # Errors
    /// ClientLimitExceededException, ResourceNotFoundException.
    pub fn spend(&mut self, operation: Operation, name: Option<&str>, now_ms: u64) -> Result<(), ApiError> {
        if !self.limits.rates {
            return Ok(());
        }
        let account = match operation {
            Operation::DescribeStream | Operation::GetDataEndpoint => Some(self.limits.describe_per_second),
            op if op.is_media() => None,
            _ => Some(self.limits.change_per_second),
        };
        let per_stream = self.limits.stream_per_second;
        if let Some(name) = name
            && !matches!(operation, Operation::ListFragments | Operation::GetMediaForFragmentList)
            && let Ok(stream) = self.stream(name, now_ms)
            && !stream.spend(operation, per_stream, 1, now_ms)
        {
            return Err(ApiError::throttled(operation, Some(name), per_stream));
        }
        if let Some(limit) = account {
            let rate = self.change_rates.entry(operation).or_insert_with(|| Rate::new(limit));
            if !rate.spend(1, now_ms) {
                return Err(ApiError::throttled(operation, None, limit));
            }
        }
        Ok(())
    }

    /// Adds a stream.
    ///
    /// # Errors
    /// ResourceInUseException, AccountStreamLimitExceededException.
    pub fn create(&mut self, new: NewStream, config: &Config, now_ms: u64) -> Result<&Stream, ApiError> {
        self.settle(&new.name, now_ms);
        if self.streams.contains_key(&new.name) {
            return Err(ApiError::in_use(format!("The stream {} already exists.", new.name)));
        }
        let streams_max = self.limits.streams_max;
        if self.streams.len() >= streams_max {
            self.streams.retain(|_, stream| stream.life.status(now_ms).is_some());
        }
        if self.streams.len() >= streams_max {
            return Err(ApiError::stream_limit(streams_max));
        }
        let arn = stream::arn(&config.region, &config.account, &new.name, now_ms);
        let active_ms = now_ms + config.create_ms;
        let life = Life { created_ms: now_ms, active_ms, updated_ms: 0, gone_ms: None };
        Ok(self.streams.entry(new.name.clone()).or_insert(Stream::new(new, arn, life)))
    }

    /// Ends a stream: its media cannot be read from now on, its name is free at `gone_ms`.
    ///
    /// # Errors
    /// ResourceNotFoundException.
    pub fn delete(&mut self, name: &str, gone_ms: u64, now_ms: u64) -> Result<(), ApiError> {
        let stream = self.stream(name, now_ms)?;
        stream.life.gone_ms = Some(gone_ms);
        let freed: u64 = stream.fragments.values().map(|fragment| fragment.size_bytes).sum();
        stream.fragments.clear();
        self.stats.stored_bytes -= freed;
        Ok(())
    }

    /// The names at `now_ms`, sorted.
    pub fn names(&self, now_ms: u64) -> Vec<String> {
        let alive = self.streams.values().filter(|stream| stream.life.status(now_ms).is_some());
        alive.map(|stream| stream.name.clone()).collect()
    }

    /// Takes the stream's one PutMedia connection and gives it a number.
    ///
    /// # Errors
    /// ConnectionLimitExceededException, ResourceNotFoundException.
    pub fn begin_put(&mut self, name: &str, now_ms: u64) -> Result<u64, ApiError> {
        let connection = self.next_connection + 1;
        let stream = self.stream(name, now_ms)?;
        if stream.putting.is_some() || now_ms < stream.free_from_ms {
            return Err(ApiError::connection_limit(Operation::PutMedia, name, 1));
        }
        stream.putting = Some(connection);
        self.next_connection = connection;
        self.stats.put_connections += 1;
        Ok(connection)
    }

    /// Gives the PutMedia connection back; others are refused until `free_from_ms`.
    pub fn end_put(&mut self, name: &str, connection: u64, free_from_ms: u64) {
        if let Some(stream) = self.streams.get_mut(name)
            && stream.putting == Some(connection)
        {
            stream.putting = None;
            stream.free_from_ms = free_from_ms;
        }
    }

    /// The next fragment number of a stream; `None` if the stream is gone or no longer the one `connection` began on.
    pub fn next_number(&mut self, name: &str, connection: u64, now_ms: u64) -> Option<String> {
        let stream = self.stream(name, now_ms).ok()?;
        if stream.putting != Some(connection) || stream.life.gone_ms.is_some() {
            return None;
        }
        stream.next_number += 1;
        Some(stream::fragment_number(stream.life.created_ms, stream.next_number))
    }

    /// Keeps a fragment.
    ///
    /// # Errors
    /// The stream is gone, or the memory is full.
    pub fn keep(&mut self, arn: &str, fragment: StoredFragment, now_ms: u64) -> Result<(), KeepError> {
        let name = stream::arn_name(arn).ok_or(KeepError::Gone)?;
        let minimum_ms = fragment.media_ms;
        let size_bytes = fragment.size_bytes;
        let room = self.limits.stored_bytes_max.saturating_sub(self.stats.stored_bytes);
        let stream = self.stream(name, now_ms).map_err(|_| KeepError::Gone)?;
        if stream.arn != arn || stream.life.gone_ms.is_some() {
            return Err(KeepError::Gone);
        }
        if size_bytes > room {
            return Err(KeepError::Full);
        }
        let overlaps = stream.fragments.values().any(|other| overlap(other, &fragment));
        stream.fragments.insert(fragment.number.clone(), Arc::new(fragment));
        self.stats.stored_bytes += size_bytes;
        self.stats.fragments_stored += 1;
        self.stats.fragments_overlapping += u64::from(overlaps);
        self.stats.fragments_under_minimum += u64::from(minimum_ms < 1000);
        Ok(())
    }
}

/// Why a fragment is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepError {
    /// The stream was deleted.
    Gone,
    /// `stored_bytes_max` is reached.
    Full,
}

fn overlap(a: &StoredFragment, b: &StoredFragment) -> bool {
    a.producer_timestamp_ms < b.producer_timestamp_ms + b.media_ms.max(1)
        && b.producer_timestamp_ms < a.producer_timestamp_ms + a.media_ms.max(1)
}

/// What CreateStream asks for, checked.
pub struct NewStream {
    /// Name.
    pub name: String,
    /// Hours.
    pub retention_hours: u64,
    /// MediaType.
    pub media_type: Option<String>,
    /// DeviceName.
    pub device_name: Option<String>,
    /// KmsKeyId.
    pub kms_key: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

impl Stream {
    fn new(new: NewStream, arn: String, life: Life) -> Self {
        Self {
            name: new.name,
            arn,
            life,
            retention_hours: new.retention_hours,
            media_type: new.media_type,
            device_name: new.device_name,
            kms_key: new.kms_key,
            tags: new.tags,
            version: 1,
            fragments: BTreeMap::new(),
            putting: None,
            free_from_ms: 0,
            getting: 0,
            listing: 0,
            next_number: 0,
            rates: HashMap::new(),
        }
    }

    /// Spends `points` of `operation`'s rate on this stream.
    pub fn spend(&mut self, operation: Operation, per_second: u64, points: u64, now_ms: u64) -> bool {
        self.rates.entry(operation).or_insert_with(|| Rate::new(per_second)).spend(points, now_ms)
    }

    /// True if media is taken at `now_ms`.
    pub fn takes_media(&self, now_ms: u64) -> bool {
        matches!(self.life.status(now_ms), Some(Status::Active | Status::Updating))
    }

    /// Version as the API shows it: 20 letters and digits.
    pub fn version_text(&self) -> String {
        format!("{:020}", self.version)
    }
}

impl StoredFragment {
    /// A fragment that arrived whole at `now_ms`.
    pub fn new(fragment: Fragment, number: String, connection: u64, now_ms: u64) -> Self {
        Self {
            number,
            // The rules refuse times before 2000 unless told otherwise; earlier than 1970 has no form on the wire.
            producer_timestamp_ms: u64::try_from(fragment.producer_ms).unwrap_or(0),
            server_timestamp_ms: now_ms,
            length_ms: fragment.length_ms,
            media_ms: fragment.media_ms,
            size_bytes: fragment.bytes,
            tags: fragment.tags,
            header: fragment.header,
            cluster_ticks: fragment.cluster_ticks,
            blocks: compact(fragment.blocks),
            connection,
            listed_from_ms: now_ms,
        }
    }
}

/// Copies the frames out of the network buffers they came in, which would live as long as they.
fn compact(blocks: Vec<Block>) -> Vec<Block> {
    let data = |block: &Block| Bytes::copy_from_slice(&block.data);
    blocks.into_iter().map(|block| Block { data: data(&block), ..block }).collect()
}
