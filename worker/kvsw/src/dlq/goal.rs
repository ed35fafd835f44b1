//! What a walk through the DLQ looks for: once it has met all that was noted, it need not go on.

use std::collections::BTreeMap;
use std::time::Duration;

use aws::parked_index::Entry;
use media::time::EpochMs;

use crate::error::Result;
use crate::world::World;

/// The queue's count is approximate and lags behind: so many times in a row it has to be zero,
const ZEROS: u32 = 3;
/// so far apart,
const BETWEEN_ZEROS: Duration = Duration::from_secs(1);
/// and a note must be so old, before its message is taken to be gone.
const SETTLED: Duration = Duration::from_secs(5 * 60);

/// Whether the DLQ's own count is zero, several times in a row.
pub(super) async fn stays_empty(world: &World) -> Result<bool> {
    for look in 0..ZEROS {
        if look > 0 {
            tokio::time::sleep(BETWEEN_ZEROS).await;
        }
        if world.dlq_depth().await?.total() > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Messages that a walk means to meet.
#[derive(Clone, Debug, Default)]
pub struct Goal {
    /// Notes of messages that have not been met, by the id they were parked with.
    remaining: BTreeMap<String, Entry>,
    /// Whether there may be more than was noted.
    open: bool,
}

impl Goal {
    /// To meet these, and, where the queue holds messages without a note, all that there is.
    pub fn new(notes: impl IntoIterator<Item = Entry>, without_note: usize) -> Self {
        let by_id = notes.into_iter().map(|entry| (entry.note.message_id.clone(), entry));
        Self { remaining: by_id.collect(), open: without_note > 0 }
    }

    /// To see what there is.
    pub fn anything() -> Self {
        Self { remaining: BTreeMap::new(), open: true }
    }

    /// A message was met, by the id it was parked with.
    pub fn meet(&mut self, original_id: &str) {
        self.remaining.remove(original_id);
    }

    /// Whether nothing is left to look for.
    pub fn is_reached(&self) -> bool {
        self.remaining.is_empty() && !self.open
    }

    /// Whether messages are known to be there that were not met.
    pub fn misses_some(&self) -> bool {
        !self.remaining.is_empty()
    }

    /// How many were not met, by session. Where the queue stays empty, old notes are stale and go.
    ///
    /// # Errors
    /// Those of the DLQ and of the state table.
    pub async fn not_reached(self, world: &World) -> Result<BTreeMap<String, usize>> {
        let mut by_session = BTreeMap::new();
        let (mut old, mut left) = settled(self.remaining.into_values().collect(), world.now());
        if !old.is_empty() && stays_empty(world).await? {
            world.forget(&old).await?;
        } else {
            left.append(&mut old);
        }
        left.into_iter().for_each(|entry| *by_session.entry(entry.session_id).or_default() += 1);
        Ok(by_session)
    }
}

/// Notes that are old enough to be believed stale, and the others.
fn settled(notes: Vec<Entry>, now: EpochMs) -> (Vec<Entry>, Vec<Entry>) {
    let until = now.0.saturating_sub(SETTLED.as_millis() as u64);
    notes.into_iter().partition(|entry| entry.note.parked_at.0 < until)
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::note;
    use super::*;

    #[test]
    fn a_note_of_the_last_minutes_is_not_believed_stale() {
        let mut young = note("owl", Some(1), "ack-5001");
        young.note.parked_at = EpochMs(1_000_000);
        let notes = vec![young.clone(), note("owl", Some(0), "ack-5001")];
        let (old, left) = settled(notes, EpochMs(1_000_000 + SETTLED.as_millis() as u64));
        assert_eq!((old.len(), left), (1, vec![young]));
    }
}
