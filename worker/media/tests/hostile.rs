//! Input that nobody's browser sends: no panic, bounded memory, bounded time, and the next good recording is whole.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::{Duration, Instant};

use common::ffmpeg::ffmpeg;
use common::{Rng, chunks, demux, packets};
use media::demux::{Demuxer, Item, Packet, SkipReason, Skipped};
use media::opus::{Decoder, MAX_CONCEALED};
use media::time::Samples;
use recorder::{Beside, Blocks, Container, Lacing, Recorder, baits, element};

/// Good streams of every kind, about 40 kB each.
fn seeds() -> Vec<Vec<u8>> {
    let head = |stream: Vec<u8>| stream[..stream.len().min(40_000)].to_vec();
    let firefox = head(chunks("firefox-speech").concat());
    let ogg = ffmpeg(&["-f", "matroska", "-i", "-", "-c", "copy", "-f", "ogg", "-"], &firefox);
    let files: Vec<_> = chunks("chromium-self-contained")[..8]
        .iter()
        .chain(&chunks("chromium-self-contained")[57..])
        .cloned()
        .collect();
    let opus: Vec<Vec<u8>> = (0..60).map(|n| [vec![0xf8], vec![n; 90]].concat()).collect();
    let mut laced = Recorder::finished();
    if let Container::Webm(webm) = &mut laced.container {
        (webm.lacing, webm.per_block, webm.blocks) = (Lacing::Ebml, 4, Blocks::Group);
        let codec = "V_VP9".to_owned();
        webm.beside.push(Beside { number: 20_000, codec, first: true, block_bytes: 30 });
        (webm.extras.unknown, webm.extras.encrypted_block) = (true, true);
    }
    let restart = chunks("chromium-restart")[30..45].concat();
    vec![
        head(chunks("chromium-speech-default").concat()),
        firefox,
        ogg,
        files.concat(),
        laced.record(&opus).bytes,
        restart,
    ]
}

/// A few random changes: flips, cuts, copies, insertions of zeros, ones and signatures.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    const SIGNATURES: [&[u8]; 6] = [
        &[0x1f, 0x43, 0xb6, 0x75],
        &[0x1a, 0x45, 0xdf, 0xa3],
        b"OggS\0",
        &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xa3, 0x08, 0, 0, 1],
        &[0x16, 0x54, 0xae, 0x6b, 0x01, 0, 0, 0, 0, 0],
    ];
    for _ in 0..=rng.below(6) {
        let at = rng.below(bytes.len());
        // Headers are a small part of a stream, and hold most of what can go wrong.
        let at = if rng.below(2) == 0 { at % 400 % bytes.len() } else { at };
        let end = bytes.len().min(at + rng.below(300));
        match rng.below(8) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = rng.next() as u8,
            2 => bytes[at] = [0, 0xff, 0x80, 0x7f][rng.below(4)],
            3 => drop(bytes.drain(at..end)),
            4 => bytes.truncate(at.max(1)),
            5 => {
                let copy = bytes[at..end].to_vec();
                let to = rng.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            6 => drop(bytes.splice(at..at, SIGNATURES[rng.below(SIGNATURES.len())].iter().copied())),
            _ => bytes[at..end].iter_mut().for_each(|byte| *byte = rng.next() as u8),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

/// Pushes a stream in random pieces, with losses and stores between them, and checks every bound on the way.
fn push_checked(demuxer: &mut Demuxer, bytes: &[u8], rng: &mut Rng) -> Vec<Packet> {
    let (mut found, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let most = rest.len().min([3, 500, 6_000, 100_000][rng.below(4)]);
        let (piece, after) = rest.split_at(1 + rng.below(most));
        let mut items = demuxer.push(piece);
        if rng.below(40) == 0 {
            items.extend(demuxer.bytes_missing());
        }
        if rng.below(20) == 0 {
            let stored = rmp_serde::to_vec_named(demuxer).unwrap();
            let back: Demuxer = rmp_serde::from_slice(&stored).unwrap();
            assert!(&back == demuxer);
            *demuxer = back;
        }
        assert!(demuxer.buffered() <= Demuxer::MAX_BUFFERED, "{} bytes are held back", demuxer.buffered());
        for skipped in common::skipped(&items) {
            assert!(skipped.bytes.len() <= Skipped::MAX_KEPT && skipped.bytes.len() as u64 <= skipped.total);
            assert!(!skipped.reason.to_string().is_empty());
        }
        found.extend(packets(&items));
        rest = after;
    }
    let sound: usize = found.iter().map(|packet| packet.data.len()).sum();
    assert!(sound <= bytes.len(), "{sound} bytes of packets came out of {}", bytes.len());
    found
}

#[test]
fn mutated_streams_stay_bounded_and_do_not_spoil_what_follows() {
    let (seeds, good) = (seeds(), chunks("chromium-pause-resume")[..12].to_vec());
    let expected = packets(&demux(&good));
    let (mut rng, mut decoder, mut decoded) = (Rng(11), Decoder::new().unwrap(), 0);
    for round in 0..1_000 {
        let mut stream = seeds[round % seeds.len()].clone();
        mutate(&mut stream, &mut rng);
        let mut demuxer = Demuxer::new();
        let found = push_checked(&mut demuxer, &stream, &mut rng);
        for packet in found.iter().take(20) {
            let mut pcm = Vec::new();
            match decoder.decode(&packet.data, &mut pcm) {
                Ok(samples) => assert_eq!((samples, pcm.len() as u64), (packet.duration, packet.duration.0)),
                Err(_) => assert!(pcm.is_empty()),
            }
            decoded += pcm.len();
        }
        let after = common::push_all(&mut demuxer, &good);
        assert!(packets(&after) == expected, "round {round}: the recording that follows is not whole");
    }
    assert!(decoded > 1_000_000, "the mutants are so broken that nothing is tested: {decoded} samples");
}

#[test]
fn pure_noise_stays_bounded() {
    let mut rng = Rng(12);
    for round in 0..60 {
        let noise: Vec<u8> = (0..20_000).map(|_| rng.next() as u8).collect();
        let mut demuxer = Demuxer::new();
        if round % 2 == 0 {
            demuxer.push(&Recorder::plain(100_000).record(&[]).bytes);
        }
        push_checked(&mut demuxer, &noise, &mut rng);
    }
}

/// CPU time of this thread in ms; wall time where there is no Linux `/proc`.
fn cpu_ms(start: Instant) -> u128 {
    let Ok(stat) = std::fs::read_to_string("/proc/thread-self/stat") else {
        return start.elapsed().as_millis();
    };
    let mut fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11); // utime and stime, proc(5)
    let mut ticks = || fields.next().unwrap().parse::<u128>().unwrap();
    (ticks() + ticks()) * 10
}

#[test]
fn no_chunk_costs_more_than_a_moment() {
    const CHUNK: usize = 96 * 1024;
    let start = Instant::now();
    let plain = Recorder::plain(1_000_000).record(&recorder::packets(20_000, 20, 1)).bytes;
    let ogg = Recorder::firefox_ogg().record(&recorder::packets(20_000, 20, 1)).bytes;
    let video = {
        let mut recorder = Recorder::plain(1_000_000);
        if let Container::Webm(webm) = &mut recorder.container {
            webm.beside.push(Beside { number: 2, codec: "V_VP9".into(), first: false, block_bytes: 3 });
        }
        recorder.record(&recorder::packets(20_000, 20, 1)).bytes
    };
    for (name, bait) in baits() {
        for (before, lost) in [(&plain, false), (&plain, true), (&ogg, false), (&ogg, true), (&video, true)] {
            let hostile = bait.repeat(CHUNK / bait.len());
            // The running recording's header in front, so that its repetition is looked into.
            let repeated = [&before[..before.len().min(300)], &hostile].concat();
            let mut demuxer = Demuxer::new();
            demuxer.push(before);
            if lost {
                demuxer.bytes_missing();
            }
            let before_ms = cpu_ms(start);
            for chunk in [&hostile, &hostile, &hostile, &hostile, &repeated, &repeated, &hostile, &repeated] {
                demuxer.push(&chunk[..chunk.len().min(CHUNK)]);
                assert!(demuxer.buffered() <= Demuxer::MAX_BUFFERED, "{name}: {} bytes", demuxer.buffered());
            }
            let spent_ms = cpu_ms(start) - before_ms;
            println!("{name}, lost {lost}: {spent_ms} ms for eight chunks");
            assert!(spent_ms <= 8 * 50, "{name}, lost {lost}: eight chunks cost {spent_ms} ms");
        }
    }
}

#[test]
fn a_large_element_that_comes_in_small_pieces_is_not_read_again_and_again() {
    let opus = [0xf8_u8; 1_276];
    let block =
        [&[0x81, 0, 0, 0x02, 90][..], &[[255_u8; 5].as_slice(), &[1]].concat().repeat(90), &opus.repeat(91)]
            .concat();
    let mut file = Recorder::plain(100_000).record(&[vec![0xf8]]).bytes;
    file.extend(element(0xa3, &block));
    let start = Instant::now();
    let found = packets(&demux(file.iter().map(|byte| [*byte])));
    assert_eq!(found.len(), 92);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?} for {} bytes", start.elapsed(), file.len());
}

#[test]
fn elements_beyond_the_limits_are_refused_and_not_waited_for() {
    let head = Recorder::plain(100_000).record(&[vec![0xf8]]).bytes;
    let too_large: [(&[u8], u32); 3] = [
        (&[0xa3, 0x10, 0x20, 0x00, 0x00], 0xa3), // a block of 2 MiB
        (&[0xec, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0], 0xec), // a Void of 72 PB
        (&[0x12, 0x54, 0xc3, 0x67, 0x14, 0x20, 0x00, 0x00], 0x1254_c367), // Tags of 66 MiB
    ];
    for (element, id) in too_large {
        let items = demux([&head[..], element, &[0; 100]]);
        let reason = &common::skipped(&items)[0].reason;
        assert!(matches!(reason, SkipReason::TooLarge { id: named, .. } if *named == id), "{reason}");
    }
}

#[test]
fn more_packets_than_a_chunk_can_hold_are_refused() {
    let block = [&[0x81, 0, 0, 0x04, 0xff][..], &[0xf8; 256]].concat();
    let mut file = Recorder::plain(100_000).record(&[vec![0xf8]]).bytes;
    file.extend(element(0xa3, &block).repeat(400));
    let mut demuxer = Demuxer::new();
    let items = demuxer.push(&file);
    assert!(packets(&items).len() < 70_000);
    assert!(matches!(items.last(), Some(Item::Skipped(s)) if s.reason == SkipReason::TooManyPackets));
    let good = chunks("firefox-speech");
    assert!(packets(&common::push_all(&mut demuxer, &good)) == packets(&demux(&good)));
}

#[test]
fn concealment_is_bounded_and_exact() {
    let mut decoder = Decoder::new().unwrap();
    for lost in [0, 1, 39, 40, 320, 321, 1_920, 16_000, u64::MAX] {
        let mut pcm = vec![7];
        decoder.conceal(Samples(lost), &mut pcm);
        assert_eq!(pcm.len() as u64, 1 + lost.min(MAX_CONCEALED.0), "{lost} samples were lost");
    }
}

#[test]
fn a_lost_packet_is_filled_with_sound_that_fades() {
    let opus = packets(&demux(chunks("firefox-speech")));
    let loud = opus.iter().position(|packet| packet.time.ms_floor() >= 5_000).unwrap();
    let (mut decoder, mut pcm) = (Decoder::new().unwrap(), Vec::new());
    for packet in &opus[..loud] {
        decoder.decode(&packet.data, &mut pcm).unwrap();
    }
    let before = pcm.len();
    decoder.conceal(Samples::from_ms(1_000), &mut pcm);
    let power = |pcm: &[i16]| pcm.iter().map(|&s| i64::from(s).pow(2)).sum::<i64>();
    let concealed = &pcm[before..];
    assert!(power(&concealed[..320]) > power(&pcm[before - 320..before]) / 20, "the first 20 ms go on");
    assert_eq!(power(&concealed[8_000..]), 0, "half a second later there is silence");
    decoder.decode(&opus[loud + 50].data, &mut pcm).unwrap();
}
