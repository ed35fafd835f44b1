//! The emulator as its clients see it, byte for byte, on a clock that only moves when everybody waits.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod c_producer;
mod control;
mod faults;
mod hostile;
mod persistence;
mod playback;
mod put_details;
mod put_media;
mod read_back;
mod reading;
mod records;
mod signature;
mod slots;
mod sockets;
mod structure;
mod updates;
