//! What this process still knows of the sessions it wrote last: saves reading the snapshot, and the pre-roll.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use ingest::message::SessionId;
use ingest::piece::Piece;
use ingest::snapshot::{Snapshot, SnapshotKey};
use media::opus::Decoder;

/// Sessions remembered; about 100 KB each.
const MAX_SESSIONS: usize = 64;

/// Items of chunks set aside that are remembered; up to 256 KiB each.
const MAX_ASIDE_ITEMS: usize = 64;

/// A session's live snapshot, and a decoder that stands there.
pub(crate) struct Warm {
    pub(crate) snapshot: Snapshot,
    pub(crate) decoder: Option<Decoder>,
}

/// The sessions written last. Only the snapshot that the checkpoint names is a hit, so a stale entry can do no harm.
#[derive(Default)]
pub(crate) struct WarmSessions(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    by_session: HashMap<SessionId, (u64, SnapshotKey, Warm)>,
    uses: u64,
    /// Items of chunks set aside; the oldest make room.
    aside: VecDeque<(SessionId, SnapshotKey, Vec<Piece>)>,
}

impl WarmSessions {
    /// What is known of an item of chunks set aside.
    pub(crate) fn aside(&self, session: &SessionId, key: &SnapshotKey) -> Option<Vec<Piece>> {
        let entries = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut items = entries.aside.iter();
        items.find(|(of, known, _)| (of, known) == (session, key)).map(|(.., pieces)| pieces.clone())
    }

    /// Remembers an item of chunks set aside.
    pub(crate) fn put_aside(&self, session: &SessionId, key: &SnapshotKey, pieces: Vec<Piece>) {
        let mut entries = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        entries.aside.push_back((session.clone(), key.clone(), pieces));
        if entries.aside.len() > MAX_ASIDE_ITEMS {
            entries.aside.pop_front();
        }
    }

    /// Takes what is known of the session at the snapshot of this key.
    pub(crate) fn take(&self, session: &SessionId, key: &SnapshotKey) -> Option<Warm> {
        let mut entries = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (_, known, warm) = entries.by_session.remove(session)?;
        (known == *key).then_some(warm)
    }

    /// Remembers; the entry unused longest makes room.
    pub(crate) fn put(&self, session: &SessionId, key: &SnapshotKey, warm: Warm) {
        let mut entries = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        entries.uses += 1;
        let now = entries.uses;
        entries.by_session.insert(session.clone(), (now, key.clone(), warm));
        if entries.by_session.len() > MAX_SESSIONS {
            let oldest =
                entries.by_session.iter().min_by_key(|(_, (used, ..))| *used).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                entries.by_session.remove(&oldest);
            }
        }
    }
}
