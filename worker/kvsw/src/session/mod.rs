//! `kvsw session`: one session's ledger, audio and picture.

pub mod export;
pub mod facts;
pub mod ledger;
pub mod mkv;
pub mod show;
pub mod timeline;
