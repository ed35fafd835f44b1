//! What demuxing costs: goes through the shipped recordings `rounds` times, chunk by chunk, as the writer does.
//!
//! `cargo run --release -p media --example demux_speed -- 200` prints the time per round and per MB. On a busy machine, count
//! instructions instead: `valgrind --tool=callgrind target/release/examples/demux_speed 10`, once more with 110, and take the
//! difference.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on stops")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Instant;

use common::{RECORDINGS, chunks};
use media::demux::Demuxer;

fn main() {
    let rounds: u32 = std::env::args().nth(1).map_or(200, |text| text.parse().unwrap());
    for name in RECORDINGS {
        let chunks = chunks(name);
        let bytes: usize = chunks.iter().map(Vec::len).sum();
        let (start, mut items) = (Instant::now(), 0);
        for _ in 0..rounds {
            let mut demuxer = Demuxer::new();
            for chunk in &chunks {
                items += black_box(demuxer.push(black_box(chunk))).len();
            }
        }
        let round = start.elapsed() / rounds.max(1);
        let per_mb = round.as_secs_f64() * 1e3 / (bytes as f64 / 1e6);
        println!("{name}: {bytes} bytes, {items} items, {round:?} a round, {per_mb:.3} ms a MB");
    }
}
