//! The schema number that each stored item opens with.

use serde::Deserialize;

/// The schema that this version writes. It reads every schema up to it.
pub const SCHEMA: u32 = 1;

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
