//! The writer's numbers; SPECIFICATION.md gives the reasons.

use ingest::policy::Policy;
use media::time::EpochMs;

/// How long after a session's end its audio is still taken, by the writer and by the door.
pub const END_GRACE_MS: u64 = 2_000;

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
    /// How long after a session's end chunks may be captured or enqueued and are still written.
    pub end_grace_ms: u64,
    /// First wait between tries; it doubles, with jitter.
    pub retry_ms: u64,
    /// Jitter of that wait, 0 to 1 (0 in simulations).
    pub retry_jitter: f64,
    /// Chunks that were received so often are parked with all that is set aside behind them: after 100 receives the queue would move
    /// them (`maxReceiveCount`), and nothing would bring the session back to the others.
    pub last_receive: u32,
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
            save_try_ms: 500,
            save_within_ms: 2_000,
            release_after_ms: 500,
            answer_margin_ms: 500,
            persisted_within_ms: 10_000,
            listed_within_ms: 2_000,
            last_look_ms: 25_000,
            end_grace_ms: END_GRACE_MS,
            retry_ms: 100,
            retry_jitter: 0.5,
            last_receive: 90,
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

#[cfg(test)]
mod tests {
    use ingest::aside;
    use ingest::checkpoint::MAX_GAPS;
    use ingest::fold::DOUBT_MS;
    use ingest::message::{MAX_AUDIO_BYTES, MAX_BODY_BYTES, MAX_SESSION_ID};
    use media::opus::{PRE_ROLL, PRE_ROLL_SILK};

    use super::*;

    fn seconds(ms: u64) -> String {
        format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
    }

    fn whole_seconds(ms: u64) -> String {
        format!("{} s", ms / 1_000)
    }

    /// Rows of SPECIFICATION.md's tables by their first cell, with the numbers that must stand in them.
    fn promised(config: &Config) -> Vec<(&'static str, Vec<String>)> {
        let Policy { target, enough_after_wait, least, most, most_behind, .. } = config.policy;
        let Policy { behind_ms, most_span_ms, max_wait_ms, last_resort_ms, most_patient_s, .. } =
            config.policy;
        let aside = [format!("{}", aside::MAX_CHUNKS), format!("{} MiB", aside::MAX_BYTES >> 20)];
        let longest = [
            seconds(most.ms_floor()),
            whole_seconds(most_span_ms),
            whole_seconds(behind_ms),
            whole_seconds(most_behind.ms_floor()),
        ];
        let message = [MAX_BODY_BYTES, MAX_AUDIO_BYTES].map(|bytes| format!("{} KiB", bytes >> 10));
        let pre_roll = [PRE_ROLL, PRE_ROLL_SILK].map(|samples| seconds(samples.ms_floor()));
        let snapshots = [
            format!("{} h", config.live_snapshot_seconds / 3_600),
            format!("{} days", config.gap_snapshot_seconds / 86_400),
        ];
        vec![
            ("ripe", vec![seconds(target.ms_floor())]),
            ("ripe after one deferral", vec![seconds(enough_after_wait.ms_floor())]),
            ("longest", longest.to_vec()),
            ("shortest while the session goes on", vec![seconds(least.ms_floor())]),
            ("too old", vec![seconds(max_wait_ms)]),
            ("a missing chunk", vec![seconds(max_wait_ms)]),
            ("a full delivery of one session", aside.to_vec()),
            ("the last piece of a blob whose pieces say `continues`", vec![whole_seconds(DOUBT_MS)]),
            ("a lag of over 0.5 s, and a session's first audio", vec![whole_seconds(DOUBT_MS)]),
            (
                "too old although under 1 s",
                vec![whole_seconds(last_resort_ms), format!("{most_patient_s} s")],
            ),
            ("queue message", message.to_vec()),
            ("chunks set aside", aside.to_vec()),
            ("sessionId", vec![MAX_SESSION_ID.to_string()]),
            ("pre-roll", pre_roll.to_vec()),
            ("gaps with a snapshot", vec![MAX_GAPS.to_string()]),
            ("snapshots; checkpoint", snapshots.to_vec()),
        ]
    }

    #[test]
    fn the_specification_promises_these_numbers() {
        let specification = include_str!("../../../SPECIFICATION.md");
        for (row, numbers) in promised(&Config::default()) {
            let start = format!("| {row} | ");
            let line = specification.lines().find(|line| line.starts_with(&start));
            let line = line.unwrap_or_else(|| panic!("SPECIFICATION.md has no row {row:?}"));
            for number in numbers {
                assert!(line.contains(&number), "{row}: {number} is true, and SPECIFICATION.md says: {line}");
            }
        }
    }
}
