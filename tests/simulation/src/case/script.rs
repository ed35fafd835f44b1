//! What a page, its recorder and its network do, and the chunks that come of it.

use fastrand::Rng;

use super::blobs::{Blob, Recorder, Sizes, Style};
use crate::speech::session::{Chunk, Passage, Take};
use crate::speech::tape::{LONG, OGG, PLAIN, TAPES};
use crate::speech::webm::Browser;

/// The least that a message needs to the queue.
const NETWORK_MS: u64 = 15;
/// What it needs where nothing makes messages overtake each other.
const STEADY_NETWORK_MS: u64 = 40;
/// A short tape holds as much, with some room.
pub const SHORT_MS: u64 = 22_000;
/// A long tape holds as much, with some room.
const LONG_MS: u64 = 92_000;

/// A time in which the page stands still, or the network is away; counted from the recorder's begin.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its begin.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// The page stands still, and this is what it makes of its blobs; `None`: the network is away.
    pub stall: Option<Style>,
}

/// One recorder run.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Who records.
    pub browser: Browser,
    /// A recorder that this number draws writes what it records.
    pub muxer: Option<u64>,
    /// When it begins, after the session's start.
    pub begin_ms: u64,
    /// So much audio, at most 92 s.
    pub speech_ms: u64,
    /// When the page stands still or the network is away.
    pub window: Option<Window>,
    /// It pauses: after how much audio, and for how long.
    pub pause: Option<(u64, u64)>,
    /// By how many millionths its clock is fast.
    pub drift_ppm: i64,
    /// What sizes its blobs have.
    pub sizes: Sizes,
    /// Empty blobs follow a large one that a stall has left: Firefox.
    pub empties: bool,
    /// Chunks overtake each other on their way, and timestamps are off by milliseconds.
    pub disorder: bool,
}

impl Script {
    /// A page without trouble.
    pub fn new(browser: Browser, speech_ms: u64) -> Self {
        Self {
            browser,
            muxer: None,
            begin_ms: 0,
            speech_ms,
            window: None,
            pause: None,
            drift_ppm: 0,
            sizes: Sizes::Usual,
            empties: false,
            disorder: false,
        }
    }

    /// Plays it, as the session's `n`-th take (0 or 1). Only one take of a session may be longer than [`SHORT_MS`].
    pub fn play(&self, rng: &mut Rng, n: usize) -> Take {
        let tape = self.tape(n);
        let uid = if self.browser == Browser::FirefoxOgg { tape as u64 } else { rng.u64(..) };
        let mut recorder = Recorder::new((tape, uid, self.muxer), self.begin_ms, self.drift_ppm);
        if let Some((after_ms, ms)) = self.pause {
            recorder.pause(after_ms, ms);
        }
        let mut blobs = recorder.blobs(rng, self.speech_ms.min(LONG_MS), self.sizes);
        if let Some((from_ms, to_ms, Some(style))) = self.window() {
            blobs = recorder.stall(rng, blobs, (from_ms, to_ms), style, self.empties);
        }
        let before = std::iter::once(0).chain(blobs.iter().map(|blob| blob.until));
        let mut chunks: Vec<Chunk> =
            before.zip(&blobs).map(|(from, blob)| self.chunk(rng, &recorder, from, blob)).collect();
        for n in 1..chunks.len() {
            if chunks[n - 1].continues {
                chunks[n].misstamped_ms = chunks[n - 1].misstamped_ms; // a blob has one time
            }
        }
        let back = self.window().filter(|(_, _, stall)| stall.is_none());
        let reconnects = back.map(|(from_ms, ..)| chunks.partition_point(|c| c.handed_out_ms < from_ms));
        Take {
            tape,
            uid,
            muxer: self.muxer,
            new_page: false,
            connection: 0,
            reconnects: reconnects.into_iter().collect(),
            chunks,
        }
    }

    fn tape(&self, n: usize) -> usize {
        match (self.browser, self.speech_ms > SHORT_MS) {
            (Browser::Chromium, true) => LONG[0],
            (Browser::Firefox, true) => LONG[1],
            (Browser::FirefoxOgg, true) => LONG[2],
            (Browser::Worklet, true) => PLAIN[2],
            (Browser::Chromium, false) => n,
            (Browser::Firefox, false) => TAPES + n,
            (Browser::FirefoxOgg, false) => OGG[n],
            (Browser::Worklet, false) => PLAIN[n],
        }
    }

    /// The window by the session's time.
    fn window(&self) -> Option<(u64, u64, Option<Style>)> {
        self.window.map(|w| (self.begin_ms + w.from_ms, self.begin_ms + w.to_ms, w.stall))
    }

    fn chunk(&self, rng: &mut Rng, recorder: &Recorder, from: usize, blob: &Blob) -> Chunk {
        let network_ms = if self.disorder { NETWORK_MS + rng.u64(0..=60) } else { STEADY_NETWORK_MS };
        let kept_ms = match self.window() {
            Some((from_ms, to_ms, None)) if (from_ms..to_ms).contains(&blob.handed_out_ms) => {
                to_ms - blob.handed_out_ms
            }
            _ => 0,
        };
        let ended_ms = recorder.ended_ms(from, blob.until).unwrap_or(blob.handed_out_ms);
        Chunk {
            late_ms: blob.handed_out_ms.saturating_sub(ended_ms),
            misstamped_ms: if self.disorder { rng.i64(0..=6) } else { 0 },
            continues: blob.continues,
            passage: Passage::Sent(kept_ms + network_ms),
            ..Chunk::new(blob.until, blob.handed_out_ms)
        }
    }
}
