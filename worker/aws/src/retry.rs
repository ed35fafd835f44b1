//! Waiting with growing, jittered pauses, by the `backoff` crate: while a stream becomes active (`streams`) and for what
//! DynamoDB leaves undone (`parked_index`). The writer's own waits between attempts are in `writer`.
//!
//! Only what the SDK does not repeat by itself belongs in here (it tries each call three times); two layers of
//! retries would multiply and outlive the invocation.

use std::future::Future;
use std::time::{Duration, Instant};

use backoff::backoff::Backoff;
use backoff::exponential::ExponentialBackoff;
use backoff::future::retry;

/// How pauses grow.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// Each pause is this many times the one before.
    pub growth: f64,
    /// Each pause is drawn from this fraction around its value.
    pub jitter: f64,
}

/// One attempt's outcome that is not success.
pub type Outcome<E> = backoff::Error<E>;

/// Repeats `attempt` while it answers `Outcome::transient`, until `within` has passed; then gives its last error.
///
/// # Errors
/// The first permanent error, or the last transient one.
pub async fn repeat<T, E, F>(
    policy: Policy,
    within: Duration,
    attempt: impl FnMut() -> F,
) -> std::result::Result<T, E>
where
    F: Future<Output = std::result::Result<T, Outcome<E>>>,
{
    retry(schedule(policy, within), attempt).await
}

fn schedule(policy: Policy, within: Duration) -> impl Backoff {
    let mut schedule: ExponentialBackoff<TokioClock> = ExponentialBackoff {
        current_interval: policy.first,
        initial_interval: policy.first,
        randomization_factor: policy.jitter,
        multiplier: policy.growth,
        max_interval: policy.longest,
        max_elapsed_time: Some(within),
        start_time: Instant::now(),
        clock: TokioClock,
    };
    schedule.reset();
    schedule
}

/// `backoff` sleeps on tokio's clock but by default measures its limit on the wall clock; in a test with paused
/// time the limit would never come.
#[derive(Clone, Copy, Debug, Default)]
struct TokioClock;

impl backoff::Clock for TokioClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        first: Duration::from_millis(250),
        longest: Duration::from_secs(1),
        growth: 2.0,
        jitter: 0.0,
    };

    async fn attempts_in(within: Duration) -> (u32, Duration) {
        let (started, mut attempts) = (tokio::time::Instant::now(), 0);
        let end: std::result::Result<(), &str> = repeat(POLICY, within, || {
            attempts += 1;
            std::future::ready(Err(Outcome::transient("not yet")))
        })
        .await;
        assert_eq!(end, Err("not yet"));
        (attempts, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_counts_the_time_that_the_pauses_take() {
        // 0.25 + 0.5 + 1 + 1 + 1 + 1: the seventh attempt is the last that can begin within 5 s.
        assert_eq!(attempts_in(Duration::from_secs(5)).await, (7, Duration::from_millis(4_750)));
        assert_eq!(attempts_in(Duration::ZERO).await, (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_pass_is_not_repeated() {
        let mut attempts = 0;
        let end: std::result::Result<(), &str> = repeat(POLICY, Duration::from_secs(5), || {
            attempts += 1;
            std::future::ready(Err(Outcome::permanent("denied")))
        })
        .await;
        assert_eq!((end, attempts), (Err("denied"), 1));
    }
}
