//! Chunks that never came: the recording goes on at the next place that proves itself, nothing after it differs, and
//! what was passed on the way is enough to restore the rest later.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Rng, STREAMS, chunks, demux, heads, packets, push_all, same_sound, skipped};
use media::demux::{Container, Demuxer, Item, Packet, SkipReason, TimeBasis};
use media::time::MediaTime;
use recorder::{Recorder, Recording, element};

#[test]
fn a_hole_anywhere_costs_no_more_than_its_surroundings_and_can_be_healed() {
    for name in STREAMS {
        let chunks = chunks(name);
        let all = packets(&demux(&chunks));
        for hole in 1..chunks.len() - 1 {
            let lost = 1 + hole % 3;
            heal(name, &chunks, &all, hole, lost.min(chunks.len() - 1 - hole));
        }
    }
}

/// Takes chunks `hole..hole + lost` out, looks at what follows, then puts them back.
fn heal(name: &str, chunks: &[Vec<u8>], all: &[Packet], hole: usize, lost: usize) {
    let mut demuxer = Demuxer::new();
    let before = packets(&push_all(&mut demuxer, &chunks[..hole]));
    let mut at_the_hole = demuxer.clone();
    let dropped = demuxer.bytes_missing();
    assert!(demuxer.is_resyncing() && demuxer.buffered() == 0);
    assert!(skipped(&dropped).iter().all(|s| s.reason == SkipReason::BytesMissing), "{dropped:?}");
    let rest = push_all(&mut demuxer, &chunks[hole + lost..]);
    if chunks[hole..hole + lost].iter().any(|chunk| media::demux::starts_recording(chunk)) {
        return; // a lost header, see below
    }
    let after = packets(&rest);
    assert_eq!(heads(&rest).iter().filter(|head| head.headerless).count(), 0, "{name}: its header is known");
    let expected = &all[all.len() - after.len()..];
    let same_packets = after.iter().map(|p| &p.data).eq(expected.iter().map(|p| &p.data));
    assert!(same_packets, "{name}: what follows hole {hole} differs");
    for (after, expected) in after.iter().zip(expected) {
        let off_ms = expected.time.ms_floor() - after.time.ms_floor();
        let fits = if after.time_basis == TimeBasis::Known { off_ms.abs() <= 30 } else { off_ms >= -30 };
        assert!(fits, "{name}: behind hole {hole}, {:?} is {off_ms} ms off", after.time);
    }
    let missing_ms: u64 =
        all[before.len()..all.len() - after.len()].iter().map(|p| p.duration.ms_floor()).sum();
    assert!(
        missing_ms <= 300 * lost as u64 + 120,
        "{name}: hole {hole} of {lost} chunks costs {missing_ms} ms"
    );
    let passed: Vec<u8> = skipped(&rest).into_iter().flat_map(|s| s.bytes).collect();
    let undecided = demuxer.undecided().to_vec(); // at the end: too little to show what it is
    let missing = chunks[hole..hole + lost].iter().chain([&passed, &undecided]);
    let healed = packets(&push_all(&mut at_the_hole, missing));
    assert_eq!(at_the_hole.buffered(), 0, "{name}: hole {hole} is healed up to a packet's end");
    let joined = before.len() + healed.len();
    assert!(healed == all[before.len()..joined], "{name}: hole {hole} is healed by other packets");
    assert_eq!(joined + after.len(), all.len(), "{name}: hole {hole} is not healed as a whole");
}

#[test]
fn a_restart_whose_header_is_lost_is_a_recording_of_its_own() {
    let chunks = chunks("chromium-restart");
    let restart = 1 + chunks[1..].iter().position(|chunk| media::demux::starts_recording(chunk)).unwrap();
    let mut demuxer = Demuxer::new();
    push_all(&mut demuxer, &chunks[..restart]);
    demuxer.bytes_missing();
    let mut by_bytes = demuxer.clone();
    let items = push_all(&mut demuxer, &chunks[restart + 1..]);
    let bytes = push_all(&mut by_bytes, chunks[restart + 1..].concat().chunks(1));
    assert_eq!((heads(&bytes), packets(&bytes)), (heads(&items), packets(&items)), "byte by byte");
    let [head] = &heads(&items)[..] else { panic!("{:?}", heads(&items)) };
    assert_eq!((head.headerless, head.channels, head.container), (true, 1, Container::WebM));
    let all = packets(&demux(&chunks[restart..]));
    let found = packets(&items);
    assert!(same_sound(&found, &all[all.len() - found.len()..]), "the times of another recorder are its own");
    assert!(found.len() + 8 > all.len(), "{} of {} packets are heard", found.len(), all.len());
}

#[test]
fn a_recording_whose_first_chunk_is_lost_still_sounds() {
    for name in STREAMS {
        let chunks = chunks(name);
        let all = packets(&demux(&chunks));
        let mut told = Demuxer::new();
        told.bytes_missing();
        let told = push_all(&mut told, &chunks[1..]);
        let untold = demux(&chunks[1..]);
        for items in [&told, &untold] {
            assert!(heads(items)[0].headerless, "{name}");
            let found = packets(items);
            let (lost, same) = (all.len() - found.len(), same_sound(&found, &all[all.len() - found.len()..]));
            assert!(
                same && lost <= 15,
                "{name}: {lost} packets are lost with the first chunk; others same: {same}"
            );
        }
        assert_eq!(heads(&told), heads(&untold), "{name}: the same made-up head in every process");
    }
}

#[test]
fn a_new_header_ends_an_element_that_was_left_incomplete() {
    let (old, new) = (chunks("firefox-speech"), chunks("chromium-speech-default"));
    let mut cut_short = old[..20].to_vec();
    cut_short[19].truncate(500);
    let items = demux(cut_short.iter().chain(&new));
    let [cut] = &skipped(&items)[..] else { panic!("{:?}", skipped(&items)) };
    assert_eq!(cut.reason, SkipReason::CutShort);
    assert!(packets(&items).ends_with(&packets(&demux(&new))), "the new recording is whole");
}

#[test]
fn a_new_header_is_taken_while_resyncing() {
    let (old, new) = (chunks("chromium-restart"), chunks("firefox-speech"));
    let mut demuxer = Demuxer::new();
    push_all(&mut demuxer, &old[..9]);
    demuxer.bytes_missing();
    demuxer.push(&[0x1f, 0x43]); // could become a Cluster's ID
    let items = push_all(&mut demuxer, &new);
    assert_eq!(packets(&items), packets(&demux(&new)));
    assert_eq!(heads(&items), heads(&demux(&new)));
    assert_eq!(skipped(&items)[0].bytes, [0x1f, 0x43]);
}

/// Packets of 20 ms, five in a Cluster.
fn five_a_cluster(packets: &[Vec<u8>]) -> Recording {
    Recorder::plain(100_000).record(packets)
}

/// Without a Timestamp, blocks behind a loss seem to go on with the recording before it, and their next Cluster contradicts.
#[test]
fn a_restart_whose_header_is_lost_goes_on_at_its_next_cluster_however_little_follows() {
    let before = five_a_cluster(&vec![vec![0xf8, 1, 2, 3]; 30]);
    for packets in 6..9_usize {
        let restarted = five_a_cluster(&vec![vec![0xf8, 4, 5, 6]; packets]);
        let second_block =
            restarted.boundaries.iter().find(|at| **at > restarted.clusters()[0] + 10).unwrap();
        let mut demuxer = Demuxer::new();
        demuxer.push(&before.bytes);
        demuxer.bytes_missing();
        let items = demuxer.push(&restarted.bytes[*second_block..]);
        assert!(heads(&items)[0].headerless);
        assert_eq!(common::packets(&items).len(), packets - 1, "sound behind the Cluster is lost: {items:?}");
        let known = common::packets(&items).iter().all(|packet| packet.time_basis == TimeBasis::Known);
        assert!(known, "the Cluster's Timestamp tells when the blocks before it were");
    }
}

#[test]
fn a_false_cluster_id_in_the_sound_does_not_stop_the_search() {
    let recording = five_a_cluster(&vec![vec![0xf8, 1, 2, 3]; 30]);
    let (file, clusters) = (&recording.bytes, recording.clusters());
    let rest = &file[clusters[3]..];
    let lies: [&[u8]; 6] = [
        &[0x1f, 0x43, 0xb6, 0x75],                      // and nothing of one
        &[0x1f, 0x43, 0xb6, 0x75, 0xff, 0xa3, 0x81, 0], // a block before the time
        &[0x1f, 0x43, 0xb6, 0x75, 0xff, 0xe7, 0x81, 1, 0xa3, 0x85, 0x89, 0, 0, 0x80, 0xf8], // another track
        &[0x1f, 0x43, 0xb6, 0x75, 0xff, 0xe7, 0x81, 1, 0xa3, 0x85, 0x81, 0, 0, 0x80, 0xfb], // no packet
        &[0x1f, 0x43, 0xb6, 0x75, 0x82, 0xe7, 0x81, 1], // larger than its parent
        &[0x1a, 0x45, 0xdf, 0xa3, 0x84, 0x42, 0x82, 0x81, b'x'], // some other EBML
    ];
    for lie in lies {
        let mut demuxer = Demuxer::new();
        demuxer.push(&file[..clusters[1]]);
        demuxer.bytes_missing();
        let items = push_all(&mut demuxer, [lie, rest]);
        let passed: Vec<u8> = skipped(&items).into_iter().flat_map(|s| s.bytes).collect();
        assert_eq!(passed, lie, "the lie is passed and no byte more");
        assert_eq!(packets(&items).len(), 15);
    }
}

/// In the sound there may be what looks like a place to go on from, too, and may prove itself sooner than what it lies in.
#[test]
fn of_two_places_the_one_proved_first_is_taken_however_the_bytes_are_cut() {
    let recording = five_a_cluster(&vec![vec![0xf8, 1, 2, 3]; 10]);
    let (file, clusters) = (&recording.bytes, recording.clusters());
    let inner = [0x1f, 0x43, 0xb6, 0x75, 0xff, 0xe7, 0x82, 9, 0, 0xa3, 0x86, 0x81, 0, 0, 0x80, 0xf8, 7];
    let block = |track: u8, ms: u8, packet: &[u8]| {
        let size = 0x80 | (4 + packet.len()) as u8;
        [&[0xa3, size, 0x80 | track, 0, ms, 0x80], packet].concat()
    };
    // The running recording's own blocks, and a Cluster whose header is lost with the recording's.
    for (track, start) in [(1, &[][..]), (2, &[0x1f, 0x43, 0xb6, 0x75, 0xff, 0xe7, 0x81, 1])] {
        let first = block(track, 0, &[&[0xf8], &inner[..]].concat());
        let others = (1..6).flat_map(|n| block(track, n * 20, &[0xf8, n]));
        let outer: Vec<u8> = start.iter().copied().chain(first).chain(others).collect();
        let before = || {
            let mut demuxer = Demuxer::new();
            demuxer.push(&file[..clusters[1]]);
            demuxer.bytes_missing();
            demuxer
        };
        let whole = before().push(&outer);
        assert_eq!(packets(&whole)[0].data, [0xf8, 7], "track {track}: the inner one needs fewer bytes");
        for most in 1..outer.len() {
            let pieces = push_all(&mut before(), outer.chunks(most));
            assert_eq!(packets(&pieces), packets(&whole), "track {track}, {most} bytes at a time");
            assert_eq!(heads(&pieces), heads(&whole));
        }
    }
}

/// A Cluster that contradicts the running recording holds its blocks back, but not those that were proved before it was.
#[test]
fn blocks_in_the_block_of_an_earlier_cluster_are_the_same_however_the_bytes_are_cut() {
    let recording = five_a_cluster(&vec![vec![0xf8, 1, 2, 3]; 10]);
    let (file, clusters) = (&recording.bytes, recording.clusters());
    let block = |ms: u8, packet: &[u8]| element(0xa3, &[&[0x81, 0, ms, 0x80], packet].concat());
    let inner = [block(100, &[0xf8, 1]), block(120, &[0xf8, 2])].concat();
    let first = block(0, &[&[0xf8], &inner[..], &[9; 20]].concat());
    let cluster = [0x1f, 0x43, 0xb6, 0x75, 0xff, 0xe7, 0x81, 0];
    for more in 0..6 {
        let others: Vec<u8> = (1..=more).flat_map(|n| block(n * 20, &[0xf8, n])).collect();
        let bytes = [&cluster[..], &first, &others].concat();
        let before = || {
            let mut demuxer = Demuxer::new();
            demuxer.push(&file[..clusters[1]]);
            demuxer.bytes_missing();
            demuxer
        };
        let whole = before().push(&bytes);
        let data: Vec<_> = packets(&whole).iter().map(|packet| packet.data.clone()).collect();
        assert_eq!(data[..2], [[0xf8, 1], [0xf8, 2]], "the inner blocks are proved first");
        for most in 1..bytes.len() {
            let pieces = push_all(&mut before(), bytes.chunks(most));
            assert_eq!(packets(&pieces), packets(&whole), "{more} blocks behind, {most} bytes at a time");
        }
    }
}

#[test]
fn a_first_chunk_with_a_damaged_segment_header_still_sounds() {
    let packet = |n: u8| vec![0xf8, n, 2, 3];
    let mut file = five_a_cluster(&(0..30).map(packet).collect::<Vec<_>>()).bytes;
    let segment = file.windows(4).position(|id| id == [0x18, 0x53, 0x80, 0x67]).unwrap();
    file[segment] = 0x00;
    let whole = demux([&file]);
    assert_eq!(packets(&whole).len(), 30);
    assert_eq!(packets(&demux(file.chunks(1))), packets(&whole));
}

#[test]
fn what_follows_a_block_that_is_too_short_does_not_name_its_track() {
    let recording = five_a_cluster(&vec![vec![0xf8, 1, 2, 3]; 10]);
    let mut file = recording.bytes.clone();
    let cluster = recording.clusters()[1];
    file.splice(cluster..cluster, [0xa3, 0x81, 0x20]);
    let (whole, bytes) = (demux([&file]), demux(file.chunks(1)));
    assert_eq!(skipped(&whole), skipped(&bytes));
    assert_eq!(packets(&whole), packets(&bytes));
}

#[test]
fn damage_costs_the_packet_it_is_in() {
    let recording = five_a_cluster(&vec![vec![0xf8, 1, 2, 3]; 30]);
    let (file, clusters) = (&recording.bytes, recording.clusters());
    let all = packets(&demux([file]));
    let mut damaged = file.clone();
    let first_block = clusters[2] + file[clusters[2]..].iter().position(|byte| *byte == 0xa3).unwrap();
    damaged[first_block] = 0x00;
    let items = demux([damaged]);
    assert!(matches!(skipped(&items)[0].reason, SkipReason::BadElement { .. }), "{:?}", skipped(&items));
    assert_eq!(packets(&items), [&all[..10], &all[11..]].concat());
    assert_eq!(heads(&items).len(), 1, "it is the same recording");
}

#[test]
fn malformed_packets_come_with_no_duration_and_what_follows_goes_on() {
    let opus = [vec![0xf8, 1], vec![0xff], vec![], vec![0xf8, 2]];
    let found = packets(&demux([five_a_cluster(&opus).bytes]));
    assert_eq!(found.iter().map(|p| p.duration.0).collect::<Vec<_>>(), [320, 0, 0, 320]);
    assert_eq!(found[3].time, MediaTime::from_ms(60));
}

#[test]
fn other_codecs_are_refused_with_every_byte_until_a_header_comes() {
    let mut flac = five_a_cluster(&vec![vec![0xf8, 1, 2, 3]; 30]).bytes;
    let codec = flac.windows(6).position(|w| w == b"A_OPUS").unwrap();
    flac[codec..codec + 6].copy_from_slice(b"A_FLAC");
    let opus = chunks("firefox-speech");
    let mut demuxer = Demuxer::new();
    let mut items = demuxer.push(&flac[..400]);
    items.extend(demuxer.bytes_missing());
    items.extend(demuxer.push(&flac[500..]));
    assert!(items.iter().all(|item| matches!(item, Item::Skipped(_))), "its Clusters are not taken for Opus");
    assert!(skipped(&items)[0].reason.to_string().contains("A_FLAC"));
    assert_eq!(packets(&push_all(&mut demuxer, &opus)), packets(&demux(&opus)));
}

#[test]
fn noise_before_a_recording_is_named() {
    let mut rng = Rng(5);
    let noise: Vec<u8> = (0..5_000).map(|_| rng.next() as u8).collect();
    let opus = chunks("chromium-speech-default");
    let items = demux([&noise].into_iter().chain(&opus));
    assert!(skipped(&items).iter().all(|s| s.reason == SkipReason::NotMedia));
    assert_eq!(skipped(&items).iter().map(|s| s.total).sum::<u64>(), 5_000);
    assert_eq!(packets(&items), packets(&demux(&opus)));
}
