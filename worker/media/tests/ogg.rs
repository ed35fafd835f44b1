//! Ogg chunks, as Firefox records them with `audio/ogg;codecs=opus`: made here by ffmpeg from recorded packets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::ffmpeg::{encode, ffmpeg};
use common::{Rng, chunks, demux, heads, packets, push_all, reference, skipped};
use media::demux::{Container, Demuxer, Item, SkipReason, sniff, starts_recording};
use media::opus::Decoder;
use media::time::{OpusTicks, Samples};
use recorder::{Container as Written, Cut, Ogg, Other, Recorder, packets as sound};

/// A recording's packets in Ogg, cut into its pages as Firefox cuts: both header pages are one chunk.
fn ogg_chunks(name: &str) -> Vec<Vec<u8>> {
    let webm = chunks(name).concat();
    let ogg = ffmpeg(
        &["-f", "matroska", "-i", "-", "-c", "copy", "-page_duration", "250000", "-f", "ogg", "-"],
        &webm,
    );
    let starts: Vec<usize> = (0..ogg.len()).filter(|&at| ogg[at..].starts_with(b"OggS\0")).collect();
    let ends = starts[1..].iter().copied().chain([ogg.len()]);
    let mut pages = starts.iter().zip(ends).map(|(&start, end)| ogg[start..end].to_vec());
    let headers = pages.by_ref().take(2).collect::<Vec<_>>().concat();
    [headers].into_iter().chain(pages).collect()
}

#[test]
fn the_same_packets_come_out_of_ogg_as_out_of_webm() {
    for name in ["firefox-speech", "chromium-speech-default", "chromium-pause-resume"] {
        let (webm, ogg) = (demux(chunks(name)), ogg_chunks(name));
        assert!(starts_recording(&ogg[0]) && sniff(&ogg[1]) == media::demux::Sniffed::Ogg);
        let items = demux(&ogg);
        assert_eq!(skipped(&items), [], "{name}");
        let head = &heads(&items)[0];
        assert_eq!((head.container, head.headerless), (Container::Ogg, false));
        assert_eq!((head.pre_skip, head.channels), (heads(&webm)[0].pre_skip, heads(&webm)[0].channels));
        let data = |items: &[Item]| packets(items).into_iter().map(|p| p.data).collect::<Vec<_>>();
        assert!(data(&items) == data(&webm), "{name}");
    }
}

#[test]
fn cut_anywhere_and_stored_anywhere_ogg_gives_the_same() {
    let chunks = ogg_chunks("firefox-speech");
    let (expected, whole) = (demux(&chunks), chunks.concat());
    assert!(demux([&whole]) == expected, "in one piece");
    let (mut demuxer, mut bytewise) = (Demuxer::new(), Vec::new());
    for byte in &whole {
        bytewise.extend(demuxer.push(&[*byte]));
        if bytewise.len().is_multiple_of(17) {
            demuxer = rmp_serde::from_slice(&rmp_serde::to_vec_named(&demuxer).unwrap()).unwrap();
        }
    }
    assert!(bytewise == expected, "byte by byte");
    let mut rng = Rng(3);
    for _ in 0..20 {
        let (mut demuxer, mut items, mut rest) = (Demuxer::new(), Vec::new(), &whole[..]);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + rng.below(rest.len().min(12_000)));
            let stored = rmp_serde::to_vec_named(&demuxer).unwrap();
            demuxer = rmp_serde::from_slice(&stored).unwrap();
            items.extend(demuxer.push(piece));
            rest = after;
        }
        assert!(items == expected, "cut at random");
    }
}

#[test]
fn a_hole_in_ogg_is_passed_and_can_be_healed() {
    let chunks = ogg_chunks("firefox-speech");
    let all = packets(&demux(&chunks));
    for hole in 1..chunks.len() - 1 {
        let (before, after) = (chunks[..hole].concat(), chunks[hole + 1..].concat());
        let cut = before.len() - hole % 40; // the page before is cut off, too
        let mut demuxer = Demuxer::new();
        let mut items = demuxer.push(&before[..cut]);
        let mut at_the_hole = demuxer.clone();
        demuxer.bytes_missing();
        let rest = demuxer.push(&after[hole % 40..]);
        let found = packets(&rest);
        assert!(!found.is_empty() || hole + 2 == chunks.len());
        assert!(all.ends_with(&found), "what follows hole {hole} differs");
        let passed: Vec<u8> = skipped(&rest).into_iter().flat_map(|s| s.bytes).collect();
        let missing = [&before[cut..], &chunks[hole], &after[..hole % 40], &passed].concat();
        items.extend(at_the_hole.push(&missing));
        assert!([packets(&items), found].concat() == all, "hole {hole} is not healed");
    }
}

#[test]
fn ogg_without_its_first_chunk_still_sounds() {
    let chunks = ogg_chunks("firefox-speech");
    let mut demuxer = Demuxer::new();
    demuxer.bytes_missing();
    let items = push_all(&mut demuxer, &chunks[1..]);
    let head = &heads(&items)[0];
    assert_eq!((head.headerless, head.channels, head.pre_skip), (true, 1, OpusTicks(0)));
    assert!(packets(&items) == packets(&demux(&chunks)), "header pages hold no sound");
}

#[test]
fn a_damaged_page_is_reported_and_costs_only_itself() {
    let mut chunks = ogg_chunks("firefox-speech");
    let all = packets(&demux(&chunks));
    let lost = packets(&demux(&chunks[..6])).len() - packets(&demux(&chunks[..5])).len();
    let middle = chunks[5].len() / 2;
    chunks[5][middle] ^= 0x10;
    let items = demux(&chunks);
    assert_eq!(skipped(&items)[0].reason, SkipReason::BadPage);
    assert_eq!(skipped(&items).iter().map(|s| s.total).sum::<u64>(), chunks[5].len() as u64);
    assert_eq!(packets(&items).len(), all.len() - lost);
    assert!(all.ends_with(&packets(&items)[packets(&items).len() - 20..]), "times come from the pages");
}

#[test]
fn recordings_of_both_containers_may_follow_one_another() {
    let (ogg, webm) = (ogg_chunks("firefox-speech"), chunks("chromium-speech-default"));
    let expected = [packets(&demux(&ogg)), packets(&demux(&webm)), packets(&demux(&ogg))].concat();
    let both: Vec<_> = [&ogg[..], &webm[..], &ogg[..]].concat();
    assert!(packets(&demux(&both)) == expected, "by chunks");
    let items = demux([both.concat()]);
    assert!(packets(&items) == expected, "in one piece");
    assert_eq!(heads(&items).len(), 3);
}

/// What is left of the sound after pre-skip and end trimming.
fn decoded_len(items: &[Item]) -> Samples {
    let (mut decoder, mut pcm) = (Decoder::new().unwrap(), Vec::new());
    for packet in packets(items) {
        decoder.decode(&packet.data, &mut pcm).unwrap();
        pcm.truncate(pcm.len() - packet.discard_end.as_usize());
    }
    Samples::from(pcm.len()) - heads(items)[0].pre_skip.to_samples()
}

#[test]
fn the_end_is_trimmed_to_the_sample_in_both_containers() {
    for length in [Samples(16_000), Samples(16_001), Samples(24_567)] {
        let pcm = &reference("firefox-speech")[20_000..20_000 + length.as_usize()];
        for format in ["ogg", "webm"] {
            let decoded = decoded_len(&demux([encode(pcm, &["-b:a", "32k", format])]));
            assert!(decoded.0.abs_diff(length.0) <= 1, "{format}: {decoded} of {length}");
        }
    }
}

/// Ogg files that ffmpeg makes of speech, with one encoder for each stream.
fn multiplexed(codecs: &[&str]) -> Vec<u8> {
    let pcm = &reference("firefox-speech")[16_000..16_000 * 7];
    let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let input = ["-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "-"];
    let video = ["-f", "lavfi", "-i", "testsrc=size=160x120:rate=15:duration=6"];
    let mut args = [&input[..], &video].concat();
    for codec in codecs {
        let from = if *codec == "libtheora" { "1:v" } else { "0:a" };
        args.extend(["-map", from]);
    }
    let encoders: Vec<String> = (0..codecs.len()).map(|n| format!("-c:{n}")).collect();
    args.extend(encoders.iter().zip(codecs).flat_map(|(option, codec)| [&option[..], codec]));
    // ffmpeg's own Vorbis encoder has two channels only.
    args.extend(["-strict", "-2", "-ac", "2", "-serial_offset", "2000000", "-f", "ogg", "-"]);
    ffmpeg(&args, &bytes)
}

#[test]
fn of_several_opus_streams_side_by_side_the_first_is_heard() {
    let (one, two) = (multiplexed(&["libopus"]), multiplexed(&["libopus", "libopus"]));
    for piece in [two.len(), 4_000, 7] {
        let items = demux(two.chunks(piece));
        assert_eq!(heads(&items).len(), 1, "in pieces of {piece} bytes, the second one interrupts");
        let data = |items: &[Item]| packets(items).into_iter().map(|p| p.data).collect::<Vec<_>>();
        assert!(data(&items) == data(&demux([&one])), "in pieces of {piece} bytes");
        let beside: Vec<_> = skipped(&items).into_iter().map(|skipped| skipped.reason).collect();
        assert_eq!(beside, [SkipReason::Beside("Opus".into())], "nobody is told of the second one");
    }
}

#[test]
fn another_streams_pages_are_never_taken_for_sound() {
    for codec in ["libtheora", "vorbis", "flac", "libspeex"] {
        let (alone, beside) = (multiplexed(&[codec]), multiplexed(&["libopus", codec]));
        let mut demuxer = Demuxer::new();
        let refused = demuxer.push(&alone);
        assert!(packets(&refused).is_empty() && demuxer.refusal().is_some(), "{codec}");
        let data = |items: &[Item]| packets(items).into_iter().map(|p| p.data).collect::<Vec<_>>();
        let opus = data(&demux([&beside]));
        for from in (0..alone.len().min(60_000)).step_by(1_111) {
            let mut demuxer = Demuxer::new();
            demuxer.bytes_missing();
            let found = packets(&demuxer.push(&alone[alone.len() - 60_000.min(alone.len()) + from..]));
            assert_eq!(found.len(), 0, "{codec} whose header is missing becomes sound");
        }
        for from in (0..beside.len()).step_by(beside.len() / 40) {
            for header in [0, 300, 8_000] {
                let mut demuxer = Demuxer::new();
                let before = packets(&demuxer.push(&beside[..header])).len();
                demuxer.bytes_missing();
                let found = data(&demuxer.push(&beside[from.max(header)..]));
                assert!(
                    opus[before..].ends_with(&found),
                    "{codec} beside: after a loss {} packets, which are none of Opus",
                    found.len()
                );
            }
        }
    }
}

/// Each run of a muxer that draws no serial number has the same first page.
#[test]
fn a_restarted_muxer_begins_anew_although_another_stream_is_beside() {
    for beside in [None, Some(Other::Before), Some(Other::After)] {
        let ogg = Ogg { serial: 7, beside, ..Ogg::default() };
        let recorder = Recorder { container: Written::Ogg(ogg), pre_skip: 312, ..Recorder::default() };
        let runs = [1, 2].map(|seed| recorder.record(&sound(20_000, 40, seed)));
        let mut demuxer = Demuxer::new();
        for run in &runs {
            let first = &run.blobs(&Cut::AtElement { timeslice_us: 250_000 })[0];
            let items = demuxer.push(first);
            assert_eq!(heads(&items).len(), 1, "{beside:?}: its beginning is taken for a repeated header");
            assert_eq!(packets(&items).len(), 13, "{beside:?}");
        }
    }
}
