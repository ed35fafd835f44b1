//! A recorder's blobs, and what a page that stands still makes of them.

use std::ops::Range;

use fastrand::Rng;
use ingest::message::MAX_AUDIO_BYTES;

use crate::speech::file::File;
use crate::speech::tape::{FRAME, tape};
use crate::speech::webm::Browser;

/// Samples of a millisecond.
const PER_MS: usize = 16;
/// The most that a blob's event comes after its audio has ended.
const EVENT_MS: u64 = 30;
/// Time from a stall's end until Chromium hands out its large blob.
const LARGE_AFTER_MS: u64 = 280;
/// No piece of what a stall has left holds more audio, nor more bytes than a message may.
const MOST_MS: u64 = 8_000;
/// A page that can cuts blobs into pieces of this length.
const PIECE_MS: u64 = 1_400;

/// What a page hands out once it goes on after a stall (mediarecorder-facts 13).
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// Every blob that was due, all at once.
    Heap,
    /// One blob with everything, which the page cuts into pieces; Firefox.
    One {
        /// The least number.
        pieces: usize,
    },
    /// What was due at the beginning, and soon after one blob with the rest, which the page cuts into pieces; Chromium.
    SmallThenLarge {
        /// The least number.
        pieces: usize,
    },
}

/// Bytes that a recorder hands out.
#[derive(Clone, Copy, Debug)]
pub struct Blob {
    /// Where they end in the recording.
    pub until: usize,
    /// When, after the session's start.
    pub handed_out_ms: u64,
    /// The blob goes on in the next one, and the page says so.
    pub continues: bool,
}

impl Blob {
    /// A whole blob.
    fn whole(until: usize, handed_out_ms: u64) -> Self {
        Self { until, handed_out_ms, continues: false }
    }
}

/// What sizes blobs have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// As the browser makes them by itself.
    Usual,
    /// Of 20 to 120 ms.
    Small,
    /// Of a second, with empty blobs before.
    Sparse,
    /// Of 5 to 20 s, cut into pieces that say so.
    Large,
}

/// A recorder run: which packet ends where in its bytes and when.
pub struct Recorder {
    browser: Browser,
    /// A recorder that was drawn: several packets may end together, in a block or page.
    is_drawn: bool,
    /// Where each packet ends; the header's end first.
    ends: Vec<usize>,
    begin_ms: u64,
    drift_ppm: i64,
    /// Before which packet it paused, and for how long.
    pause: Option<(usize, u64)>,
}

impl Recorder {
    /// A recorder that plays a tape and writes a [`File`] of it; its clock is fast by `drift_ppm`.
    pub fn new((number, uid, muxer): (usize, u64, Option<u64>), begin_ms: u64, drift_ppm: i64) -> Self {
        let (browser, ends) = (tape(number).browser, File::of(number, uid, muxer).ends);
        Self { browser, is_drawn: muxer.is_some(), ends, begin_ms, drift_ppm, pause: None }
    }

    /// It pauses after so much audio.
    pub fn pause(&mut self, after_ms: u64, ms: u64) {
        self.pause = Some((self.whole((after_ms / self.packet_ms()) as usize), ms));
    }

    fn packet_ms(&self) -> u64 {
        (self.browser.frames_per_packet() * FRAME / PER_MS) as u64
    }

    /// As many packets as fill whole pages.
    fn whole(&self, packets: usize) -> usize {
        match self.browser {
            Browser::FirefoxOgg => packets - packets % self.browser.packets_per_chunk(),
            _ if self.is_drawn => {
                self.ends[..=packets].iter().rposition(|end| *end < self.ends[packets + 1]).unwrap_or(0)
            }
            _ => packets,
        }
    }

    /// So many packets, and those that end with the last of them.
    fn with_its_block(&self, packets: usize) -> usize {
        if self.is_drawn { self.packets(self.ends[packets]) } else { packets }
    }

    /// Packets that are complete within the first `until` bytes.
    fn packets(&self, until: usize) -> usize {
        self.ends.partition_point(|end| *end <= until).saturating_sub(1)
    }

    /// When this many packets are recorded, after the session's start.
    fn after_packets_ms(&self, packets: usize) -> u64 {
        let paused_ms = self.pause.filter(|(at, _)| packets > *at).map_or(0, |(_, ms)| ms);
        let audio_ms = packets as u64 * self.packet_ms();
        self.begin_ms + paused_ms + audio_ms * 1_000_000 / (1_000_000 + self.drift_ppm) as u64
    }

    /// When the last packet that these bytes complete has ended, if they complete any.
    pub fn ended_ms(&self, from: usize, until: usize) -> Option<u64> {
        let packets = self.packets(until);
        (packets > self.packets(from)).then(|| self.after_packets_ms(packets))
    }

    /// Blobs of about `speech_ms` of audio in all.
    pub fn blobs(&self, rng: &mut Rng, speech_ms: u64, sizes: Sizes) -> Vec<Blob> {
        let last = self.whole(((speech_ms / self.packet_ms()) as usize).min(self.ends.len() - 2));
        let ragged = sizes == Sizes::Small && rng.bool() && self.browser != Browser::Worklet;
        let sizes = match sizes {
            Sizes::Sparse | Sizes::Large if self.browser == Browser::FirefoxOgg => Sizes::Usual,
            sizes => sizes,
        };
        let mut blobs = Vec::new();
        let mut packets = 0;
        if self.browser == Browser::FirefoxOgg {
            blobs.push(Blob::whole(self.ends[0], self.begin_ms + EVENT_MS));
        }
        while packets < last {
            let pause = self.pause.map(|(at, _)| at).filter(|at| *at > packets);
            let to = packets + self.packets_of_blob(rng, packets, sizes);
            packets = self.with_its_block(to.min(pause.unwrap_or(last)).min(last));
            let over = match () {
                () if packets >= last => 0,
                () if ragged => rng.usize(0..(self.ends[packets + 1] - self.ends[packets]).max(1)),
                () => usize::from(self.browser == Browser::Chromium),
            };
            // What is recorded after a pause is not there before it.
            let over = if ragged && pause == Some(packets) { 0 } else { over };
            let handed_out_ms = self.after_packets_ms(packets) + rng.u64(0..EVENT_MS);
            let from = blobs.last().map_or(0, |blob: &Blob| blob.until);
            if sizes == Sizes::Sparse {
                let empty = |n: u64| Blob::whole(from, handed_out_ms.saturating_sub(n * 250));
                blobs.extend((1..=3).rev().map(empty));
            }
            let blob = Blob::whole(self.ends[packets] + over, handed_out_ms);
            match sizes {
                Sizes::Large => blobs.extend(self.in_pieces(from, blob)),
                Sizes::Usual | Sizes::Small | Sizes::Sparse => blobs.push(blob),
            }
        }
        if sizes == Sizes::Small && self.browser == Browser::FirefoxOgg {
            let parts = rng.usize(2..=10);
            blobs = blobs_in_parts(&blobs, parts);
        }
        in_order(&mut blobs);
        blobs
    }

    fn packets_of_blob(&self, rng: &mut Rng, packets: usize, sizes: Sizes) -> usize {
        let usual = self.browser.packets_per_chunk();
        match sizes {
            _ if self.browser == Browser::FirefoxOgg => usual,
            Sizes::Small => rng.usize(1..=(120 / self.packet_ms()) as usize),
            Sizes::Sparse => 1_020 / self.packet_ms() as usize,
            Sizes::Large => (rng.u64(5_000..20_000) / self.packet_ms()) as usize,
            Sizes::Usual if packets == 0 => usual - 1,
            Sizes::Usual => usual,
        }
    }

    /// A blob that begins at `from`, in pieces that say so.
    fn in_pieces(&self, from: usize, blob: Blob) -> Vec<Blob> {
        let audio_ms = (self.packets(blob.until) - self.packets(from)) as u64 * self.packet_ms();
        let pieces = audio_ms.div_ceil(PIECE_MS).max(1) as usize;
        let cut = |n: usize| self.whole_samples(from + (blob.until - from) * n / pieces);
        (1..=pieces).map(|n| Blob { until: cut(n), continues: n < pieces, ..blob }).collect()
    }

    /// Plain samples are cut between frames, as a page cuts them between samples; a recorder's bytes anywhere.
    fn whole_samples(&self, until: usize) -> usize {
        match self.browser {
            Browser::Worklet => self.ends[self.ends.partition_point(|end| *end <= until).saturating_sub(1)],
            _ => until,
        }
    }

    /// What the page makes of blobs while it stands still.
    pub fn stall(
        &self,
        rng: &mut Rng,
        blobs: Vec<Blob>,
        (from_ms, to_ms): (u64, u64),
        style: Style,
        empties: bool,
    ) -> Vec<Blob> {
        let at = |ms: u64| blobs.partition_point(|blob| blob.handed_out_ms < ms);
        let stalled = at(from_ms)..at(to_ms);
        if stalled.is_empty() {
            return blobs;
        }
        let at_once = |blob: &Blob| Blob { handed_out_ms: to_ms, ..*blob };
        let mut all = blobs[..stalled.start].to_vec();
        let rest = match style {
            Style::Heap => {
                all.extend(blobs[stalled.clone()].iter().map(at_once));
                stalled.end
            }
            Style::One { pieces } => {
                all.extend(self.large(&blobs, stalled.clone(), to_ms, pieces));
                if empties {
                    let until = blobs[stalled.end - 1].until;
                    all.extend(stalled.clone().skip(1).map(|_| Blob::whole(until, to_ms)));
                }
                stalled.end
            }
            Style::SmallThenLarge { pieces } => {
                let before = self.packets(stalled.start.checked_sub(1).map_or(0, |last| blobs[last].until));
                let small = self.ends[before + rng.usize(1..=3)].min(blobs[stalled.start].until);
                all.push(Blob::whole(small, to_ms));
                let end = at(to_ms + LARGE_AFTER_MS);
                all.extend(self.large(&blobs, stalled.start..end, to_ms + LARGE_AFTER_MS, pieces));
                end
            }
        };
        all.extend_from_slice(&blobs[rest..]);
        in_order(&mut all);
        all.dedup_by(|next, last| next.until == last.until && next.until != 0 && !empties);
        all
    }

    /// Blobs as one, cut into pieces.
    fn large(&self, blobs: &[Blob], range: Range<usize>, handed_out_ms: u64, pieces: usize) -> Vec<Blob> {
        let from = range.start.checked_sub(1).map_or(0, |last| blobs[last].until);
        let until = blobs[range.end - 1].until;
        let audio_ms = (self.packets(until) - self.packets(from)) as u64 * self.packet_ms();
        let least = (audio_ms.div_ceil(MOST_MS) as usize).max((until - from).div_ceil(MAX_AUDIO_BYTES));
        let pieces = pieces.max(least).max(1);
        let piece =
            |n: usize| Blob::whole(self.whole_samples(from + (until - from) * n / pieces), handed_out_ms);
        (1..=pieces).map(piece).collect()
    }
}

/// Each blob but the first in this many parts.
fn blobs_in_parts(blobs: &[Blob], parts: usize) -> Vec<Blob> {
    let mut all = blobs[..1].to_vec();
    for pair in blobs.windows(2) {
        let (from, until) = (pair[0].until, pair[1].until);
        all.extend((1..=parts).map(|n| Blob { until: from + (until - from) * n / parts, ..pair[1] }));
    }
    all
}

/// No blob comes before one that ends before it.
fn in_order(blobs: &mut [Blob]) {
    for n in 1..blobs.len() {
        let before = blobs[n - 1];
        blobs[n].until = blobs[n].until.max(before.until);
        blobs[n].handed_out_ms = blobs[n].handed_out_ms.max(before.handed_out_ms);
    }
}
