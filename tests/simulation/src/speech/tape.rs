//! Tapes: a fixed stretch of Opus audio each, of which every 20 ms frame differs from all others in its samples.
//!
//! A *clean* frame is what one pass over the whole recording gives. After a loss a decoder starts cold at a packet
//! and gives other samples until it has converged; those frames are known too, for every packet, so nothing that
//! comes back has to be guessed.
//!
//! The first tapes are short, and every seed uses them; the long ones and those in Ogg are made when a speaker first plays one.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::OnceLock;

use audiopus::coder::Encoder;
use audiopus::{Application, Bandwidth, Bitrate, Channels, SampleRate};
use media::opus::{Decoder, PRE_ROLL};

use super::webm::{Browser, blocks};

/// Samples of a frame.
pub const FRAME: usize = 320;
/// Frames of a short tape: 24 s.
pub const FRAMES: usize = 1_200;
/// Frames of a long tape: 96 s.
pub const LONG_FRAMES: usize = 4_800;
/// Short tapes of Chromium, and as many of Firefox after them.
pub const TAPES: usize = 4;
/// Firefox's tapes in Ogg. Ogg writes the recorder's number on each page: here, the tape's.
pub const OGG: [usize; 2] = [2 * TAPES, 2 * TAPES + 1];
/// The long tapes of Chromium and Firefox, and the one in Ogg.
pub const LONG: [usize; 3] = [2 * TAPES + 2, 2 * TAPES + 3, 2 * TAPES + 4];

/// Plain samples: two short tapes and a long one.
pub const PLAIN: [usize; 3] = [2 * TAPES + 5, 2 * TAPES + 6, 2 * TAPES + 7];

/// A frame's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameId {
    /// Which tape.
    pub tape: usize,
    /// Which frame of it.
    pub frame: usize,
    /// The frame at which its decoder started cold, where that can still be heard.
    pub cold_since: Option<usize>,
}

/// A recorder's packets, without the header.
pub struct Tape {
    /// Who wrote it.
    pub browser: Browser,
    /// Each packet's bytes in the file: its SimpleBlock, with the start of its Cluster.
    pub blocks: Vec<Vec<u8>>,
    packets: Vec<Vec<u8>>,
}

/// Some tapes, and the index of their frames.
struct Library {
    tapes: Vec<Tape>,
    frames: HashMap<u64, FrameId, BuildHasherDefault<Plain>>,
}

static SHORT: OnceLock<Library> = OnceLock::new();
static FURTHER: OnceLock<Library> = OnceLock::new();
static SAMPLES: OnceLock<Library> = OnceLock::new();

/// A tape: the first [`TAPES`] are Chromium's, the next Firefox's, then come [`OGG`], [`LONG`] and [`PLAIN`].
pub fn tape(number: usize) -> &'static Tape {
    if let Some(plain) = number.checked_sub(PLAIN[0]) {
        return &SAMPLES.get_or_init(Library::plain).tapes[plain];
    }
    match number.checked_sub(2 * TAPES) {
        None => &SHORT.get_or_init(Library::short).tapes[number],
        Some(further) => &FURTHER.get_or_init(Library::further).tapes[further],
    }
}

/// Whose samples these are: a whole frame, or what a pre-skip leaves of a recording's first one. Only tapes that somebody has
/// played are known.
pub fn recognise(samples: &[i16]) -> Option<FrameId> {
    let hash = hash(samples);
    let libraries = [&SHORT, &FURTHER, &SAMPLES].into_iter().filter_map(OnceLock::get);
    libraries.filter_map(|library| library.frames.get(&hash).copied()).next()
}

impl Library {
    fn short() -> Self {
        let browsers = [Browser::Chromium; TAPES].into_iter().chain([Browser::Firefox; TAPES]);
        Self::new(0, browsers.map(|browser| (browser, FRAMES)))
    }

    fn further() -> Self {
        let ogg = [(Browser::FirefoxOgg, FRAMES); OGG.len()];
        let long = [Browser::Chromium, Browser::Firefox, Browser::FirefoxOgg];
        Self::new(2 * TAPES, ogg.into_iter().chain(long.map(|browser| (browser, LONG_FRAMES))))
    }

    fn plain() -> Self {
        let lengths = [FRAMES, FRAMES, LONG_FRAMES];
        Self::new(PLAIN[0], lengths.into_iter().map(|frames| (Browser::Worklet, frames)))
    }

    fn new(first: usize, tapes: impl Iterator<Item = (Browser, usize)>) -> Self {
        let tapes: Vec<Tape> =
            tapes.enumerate().map(|(n, (browser, frames))| Tape::new(browser, first + n, frames)).collect();
        let mut frames = HashMap::default();
        for (n, tape) in tapes.iter().enumerate() {
            tape.index(first + n, &mut frames);
        }
        Self { tapes, frames }
    }
}

impl Tape {
    fn new(browser: Browser, number: usize, frames: usize) -> Self {
        let frames = encode(number as u64, frames);
        let packets: Vec<Vec<u8>> = match browser {
            Browser::Worklet => samples(&frames),
            _ => frames.chunks(browser.frames_per_packet()).map(join).collect(),
        };
        let blocks = blocks(browser, number as u64, &packets);
        Self { browser, blocks, packets }
    }

    /// How many packets it has.
    pub fn packets(&self) -> usize {
        self.packets.len()
    }

    /// One of its packets.
    pub fn packet(&self, at: usize) -> &[u8] {
        &self.packets[at]
    }

    fn frames(&self) -> usize {
        self.packets.len() * self.browser.frames_per_packet()
    }

    /// Decodes from a packet on with a fresh decoder: up to `count` frames.
    fn decode(&self, from: usize, count: usize) -> Vec<i16> {
        if self.browser == Browser::Worklet {
            let packets = self.packets[from..].iter().take(count);
            let samples = packets.flat_map(|packet| packet.chunks_exact(2));
            return samples.map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
        }
        let mut decoder = Decoder::new().expect("memory for a decoder");
        let mut pcm = Vec::new();
        for packet in &self.packets[from..] {
            if pcm.len() >= count * FRAME {
                break;
            }
            decoder.decode(packet, &mut pcm).expect("libopus decodes what libopus encoded");
        }
        pcm
    }

    fn index(&self, tape: usize, frames: &mut HashMap<u64, FrameId, BuildHasherDefault<Plain>>) {
        let clean = self.decode(0, self.frames());
        let mut add = |samples: &[i16], id: FrameId| {
            let known = *frames.entry(hash(samples)).or_insert(id);
            assert!(known.tape == id.tape && known.frame == id.frame, "{known:?} and {id:?} sound alike");
        };
        for (frame, samples) in clean.chunks(FRAME).enumerate() {
            add(samples, FrameId { tape, frame, cold_since: None });
        }
        let skip = self.browser.pre_skip_samples();
        add(&clean[skip..FRAME], FrameId { tape, frame: 0, cold_since: None });
        let per_packet = self.browser.frames_per_packet();
        let settled = PRE_ROLL.as_usize() / FRAME;
        for packet in 1..self.packets.len() {
            let since = packet * per_packet;
            for (n, samples) in self.decode(packet, settled + 1).chunks(FRAME).enumerate() {
                let frame = since + n;
                let is_clean = samples == &clean[frame * FRAME..(frame + 1) * FRAME];
                assert!(is_clean || n < settled, "tape {tape}: no pre-roll restores frame {frame}");
                if !is_clean {
                    add(samples, FrameId { tape, frame, cold_since: Some(since) });
                }
            }
        }
    }
}

/// A melody with a new pair of notes each frame, as CELT at 8 kb/s.
fn encode(seed: u64, frames: usize) -> Vec<Vec<u8>> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut encoder =
        Encoder::new(SampleRate::Hz16000, Channels::Mono, Application::LowDelay).expect("a libopus encoder");
    encoder.set_bitrate(Bitrate::BitsPerSecond(8_000)).expect("a legal bit rate");
    encoder.set_bandwidth(Bandwidth::Narrowband).expect("a legal bandwidth");
    let (mut low, mut high) = (0.0_f32, 0.0_f32);
    (0..frames)
        .map(|_| {
            let (low_step, high_step) = (0.05 + rng.f32() * 0.2, 0.3 + rng.f32() * 0.8);
            let loudness = 2_000.0 + rng.f32() * 9_000.0;
            let pcm: Vec<i16> = (0..FRAME)
                .map(|_| {
                    low += low_step;
                    high += high_step;
                    (loudness * (low.sin() + 0.5 * high.sin()) + 300.0 * (rng.f32() - 0.5)) as i16
                })
                .collect();
            let mut packet = vec![0; 400];
            let len = encoder.encode(&pcm, &mut packet).expect("libopus encodes");
            packet.truncate(len);
            packet
        })
        .collect()
}

/// What frames sound like, 20 ms each.
fn samples(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::new().expect("memory for a decoder");
    let decoded = |frame: &Vec<u8>| {
        let mut pcm = Vec::new();
        decoder.decode(frame, &mut pcm).expect("libopus decodes what libopus encoded");
        pcm.into_iter().flat_map(i16::to_le_bytes).collect()
    };
    frames.iter().map(decoded).collect()
}

/// Frames as one packet: code 0, or code 3 with their lengths (RFC 6716 section 3.2.5).
fn join(frames: &[Vec<u8>]) -> Vec<u8> {
    if let [frame] = frames {
        return frame.clone();
    }
    const VARIABLE: u8 = 0x80;
    let mut packet = vec![frames[0][0] | 3, VARIABLE | frames.len() as u8];
    for frame in &frames[..frames.len() - 1] {
        packet.push(u8::try_from(frame.len() - 1).expect("frames of 8 kb/s are short"));
    }
    frames.iter().for_each(|frame| packet.extend_from_slice(&frame[1..]));
    packet
}

fn hash(samples: &[i16]) -> u64 {
    samples.iter().fold(samples.len() as u64, |hash, &sample| {
        (hash.rotate_left(5) ^ sample as u16 as u64).wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}

/// The keys are hashes already.
#[derive(Default)]
struct Plain(u64);

impl std::hash::Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64");
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::demux::{Demuxer, Item};

    #[test]
    fn the_products_own_demuxer_reads_a_tape() {
        for number in (0..2 * TAPES).chain(OGG).chain(LONG) {
            let tape = tape(number);
            let mut demuxer = Demuxer::new();
            let mut items = demuxer.push(&super::super::webm::header(tape.browser, number as u64));
            items.extend(tape.blocks.iter().flat_map(|block| demuxer.push(block)));
            assert!(matches!(items[0], Item::RecordingStart(_)));
            let packets: Vec<&[u8]> = items[1..]
                .iter()
                .map(|item| match item {
                    Item::Packet(packet) => packet.data.as_slice(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(packets, tape.packets);
        }
    }
}
