//! A session as a picture (SVG): the waveform over time, the fragments that carry it, what lies between them.

mod svg;

use media::time::EpochMs;

use self::svg::{Anchor, Drawing, Ink, TextSize};
use crate::fragment::{Block, Fragment};
use crate::ledger::{HoleKind, Ledger};
use crate::text::{count, length, moment};

const WIDTH: u32 = 1_600;
const HEIGHT: u32 = 480;
const LEFT: f32 = 72.0;
const RIGHT: f32 = 24.0;
const TOP: f32 = 84.0;
const FLOOR: f32 = HEIGHT as f32 - 112.0;
const MIDDLE: f32 = f32::midpoint(TOP, FLOOR);
/// Height of a full-scale sample; the rest is margin.
const FULL_SCALE: f32 = (FLOOR - TOP) / 2.0 - 8.0;

const INK: Ink = [32, 38, 46];
const FAINT: Ink = [122, 131, 143];
const GRID: Ink = [226, 230, 235];
const WAVE: Ink = [28, 92, 168];
const EVEN: Ink = [240, 245, 252];
const ODD: Ink = [222, 234, 249];
const BACKFILLED: Ink = [220, 242, 224];
const BACKFILLED_WAVE: Ink = [30, 126, 62];
const EDGE: Ink = [146, 178, 217];
const GAP: Ink = [252, 228, 224];
const GAP_HATCH: Ink = [226, 120, 105];
const PARKED: Ink = [253, 238, 208];
const PARKED_HATCH: Ink = [222, 160, 44];
const UNKNOWN: Ink = [238, 238, 238];
const UNKNOWN_HATCH: Ink = [178, 178, 178];

/// Columns of the waveform.
const COLUMNS: usize = (WIDTH - LEFT as u32 - RIGHT as u32) as usize;

/// What a time without audio is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blank {
    /// Nothing was recorded.
    Pause,
    /// A gap whose chunks are nowhere.
    Gap,
    /// A gap whose chunks are parked.
    Parked,
    /// Fragments expired, or a gap was given up.
    Unknown,
}

/// A stretch of audio without a hole: a whole fragment, or a part of one.
struct Band {
    /// Which fragment, counted from 0: neighbours get different shades.
    fragment: usize,
    /// First sample and end, epoch ms.
    time: (u64, u64),
    /// Written below it, such as `0-7`.
    label: String,
    /// It was written after fragments of later times.
    backfilled: bool,
}

/// Lowest and highest sample of each column of the whole time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    from_ms: u64,
    to_ms: u64,
    columns: Vec<Option<(i16, i16)>>,
}

impl Wave {
    /// An empty waveform of the time `from..to`.
    pub fn new(from: EpochMs, to: EpochMs) -> Self {
        Self { from_ms: from.0, to_ms: to.0.max(from.0.saturating_add(1)), columns: vec![None; COLUMNS] }
    }

    /// Adds audio; what lies outside is left out.
    pub fn add(&mut self, block: &Block) {
        const SAMPLES_PER_MS: f64 = 16.0;
        let per_ms = COLUMNS as f64 / (self.to_ms - self.from_ms).max(1) as f64;
        let begin = (block.at.0 as f64 - self.from_ms as f64) * per_ms;
        for (i, sample) in block.pcm.iter().enumerate() {
            let column = begin + i as f64 / SAMPLES_PER_MS * per_ms;
            if column < 0.0 {
                continue;
            }
            let Some(slot) = self.columns.get_mut(column as usize) else { return };
            let (low, high) = slot.unwrap_or((*sample, *sample));
            *slot = Some((low.min(*sample), high.max(*sample)));
        }
    }
}

/// What is drawn.
pub struct Timeline {
    /// First line of text.
    pub title: String,
    /// Second line of text.
    pub subtitle: String,
    wave: Wave,
    /// The session's beginning, epoch ms: the axis counts from here.
    begins_ms: u64,
    /// In time order.
    bands: Vec<Band>,
    /// Times without audio.
    blanks: Vec<((u64, u64), Blank)>,
}

impl Timeline {
    /// The picture of a ledger; `fragments` are those that it was made of. The axis counts from `begins`, the session's beginning.
    pub fn of(
        session_id: &str,
        ledger: &Ledger,
        fragments: &[Fragment],
        wave: Wave,
        begins: EpochMs,
    ) -> Self {
        let (from, to) = (wave.from_ms, wave.to_ms);
        let seen = fragments.iter().filter(|fragment| fragment.at.0 < to && fragment.end().0 > from);
        let bands = seen.enumerate().flat_map(|(i, fragment)| {
            let longest = fragment.stretches.iter().map(|(_, length)| *length).max();
            let row = ledger.fragments.iter().find(|row| row.number == fragment.number);
            let chunks = row.map(|row| row.chunks.to_string()).unwrap_or_default();
            fragment.stretches.iter().map(move |(at, length)| Band {
                fragment: i,
                time: (at.0, at.0.saturating_add(length.ms_ceil())),
                label: if Some(*length) == longest { chunks.clone() } else { String::new() },
                backfilled: fragment.backfilled,
            })
        });
        let blanks = ledger.holes.iter().map(|hole| {
            let mut gaps = ledger.gaps.iter().filter(|gap| gap.begins_at < hole.to && gap.until > hole.from);
            let blank = match hole.kind {
                HoleKind::Pause => Blank::Pause,
                HoleKind::Unknown => Blank::Unknown,
                HoleKind::Gap if gaps.any(|gap| !gap.parked.is_empty()) => Blank::Parked,
                HoleKind::Gap => Blank::Gap,
            };
            ((hole.from, hole.to), blank)
        });
        Self {
            title: format!("session {session_id}"),
            subtitle: subtitle(ledger),
            wave,
            begins_ms: begins.0,
            bands: bands.collect(),
            blanks: blanks.collect(),
        }
    }

    /// As an SVG document.
    pub fn svg(&self) -> String {
        let drawing = Drawing::new(WIDTH, HEIGHT);
        let (from_ms, to_ms, begins_ms) = (self.wave.from_ms, self.wave.to_ms, self.begins_ms);
        let mut sheet = Sheet { from_ms, to_ms, begins_ms, drawing };
        sheet.levels();
        self.blanks.iter().for_each(|blank| sheet.blank(*blank));
        self.bands.iter().for_each(|band| sheet.band(band));
        sheet.wave(&self.wave, &self.bands);
        self.blanks.iter().for_each(|blank| sheet.blank_label(*blank));
        sheet.labels(&self.bands);
        sheet.axis();
        sheet.legend(self);
        sheet.drawing.text((LEFT, 33.0), Anchor::Start, TextSize::Large, &self.title, INK);
        sheet.drawing.text((LEFT, 59.0), Anchor::Start, TextSize::Small, &self.subtitle, FAINT);
        sheet.drawing.finish()
    }
}

fn subtitle(ledger: &Ledger) -> String {
    let time = &ledger.time;
    let mut parts = vec![
        moment(EpochMs(time.from)),
        length(time.to - time.from),
        count(ledger.fragments.len(), "fragment"),
        format!("audio {}", length(time.audio_ms)),
    ];
    for (ms, what) in [(time.pause_ms, "pauses"), (time.gap_ms, "gaps"), (time.unknown_ms, "unknown")] {
        if ms > 0 {
            parts.push(format!("{what} {}", length(ms)));
        }
    }
    parts.join(" · ")
}

struct Sheet {
    from_ms: u64,
    to_ms: u64,
    begins_ms: u64,
    drawing: Drawing,
}

impl Sheet {
    fn x(&self, ms: u64) -> f32 {
        let share = (ms as f64 - self.from_ms as f64) / (self.to_ms - self.from_ms).max(1) as f64;
        LEFT + (share.clamp(0.0, 1.0) * COLUMNS as f64) as f32
    }

    fn place(&self, (from, to): (u64, u64)) -> (f32, f32) {
        (self.x(from), self.x(to))
    }

    /// A part of the panel, from its top to its floor.
    fn panel(&mut self, (x0, x1): (f32, f32), ink: Ink) {
        self.drawing.rectangle((x0, TOP), ((x1 - x0).max(1.0), FLOOR - TOP), ink);
    }

    fn small(&mut self, at: (f32, f32), anchor: Anchor, text: &str, ink: Ink) {
        self.drawing.text(at, anchor, TextSize::Small, text, ink);
    }

    /// Text in the middle of a place, left out where the place is too narrow.
    fn fitting(&mut self, (x0, x1): (f32, f32), y: f32, text: &str, ink: Ink) -> bool {
        let fits = !text.is_empty() && TextSize::Small.width_of(text) + 4.0 <= x1 - x0;
        if fits {
            self.small((f32::midpoint(x0, x1), y), Anchor::Middle, text, ink);
        }
        fits
    }

    fn levels(&mut self) {
        for (level, text) in [(1.0, "0 dB"), (0.5, "-6"), (0.0, "-inf"), (-0.5, "-6"), (-1.0, "0 dB")] {
            let y = MIDDLE - level * FULL_SCALE;
            self.drawing.line((LEFT - 6.0, y), (WIDTH as f32 - RIGHT, y), GRID);
            self.small((LEFT - 10.0, y + 5.0), Anchor::End, text, FAINT);
        }
    }

    fn blank(&mut self, (time, blank): ((u64, u64), Blank)) {
        let (x0, x1) = self.place(time);
        let Some((ink, hatch)) = blank.inks() else { return };
        self.panel((x0, x1), ink);
        let height = FLOOR - TOP;
        let mut x = x0 - height;
        while x < x1 {
            // A diagonal from the floor upwards, cut at both sides.
            let (a, b) = (x.max(x0), (x + height).min(x1));
            if a < b {
                self.drawing.line((a, FLOOR - (a - x)), (b, FLOOR - (b - x)), hatch);
            }
            x += 14.0;
        }
    }

    fn blank_label(&mut self, (time, blank): ((u64, u64), Blank)) {
        let (x0, x1) = self.place(time);
        let (word, ink) = blank.word();
        let long = length(time.1 - time.0);
        let wide = TextSize::Small.width_of(&long).max(TextSize::Small.width_of(word)) + 8.0;
        if wide > x1 - x0 {
            return;
        }
        if blank.inks().is_some() {
            let left = f32::midpoint(x0, x1) - wide / 2.0;
            self.drawing.rectangle((left, MIDDLE - 20.0), (wide, 40.0), [255, 255, 255]);
        }
        self.fitting((x0, x1), MIDDLE - 4.0, word, ink);
        self.fitting((x0, x1), MIDDLE + 14.0, &long, ink);
    }

    fn band(&mut self, band: &Band) {
        let place = self.place(band.time);
        let shade = match (band.backfilled, band.fragment.is_multiple_of(2)) {
            (true, _) => BACKFILLED,
            (false, true) => EVEN,
            (false, false) => ODD,
        };
        self.panel(place, shade);
        // Where fragments are narrower than this, their edges would be all there is to see.
        if place.1 - place.0 >= 4.0 {
            self.drawing.line((place.0, TOP), (place.0, FLOOR + 6.0), EDGE);
        }
    }

    fn wave(&mut self, wave: &Wave, bands: &[Band]) {
        let scale = FULL_SCALE / 32_768.0;
        let (mut live, mut late) = (Vec::new(), Vec::new());
        let mut backfilled = bands.iter().filter(|band| band.backfilled).peekable();
        for (i, column) in wave.columns.iter().enumerate() {
            let Some((low, high)) = column else { continue };
            let x = LEFT + i as f32;
            while backfilled.peek().is_some_and(|band| self.x(band.time.1) <= x) {
                backfilled.next();
            }
            let is_late = backfilled.peek().is_some_and(|band| self.x(band.time.0) <= x + 0.5);
            let top = MIDDLE - f32::from(*high) * scale - 0.5;
            let bottom = MIDDLE - f32::from(*low) * scale + 0.5;
            let bars = if is_late { &mut late } else { &mut live };
            bars.push((x, top, bottom));
        }
        self.drawing.bars(&live, WAVE);
        self.drawing.bars(&late, BACKFILLED_WAVE);
    }

    /// Each fragment's chunks, where there is room.
    fn labels(&mut self, bands: &[Band]) {
        let y = FLOOR + 22.0;
        let fitted =
            bands.iter().filter(|band| self.fitting(self.place(band.time), y, &band.label, INK)).count();
        if fitted > 0 {
            self.small((LEFT - 10.0, y), Anchor::End, "chunks", FAINT);
        }
    }

    /// Time since the session's beginning.
    fn axis(&mut self) {
        const STEPS_MS: [u64; 16] = [
            100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
            3_600_000, 7_200_000, 21_600_000, 86_400_000,
        ];
        let (y, right) = (FLOOR + 38.0, WIDTH as f32 - RIGHT);
        self.drawing.line((LEFT, y), (right, y), FAINT);
        let span = self.to_ms - self.from_ms;
        let step = STEPS_MS.into_iter().find(|step| span / step <= 16).unwrap_or(span.max(1));
        // The first round time in sight.
        let offset = self.from_ms.saturating_sub(self.begins_ms);
        let first = offset.div_ceil(step).saturating_mul(step);
        let ticks = (0..=span / step).map(|i| first.saturating_add(i * step));
        for ms in ticks.filter(|ms| ms - offset <= span) {
            let x = self.x(self.from_ms.saturating_add(ms - offset));
            self.drawing.line((x, y), (x, y + 6.0), FAINT);
            let text = if ms == 0 { "0 s".to_owned() } else { length(ms) };
            let half = TextSize::Small.width_of(&text) / 2.0;
            self.small((x.min(right - half + 8.0), y + 21.0), Anchor::Middle, &text, INK);
        }
    }

    /// The colours that the picture uses.
    fn legend(&mut self, timeline: &Timeline) {
        let has = |blank: Blank| timeline.blanks.iter().any(|(_, there)| *there == blank);
        let entries = [
            (!timeline.bands.is_empty(), ODD, "fragment"),
            (timeline.bands.iter().any(|band| band.backfilled), BACKFILLED_WAVE, "backfilled"),
            (has(Blank::Parked), PARKED_HATCH, "gap, parked"),
            (has(Blank::Gap), GAP_HATCH, "gap, missing"),
            (has(Blank::Unknown), UNKNOWN_HATCH, "unknown"),
        ];
        let (mut x, y) = (LEFT, HEIGHT as f32 - 30.0);
        for (_, ink, text) in entries.into_iter().filter(|(there, ..)| *there) {
            self.drawing.rectangle((x, y + 1.0), (14.0, 14.0), ink);
            self.small((x + 20.0, y + 12.0), Anchor::Start, text, FAINT);
            x += 20.0 + TextSize::Small.width_of(text) + 28.0;
        }
    }
}

impl Blank {
    /// Ground and hatching; a pause is bare.
    fn inks(self) -> Option<(Ink, Ink)> {
        match self {
            Self::Pause => None,
            Self::Gap => Some((GAP, GAP_HATCH)),
            Self::Parked => Some((PARKED, PARKED_HATCH)),
            Self::Unknown => Some((UNKNOWN, UNKNOWN_HATCH)),
        }
    }

    fn word(self) -> (&'static str, Ink) {
        match self {
            Self::Pause => ("pause", FAINT),
            Self::Gap => ("missing", INK),
            Self::Parked => ("parked", INK),
            Self::Unknown => ("unknown", FAINT),
        }
    }
}

#[cfg(test)]
mod tests;
