//! Streams and fragments: retention honoured, size bounded, nothing dropped before its time.

mod disk;
mod fragment;
mod record;
mod stats;
mod stream;

pub use disk::DiskError;
pub(crate) use disk::{Disk, Saved};
pub use fragment::StoredFragment;
pub use stats::{RefusalNote, Stats};
pub use stream::{NewStream, Stream};

use crate::config::{Config, Limits};
use crate::error::ApiError;
use crate::operation::Operation;
use crate::rules::fragment::Behind;
use crate::rules::quota::Rate;
use crate::rules::stream::{Life, arn as stream_arn, arn_name, fragment_number};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The account.
pub struct Store {
    streams: BTreeMap<String, Stream>,
    account_rates: HashMap<Operation, Rate>,
    limits: Limits,
    next_connection: u64,
    disk: Disk,
    /// Counters.
    pub stats: Stats,
}

impl Store {
    /// An account with what `saved` brings; changes are written to `disk`.
    pub fn new(limits: Limits, disk: Disk, saved: Saved) -> Self {
        let mut stats = Stats::default();
        let mut next_connection = 0;
        let mut streams = BTreeMap::new();
        for stream in saved.streams {
            stats.stored_bytes += stream.bytes;
            let connections = stream.fragments.values().map(|fragment| fragment.connection);
            next_connection = next_connection.max(connections.max().unwrap_or(0));
            streams.insert(stream.is.name.clone(), stream);
        }
        Self { streams, account_rates: HashMap::new(), limits, next_connection, disk, stats }
    }

    /// Drops what is gone at `now_ms`: the deleted stream `name`, or its expired fragments.
    fn settle(&mut self, name: &str, now_ms: u64) {
        let Some(stream) = self.streams.get_mut(name) else { return };
        if stream.life.status(now_ms).is_none() {
            self.disk.forget(stream);
            self.streams.remove(name);
            return;
        }
        while let Some(expired) = stream.pop_expired(now_ms, self.limits.buffer_bytes_max) {
            self.stats.fragments_expired += 1;
            self.stats.stored_bytes -= expired.size_bytes;
            self.disk.expire(&stream.arn, &expired.number);
        }
    }

    /// Drops what is gone at `now_ms`, everywhere.
    pub fn settle_all(&mut self, now_ms: u64) {
        let names: Vec<String> = self.streams.keys().cloned().collect();
        names.iter().for_each(|name| self.settle(name, now_ms));
    }

    /// A stream of any state.
    ///
    /// # Errors
    /// ResourceNotFoundException.
    pub fn stream(&mut self, name: &str, now_ms: u64) -> Result<&mut Stream, ApiError> {
        self.settle(name, now_ms);
        self.streams.get_mut(name).ok_or_else(ApiError::not_found)
    }

    /// Writes down that a stream was changed.
    pub fn changed(&mut self, name: &str) {
        if let Some(stream) = self.streams.get(name) {
            self.disk.save(stream);
        }
    }

    /// Spends one call of `operation` on a stream and in the account.
    ///
    /// # Errors
    /// ClientLimitExceededException.
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
            let rate = self.account_rates.entry(operation).or_insert_with(|| Rate::new(limit));
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
            self.settle_all(now_ms);
        }
        if self.streams.len() >= streams_max {
            return Err(ApiError::stream_limit(streams_max));
        }
        let arn = stream_arn(&config.region, &config.account, &new.name, now_ms);
        let active_ms = now_ms + config.create_ms;
        let life = Life { created_ms: now_ms, active_ms, updated_ms: 0, gone_ms: None };
        let stream = self.streams.entry(new.name.clone()).or_insert(Stream::new(new, arn, life));
        self.disk.save(stream);
        Ok(stream)
    }

    /// Ends a stream: its media cannot be read from now on, its name is free at `gone_ms`.
    ///
    /// # Errors
    /// ResourceNotFoundException.
    pub fn delete(&mut self, name: &str, gone_ms: u64, now_ms: u64) -> Result<(), ApiError> {
        let stream = self.stream(name, now_ms)?;
        stream.life.gone_ms = Some(gone_ms);
        stream.fragments.clear();
        let freed = std::mem::take(&mut stream.bytes);
        self.stats.stored_bytes -= freed;
        if let Some(stream) = self.streams.get(name) {
            self.disk.forget(stream);
            self.disk.save(stream);
        }
        Ok(())
    }

    /// The names at `now_ms`, sorted.
    pub fn names(&self, now_ms: u64) -> Vec<String> {
        let alive = self.streams.values().filter(|stream| stream.life.status(now_ms).is_some());
        alive.map(|stream| stream.is.name.clone()).collect()
    }

    /// Takes one of the stream's PutMedia connections and gives it a number.
    ///
    /// # Errors
    /// ConnectionLimitExceededException, ResourceNotFoundException.
    pub fn begin_put(&mut self, name: &str, now_ms: u64) -> Result<u64, ApiError> {
        let (connection, max) = (self.next_connection + 1, self.limits.put_media_connections);
        let stream = self.stream(name, now_ms)?;
        let blocked = usize::from(now_ms < stream.free_from_ms);
        if stream.putting.len() + blocked >= max {
            return Err(ApiError::connection_limit(Operation::PutMedia, name, max));
        }
        stream.putting.insert(connection);
        self.next_connection = connection;
        self.stats.put_connections += 1;
        Ok(connection)
    }

    /// Gives a PutMedia connection back; others are refused until `free_from_ms`.
    pub fn end_put(&mut self, name: &str, connection: u64, free_from_ms: u64) {
        if let Some(stream) = self.streams.get_mut(name)
            && stream.putting.remove(&connection)
        {
            stream.free_from_ms = stream.free_from_ms.max(free_from_ms);
        }
    }

    /// The next fragment number of a stream; `None` if the stream is gone or no longer the one `connection` began on.
    pub fn next_number(&mut self, name: &str, connection: u64, now_ms: u64) -> Option<String> {
        let stream = self.stream(name, now_ms).ok()?;
        if !stream.putting.contains(&connection) || stream.life.gone_ms.is_some() {
            return None;
        }
        stream.last_number += 1;
        Some(fragment_number(stream.life.created_ms, stream.last_number))
    }

    /// Milliseconds that a producer has to wait for what it has sent.
    pub fn pace(&mut self, name: &str, bytes: u64, fragments: u64, now_ms: u64) -> u64 {
        let Limits { rates, put_bytes_per_second, fragments_per_second, .. } = self.limits;
        let stream = self.streams.get_mut(name).filter(|_| rates);
        stream.map_or(0, |s| s.pace(bytes, put_bytes_per_second, fragments, fragments_per_second, now_ms))
    }

    /// Whether a fragment may be kept, before it is written to disk.
    ///
    /// # Errors
    /// The stream is gone, or the memory is full.
    pub fn admit(&mut self, arn: &str, size_bytes: u64, now_ms: u64) -> Result<(), KeepError> {
        let name = arn_name(arn).ok_or(KeepError::Gone)?;
        let stream = self.stream(name, now_ms).map_err(|_| KeepError::Gone)?;
        if stream.arn != arn || stream.life.gone_ms.is_some() {
            return Err(KeepError::Gone);
        }
        let full = |store: &Self| {
            size_bytes > store.limits.stored_bytes_max.saturating_sub(store.stats.stored_bytes)
        };
        if full(self) {
            self.settle_all(now_ms);
        }
        if full(self) { Err(KeepError::Full) } else { Ok(()) }
    }

    /// Adds what came behind a fragment that is kept already; gives the fragment as it is now.
    pub fn add_behind(&mut self, arn: &str, number: &str, behind: Behind) -> Option<Arc<StoredFragment>> {
        let stream = self.streams.get_mut(arn_name(arn)?).filter(|stream| stream.arn == arn)?;
        let fragment = Arc::make_mut(stream.fragments.get_mut(number)?);
        let before = fragment.size_bytes;
        fragment.add(behind);
        let grown = fragment.size_bytes - before;
        stream.bytes += grown;
        self.stats.stored_bytes += grown;
        stream.fragments.get(number).cloned()
    }

    /// Keeps a fragment.
    ///
    /// # Errors
    /// The stream is gone, or the memory is full.
    pub fn keep(&mut self, arn: &str, fragment: Arc<StoredFragment>, now_ms: u64) -> Result<(), KeepError> {
        self.admit(arn, fragment.size_bytes, now_ms)?;
        let name = arn_name(arn).ok_or(KeepError::Gone)?;
        let stream = self.streams.get_mut(name).ok_or(KeepError::Gone)?;
        let overlaps = stream.fragments.values().any(|other| other.overlaps(&fragment));
        self.stats.stored_bytes += fragment.size_bytes;
        self.stats.fragments_stored += 1;
        self.stats.fragments_overlapping += u64::from(overlaps);
        self.stats.fragments_under_minimum += u64::from(fragment.media_ms < 1000);
        stream.insert(fragment);
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
    /// The disk did not take it.
    Disk,
}
