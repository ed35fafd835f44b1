//! Decisions about chunks, batches, checkpoints and gaps: values in, values out.
//!
//! No clock, no async, no AWS types: time is an argument, so a test can run an hour of a thousand sessions
//! and kill the worker after each step. The words are those of ARCHITECTURE.md: *chunk*, *recording*,
//! *batch*, *fragment*, *defer*, *park*, *gap*, *backfill*, *checkpoint*.

pub mod failure;
pub mod message;
