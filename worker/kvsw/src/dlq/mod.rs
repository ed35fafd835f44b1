//! `kvsw dlq`: parked messages.

pub mod discard;
pub mod export;
pub mod fitting;
pub mod folder;
pub mod goal;
pub mod list;
pub mod message;
pub mod native;
pub mod plan;
pub mod read_back;
pub mod redrive;
pub mod right_queue;
pub mod show;
pub mod survey;
pub mod turn;
pub mod walk;
