//! A Kinesis Video Streams emulator that answers as the service does: control plane, PutMedia with streaming
//! acknowledgements and full validation of the Matroska body, GetMedia, and the archive.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! let emulator = kvs_emulator::start(kvs_emulator::Config::default()).await?;
//! println!("AWS_ENDPOINT_URL_KINESIS_VIDEO={}", emulator.endpoint());
//! # Ok(()) }
//! ```
//!
//! `rules` holds what is accepted and is pure; `storage` keeps it; `wire` speaks HTTP; `faults` breaks it on a script.

mod budget;
mod clock;
mod config;
mod error;
mod faults;
mod operation;
mod recorder;
pub mod rules;
mod server;
mod storage;
mod wire;

/// Has the examples of the README compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use config::{Clock, Config, Limits, QuotaError};
pub use faults::{Armed, Fault, FaultKind, Faults, Point};
pub use operation::Operation;
pub use recorder::RecordedRequest;
pub use rules::fragment::FragmentRules;
pub use rules::schema::Elements;
pub use server::{Emulator, start};
pub use storage::{DiskError, RefusalNote, Stats, StoredFragment};
