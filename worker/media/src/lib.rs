//! Bytes to packets to samples to fragment bytes: no clock, no async, no AWS.
//!
//! A browser's MediaRecorder chunks go through [`demux`] (WebM or Ogg, cut anywhere), the Opus packets that come
//! out through [`opus`] (16 kHz mono), and the samples through [`fragment`] (one Matroska Cluster, as Kinesis Video
//! Streams takes it). [`time`] holds a type for each of the timebases on the way.

// Pure: clippy.toml lists what this forbids (clocks, threads, files, sockets, the environment, output).
#![forbid(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod demux;
pub mod ebml;
pub mod fragment;
pub mod hash;
pub mod opus;
pub mod time;
