//! The one place that asks what time it is, and that waits.

use crate::config::Clock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The emulator's clock.
#[derive(Debug)]
pub struct Now {
    clock: Clock,
    started: Instant,
    /// How far the clock was put forward by hand.
    ahead_ms: AtomicU64,
    moved: Notify,
}

/// Longer waits are cut into pieces of this length, which tokio's timer can take.
const WAIT_MAX: Duration = Duration::from_secs(86_400);

impl Now {
    /// Must be called inside a tokio runtime.
    pub fn new(clock: Clock) -> Self {
        Self { clock, started: Instant::now(), ahead_ms: AtomicU64::new(0), moved: Notify::new() }
    }

    /// Milliseconds since 1970.
    pub fn ms(&self) -> u64 {
        self.own_ms().saturating_add(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// What a client's clock says, by which it signs: nobody puts that one forward.
    pub fn client_ms(&self) -> u64 {
        match self.clock {
            Clock::Manual { .. } => system_ms(),
            Clock::System | Clock::Virtual { .. } => self.own_ms(),
        }
    }

    /// Puts the clock forward; whoever waits on it wakes up when it is time.
    pub fn advance(&self, ms: u64) {
        let add = |ahead: u64| Some(ahead.saturating_add(ms).min(1 << 50));
        let _ = self.ahead_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        self.moved.notify_waiters();
    }

    /// Waits until the clock has gone on by `ms`.
    pub async fn sleep(&self, ms: u64) {
        self.sleep_until(self.ms().saturating_add(ms)).await;
    }

    /// Waits until the clock says `due_ms`.
    pub async fn sleep_until(&self, due_ms: u64) {
        loop {
            // Listening begins before looking, so that no step of the clock slips between.
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            let left_ms = due_ms.saturating_sub(self.ms());
            if left_ms == 0 {
                return;
            }
            let left = Duration::from_millis(left_ms).min(WAIT_MAX);
            let runs = !matches!(self.clock, Clock::Manual { .. });
            tokio::select! {
                () = tokio::time::sleep(left), if runs => {}
                () = moved => {}
            }
        }
    }

    fn own_ms(&self) -> u64 {
        match self.clock {
            Clock::System => system_ms(),
            Clock::Virtual { epoch_ms } => epoch_ms + millis(self.started.elapsed()),
            Clock::Manual { epoch_ms } => epoch_ms,
        }
    }
}

fn system_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_manual_clock_moves_only_by_hand_and_wakes_who_waits() {
        let now = Now::new(Clock::Manual { epoch_ms: 1000 });
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(now.ms(), 1000);
        let mut waiting = std::pin::pin!(now.sleep(500));
        assert!(poll_once(waiting.as_mut()).await.is_none());
        now.advance(499);
        assert!(poll_once(waiting.as_mut()).await.is_none());
        now.advance(1);
        assert!(poll_once(waiting.as_mut()).await.is_some());
        assert_eq!(now.ms(), 1500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_clock_can_be_put_forward_and_the_clients_clock_stays() {
        let now = Now::new(Clock::Virtual { epoch_ms: 0 });
        now.advance(3_600_000);
        tokio::time::advance(Duration::from_millis(5)).await;
        assert_eq!((now.ms(), now.client_ms()), (3_600_005, 5));
    }

    async fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = tokio::task::yield_now() => None,
        }
    }
}
