//! Virtual time: it stands still while anything can run, then jumps to the next moment that anything waits for.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Locks; a poisoned lock is another thread's panic, which the test reports anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The clock that every actor of one simulation shares.
#[derive(Clone, Default)]
pub struct Clock(Arc<Mutex<Timers>>);

#[derive(Default)]
struct Timers {
    now_ms: u64,
    /// Numbers the timers, so that those of the same moment fire in the order of their making.
    made: u64,
    waiting: BTreeMap<(u64, u64), Option<Waker>>,
}

impl Clock {
    /// A clock that shows `now_ms`.
    pub fn at(now_ms: u64) -> Self {
        let clock = Self::default();
        lock(&clock.0).now_ms = now_ms;
        clock
    }

    /// Now, in epoch milliseconds.
    pub fn now_ms(&self) -> u64 {
        lock(&self.0).now_ms
    }

    /// Waits.
    pub fn sleep_ms(&self, ms: u64) -> Sleep {
        let mut timers = lock(&self.0);
        timers.made += 1;
        let key = (timers.now_ms.saturating_add(ms), timers.made);
        timers.waiting.insert(key, None);
        Sleep { clock: self.clone(), key }
    }

    /// The next moment that anything sleeps for.
    pub fn next_timer_ms(&self) -> Option<u64> {
        lock(&self.0).waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Moves time on and wakes everybody whose time has come.
    pub fn advance_to(&self, now_ms: u64) {
        let mut timers = lock(&self.0);
        timers.now_ms = timers.now_ms.max(now_ms);
        let after = (timers.now_ms + 1, 0);
        let later = timers.waiting.split_off(&after);
        let due = std::mem::replace(&mut timers.waiting, later);
        drop(timers);
        due.into_values().flatten().for_each(Waker::wake);
    }
}

/// See [`Clock::sleep_ms`].
pub struct Sleep {
    clock: Clock,
    key: (u64, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut timers = lock(&self.clock.0);
        if timers.now_ms >= self.key.0 {
            return Poll::Ready(());
        }
        timers.waiting.insert(self.key, Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        lock(&self.clock.0).waiting.remove(&self.key);
    }
}
