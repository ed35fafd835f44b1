//! Stands in for the registry's `audiopus_sys` (put in place by `[patch.crates-io]`), so that the `audiopus`
//! wrapper runs on libopus 1.6, built and linked statically by the maintained `opusic-sys`, and not on the
//! libopus of 2020 that the original bundles.
//!
//! Both crates are bindgen's view of the same `opus.h`: the same C names, `c_int` constants and opaque types.
//! `audiopus` needs nothing that the newer header has renamed or removed, so a re-export is the whole crate; a
//! name that goes missing, or changes its type, is a build error of `audiopus`.
#![no_std]

pub use opusic_sys::*;
