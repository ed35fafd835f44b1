//! What stored items have in common: the schema number that each opens with, and their size.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The latest schema. This version reads every schema up to it.
pub const SCHEMA: u32 = 2;
/// What versions of the first schema can go on from has it still, so that a deployment can be taken back.
pub(crate) const FIRST: u32 = 1;
/// Bytes of audio or messages in one item: DynamoDB takes 400 KB in all.
pub(crate) const MAX_ITEM_BYTES: usize = 256 * 1024;

/// The schema of a state. One that stands inside a chunk has the second: a version of the first would write the chunk's beginning
/// again.
pub(crate) fn schema_of(stands_amid_chunk: bool) -> u32 {
    if stands_amid_chunk { SCHEMA } else { FIRST }
}

/// Whether a field may be left out of what is stored.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A stored value that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Written by a later version: deploy that one again, or finish its sessions with it.
    #[error(
        "the stored state has schema {found}; this version reads up to {SCHEMA}. Deploy the newer version again"
    )]
    Newer {
        /// Its schema.
        found: u32,
    },
    /// Not what was written.
    #[error("the stored state is damaged: {detail}")]
    Damaged {
        /// What the decoder said.
        detail: String,
    },
}

/// How a stored item opens.
#[derive(Deserialize)]
pub(crate) struct Schema {
    pub(crate) schema: u32,
}

impl Schema {
    /// Whether this version reads the item.
    pub(crate) fn check(&self) -> Result<(), Unreadable> {
        match self.schema {
            found if found > SCHEMA => Err(Unreadable::Newer { found }),
            _ => Ok(()),
        }
    }
}

/// Reads an item that is stored as MessagePack.
pub(crate) fn from_msgpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    rmp_serde::from_slice::<Schema>(bytes).map_err(damaged)?.check()?;
    rmp_serde::from_slice(bytes).map_err(damaged)
}

pub(crate) fn damaged(error: impl std::fmt::Display) -> Unreadable {
    Unreadable::Damaged { detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use media::time::Samples;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::piece::Head;
    use crate::snapshot::Snapshot;

    fn schema_of_json(stored: &[u8]) -> u32 {
        serde_json::from_slice::<Schema>(stored).unwrap().schema
    }

    /// A version that knows nothing of `amid` would write the chunk from its beginning: its audio would be there twice.
    #[test]
    fn a_state_amid_a_chunk_is_refused_by_versions_that_would_write_its_beginning_again() {
        let amid = Some(Head { until: 7, behind: Samples(16_000), packets: 3 });
        let mut checkpoint = Checkpoint::default();
        assert_eq!(schema_of_json(&checkpoint.encode()), FIRST, "older versions go on from it");
        checkpoint.live.amid = amid;
        let mut read = Checkpoint::decode(&checkpoint.encode()).unwrap();
        assert_eq!((read.schema, read.live.amid), (SCHEMA, amid));
        read.live.amid = None;
        assert_eq!(schema_of_json(&read.encode()), FIRST, "behind the chunk they do again");

        let mut snapshot = Snapshot::default();
        snapshot.position.amid = amid;
        assert_eq!(Snapshot::decode(&snapshot.encode()).unwrap().schema, SCHEMA);
        snapshot.position.amid = None;
        assert_eq!(Snapshot::decode(&snapshot.encode()).unwrap().schema, FIRST);
    }
}
