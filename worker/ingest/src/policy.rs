//! How long batches are and wait.

use media::time::Samples;

/// The numbers behind the decision; SPECIFICATION.md gives the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A batch with this much audio is ripe.
    pub target: Samples,
    /// One that has waited already is ripe with this much.
    pub enough_after_wait: Samples,
    /// No fragment is shorter than this while its session goes on: Kinesis Video's minimum (aws-facts 0-A).
    pub least: Samples,
    /// No fragment is longer, unless a single chunk is; one of more than `most_behind` is taken apart.
    pub most: Samples,
    /// While its oldest chunk is older than this, a fragment may be as long as that chunk is old, up to `most_behind`. A session
    /// behind a service slower than real time then catches up with fewer calls. And from this age on, more may lie behind a delivery
    /// than it shows.
    pub behind_ms: u64,
    /// See `behind_ms`.
    pub most_behind: Samples,
    /// No fragment spans more time, pauses included.
    pub most_span_ms: u64,
    /// A batch whose oldest chunk has waited this long is written with what is there, holes included.
    pub max_wait_ms: u64,
    /// One that is still shorter than `least` waits up to this age for the speaker to go on.
    pub last_resort_ms: u64,
    /// Longest pause between two looks at a batch that waits like that.
    pub most_patient_s: u64,
    /// A delivery holds at most this many records: waiting brings no more.
    pub full: usize,
    /// A full delivery whose newest chunk has waited this long is part of a backlog.
    pub caught_up_ms: u64,
    /// Number of deliveries after which a missing chunk is no longer expected from the backlog.
    pub backlog_looks: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            target: Samples::from_ms(2_000),
            enough_after_wait: Samples::from_ms(1_800),
            least: Samples::from_ms(1_000),
            most: Samples::from_ms(3_000),
            behind_ms: 5_000,
            most_behind: Samples::from_ms(9_000),
            most_span_ms: 10_000,
            max_wait_ms: 3_000,
            last_resort_ms: 20_000,
            most_patient_s: 6,
            full: 10,
            caught_up_ms: 1_000,
            backlog_looks: 6,
        }
    }
}
