//! When each message is sent, and what its capture time becomes.
//!
//! A session is played at a speed, but its capture times keep their true spacing: the worker must see the same
//! pauses as in life. So at speed 8 the session lies in the past, and only its last message is captured at the moment it
//! is sent; at speed 1 every message is. No capture time ever lies in the future.

/// Capture times further than this from the middle one are not capture times of the recording: such messages are sent
/// right after the one before, and their timestamps stay as they are.
const PLAUSIBLE_MS: u64 = 6 * 3_600_000;

/// A message's place in the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// When it is sent, ms after the session's start.
    pub after_ms: u64,
    /// Its new capture time relative to the session's start, ms; `None` leaves the timestamp as it is.
    pub captured_ms: Option<i64>,
}

/// Plans the messages with these capture times (where they have any), in this order, at `speed` times real time.
pub fn schedule(captured_ms: &[Option<u64>], speed: f64) -> Vec<Slot> {
    let middle = median(captured_ms.iter().copied().flatten());
    let plausible = |ms: &u64| middle.is_some_and(|middle| ms.abs_diff(middle) <= PLAUSIBLE_MS);
    let times: Vec<Option<u64>> = captured_ms.iter().map(|ms| ms.filter(plausible)).collect();
    let base = times.iter().copied().flatten().next().unwrap_or_default();
    let mut latest = 0_u64;
    let mut slots: Vec<Slot> = times
        .iter()
        .map(|time| {
            latest = latest.max(time.unwrap_or_default().saturating_sub(base));
            let captured_ms = time.map(|time| time.cast_signed() - base.cast_signed());
            Slot { after_ms: (latest as f64 / speed).round() as u64, captured_ms }
        })
        .collect();
    let ahead = |slot: &Slot| Some(slot.after_ms.cast_signed() - slot.captured_ms?);
    let shift = slots.iter().filter_map(ahead).min().unwrap_or_default();
    for slot in &mut slots {
        slot.captured_ms = slot.captured_ms.map(|ms| ms + shift);
    }
    slots
}

fn median(times: impl Iterator<Item = u64>) -> Option<u64> {
    let mut times: Vec<u64> = times.filter(|ms| *ms < 1 << 53).collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(times: &[u64], speed: f64) -> Vec<(u64, i64)> {
        let times: Vec<_> = times.iter().copied().map(Some).collect();
        schedule(&times, speed).iter().map(|slot| (slot.after_ms, slot.captured_ms.unwrap())).collect()
    }

    #[test]
    fn live_messages_are_captured_when_they_are_sent() {
        assert_eq!(planned(&[5_000, 5_300, 8_600], 1.0), [(0, 0), (300, 300), (3_600, 3_600)]);
    }

    #[test]
    fn a_fast_replay_lies_in_the_past_and_ends_now_with_its_true_spacing() {
        assert_eq!(planned(&[5_000, 5_800, 9_000], 8.0), [(0, -3_500), (100, -2_700), (500, 500)]);
    }

    #[test]
    fn a_slow_replay_never_lies_in_the_future() {
        assert_eq!(planned(&[0, 1_000], 0.5), [(0, 0), (2_000, 1_000)]);
    }

    #[test]
    fn messages_out_of_order_keep_their_order_and_their_times() {
        assert_eq!(planned(&[5_000, 5_600, 5_300], 1.0), [(0, 0), (600, 600), (600, 300)]);
    }

    #[test]
    fn times_from_nowhere_are_sent_at_once_and_left_alone() {
        let times = [None, Some(1_000_000_000_000), Some(0), Some(1_000_000_000_300), Some(u64::MAX)];
        let slots = schedule(&times, 1.0);
        assert_eq!(slots.iter().map(|slot| slot.after_ms).collect::<Vec<_>>(), [0, 0, 0, 300, 300]);
        assert_eq!(
            slots.iter().map(|s| s.captured_ms).collect::<Vec<_>>(),
            [None, Some(0), None, Some(300), None]
        );
        assert_eq!(schedule(&[None], 1.0), [Slot { after_ms: 0, captured_ms: None }]);
    }
}
