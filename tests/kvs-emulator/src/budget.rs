//! Memory that open fragments may take, shared by all connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What each connection may hold whatever the others do: several times a live fragment of audio.
const ALWAYS_BYTES: u64 = 256 * 1024;

/// How much is held in all.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    held: Arc<AtomicU64>,
    max: u64,
}

/// A part of it; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Self {
        Self { held: Arc::default(), max }
    }

    /// True if more is held than there should be: who waits for something to be stored takes no more meanwhile.
    pub(crate) fn is_full(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.max
    }

    /// Begins with nothing held.
    pub(crate) fn hold(&self) -> Held {
        Held { budget: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// Holds `bytes` from now on; false if that is more than is left.
    pub(crate) fn set(&mut self, bytes: u64) -> bool {
        let all = &self.budget.held;
        if bytes >= self.bytes {
            let more = bytes - self.bytes;
            let sum = all.fetch_add(more, Ordering::Relaxed) + more;
            self.bytes = bytes;
            return bytes <= ALWAYS_BYTES || sum <= self.budget.max;
        }
        all.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        self.bytes = bytes;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_little_is_never_refused_and_all_is_given_back() {
        let budget = Budget::new(1_000_000);
        let mut greedy = budget.hold();
        assert!(greedy.set(900_000));
        let mut second = budget.hold();
        assert!(!second.set(300_000) && budget.is_full(), "more than is left");
        assert!(second.set(200_000), "a live fragment of audio always has room");
        drop(greedy);
        drop(second);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
