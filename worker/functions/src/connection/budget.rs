//! How much one session may send through one environment of the function: a flood is refused at the door, and costs its own speaker.

use std::collections::HashMap;

use ingest::message::SessionId;
use media::time::EpochMs;

/// Messages in a row: a page that was away for a minute and sends all at once, in chunks of 100 ms.
const BURST: u64 = 600;
/// Messages a second from then on: a recorder with a timeslice of 25 ms.
const PER_SECOND: u64 = 40;
/// Sessions remembered; whoever sends nothing for long is forgotten.
const MAX_SESSIONS: usize = 1_024;

/// What sessions have left, each a bucket that fills with time.
#[derive(Debug, Default)]
pub struct Budget(HashMap<SessionId, (u64, EpochMs)>);

impl Budget {
    /// Whether the session may send another message now.
    pub fn take(&mut self, session: &SessionId, now: EpochMs) -> bool {
        if self.0.len() >= MAX_SESSIONS && !self.0.contains_key(session) {
            self.0.retain(|_, (_, since)| now.ms_since(*since) * PER_SECOND / 1_000 < BURST);
        }
        if self.0.len() >= MAX_SESSIONS && !self.0.contains_key(session) {
            return true; // this many at once: none of them is a flood of its own
        }
        let (left, since) = self.0.entry(session.clone()).or_insert((BURST, now));
        let more = now.ms_since(*since) * PER_SECOND / 1_000;
        if more > 0 {
            (*left, *since) = ((*left + more).min(BURST), now);
        }
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(budget: &mut Budget, name: &str, every_us: u64, seconds: u64) -> u64 {
        let session = SessionId::parse(name).unwrap();
        let times = (0..seconds * 1_000_000 / every_us).map(|n| EpochMs(1_000_000 + n * every_us / 1_000));
        times.filter(|now| budget.take(&session, *now)).count() as u64
    }

    #[test]
    fn a_flood_is_refused_and_a_speaker_never_is() {
        let mut budget = Budget::default();
        assert_eq!(sent(&mut budget, "speaker", 250_000, 60), 240, "chunks of 250 ms are refused");
        assert_eq!(sent(&mut budget, "small", 25_000, 60), 2_400, "chunks of 25 ms are refused");
        assert_eq!(
            sent(&mut budget, "back", 2_000, 1),
            500,
            "what a page buffered while it was away is refused"
        );
        let flood = sent(&mut budget, "flood", 200, 60);
        assert!(flood <= BURST + 61 * PER_SECOND, "{flood} of 300,000 messages pass");
    }

    #[test]
    fn invented_sessions_do_not_fill_the_memory() {
        let mut budget = Budget::default();
        for n in 0..3 * MAX_SESSIONS {
            sent(&mut budget, &format!("s{n}"), 250_000, 1);
        }
        assert!(budget.0.len() <= MAX_SESSIONS);
    }
}
