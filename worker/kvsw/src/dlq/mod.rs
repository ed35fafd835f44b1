//! `kvsw dlq`: parked messages. [`queue`] is the DLQ itself, [`select`] which of its messages are meant; the other files are
//! the commands, and what they write.

pub mod discard;
pub mod export;
pub mod folder;
pub mod import;
pub mod list;
pub mod message;
pub mod plan;
pub mod queue;
pub mod read_back;
pub mod redrive;
pub mod select;
pub mod show;
pub mod survey;
pub mod walk;
pub mod watch;
