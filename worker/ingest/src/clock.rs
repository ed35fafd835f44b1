//! How often a speaker's clock was set back, and by how much.

use media::time::EpochMs;
use serde::{Deserialize, Serialize};

/// Capture times that go back by more, from one of a page's chunks to the next, were stamped by a clock that was set.
pub(crate) const SET_BACK_MS: u64 = 1_000;
/// The same from a page to the next, whose chunks may overtake each other, where neither connections nor headers show it. A chunk that
/// was captured less before a page is a late one of the page before.
pub(crate) const SET_BEFORE_PAGE_MS: u64 = 5_000;
/// How many settings are remembered.
const MAX_SETTINGS: usize = 8;

/// When a speaker's clock was set back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clock(Vec<Setting>);

/// From a chunk on, so much is added to capture times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Setting {
    /// The chunk's sequence number in the queue.
    from: u128,
    ms: i64,
}

impl Clock {
    /// Whether it was never set back.
    pub fn is_unset(&self) -> bool {
        self.0.is_empty()
    }

    /// What is added to the capture times of chunks that come now.
    pub(crate) fn now_ms(&self) -> i64 {
        self.0.last().map_or(0, |setting| setting.ms)
    }

    /// What was added when the queue took a message.
    pub(crate) fn at_ms(&self, sequence_number: u128) -> i64 {
        let before = self.0.iter().rfind(|setting| setting.from <= sequence_number);
        before.map_or(0, |setting| setting.ms)
    }

    /// Whether a capture time is `at` by any of the settings.
    pub(crate) fn may_show(&self, captured_at: EpochMs, at: EpochMs) -> bool {
        self.settings().any(|ms| moved(captured_at, ms) == at)
    }

    /// All that may have been added to the capture time of a message that was redriven: it does not tell when it was stamped.
    pub(crate) fn settings(&self) -> impl Iterator<Item = i64> {
        std::iter::once(0).chain(self.0.iter().map(|setting| setting.ms))
    }

    /// Notes what was added to the capture time of a chunk that is passed.
    pub fn note(&mut self, sequence_number: u128, ms: i64) {
        if ms != self.now_ms() && self.0.last().is_none_or(|last| last.from < sequence_number) {
            self.0.push(Setting { from: sequence_number, ms });
            let surplus = self.0.len().saturating_sub(MAX_SETTINGS);
            self.0.drain(..surplus);
        }
    }
}

/// A time, moved.
pub(crate) fn moved(at: EpochMs, ms: i64) -> EpochMs {
    EpochMs(at.0.saturating_add_signed(ms))
}
