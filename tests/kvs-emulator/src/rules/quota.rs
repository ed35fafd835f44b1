//! Call rates: at most so many points in any window of one second.

use std::collections::VecDeque;

/// A sliding window; time is an argument.
#[derive(Clone, Debug)]
pub struct Rate {
    per_second: u64,
    spent: VecDeque<(u64, u64)>,
    sum: u64,
}

const WINDOW_MS: u64 = 1000;

impl Rate {
    /// Allows `per_second` points in any second.
    pub fn new(per_second: u64) -> Self {
        Self { per_second, spent: VecDeque::new(), sum: 0 }
    }

    /// Spends `points` at `now_ms` if they are left; refused calls cost nothing.
    pub fn spend(&mut self, points: u64, now_ms: u64) -> bool {
        while let Some(&(at_ms, old)) = self.spent.front() {
            if at_ms + WINDOW_MS > now_ms {
                break;
            }
            self.sum -= old;
            self.spent.pop_front();
        }
        if self.sum + points > self.per_second {
            return false;
        }
        // A free call must not make the list grow.
        if points > 0 {
            self.spent.push_back((now_ms, points));
            self.sum += points;
        }
        true
    }
}

/// A flow of so many points a second, of which one second's worth may come at once; what is too fast has to wait.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// When all that was taken is paid for, in microseconds since 1970.
    paid_us: u64,
}

const SECOND_US: u64 = 1_000_000;

impl Pace {
    /// Takes `points` at `now_ms`; gives the milliseconds until more may be taken.
    pub fn take(&mut self, points: u64, per_second: u64, now_ms: u64) -> u64 {
        let now_us = now_ms.saturating_mul(1000);
        let costs_us = u128::from(points) * u128::from(SECOND_US) / u128::from(per_second.max(1));
        let from_us = self.paid_us.max(now_us.saturating_sub(SECOND_US));
        self.paid_us = from_us.saturating_add(u64::try_from(costs_us).unwrap_or(u64::MAX));
        self.paid_us.saturating_sub(now_us).div_ceil(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_may_burst_for_a_second_and_then_keeps_its_pace() {
        let mut pace = Pace::default();
        let waits: Vec<u64> = (0..8).map(|_| pace.take(1, 5, 10_000)).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 200, 400, 600], "five at once, then one each 200 ms");
        assert_eq!(pace.take(1, 5, 10_800), 0, "who waited may go on");
        assert_eq!(pace.take(0, 5, 10_800), 0);
        assert_eq!(Pace::default().take(u64::MAX, i64::MAX as u64, 1), 1999, "no number is too large");
    }

    #[test]
    fn the_sixth_call_in_any_second_is_refused_and_costs_nothing() {
        let mut rate = Rate::new(5);
        let granted: Vec<bool> = (0..8).map(|i| rate.spend(1, 10_000 + i * 100)).collect();
        assert_eq!(granted, [true, true, true, true, true, false, false, false]);
        assert!(!rate.spend(1, 10_999), "the first call is still inside the window");
        assert!(rate.spend(1, 11_000), "exactly one second later the first call has left it");
        assert!(!rate.spend(1, 11_050), "the second call has not");
        assert!(rate.spend(1, 11_100), "now it has");
    }

    #[test]
    fn points_count_not_calls() {
        let mut rate = Rate::new(10_000);
        assert!((0..10).all(|_| rate.spend(1000, 5)));
        assert!(!rate.spend(1, 900));
        assert!(!Rate::new(10).spend(11, 0), "more than a second's points at once can never be granted");
    }
}
