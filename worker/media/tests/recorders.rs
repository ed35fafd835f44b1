//! Whatever a recorder writes comes out whole and in time, however it is cut and whoever takes it up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{heads, packets, skipped};
use media::demux::{Demuxer, Item, Packet, SkipReason, TimeBasis};
use media::time::Samples;
use proptest::prelude::*;
use recorder::{Cut, Recorder, Recording, packets as sound};

/// What another process finds when it takes the state up.
fn taken_up(demuxer: &Demuxer) -> Demuxer {
    rmp_serde::from_slice(&rmp_serde::to_vec_named(demuxer).unwrap()).unwrap()
}

/// Each blob goes to a demuxer that is taken up from storage; of thousands, every fiftieth does.
fn demux_resumed(blobs: &[Vec<u8>]) -> Vec<Item> {
    let mut demuxer = Demuxer::new();
    let mut items = Vec::new();
    for (n, blob) in blobs.iter().enumerate() {
        if blobs.len() < 1_000 || n % 50 == 0 {
            demuxer = taken_up(&demuxer);
        }
        items.extend(demuxer.push(blob));
    }
    items
}

/// The packets of a recording as they must come out.
fn expected(recording: &Recording) -> Vec<Packet> {
    let packet = |written: &recorder::Written| Packet {
        time: media::time::MediaTime(written.time_ns),
        time_basis: TimeBasis::Known,
        duration: Samples(written.us * 16 / 1_000),
        data: written.data.clone(),
        discard_end: Samples(written.padding_us * 16 / 1_000),
    };
    recording.packets.iter().map(packet).collect()
}

/// What a recorder's file holds that no sound comes of.
fn is_expected(reason: &SkipReason) -> bool {
    matches!(reason, SkipReason::Encrypted | SkipReason::Beside(_) | SkipReason::UnsupportedCodec(_))
}

fn draw(numbers: &[u64]) -> impl FnMut(u64) -> u64 + '_ {
    let mut numbers = numbers.iter().cycle();
    move |below| numbers.next().unwrap() % below.max(1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_recorder_gives_its_packets_at_their_times(
        knobs in proptest::collection::vec(any::<u64>(), 48),
        us in prop_oneof![Just(60_000_u64), Just(20_000), Just(2_500), Just(10_000), Just(40_000), Just(120_000)],
        count in 1..80_usize,
    ) {
        let recorder = Recorder::draw(&mut draw(&knobs));
        let recording = recorder.record(&sound(us, count, knobs[0]));
        let cut = Cut::draw(&mut draw(&knobs[40..]));
        let items = demux_resumed(&recording.blobs(&cut));
        let reasons: Vec<_> = skipped(&items).into_iter().map(|skipped| skipped.reason).collect();
        prop_assert!(reasons.iter().all(is_expected), "{:?} of {:?}, cut {:?}", reasons, recorder, cut);
        prop_assert_eq!(heads(&items).len(), 1);
        let head = &heads(&items)[0];
        prop_assert_eq!((head.channels, head.pre_skip.0, head.gain.0),
            (recorder.channels, u32::from(recorder.pre_skip), recorder.gain));
        prop_assert!(packets(&items) == expected(&recording), "{:?}, cut {:?}", recorder, cut);
    }
}

/// Changes bytes, takes some out, puts some in.
fn damage(bytes: &mut Vec<u8>, numbers: &[u64]) {
    for at in numbers.chunks(3) {
        let &[place, how, what] = at else { continue };
        let place = place as usize % bytes.len();
        match how % 4 {
            0 => bytes[place] = what as u8,
            1 => drop(bytes.drain(place..(place + what as usize % 300).min(bytes.len() - 1))),
            2 => drop(bytes.splice(place..place, what.to_be_bytes())),
            _ => bytes[place] ^= 1 << (what % 8),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_gives_the_same_packets_however_it_is_cut(
        knobs in proptest::collection::vec(any::<u64>(), 48),
        damages in proptest::collection::vec(any::<u64>(), 3..20),
    ) {
        let recorder = Recorder::draw(&mut draw(&knobs));
        let mut file = recorder.record(&sound(20_000, 60, knobs[0])).bytes;
        file.truncate(60_000);
        damage(&mut file, &damages);
        let data = |items: &[Item]| packets(items).into_iter().map(|packet| packet.data).collect::<Vec<_>>();
        let whole = data(&common::demux([&file]));
        for most in [1, 40, 3_000] {
            let mut rng = common::Rng(knobs[1]);
            let mut cut = Vec::new();
            let mut rest = &file[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + rng.below(rest.len().min(most)));
                cut.push(piece.to_vec());
                rest = after;
            }
            prop_assert_eq!(&data(&demux_resumed(&cut)), &whole, "pieces of up to {} bytes", most);
        }
    }
}
