//! Measures how long a pre-roll must be: `cargo run -p media --release --example pre_roll` prints the table of
//! `docs/pre-roll.md`. Every packet of the recordings is a place to resume at, and some 600 packets of each encoded
//! stream; 2 s are decoded and compared there. An argument picks the streams whose names contain it.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::pre_roll::{Likeness, compare, encoded, modes, recorded};
use media::time::Samples;

const LENGTHS_MS: [u64; 12] = [0, 80, 200, 400, 500, 600, 700, 800, 900, 1_000, 1_500, 2_000];
/// Places to resume at are thinned out above this; the longest recording has 1,041 packets and is not.
const PLACES: usize = 600;
const WINDOW: Samples = Samples::from_ms(2_000);

fn cell(likeness: &Likeness) -> String {
    if likeness.exact == likeness.places {
        return "**exact**".to_owned();
    }
    let exact = 100.0 * likeness.exact as f64 / likeness.places as f64;
    format!("{exact:.1} %, {:.0} dB, {} LSB", likeness.worst_snr_db, likeness.worst_lsb)
}

fn main() {
    let lengths: Vec<String> = LENGTHS_MS.iter().map(|ms| format!("{ms} ms")).collect();
    println!("| stream | modes | places | {} |", lengths.join(" | "));
    println!("|---|---|---|{}", "---|".repeat(LENGTHS_MS.len()));
    let only = std::env::args().nth(1);
    for stream in recorded().into_iter().chain(encoded()) {
        if only.as_ref().is_some_and(|only| !stream.name.contains(only)) {
            continue;
        }
        let step = (stream.packets.len() / PLACES).max(1);
        let at = |ms: &u64| cell(&compare(&stream, Samples::from_ms(*ms), WINDOW, step));
        let cells: Vec<String> = LENGTHS_MS.iter().map(at).collect();
        let places = stream.packets.len().div_ceil(step);
        println!("| {} | {} | {places} | {} |", stream.name, modes(&stream), cells.join(" | "));
    }
}
