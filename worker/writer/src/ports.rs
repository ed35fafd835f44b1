//! What the writer needs from the world: one small trait per ability, without AWS types.
//!
//! Each method says what the caller must do and which failures count as success. Adapters do not retry what the
//! writer retries: the writer repeats a call that fails with a passing [`ServiceFailure`].

use std::future::Future;

use ingest::failure::ServiceFailure;
use ingest::message::SessionId;
use media::time::EpochMs;

use crate::event::Telemetry;

/// A failed port call.
pub type Result<T> = std::result::Result<T, ServiceFailure>;

/// The chunk queue and its DLQ.
pub trait Queue: Send + Sync {
    /// Hides all of these deliveries for `seconds` from now (0: at once visible again), in one
    /// ChangeMessageVisibilityBatch of at most 10. A handle that is no longer in flight counts as success:
    /// the message then belongs to another delivery.
    fn hide(&self, receipt_handles: &[String], seconds: u32) -> impl Future<Output = Result<()>> + Send;

    /// Deletes these deliveries, whose messages are settled, before the invocation's answer does. At most 10 handles; one
    /// that is no longer in flight counts as success.
    fn delete(&self, receipt_handles: &[String]) -> impl Future<Output = Result<()>> + Send;

    /// Puts copies into the DLQ, in order, group and body kept. Returns only when the DLQ has all of them.
    /// Sending the same message again within five minutes adds no second copy (deduplication id = message id).
    fn park(&self, messages: &[Parked]) -> impl Future<Output = Result<()>> + Send;
}

/// A message on its way to the DLQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The original message id: names the copy's deduplication id.
    pub message_id: String,
    /// `MessageGroupId`, unchanged.
    pub group_id: String,
    /// Body, unchanged.
    pub body: String,
    /// Reason, class, message, attempts, first failure time, chunk range, worker version, trace context (name, value).
    pub attributes: Vec<(&'static str, String)>,
}

/// A stored item with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The value, as `ingest::checkpoint` encoded it.
    pub bytes: Vec<u8>,
    /// Counts the writes of this item; the condition of the next one.
    pub version: u64,
}

/// Outcome of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// Written.
    Yes,
    /// The version was not the expected one: another worker owns the session now.
    Conflict,
}

/// Checkpoints (conditional) and snapshots (immutable), each session's under its own key.
pub trait Store: Send + Sync {
    /// Reads a session's checkpoint, strongly consistent.
    fn load(&self, session: &SessionId) -> impl Future<Output = Result<Option<Stored>>> + Send;

    /// Writes a session's checkpoint as version `expected + 1` if the stored version is `expected`
    /// (`None`: if there is none yet, the new version is 1). Must not be repeated blindly inside the adapter: after an
    /// unknown outcome the caller reads again. It may be dropped before it answers.
    fn save(
        &self,
        session: &SessionId,
        expected: Option<u64>,
        bytes: &[u8],
    ) -> impl Future<Output = Result<Saved>> + Send;

    /// A number that no other save has, of any worker.
    fn stamp(&self) -> u64;

    /// Reads a snapshot, strongly consistent.
    fn load_snapshot(
        &self,
        session: &SessionId,
        key: &str,
    ) -> impl Future<Output = Result<Option<Vec<u8>>>> + Send;

    /// Writes a snapshot; it may be dropped after `keep_seconds` (DynamoDB TTL). Writing one key twice is harmless.
    fn save_snapshot(
        &self,
        session: &SessionId,
        key: &str,
        bytes: &[u8],
        keep_seconds: u64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Notes parked messages in the operator's index. The index helps to list; nothing depends on it.
    fn note_parked(&self, session_id: &str, notes: &[ParkedNote]) -> impl Future<Output = Result<()>> + Send {
        _ = (session_id, notes);
        std::future::ready(Ok(()))
    }
}

/// One parked message, for the operator's index: a FIFO queue shows at most ten messages of a group at a time, so the
/// DLQ alone cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedNote {
    /// The original message id.
    pub message_id: String,
    /// Its chunkIndex, where known.
    pub chunk_index: Option<u64>,
    /// When the chunk was captured, where known; notes of older versions lack it.
    pub captured_at: Option<EpochMs>,
    /// Which numbering of chunkIndex it belongs to, where known; notes of older versions lack it.
    pub numbering: Option<u32>,
    /// Short reason, as in the message's attribute.
    pub reason: String,
    /// Class, as in the message's attribute.
    pub class: String,
    /// Attempts made.
    pub attempts: u32,
    /// First failure.
    pub first_failure_at: EpochMs,
    /// When it was parked.
    pub parked_at: EpochMs,
}

/// What the Sessions table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    /// May be written.
    Active,
    /// Ended; chunks captured after `at` and a grace are refused (`None`: no time is known).
    Ended {
        /// When, by the Sessions table's `endedAt`.
        at: Option<EpochMs>,
    },
    /// No such session.
    Unknown,
}

/// The Sessions table.
pub trait Sessions: Send + Sync {
    /// Reads a session's status. May be cached for a few seconds.
    fn status(&self, session: &SessionId) -> impl Future<Output = Result<SessionStatus>> + Send;
}

/// A fragment that Kinesis Video has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persisted {
    /// `FragmentNumber`.
    pub fragment_number: String,
    /// `None` where the fragment was found by [`Streams::find`].
    pub acknowledged_after_ms: Option<u64>,
}

/// A fragment as ListFragments shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `FragmentNumber`.
    pub fragment_number: String,
    /// `FragmentSizeInBytes`.
    pub bytes: u64,
    /// `FragmentLengthInMilliseconds`: the service counts to the beginning of the last block.
    pub length_ms: u64,
}

/// Kinesis Video Streams.
pub trait Streams: Send + Sync {
    /// Writes one fragment with PutMedia to the session's stream, creating the stream where it is missing, and
    /// returns at its PERSISTED acknowledgement. One try; ends with `TimedOut` after `within_ms`, with the connection closed.
    fn put(
        &self,
        session: &SessionId,
        at: EpochMs,
        fragment: Vec<u8>,
        within_ms: u64,
    ) -> impl Future<Output = Result<Persisted>> + Send;

    /// Looks for fragments with exactly this producer timestamp (ListFragments). Eventually consistent: found is
    /// proof, not found is not. A stream that does not exist holds no fragment.
    fn find(&self, session: &SessionId, at: EpochMs) -> impl Future<Output = Result<Vec<Found>>> + Send;
}

/// The clock, so that tests own time.
pub trait Clock: Send + Sync {
    /// Now, in Unix epoch milliseconds.
    fn now(&self) -> EpochMs;
    /// A monotonic clock, to measure what takes less than a millisecond.
    fn now_us(&self) -> u64 {
        self.now().0 * 1_000
    }
    /// Waits.
    fn sleep_ms(&self, ms: u64) -> impl Future<Output = ()> + Send;
}

/// All of them.
pub trait Ports: Send + Sync {
    /// See [`Queue`].
    type Queue: Queue;
    /// See [`Store`].
    type Store: Store;
    /// See [`Sessions`].
    type Sessions: Sessions;
    /// See [`Streams`].
    type Streams: Streams;
    /// See [`Clock`].
    type Clock: Clock;
    /// See [`Telemetry`].
    type Telemetry: Telemetry;
    /// The chunk queue.
    fn queue(&self) -> &Self::Queue;
    /// The checkpoint store.
    fn store(&self) -> &Self::Store;
    /// The Sessions table.
    fn sessions(&self) -> &Self::Sessions;
    /// The streams.
    fn streams(&self) -> &Self::Streams;
    /// The clock.
    fn clock(&self) -> &Self::Clock;
    /// Where events go.
    fn telemetry(&self) -> &Self::Telemetry;
}
