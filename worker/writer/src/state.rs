//! A session's state in the store: its checkpoint, and the snapshots that its lines go on from.

use ingest::checkpoint::Checkpoint;
use ingest::gap::Gap;
use ingest::snapshot::{Kind, Snapshot, SnapshotKey};

use crate::ports::{Ports, Saved, Store as _};
use crate::stop::Stop;
use crate::warm::Warm;
use crate::work::SessionWork;

/// A checkpoint as it lies in the store.
pub(crate) struct State {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) version: Option<u64>,
}

impl<P: Ports> SessionWork<'_, P> {
    pub(crate) async fn load(&self) -> Result<State, Stop> {
        let Some(stored) = self.writer.ports.store().load(&self.session).await? else {
            return Ok(State { checkpoint: Checkpoint::default(), version: None });
        };
        let checkpoint = Checkpoint::decode(&stored.bytes).map_err(|e| Stop::Unreadable(e.to_string()))?;
        Ok(State { checkpoint, version: Some(stored.version) })
    }

    /// Writes the checkpoint on the version that was read. From then on the session is ours, or it never was.
    pub(crate) async fn save(&self, state: &mut State) -> Result<(), Stop> {
        let bytes = state.checkpoint.encode();
        match self.writer.ports.store().save(&self.session, state.version, &bytes).await? {
            Saved::Yes => {
                state.version = Some(state.version.map_or(1, |v| v + 1));
                Ok(())
            }
            Saved::Conflict => Err(Stop::NotOurs { seconds: 1 }),
        }
    }

    pub(crate) async fn save_snapshots(&self, snapshots: &[(SnapshotKey, Snapshot)]) -> Result<(), Stop> {
        for (key, snapshot) in snapshots {
            let keep_seconds = match key.kind() {
                Kind::Live => self.writer.config.live_snapshot_seconds,
                Kind::Gap | Kind::Residue | Kind::Aside => self.writer.config.gap_snapshot_seconds,
            };
            let store = self.writer.ports.store();
            store.save_snapshot(&self.session, key.as_str(), &snapshot.encode(), keep_seconds).await?;
        }
        Ok(())
    }

    pub(crate) async fn snapshot(&self, key: &SnapshotKey) -> Result<Option<Snapshot>, Stop> {
        let bytes = self.writer.ports.store().load_snapshot(&self.session, key.as_str()).await?;
        let decoded = bytes.map(|bytes| Snapshot::decode(&bytes)).transpose();
        decoded.map_err(|e| Stop::Unreadable(e.to_string()))
    }

    /// The live audio's state: from memory where this process wrote it last, from the store otherwise. The checkpoint knows
    /// what has come back meanwhile.
    pub(crate) async fn live_start(&self, checkpoint: &Checkpoint) -> Result<Warm, Stop> {
        let Some(key) = &checkpoint.live_snapshot else {
            return Ok(Warm { snapshot: Snapshot::default(), decoder: None });
        };
        let mut warm = match self.writer.warm.take(&self.session, key) {
            Some(warm) => warm,
            None => {
                Warm { snapshot: self.snapshot(key).await?.unwrap_or_else(slept_too_long), decoder: None }
            }
        };
        warm.snapshot.position.clone_from(&checkpoint.live);
        Ok(warm)
    }

    /// The state at a gap's start, with what later batches skipped before decoding went on. `None` when it is no
    /// longer stored.
    pub(crate) async fn gap_start(&self, gap: &Gap) -> Result<Option<Snapshot>, Stop> {
        let Some(mut snapshot) = self.snapshot(&gap.snapshot).await? else {
            return Ok(None);
        };
        if let Some(until) = gap.taken_until {
            snapshot.position.timeline.go_on_after(until);
        }
        for key in &gap.search.keys {
            snapshot.residue.extend(self.snapshot(key).await?.unwrap_or_default().residue);
        }
        Ok(Some(snapshot))
    }
}

/// A live snapshot is kept for a day. After that, audio goes on at the next blocks that prove themselves, or at a header.
pub(crate) fn slept_too_long() -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.media.demuxer.bytes_missing();
    snapshot
}
