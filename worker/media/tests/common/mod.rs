//! The shipped recordings, and the ways to feed a demuxer that every test of it shares.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod ffmpeg;
pub mod pre_roll;
pub mod webm;

use std::path::{Path, PathBuf};

use base64::Engine;
use media::demux::{Demuxer, Item, Packet, RecordingHead, Skipped};

/// All shipped recordings.
pub const RECORDINGS: [&str; 5] = [
    "chromium-pause-resume",
    "chromium-restart",
    "chromium-self-contained",
    "chromium-speech-default",
    "firefox-speech",
];

/// Those whose chunks are one stream that was cut, not a file each.
pub const STREAMS: [&str; 4] =
    ["chromium-pause-resume", "chromium-restart", "chromium-speech-default", "firefox-speech"];

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/end-to-end/recordings").join(name)
}

/// A recording's chunks, in order.
pub fn chunks(name: &str) -> Vec<Vec<u8>> {
    let path = folder(name).join("messages.jsonl");
    let lines = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let decode = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        base64::engine::general_purpose::STANDARD.decode(message["audioData"].as_str().unwrap()).unwrap()
    };
    lines.lines().map(decode).collect()
}

/// What ffmpeg made of a recording, 16 kHz mono.
pub fn reference(name: &str) -> Vec<i16> {
    let mut wav = hound::WavReader::open(folder(name).join("reference.wav")).unwrap();
    assert_eq!((wav.spec().sample_rate, wav.spec().channels), (16_000, 1));
    wav.samples::<i16>().map(Result::unwrap).collect()
}

pub fn push_all<B: AsRef<[u8]>>(demuxer: &mut Demuxer, chunks: impl IntoIterator<Item = B>) -> Vec<Item> {
    chunks.into_iter().flat_map(|chunk| demuxer.push(chunk.as_ref())).collect()
}

pub fn demux<B: AsRef<[u8]>>(chunks: impl IntoIterator<Item = B>) -> Vec<Item> {
    push_all(&mut Demuxer::new(), chunks)
}

pub fn packets(items: &[Item]) -> Vec<Packet> {
    let packet = |item: &Item| match item {
        Item::Packet(packet) => Some(packet.clone()),
        _ => None,
    };
    items.iter().filter_map(packet).collect()
}

pub fn heads(items: &[Item]) -> Vec<RecordingHead> {
    let head = |item: &Item| match item {
        Item::RecordingStart(head) => Some(head.clone()),
        _ => None,
    };
    items.iter().filter_map(head).collect()
}

pub fn skipped(items: &[Item]) -> Vec<Skipped> {
    let skipped = |item: &Item| match item {
        Item::Skipped(skipped) => Some(skipped.clone()),
        _ => None,
    };
    items.iter().filter_map(skipped).collect()
}

/// Whether two runs of packets are the same sound at the same times, give or take the jitter of a recorder's clock.
pub fn same_sound(a: &[Packet], b: &[Packet]) -> bool {
    let same = |(a, b): (&Packet, &Packet)| {
        a.data == b.data && a.discard_end == b.discard_end && a.time.0.abs_diff(b.time.0) <= 30_000_000
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

/// A recording's packets, one list for each recorder run.
pub fn runs(items: &[Item]) -> Vec<(RecordingHead, Vec<Packet>)> {
    let mut runs: Vec<(RecordingHead, Vec<Packet>)> = Vec::new();
    for item in items {
        match item {
            Item::RecordingStart(head) => runs.push((head.clone(), Vec::new())),
            Item::Packet(packet) => runs.last_mut().expect("a head comes first").1.push(packet.clone()),
            Item::Skipped(_) => {}
        }
    }
    runs
}

/// A small random number generator, the same numbers in every run (SplitMix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Correlation and signal-to-noise ratio in dB of what was decoded against a reference of the same length.
pub fn likeness(reference: &[i16], decoded: &[i16]) -> (f64, f64) {
    assert_eq!(reference.len(), decoded.len());
    let (mut dot, mut rr, mut dd, mut noise) = (0.0, 0.0, 0.0, 0.0);
    for (&r, &d) in reference.iter().zip(decoded) {
        let (r, d) = (f64::from(r), f64::from(d));
        dot += r * d;
        rr += r * r;
        dd += d * d;
        noise += (r - d) * (r - d);
    }
    (dot / (rr * dd).sqrt(), 10.0 * (rr / noise).log10())
}
