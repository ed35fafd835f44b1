//! The writer's numbers; SPECIFICATION.md gives the reasons.

use ingest::decide::Policy;

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
    /// How long a session that is done waits for the others of its delivery before its messages are deleted.
    pub release_after_ms: u64,
    /// Kept from the invocation's time to answer for every record.
    pub answer_margin_ms: u64,
    /// How long a stored fragment may stay invisible to ListFragments (aws-facts 3.3: usually under 1 s). A probe that
    /// finds nothing is believed from then on.
    pub probe_patience_ms: u64,
    /// How long after a session's end chunks may be captured or enqueued and are still written.
    pub end_grace_ms: u64,
    /// First wait between tries; it doubles, with jitter.
    pub retry_ms: u64,
    /// Jitter of that wait, 0 to 1 (0 in simulations).
    pub retry_jitter: f64,
    /// How long a live snapshot is kept: a session may pause that long.
    pub live_snapshot_seconds: u64,
    /// How long a gap's snapshot is kept: longer than the DLQ keeps messages (14 days).
    pub gap_snapshot_seconds: u64,
    /// An attribute of every parked message.
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
            release_after_ms: 500,
            answer_margin_ms: 500,
            probe_patience_ms: 2_000,
            end_grace_ms: 2_000,
            retry_ms: 100,
            retry_jitter: 0.5,
            live_snapshot_seconds: 24 * 3_600,
            gap_snapshot_seconds: 15 * 24 * 3_600,
            worker_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
