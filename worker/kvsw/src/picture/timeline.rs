//! A session as a picture: the waveform over time, the fragments that carry it, what lies between them.

use super::{Anchor, Ink, Scene, Shape, TextSize};
use crate::text::length;

const WIDTH: u32 = 1_600;
const HEIGHT: u32 = 480;
const LEFT: f32 = 72.0;
const RIGHT: f32 = 24.0;
const TOP: f32 = 84.0;
const BOTTOM: f32 = 112.0;
/// Between the waveform's panel and the highest sample.
const MARGIN: f32 = 8.0;

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
pub const COLUMNS: usize = (WIDTH - LEFT as u32 - RIGHT as u32) as usize;

/// What a time without audio is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blank {
    /// Nobody recorded.
    Pause,
    /// A gap whose chunks are nowhere.
    Gap,
    /// A gap whose chunks are parked.
    Parked,
    /// Nobody knows.
    Unknown,
}

/// A stretch of audio without a hole: a whole fragment, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// Which fragment, counted from 0: neighbours get different shades.
    pub fragment: usize,
    /// Its first sample, epoch ms.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// Written below it, such as `0-7`.
    pub label: String,
    /// It was written after fragments of later times.
    pub backfilled: bool,
}

/// Lowest and highest sample of each column of the whole time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    from_ms: u64,
    to_ms: u64,
    columns: Vec<Option<(i16, i16)>>,
}

impl Wave {
    /// An empty waveform of the time `from_ms..to_ms`.
    pub fn new(from_ms: u64, to_ms: u64) -> Self {
        Self { from_ms, to_ms: to_ms.max(from_ms + 1), columns: vec![None; COLUMNS] }
    }

    /// Adds samples (16 kHz) that begin at `at_ms`; what lies outside is left out.
    pub fn add(&mut self, at_ms: u64, pcm: &[i16]) {
        const SAMPLES_PER_MS: f64 = 16.0;
        let per_ms = COLUMNS as f64 / (self.to_ms - self.from_ms) as f64;
        let begin = (at_ms as f64 - self.from_ms as f64) * per_ms;
        for (i, sample) in pcm.iter().enumerate() {
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// First line of text.
    pub title: String,
    /// Second line of text.
    pub subtitle: String,
    /// The audio.
    pub wave: Wave,
    /// In time order.
    pub bands: Vec<Band>,
    /// Times without audio: from, to, what it is.
    pub blanks: Vec<(u64, u64, Blank)>,
}

impl Timeline {
    /// The picture.
    pub fn scene(&self) -> Scene {
        let mut sheet = Sheet { from_ms: self.wave.from_ms, to_ms: self.wave.to_ms, shapes: Vec::new() };
        sheet.frame();
        self.blanks.iter().for_each(|blank| sheet.blank(*blank));
        self.bands.iter().for_each(|band| sheet.band(band));
        sheet.wave(&self.wave, &self.bands);
        self.blanks.iter().for_each(|blank| sheet.blank_label(*blank));
        sheet.labels(&self.bands);
        sheet.axis();
        sheet.legend(self);
        sheet.text(LEFT, 14.0, Anchor::Start, TextSize::Large, &self.title, INK);
        sheet.text(LEFT, 46.0, Anchor::Start, TextSize::Small, &self.subtitle, FAINT);
        Scene { width: WIDTH, height: HEIGHT, shapes: sheet.shapes }
    }
}

struct Sheet {
    from_ms: u64,
    to_ms: u64,
    shapes: Vec<Shape>,
}

impl Sheet {
    fn x(&self, ms: u64) -> f32 {
        let share = (ms as f64 - self.from_ms as f64) / (self.to_ms - self.from_ms) as f64;
        LEFT + (share.clamp(0.0, 1.0) * COLUMNS as f64) as f32
    }

    fn floor() -> f32 {
        HEIGHT as f32 - BOTTOM
    }

    fn middle() -> f32 {
        f32::midpoint(TOP, Self::floor())
    }

    fn half() -> f32 {
        (Self::floor() - TOP) / 2.0 - MARGIN
    }

    fn rectangle(&mut self, (x0, x1): (f32, f32), ink: Ink) {
        let (width, height) = ((x1 - x0).max(1.0), Self::floor() - TOP);
        self.shapes.push(Shape::Rectangle { x: x0, y: TOP, width, height, ink });
    }

    fn line(&mut self, from: (f32, f32), to: (f32, f32), ink: Ink) {
        self.shapes.push(Shape::Line { from, to, ink });
    }

    fn text(&mut self, x: f32, y: f32, anchor: Anchor, size: TextSize, text: &str, ink: Ink) {
        self.shapes.push(Shape::Text { x, y, anchor, size, text: text.to_owned(), ink });
    }

    /// Text in the middle of a place, left out where the place is too narrow.
    fn fitting(&mut self, (x0, x1): (f32, f32), y: f32, text: &str, ink: Ink) -> bool {
        let fits = TextSize::Small.width_of(text) + 4.0 <= x1 - x0;
        if fits {
            self.text(f32::midpoint(x0, x1), y, Anchor::Middle, TextSize::Small, text, ink);
        }
        fits
    }

    /// The panel's levels.
    fn frame(&mut self) {
        let right = WIDTH as f32 - RIGHT;
        for (level, text) in [(1.0, "0 dB"), (0.5, "-6"), (0.0, "-inf"), (-0.5, "-6"), (-1.0, "0 dB")] {
            let y = Self::middle() - level * Self::half();
            self.line((LEFT - 6.0, y), (right, y), GRID);
            self.text(LEFT - 10.0, y - 8.0, Anchor::End, TextSize::Small, text, FAINT);
        }
    }

    fn blank(&mut self, (from, to, blank): (u64, u64, Blank)) {
        let (x0, x1) = (self.x(from), self.x(to));
        let Some((ink, hatch)) = blank.inks() else { return };
        self.rectangle((x0, x1), ink);
        let height = Self::floor() - TOP;
        let mut x = x0 - height;
        while x < x1 {
            // A diagonal from the floor upwards, cut at both sides.
            let (a, b) = (x.max(x0), (x + height).min(x1));
            if a < b {
                self.line((a, Self::floor() - (a - x)), (b, Self::floor() - (b - x)), hatch);
            }
            x += 14.0;
        }
    }

    fn blank_label(&mut self, (from, to, blank): (u64, u64, Blank)) {
        let place = (self.x(from), self.x(to));
        let y = Self::middle() - 8.0;
        let (word, ink) = match blank {
            Blank::Pause => ("pause", FAINT),
            Blank::Gap => ("missing", INK),
            Blank::Parked => ("parked", INK),
            Blank::Unknown => ("unknown", FAINT),
        };
        let long = length(to - from);
        let wide = TextSize::Small.width_of(&long).max(TextSize::Small.width_of(word)) + 8.0;
        let middle = f32::midpoint(place.0, place.1);
        if wide > place.1 - place.0 {
            return;
        }
        if blank.inks().is_some() {
            let (x, height) = (middle - wide / 2.0, 40.0);
            self.shapes.push(Shape::Rectangle { x, y: y - 12.0, width: wide, height, ink: [255, 255, 255] });
        }
        self.fitting(place, y - 9.0, word, ink);
        self.fitting(place, y + 9.0, &long, ink);
    }

    fn band(&mut self, band: &Band) {
        let place = (self.x(band.from_ms), self.x(band.to_ms));
        let shade = match (band.backfilled, band.fragment.is_multiple_of(2)) {
            (true, _) => BACKFILLED,
            (false, true) => EVEN,
            (false, false) => ODD,
        };
        self.rectangle(place, shade);
        // Where fragments are narrower than this, their edges would be all there is to see.
        if place.1 - place.0 >= 4.0 {
            self.line((place.0, TOP), (place.0, Self::floor() + 6.0), EDGE);
        }
    }

    fn wave(&mut self, wave: &Wave, bands: &[Band]) {
        let scale = Self::half() / 32_768.0;
        let (mut live, mut late) = (Vec::new(), Vec::new());
        let mut backfilled = bands.iter().filter(|band| band.backfilled).peekable();
        for (i, column) in wave.columns.iter().enumerate() {
            let Some((low, high)) = column else { continue };
            let x = LEFT + i as f32;
            while backfilled.peek().is_some_and(|band| self.x(band.to_ms) <= x) {
                backfilled.next();
            }
            let is_late = backfilled.peek().is_some_and(|band| self.x(band.from_ms) <= x + 0.5);
            let top = Self::middle() - f32::from(*high) * scale - 0.5;
            let bottom = Self::middle() - f32::from(*low) * scale + 0.5;
            let bars = if is_late { &mut late } else { &mut live };
            bars.push((x, top, bottom));
        }
        self.shapes.push(Shape::Bars { bars: live, ink: WAVE });
        self.shapes.push(Shape::Bars { bars: late, ink: BACKFILLED_WAVE });
    }

    /// Each fragment's chunks, where there is room.
    fn labels(&mut self, bands: &[Band]) {
        let y = Self::floor() + 10.0;
        let mut any = false;
        for band in bands {
            let place = (self.x(band.from_ms), self.x(band.to_ms));
            any |= self.fitting(place, y, &band.label, INK);
        }
        let text = if any { "chunks" } else { "" };
        self.text(LEFT - 10.0, y, Anchor::End, TextSize::Small, text, FAINT);
    }

    /// Time since the beginning.
    fn axis(&mut self) {
        const STEPS_MS: [u64; 16] = [
            100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
            3_600_000, 7_200_000, 21_600_000, 86_400_000,
        ];
        let (y, right) = (Self::floor() + 38.0, WIDTH as f32 - RIGHT);
        self.line((LEFT, y), (right, y), FAINT);
        let span = self.to_ms - self.from_ms;
        let step = STEPS_MS.into_iter().find(|step| span / step <= 16).unwrap_or(span.max(1));
        for ms in (0..=span / step).map(|i| i * step) {
            let x = self.x(self.from_ms + ms);
            self.line((x, y), (x, y + 6.0), FAINT);
            let text = if ms == 0 { "0 s".to_owned() } else { length(ms) };
            let half = TextSize::Small.width_of(&text) / 2.0;
            self.text(x.min(right - half + 8.0), y + 9.0, Anchor::Middle, TextSize::Small, &text, INK);
        }
    }

    /// The colours that the picture uses.
    fn legend(&mut self, timeline: &Timeline) {
        let has = |blank: Blank| timeline.blanks.iter().any(|(.., there)| *there == blank);
        let entries = [
            (!timeline.bands.is_empty(), ODD, "fragment"),
            (timeline.bands.iter().any(|band| band.backfilled), BACKFILLED_WAVE, "backfilled"),
            (has(Blank::Parked), PARKED_HATCH, "gap, parked"),
            (has(Blank::Gap), GAP_HATCH, "gap, missing"),
            (has(Blank::Unknown), UNKNOWN_HATCH, "unknown"),
        ];
        let (mut x, y) = (LEFT, HEIGHT as f32 - 30.0);
        for (_, ink, text) in entries.into_iter().filter(|(there, ..)| *there) {
            self.shapes.push(Shape::Rectangle { x, y: y + 1.0, width: 14.0, height: 14.0, ink });
            self.text(x + 20.0, y, Anchor::Start, TextSize::Small, text, FAINT);
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
}

#[cfg(test)]
mod tests {
    use tiny_skia::Pixmap;

    use super::*;

    fn tone(samples: usize) -> Vec<i16> {
        (0..samples).map(|i| ((i as f64 / 20.0).sin() * 20_000.0) as i16).collect()
    }

    /// Two fragments of 2 s with 4 s of `blank` between them.
    fn timeline(blank: Blank) -> Timeline {
        let mut wave = Wave::new(1_000, 9_000);
        wave.add(1_000, &tone(32_000));
        wave.add(7_000, &tone(32_000));
        let band = |from_ms: u64, backfilled| Band {
            fragment: 0,
            from_ms,
            to_ms: from_ms + 2_000,
            label: "0-7".into(),
            backfilled,
        };
        Timeline {
            title: "owl".into(),
            subtitle: "\u{1F600} \u{e9}".into(),
            wave,
            bands: vec![band(1_000, false), band(7_000, true)],
            blanks: vec![(3_000, 7_000, blank)],
        }
    }

    /// How many pixels of a row have this colour, by quarters of the panel.
    fn quarters(scene: &Scene, y: u32, ink: Ink) -> Vec<usize> {
        let pixmap = Pixmap::decode_png(&scene.png().unwrap()).unwrap();
        let is = |x: &u32| pixmap.pixel(*x, y).is_some_and(|p| [p.red(), p.green(), p.blue()] == ink);
        let quarter = COLUMNS as u32 / 4;
        (0..4)
            .map(|i| (LEFT as u32 + i * quarter..LEFT as u32 + (i + 1) * quarter).filter(is).count())
            .collect()
    }

    #[test]
    fn audio_backfill_and_gap_stand_where_they_belong() {
        let scene = timeline(Blank::Parked).scene();
        let middle = Sheet::middle() as u32;
        let (wave, late) =
            (quarters(&scene, middle - 40, WAVE), quarters(&scene, middle - 40, BACKFILLED_WAVE));
        assert!(wave[0] > 300 && wave[1] + wave[2] + wave[3] == 0, "{wave:?}");
        assert!(late[3] > 300 && late[0] + late[1] + late[2] == 0, "{late:?}");
        let parked = quarters(&scene, TOP as u32 + 4, PARKED);
        assert!(parked[1] > 200 && parked[2] > 200 && parked[0] + parked[3] == 0, "{parked:?}");
    }

    #[test]
    fn a_pause_is_bare_and_a_legend_names_only_what_is_there() {
        let texts = |blank| {
            let shapes = timeline(blank).scene().shapes;
            let text = |shape| match shape {
                Shape::Text { text, .. } => Some(text),
                _ => None,
            };
            shapes.into_iter().filter_map(text).collect::<Vec<_>>()
        };
        assert!(quarters(&timeline(Blank::Pause).scene(), TOP as u32 + 4, GAP).iter().all(|n| *n == 0));
        assert!(texts(Blank::Pause).contains(&"pause".to_owned()));
        assert!(!texts(Blank::Pause).contains(&"gap, missing".to_owned()));
        assert!(texts(Blank::Gap).contains(&"gap, missing".to_owned()));
    }

    #[test]
    fn odd_times_are_no_trouble() {
        for (from, to) in [(0, 0), (5, 5), (u64::MAX - 1, u64::MAX), (0, u64::MAX)] {
            let mut wave = Wave::new(from.min(u64::MAX - 1), to);
            wave.add(from, &tone(100));
            let bands =
                vec![Band { fragment: 0, from_ms: from, to_ms: to, label: String::new(), backfilled: false }];
            let blanks = vec![(from, to, Blank::Gap)];
            let odd = Timeline { title: String::new(), subtitle: String::new(), wave, bands, blanks };
            let scene = odd.scene();
            assert!(scene.shapes.len() < 2_000, "{} shapes", scene.shapes.len());
            assert!(scene.png().is_some() && scene.svg().ends_with("</svg>\n"));
        }
    }
}
