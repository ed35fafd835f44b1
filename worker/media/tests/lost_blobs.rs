//! A blob that is missing costs its own sound and little else, wherever Clusters begin; and all of it comes back with it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{heads, packets, push_all, skipped};
use media::demux::{Demuxer, Packet, TimeBasis};
use recorder::{Beside, Container, Cut, Lacing, Recorder, Recording, Written, packets as sound};

const LOST_MS: u64 = 420;

/// Recorders with Clusters of 0.3, 1, 10 and 30 s, and what they are called.
fn recorders() -> Vec<(String, Recorder, u64)> {
    let mut all = Vec::new();
    let mut video = Recorder::firefox();
    if let Container::Webm(webm) = &mut video.container {
        webm.beside.push(Beside { number: 1, codec: "V_VP8".into(), first: true, block_bytes: 900 });
    }
    for cluster_us in [300_000, 1_000_000, 10_000_000, 30_000_000] {
        for (name, recorder, packet_us) in [
            ("Chromium", Recorder::chromium(), 60_000),
            ("Firefox", Recorder::firefox(), 20_000),
            ("GStreamer", Recorder::gstreamer(), 20_000),
            ("a finished file", Recorder::finished(), 60_000),
            ("video beside", video.clone(), 20_000),
        ] {
            let mut recorder = recorder;
            let Container::Webm(webm) = &mut recorder.container else { panic!("{name} writes WebM") };
            webm.cluster_us = cluster_us;
            all.push((format!("{name}, Clusters of {} ms", cluster_us / 1_000), recorder, packet_us));
        }
    }
    all
}

fn cuts() -> [Cut; 3] {
    let timeslice_us = 250_000;
    [Cut::AtElement { timeslice_us }, Cut::IntoElement { timeslice_us }, Cut::Every(1_500)]
}

/// The sound of what is left out, in ms: a blob of bytes that begins and ends in packets takes those, too.
fn ms(packets: &[Written]) -> u64 {
    packets.iter().map(|packet| packet.us).sum::<u64>() / 1_000
}

fn same(found: &[Packet], written: &[Written]) -> bool {
    found.iter().map(|packet| &packet.data).eq(written.iter().map(|packet| &packet.data))
}

/// Leaves out blob `hole`, checks what is heard, and brings it back; returns how many ms its absence costs beyond those that it
/// holds itself.
fn lose(name: &str, recording: &Recording, blobs: &[Vec<u8>], hole: usize) -> u64 {
    let all = &recording.packets;
    let mut demuxer = Demuxer::new();
    let before = packets(&push_all(&mut demuxer, &blobs[..hole]));
    let mut at_the_hole = demuxer.clone();
    demuxer.bytes_missing();
    let rest = push_all(&mut demuxer, &blobs[hole + 1..]);
    let after = packets(&rest);
    let first = all.len() - after.len();
    assert!(
        same(&before, &all[..before.len()]) && same(&after, &all[first..]),
        "{name}: blob {hole}, other packets"
    );
    assert_eq!(heads(&rest).len(), usize::from(hole == 0), "{name}: blob {hole}, it is the same recording");
    for (found, written) in after.iter().zip(&all[first..]) {
        let off_ms = (written.time_ns - found.time.0) / 1_000_000;
        let fits = match found.time_basis {
            TimeBasis::Known => off_ms.abs() <= 20,
            TimeBasis::SameCluster | TimeBasis::NotBefore => off_ms >= -20,
        };
        assert!(
            fits,
            "{name}: behind blob {hole}, {:?} at {:?} is {off_ms} ms off",
            found.time_basis, found.time
        );
    }
    let passed: Vec<u8> = skipped(&rest).into_iter().flat_map(|skipped| skipped.bytes).collect();
    let undecided = demuxer.undecided().to_vec();
    let healed = packets(&push_all(&mut at_the_hole, [&blobs[hole], &passed, &undecided]));
    assert!(same(&healed, &all[before.len()..first]), "{name}: blob {hole} brings back other packets");
    ms(&all[before.len()..first])
}

#[test]
fn a_missing_blob_costs_little_more_than_itself_and_comes_back_whole() {
    for (name, recorder, packet_us) in recorders() {
        let count = 40_000_000 / packet_us as usize;
        let recording = recorder.record(&sound(packet_us, count, 3));
        for cut in cuts() {
            let blobs = recording.blobs(&cut);
            let holes = (0..5).chain((5..blobs.len() - 1).step_by(11)).chain([blobs.len() - 2]);
            for hole in holes.filter(|&hole| hole + 1 < blobs.len()) {
                let from = blobs[..hole].iter().map(Vec::len).sum::<usize>();
                let to = from + blobs[hole].len();
                let inside: Vec<_> = recording
                    .packets
                    .iter()
                    .filter(|packet| packet.end > from && packet.end <= to)
                    .cloned()
                    .collect();
                let lost = lose(&format!("{name}, {cut:?}"), &recording, &blobs, hole);
                let most = (LOST_MS - 300).max(2 * packet_us / 1_000) + ms(&inside);
                assert!(
                    lost <= most,
                    "{name}, {cut:?}: blob {hole} costs {lost} ms, and holds {}",
                    ms(&inside)
                );
            }
        }
    }
}

#[test]
fn blobs_of_a_packet_each_and_laced_blocks_are_taken_up_too() {
    let mut laced = Recorder::one_cluster();
    let Container::Webm(webm) = &mut laced.container else { panic!("it writes WebM") };
    (webm.lacing, webm.per_block) = (Lacing::Ebml, 5);
    for (name, recorder, us) in
        [("single packets", Recorder::one_cluster(), 60_000), ("laced", laced, 20_000)]
    {
        let recording = recorder.record(&sound(us, 60, 4));
        let blobs = recording.blobs(&Cut::IntoElement { timeslice_us: 60_000 });
        for hole in 1..blobs.len() - 1 {
            let lost = lose(name, &recording, &blobs, hole);
            assert!(lost <= 300, "{name}: blob {hole} costs {lost} ms");
        }
    }
}
