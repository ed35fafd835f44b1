//! `kvsw session`: one session's ledger, audio and picture.

pub mod export;
pub mod facts;
pub mod list;
pub mod show;
pub mod timeline;
