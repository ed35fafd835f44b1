//! Each shipped browser recording, decoded straight to 16 kHz, against ffmpeg's decoding of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::ffmpeg::encode;
use common::{RECORDINGS, chunks, demux, likeness, reference, runs, skipped};
use media::demux::{Packet, RecordingHead, SkipReason};
use media::opus::Decoder;
use media::time::Samples;

fn decode(head: &RecordingHead, packets: &[Packet]) -> Vec<i16> {
    let mut decoder = Decoder::new().unwrap();
    let mut pcm = Vec::new();
    for packet in packets {
        assert_eq!(decoder.decode(&packet.data, &mut pcm).unwrap(), packet.duration);
        pcm.truncate(pcm.len() - packet.discard_end.as_usize());
    }
    pcm.split_off(head.pre_skip.to_samples().as_usize())
}

#[test]
fn every_recording_sounds_like_the_reference() {
    for name in RECORDINGS {
        let runs = runs(&demux(chunks(name)));
        let pcm: Vec<i16> = runs.iter().flat_map(|(head, packets)| decode(head, packets)).collect();
        let reference = reference(name);
        let off = Samples::from(pcm.len().abs_diff(reference.len()));
        assert!(off <= Samples::from_ms(runs.len() as u64), "{name}: the length is {off} off");
        let common = pcm.len().min(reference.len());
        let (correlation, snr_db) = likeness(&reference[..common], &pcm[..common]);
        println!("{name}: {} runs, {off} off, correlation {correlation:.5}, {snr_db:.1} dB", runs.len());
        assert!(correlation >= 0.999 && snr_db >= 26.0, "{name}: correlation {correlation}, SNR {snr_db} dB");
    }
}

#[test]
fn streamed_recordings_leave_no_byte_unused() {
    for name in common::STREAMS {
        assert_eq!(skipped(&demux(chunks(name))), [], "{name}");
    }
}

#[test]
fn stubs_of_recorders_without_audio_are_named_and_disturb_nothing() {
    let chunks = chunks("chromium-self-contained");
    let (stubs, files): (Vec<_>, Vec<_>) = chunks.iter().cloned().partition(|chunk| chunk.len() == 110);
    assert!(!stubs.is_empty() && !files.is_empty());
    let items = demux(&chunks);
    let reported: Vec<_> = skipped(&items).into_iter().map(|s| (s.bytes, s.reason)).collect();
    let expected: Vec<_> = stubs.iter().map(|stub| (stub.clone(), SkipReason::NotMedia)).collect();
    assert_eq!(reported, expected);
    assert_eq!(runs(&items), runs(&demux(&files)));
    assert_eq!(runs(&items).len(), files.len(), "each file is a recording of its own");
}

#[test]
fn a_stub_between_two_chunks_of_a_stream_does_not_cut_it() {
    let stub = chunks("chromium-self-contained").into_iter().find(|chunk| chunk.len() == 110).unwrap();
    let stream = chunks("chromium-speech-default");
    let mut disturbed = stream.clone();
    disturbed.insert(20, stub);
    assert_eq!(runs(&demux(disturbed)), runs(&demux(stream)));
}

#[test]
fn heads_say_what_the_recorders_wrote() {
    let facts = |name| {
        let of = |(head, packets): &(RecordingHead, Vec<Packet>)| {
            (
                head.pre_skip.0,
                head.channels,
                head.headerless,
                packets[0].time.ms_floor(),
                packets[0].duration.ms_floor(),
            )
        };
        runs(&demux(chunks(name))).iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(facts("firefox-speech"), [(312, 1, false, 6, 20)]);
    assert_eq!(facts("chromium-speech-default"), [(0, 1, false, 0, 60)]);
    assert_eq!(facts("chromium-restart"), [(0, 1, false, 0, 60); 2]);
    let runs = runs(&demux(chunks("chromium-restart")));
    assert_ne!(runs[0].0.id, runs[1].0.id, "a restarted recorder must not pass for the one before");
    assert_eq!(runs[0].0.id.len(), 16);
}

#[test]
fn stereo_comes_out_as_mono_of_the_same_loudness() {
    let source = &reference("chromium-speech-default")[80_000..144_000];
    let stereo = encode(source, &["-af", "pan=stereo|c0=c0|c1=c0", "-b:a", "128k", "webm"]);
    let runs = runs(&demux([stereo]));
    let (head, packets) = &runs[0];
    assert_eq!(head.channels, 2);
    let pcm = decode(head, packets);
    assert!(pcm.len().abs_diff(source.len()) <= 16, "{} samples of {}", pcm.len(), source.len());
    let common = pcm.len().min(source.len());
    let (correlation, snr_db) = likeness(&source[..common], &pcm[..common]);
    assert!(correlation > 0.99 && snr_db > 15.0, "correlation {correlation}, SNR {snr_db} dB");
}

#[test]
fn the_libopus_underneath_is_a_current_one() {
    let version = audiopus::version();
    assert!(version.starts_with("libopus 1.6"), "{version} decodes strangers' bytes");
}
