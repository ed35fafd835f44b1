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

#[cfg(test)]
mod tests {
    use super::*;

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
