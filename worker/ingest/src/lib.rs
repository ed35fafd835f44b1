//! Decisions about chunks, batches, checkpoints and gaps: values in, values out.
//!
//! No clock, no async, no AWS types: time is an argument, so a test can run an hour of a thousand sessions
//! and kill the worker after each step. The words are those of ARCHITECTURE.md: *chunk*, *recording*,
//! *batch*, *fragment*, *defer*, *set aside*, *park*, *gap*, *backfill*, *checkpoint*.
//!
//! The path of a chunk: [`message`] (record to chunk, or rejection) → [`batch`] (by session) → [`sort`] (live, back in a
//! gap, duplicate: a [`piece`] of a numbering) → [`fold`] (what the chunks hold, where that lies in time) → [`decide`] (write,
//! set aside, or defer) → [`plan`] (fragment and next [`checkpoint`]) → [`render`] (bytes). What they share: [`position`] (what
//! follows what), [`timeline`], [`clock`] and [`reckon`] (speakers' clocks), [`gap`], [`opening`], [`aside`], [`snapshot`],
//! [`lease`], [`schema`], [`failure`].

// Pure: clippy.toml lists what this forbids (clocks, threads, files, sockets, the environment, output).
#![forbid(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod aside;
pub mod backlog;
pub mod batch;
pub mod checkpoint;
pub mod clock;
pub mod decide;
pub mod failure;
pub mod fold;
pub mod gap;
pub mod lease;
pub mod message;
pub mod opening;
pub mod piece;
pub mod plan;
pub mod policy;
pub mod position;
pub mod reckon;
pub mod render;
pub mod schema;
pub mod snapshot;
pub mod sort;
pub mod timeline;
pub mod withheld;
