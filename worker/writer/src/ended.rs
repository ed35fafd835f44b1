//! Which chunks a session's end keeps out. The operator's tool foresees the outcome of a redrive with the same function.

use ingest::checkpoint::Checkpoint;
use media::time::EpochMs;

use crate::config::Config;

/// Whether the writer parks a chunk of the live audio as `SESSION_ENDED`: by the queue's clock it was captured over
/// [`Config::end_grace_ms`] after `end`, and enqueued as late. `chunk` is when it was captured (speaker's clock) and sent.
pub fn is_after_end(
    checkpoint: &Checkpoint,
    config: &Config,
    end: EpochMs,
    (captured_at, sent_at): (EpochMs, EpochMs),
) -> bool {
    let limit = end.plus_ms(config.end_grace_ms);
    checkpoint.live.timeline.corrected(captured_at) > limit && sent_at > limit
}
