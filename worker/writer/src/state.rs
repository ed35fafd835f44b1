//! A session's state in the store: its checkpoint, and the snapshots that its lines go on from.

use backoff::backoff::Backoff as _;
use futures::future::{Either, select, try_join_all};
use ingest::checkpoint::Checkpoint;
use ingest::failure::{Class, ServiceFailure};
use ingest::gap::Gap;
use ingest::snapshot::{Kind, Snapshot, SnapshotKey};

use crate::ports::{Ports, Saved, Store as _};
use crate::stop::Stop;
use crate::warm::Warm;
use crate::work::SessionWork;

/// Items of a gap that are read at the same time.
const READS_AT_ONCE: usize = 16;

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

    /// Writes the checkpoint on the version that was read. From then on the session is ours, or it never was. A lost answer is
    /// asked for: the stamp tells whose the stored one is, so that writing again is safe.
    pub(crate) async fn save(&self, state: &mut State) -> Result<(), Stop> {
        let (store, config) = (self.writer.ports.store(), &self.writer.config);
        state.checkpoint.stamp = Some(store.stamp());
        let bytes = state.checkpoint.encode();
        let (began, mut waits, mut is_first) = (self.now(), self.waits(), true);
        loop {
            let save = Box::pin(store.save(&self.session, state.version, &bytes));
            let saved = match select(save, Box::pin(self.sleep_ms(config.save_try_ms))).await {
                Either::Left((saved, _)) => saved,
                Either::Right(_) => Err(ServiceFailure::TimedOut {
                    operation: "PutItem".to_owned(),
                    waited_ms: config.save_try_ms,
                }),
            };
            match saved {
                Ok(Saved::Yes) => break,
                Ok(Saved::Conflict) if is_first => return Err(Stop::NotOurs { seconds: 1 }),
                Ok(Saved::Conflict) => match self.is_saved(state).await? {
                    true => break,
                    false => return Err(Stop::NotOurs { seconds: 1 }),
                },
                Err(failure) => {
                    let is_over = self.now().ms_since(began) >= config.save_within_ms;
                    if failure.outcome_unknown() && self.is_saved(state).await? {
                        break;
                    }
                    if is_over || failure.class() == Class::Lasting {
                        return Err(failure.into());
                    }
                }
            }
            is_first = false;
            self.sleep_ms(waits.next_backoff().unwrap_or_default().as_millis() as u64).await;
        }
        state.version = Some(state.version.map_or(1, |v| v + 1));
        Ok(())
    }

    /// Whether the stored checkpoint is the one that is being saved.
    async fn is_saved(&self, state: &State) -> Result<bool, Stop> {
        let stored = self.load().await?;
        let is_ours = stored.checkpoint.stamp.is_some() && stored.checkpoint.stamp == state.checkpoint.stamp;
        if !is_ours && stored.version != state.version {
            return Err(Stop::NotOurs { seconds: 1 });
        }
        Ok(is_ours)
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
        for some in gap.search.keys.chunks(READS_AT_ONCE) {
            let reads: Vec<_> = some.iter().map(|key| self.snapshot(key)).collect();
            let read = try_join_all(reads).await?;
            snapshot.residue.extend(read.into_iter().flatten().flat_map(|snapshot| snapshot.residue));
        }
        snapshot.leave_claimed(gap.search.claimed);
        Ok(Some(snapshot))
    }

    /// A gap whose chunks go to the DLQ again is needed as long as they are there.
    pub(crate) async fn renew(&self, gap: &Gap) -> Result<(), Stop> {
        let (store, keep_seconds) = (self.writer.ports.store(), self.writer.config.gap_snapshot_seconds);
        for key in std::iter::once(&gap.snapshot).chain(&gap.search.keys) {
            if let Some(bytes) = store.load_snapshot(&self.session, key.as_str()).await? {
                store.save_snapshot(&self.session, key.as_str(), &bytes, keep_seconds).await?;
            }
        }
        Ok(())
    }
}

/// A live snapshot is kept for a day. After that, audio goes on at the next blocks that prove themselves, or at a header.
pub(crate) fn slept_too_long() -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.media.demuxer.bytes_missing();
    snapshot
}
