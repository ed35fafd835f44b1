//! `PRE_ROLL` is long enough: a fresh decoder after it goes on as if it had heard everything. `docs/pre-roll.md` has the
//! whole measurement.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::LazyLock;

use common::pre_roll::{Stream, compare, encoded, modes, one_pass, pre_roll, recorded};
use media::opus::{Decoder, PRE_ROLL, pre_roll_with};
use media::time::Samples;

/// Encoding takes longer than comparing.
static ENCODED: LazyLock<Vec<Stream>> = LazyLock::new(encoded);

const WINDOW: Samples = Samples::from_ms(200);

#[test]
fn a_browsers_recording_resumes_to_the_bit_wherever_it_is_taken_up() {
    for stream in recorded() {
        assert_eq!(modes(&stream), "CELT");
        let likeness = compare(&stream, PRE_ROLL, WINDOW, 3); // the example tries every packet
        assert_eq!(likeness.exact, likeness.places, "{}: {likeness:?}", stream.name);
    }
}

#[test]
fn streams_of_other_settings_resume_to_the_bit_after_the_pre_roll_of_their_mode() {
    for stream in ENCODED.iter() {
        let length = stream.packets.iter().map(|packet| pre_roll_with(&packet.data)).max().unwrap();
        let likeness = compare(stream, length, WINDOW, stream.packets.len() / 60);
        assert_eq!(likeness.exact, likeness.places, "{}: {likeness:?}", stream.name);
    }
}

#[test]
fn speech_modes_stay_within_the_documented_bound_after_the_short_pre_roll() {
    for stream in ENCODED.iter().filter(|stream| modes(stream) != "CELT") {
        let likeness = compare(stream, PRE_ROLL, WINDOW, stream.packets.len() / 60);
        let bound = likeness.worst_snr_db >= 40.0 && likeness.worst_lsb <= 100;
        assert!(bound, "{}: {likeness:?}", stream.name);
    }
}

#[test]
fn batches_decoded_by_fresh_processes_join_to_one_pass() {
    for stream in recorded() {
        let (whole, _) = one_pass(&stream);
        let (mut joined, mut n, mut rng) = (Vec::new(), 0, common::Rng(9));
        while n < stream.packets.len() {
            let end = stream.packets.len().min(n + 1 + rng.below(120));
            let mut decoder = Decoder::new().unwrap();
            decoder.prime(pre_roll(&stream.packets, n, PRE_ROLL).iter().map(|packet| &packet.data[..]));
            for packet in &stream.packets[n..end] {
                decoder.decode(&packet.data, &mut joined).unwrap();
            }
            n = end;
        }
        assert!(joined == whole, "{}: batching changed the sound", stream.name);
    }
}

#[test]
fn a_pre_roll_is_stored_in_a_few_kilobytes() {
    for stream in recorded() {
        let bytes =
            |n| pre_roll(&stream.packets, n, PRE_ROLL).iter().map(|packet| packet.data.len()).sum::<usize>();
        let most = (0..stream.packets.len()).map(bytes).max().unwrap();
        println!("{}: at most {most} bytes", stream.name);
        assert!(most < 24_000, "{}: {most} bytes", stream.name);
    }
}
