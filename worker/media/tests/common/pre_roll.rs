//! How near a fresh decoder with a pre-roll comes to one that has heard everything.

use std::ops::Range;

use media::demux::Packet;
use media::opus::Decoder;
use media::time::Samples;

use super::ffmpeg::encode;
use super::{chunks, demux, packets, reference};

/// A stream to resume, and what it is.
pub struct Stream {
    pub name: String,
    pub packets: Vec<Packet>,
}

/// The continuous shipped recordings.
pub fn recorded() -> Vec<Stream> {
    let recorded = |name: &str| Stream { name: name.to_owned(), packets: packets(&demux(chunks(name))) };
    super::STREAMS.map(recorded).into()
}

/// What other settings, browsers and devices could send: 12 s of speech, encoded by libopus through ffmpeg.
pub fn encoded() -> Vec<Stream> {
    let speech = &reference("chromium-speech-default")[5 * 16_000..17 * 16_000];
    let voip = ["-application", "voip"];
    let audio = ["-application", "audio"];
    let settings: [(&str, &[&str]); 12] = [
        ("CELT 20 ms, 128 kb/s stereo", &[&audio[..], &["-ac", "2", "-b:a", "128k"]].concat()),
        ("CELT 20 ms, 64 kb/s", &[&audio[..], &["-b:a", "64k"]].concat()),
        ("CELT 60 ms, 64 kb/s", &[&audio[..], &["-b:a", "64k", "-frame_duration", "60"]].concat()),
        ("CELT 10 ms, 96 kb/s", &["-application", "lowdelay", "-b:a", "96k", "-frame_duration", "10"]),
        ("CELT 5 ms, 96 kb/s", &["-application", "lowdelay", "-b:a", "96k", "-frame_duration", "5"]),
        ("CELT 2.5 ms, 128 kb/s", &["-application", "lowdelay", "-b:a", "128k", "-frame_duration", "2.5"]),
        ("CELT 20 ms, 24 kb/s", &["-application", "lowdelay", "-b:a", "24k"]),
        ("hybrid 20 ms, 32 kb/s", &[&voip[..], &["-b:a", "32k"]].concat()),
        ("hybrid 60 ms, 32 kb/s", &[&voip[..], &["-b:a", "32k", "-frame_duration", "60"]].concat()),
        ("SILK 20 ms, 16 kb/s", &[&voip[..], &["-b:a", "16k"]].concat()),
        ("SILK 60 ms, 16 kb/s", &[&voip[..], &["-b:a", "16k", "-frame_duration", "60"]].concat()),
        ("SILK 20 ms, 12 kb/s stereo", &[&voip[..], &["-ac", "2", "-b:a", "12k"]].concat()),
    ];
    let stream = |(name, how): (&str, &[&str])| {
        let webm = encode(speech, &[&["-ar", "48000"], how, &["webm"]].concat());
        Stream { name: name.to_owned(), packets: packets(&demux([webm])) }
    };
    settings.map(stream).into()
}

/// The modes that a stream's packets use (RFC 6716 table 2).
pub fn modes(stream: &Stream) -> String {
    let mode = |packet: &Packet| match packet.data[0] >> 3 {
        0..=11 => "SILK",
        12..=15 => "hybrid",
        _ => "CELT",
    };
    let mut modes: Vec<&str> = stream.packets.iter().map(mode).collect();
    modes.sort_unstable();
    modes.dedup();
    modes.join(" + ")
}

/// How resumed sound compares with one pass, over all places where a stream was resumed.
#[derive(Clone, Debug)]
pub struct Likeness {
    pub places: usize,
    pub exact: usize,
    /// The largest difference of any sample, in LSB of 16 bits.
    pub worst_lsb: u32,
    /// The worst signal-to-noise ratio of any place in dB; infinite if all are exact.
    pub worst_snr_db: f64,
}

/// One pass over a stream: its samples, and where in them each packet lies.
pub fn one_pass(stream: &Stream) -> (Vec<i16>, Vec<Range<usize>>) {
    let (mut decoder, mut pcm, mut places) = (Decoder::new().unwrap(), Vec::new(), Vec::new());
    for packet in &stream.packets {
        let start = pcm.len();
        decoder.decode(&packet.data, &mut pcm).unwrap();
        places.push(start..pcm.len());
    }
    (pcm, places)
}

/// The packets before `n` that cover a pre-roll: the shortest run that is as long, or all there are.
pub fn pre_roll(packets: &[Packet], n: usize, length: Samples) -> &[Packet] {
    let (mut first, mut covered) = (n, Samples::ZERO);
    while first > 0 && covered < length {
        first -= 1;
        covered += packets[first].duration;
    }
    &packets[first..n]
}

/// Resumes a stream at every `step`th packet with a pre-roll, decodes `window` of it, and compares.
pub fn compare(stream: &Stream, pre_roll_length: Samples, window: Samples, step: usize) -> Likeness {
    let (whole, places) = one_pass(stream);
    let mut likeness = Likeness { places: 0, exact: 0, worst_lsb: 0, worst_snr_db: f64::INFINITY };
    for n in (0..stream.packets.len()).step_by(step) {
        let mut decoder = Decoder::new().unwrap();
        decoder.prime(pre_roll(&stream.packets, n, pre_roll_length).iter().map(|packet| &packet.data[..]));
        let mut pcm = Vec::new();
        for packet in &stream.packets[n..] {
            if Samples::from(pcm.len()) >= window {
                break;
            }
            decoder.decode(&packet.data, &mut pcm).unwrap();
        }
        likeness.add(&whole[places[n].start..][..pcm.len()], &pcm);
    }
    likeness
}

impl Likeness {
    fn add(&mut self, whole: &[i16], resumed: &[i16]) {
        self.places += 1;
        if whole == resumed {
            self.exact += 1;
            return;
        }
        let (mut signal, mut noise) = (0.0, 0.0);
        for (&w, &r) in whole.iter().zip(resumed) {
            self.worst_lsb = self.worst_lsb.max(i32::from(w).abs_diff(r.into()));
            signal += f64::from(w).powi(2);
            noise += (f64::from(w) - f64::from(r)).powi(2);
        }
        self.worst_snr_db = self.worst_snr_db.min(10.0 * (signal / noise).log10());
    }
}
