//! The write in progress, and what may still come of earlier tries of it.

use media::time::EpochMs;
use serde::{Deserialize, Serialize};

use crate::failure::ServiceFailure;
use crate::gap::{Advance, ChunkRange, MAX_TRIES, Try, last_sent_by};

/// A fragment that was written again, to be looked at once more: an earlier try of it may come late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Producer timestamp of the try.
    pub at: EpochMs,
    /// The fragment that was committed.
    pub fragment_number: String,
    /// Its chunks.
    pub chunks: ChunkRange,
    /// When to look next.
    pub due_at: EpochMs,
    /// When to look for the last time.
    pub last_at: EpochMs,
}

/// The write in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// What a commit will do.
    pub advance: Advance,
    /// Real attempts of this batch, this one included.
    pub attempt: u32,
    /// When the first of them began.
    pub first_attempt_at: EpochMs,
    /// When this one began.
    pub leased_at: EpochMs,
    /// When its holder's invocation ends at the latest: from then on nothing of it can be under way.
    pub expires_at: EpochMs,
    /// Every try was refused: no need to ask.
    #[serde(default)]
    pub surely_not_stored: bool,
    /// Tries that may be stored, this attempt's last. Leases of older versions have none.
    #[serde(default)]
    pub tries: Vec<Try>,
    /// Why this attempt failed; none while it is under way, or where its worker ended without a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ServiceFailure>,
}

impl Lease {
    /// A PutMedia begins, or the last one begins again; its last byte leaves by `sent_by`.
    pub fn begin_try(&mut self, sent_by: EpochMs) {
        self.tries.push(Try { at: self.advance.at, sent_by });
        let surplus = self.tries.len().saturating_sub(MAX_TRIES);
        self.tries.drain(..surplus);
        self.surely_not_stored = false;
    }

    /// The last try is over, with an unknown outcome: nothing of it is sent any more.
    pub fn end_try(&mut self, now: EpochMs) {
        if let Some(last) = self.tries.last_mut() {
            last.sent_by = last.sent_by.min(now);
        }
    }

    /// The last try was refused: it will not be stored.
    pub fn refuse_try(&mut self) {
        self.tries.pop();
        self.surely_not_stored = self.tries.is_empty();
    }

    /// How many attempts there were, at least 1, and when the first began.
    pub fn attempts(&self) -> (u32, EpochMs) {
        (self.attempt.max(1), self.first_attempt_at)
    }

    /// Its tries that may be stored; a lease of an older version lists none.
    pub fn open_tries(&self) -> Vec<Try> {
        match self.last_sent_by() {
            Some(sent_by) if self.tries.is_empty() => vec![Try { at: self.advance.at, sent_by }],
            Some(_) => self.tries.clone(),
            None => Vec::new(),
        }
    }

    /// When the last byte of any of its tries has left; `None` if nothing of it can be stored.
    pub fn last_sent_by(&self) -> Option<EpochMs> {
        let last = || last_sent_by(&self.tries).unwrap_or(self.expires_at);
        (!self.surely_not_stored).then(last)
    }
}
