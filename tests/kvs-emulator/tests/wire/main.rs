//! The emulator as its clients see it, byte for byte, on a clock that only moves when everybody waits.
#![allow(missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod control;
mod put_media;
mod read_back;
