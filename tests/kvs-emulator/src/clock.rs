//! The one place that asks what time it is.

use crate::config::Clock;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    clock: Clock,
    started: Instant,
}

impl Now {
    /// Must be called inside a tokio runtime.
    pub fn new(clock: Clock) -> Self {
        Self { clock, started: Instant::now() }
    }

    /// Milliseconds since 1970.
    pub fn ms(&self) -> u64 {
        let elapsed = match self.clock {
            Clock::System => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Clock::Virtual { .. } => self.started.elapsed(),
        };
        let base_ms = if let Clock::Virtual { epoch_ms } = self.clock { epoch_ms } else { 0 };
        base_ms + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX / 2)
    }
}
