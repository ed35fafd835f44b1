//! The writer's numbers; SPECIFICATION.md gives the reasons.

use ingest::decide::Policy;
use media::time::EpochMs;

/// How the writer behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// When a batch is ripe.
    pub policy: Policy,
    /// Real attempts of a batch before it is parked.
    pub max_attempts: u32,
    /// How long a session's failures may block its live audio. From then on each batch gets one attempt.
    pub max_blocked_ms: u64,
    /// Tries of one PutMedia within one attempt.
    pub max_tries: u32,
    /// How long one PutMedia may take.
    pub put_within_ms: u64,
    /// A conditional write of the state that takes longer is given up and asked for.
    pub save_try_ms: u64,
    /// How long a save may take with all its tries.
    pub save_within_ms: u64,
    /// A session that is done waits so long for the others of its delivery before its messages are deleted.
    pub release_after_ms: u64,
    /// Kept from the invocation's time to answer for every record.
    pub answer_margin_ms: u64,
    /// How long after the last byte of a PutMedia its fragment may still be stored. AWS promises nothing: about 0.5 s is normal,
    /// 20 s the extreme that was heard of. Longer is surer, and live audio waits as long after a PutMedia of unknown outcome.
    pub persisted_within_ms: u64,
    /// How long a stored fragment may stay invisible to ListFragments (aws-facts 3.3: usually under 1 s).
    pub listed_within_ms: u64,
    /// So long after a try that may come late the last look tells whether its fragment is stored twice.
    pub last_look_ms: u64,
    /// Chunks that were captured or enqueued so long after their session's end are still written.
    pub end_grace_ms: u64,
    /// First wait between tries; it doubles, with jitter.
    pub retry_ms: u64,
    /// Jitter of that wait, 0 to 1 (0 in simulations).
    pub retry_jitter: f64,
    /// How long a live snapshot is kept: a session may pause that long.
    pub live_snapshot_seconds: u64,
    /// How long a gap's snapshot is kept: longer than the DLQ keeps messages (14 days).
    pub gap_snapshot_seconds: u64,
    /// Goes with every parked message.
    pub worker_version: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            max_attempts: 4,
            max_blocked_ms: 20_000,
            max_tries: 3,
            put_within_ms: 4_000,
            save_try_ms: 500,
            save_within_ms: 2_000,
            release_after_ms: 500,
            answer_margin_ms: 500,
            persisted_within_ms: 10_000,
            listed_within_ms: 2_000,
            last_look_ms: 25_000,
            end_grace_ms: 2_000,
            retry_ms: 100,
            retry_jitter: 0.5,
            live_snapshot_seconds: 24 * 3_600,
            gap_snapshot_seconds: 15 * 24 * 3_600,
            worker_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl Config {
    /// From when on it is certain that a fragment that ListFragments does not show will not come.
    pub(crate) fn certain_at(&self, sent_by: EpochMs) -> EpochMs {
        sent_by.plus_ms(self.persisted_within_ms + self.listed_within_ms)
    }
}
