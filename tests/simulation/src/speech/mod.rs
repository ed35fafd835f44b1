//! Synthetic speakers: small true WebM/Opus recordings whose every 20 ms can be recognised in what comes back.

pub mod file;
mod ogg;
pub mod session;
pub mod tape;
pub mod webm;
