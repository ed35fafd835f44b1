//! The checkpoint store: conditional writes on a version, immutable snapshots that may be dropped after their time.

use std::collections::BTreeMap;

use ingest::failure::ServiceFailure;
use writer::ports::{Result, Saved, Stored};

/// DynamoDB's largest item.
pub const MAX_ITEM_BYTES: usize = 400 * 1024;

/// Checkpoints and snapshots of all sessions.
#[derive(Debug, Default)]
pub struct Store {
    checkpoints: BTreeMap<String, Stored>,
    snapshots: BTreeMap<(String, String), (Vec<u8>, u64)>,
    largest_item: usize,
}

impl Store {
    /// Reads a checkpoint.
    pub fn load(&self, session: &str) -> Option<Stored> {
        self.checkpoints.get(session).cloned()
    }

    /// Writes a checkpoint if its version is `expected`.
    ///
    /// # Errors
    /// As for [`Store::save_snapshot`].
    pub fn save(&mut self, session: &str, expected: Option<u64>, bytes: Vec<u8>) -> Result<Saved> {
        self.check_size(&bytes)?;
        let version = self.checkpoints.get(session).map(|stored| stored.version);
        if version != expected {
            return Ok(Saved::Conflict);
        }
        let version = expected.map_or(1, |v| v + 1);
        self.checkpoints.insert(session.to_owned(), Stored { bytes, version });
        Ok(Saved::Yes)
    }

    /// Reads a snapshot, unless its time is over.
    pub fn load_snapshot(&self, session: &str, key: &str, now_ms: u64) -> Option<Vec<u8>> {
        let (bytes, until_ms) = self.snapshots.get(&(session.to_owned(), key.to_owned()))?;
        (*until_ms > now_ms).then(|| bytes.clone())
    }

    /// Writes a snapshot.
    ///
    /// # Errors
    /// The service's refusal of an item over 400 KB.
    pub fn save_snapshot(&mut self, session: &str, key: &str, bytes: Vec<u8>, until_ms: u64) -> Result<()> {
        self.check_size(&bytes)?;
        self.snapshots.insert((session.to_owned(), key.to_owned()), (bytes, until_ms));
        Ok(())
    }

    fn check_size(&mut self, bytes: &[u8]) -> Result<()> {
        self.largest_item = self.largest_item.max(bytes.len());
        if bytes.len() <= MAX_ITEM_BYTES {
            return Ok(());
        }
        Err(ServiceFailure::Service {
            operation: "PutItem".into(),
            status: 400,
            code: "ValidationException".into(),
            message: "Item size has exceeded the maximum allowed size".into(),
        })
    }

    /// The size in bytes of the largest value that anybody tried to write.
    pub fn largest_item(&self) -> usize {
        self.largest_item
    }
}
