//! What a walk through the DLQ looks for: once it has met all that was noted, it need not go on.

use std::collections::BTreeMap;

use aws::parked_index::Entry;

use crate::error::Result;
use crate::world::World;

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

    /// How many were not met, by session. Where the queue is empty, their notes are stale and go.
    ///
    /// # Errors
    /// Those of the DLQ and of the state table.
    pub async fn not_reached(self, world: &World) -> Result<BTreeMap<String, usize>> {
        let mut by_session = BTreeMap::new();
        let notes: Vec<Entry> = self.remaining.into_values().collect();
        if !notes.is_empty() && world.dlq_depth().await?.total() == 0 {
            world.forget(&notes).await?;
            return Ok(by_session);
        }
        notes.into_iter().for_each(|entry| *by_session.entry(entry.session_id).or_default() += 1);
        Ok(by_session)
    }
}
