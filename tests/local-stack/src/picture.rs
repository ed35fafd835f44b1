//! A session as a picture: the waveform over time, the fragments that carry it, and the gaps between them.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use tiny_skia::{
    Color, FillRule, LineCap, Paint, PathBuilder, Pixmap, PremultipliedColorU8, Rect, Stroke, Transform,
};

/// A stretch of audio without a hole: a whole fragment, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// Which fragment, counted from 0: neighbours get different shades.
    pub fragment: usize,
    /// When its first sample was captured, epoch ms.
    pub at_ms: u64,
    /// Its samples, 16 kHz.
    pub pcm: Vec<i16>,
    /// Written below it, such as `0-7`.
    pub label: String,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// First line of text.
    pub title: String,
    /// Second line of text.
    pub subtitle: String,
    /// In time order.
    pub bands: Vec<Band>,
}

const WIDTH: u32 = 1600;
const HEIGHT: u32 = 460;
const LEFT: f32 = 64.0;
const RIGHT: f32 = 24.0;
const TOP: f32 = 84.0;
const BOTTOM: f32 = 92.0;
const SAMPLES_PER_MS: f64 = 16.0;
/// Fragments this close to each other touch.
const TOUCH_MS: f64 = 2.0;

const PAPER: [u8; 3] = [255, 255, 255];
const INK: [u8; 3] = [32, 38, 46];
const FAINT: [u8; 3] = [122, 131, 143];
const GRID: [u8; 3] = [226, 230, 235];
const EVEN: [u8; 3] = [238, 244, 252];
const ODD: [u8; 3] = [220, 233, 249];
const WAVE: [u8; 3] = [28, 92, 168];
const EDGE: [u8; 3] = [146, 178, 217];
const GAP: [u8; 3] = [250, 226, 222];

/// Draws the timeline as a PNG; `None` only if the picture cannot be encoded (memory).
pub fn png(timeline: &Timeline) -> Option<Vec<u8>> {
    let mut sheet = Sheet::new(timeline)?;
    sheet.gaps(&timeline.bands);
    for band in &timeline.bands {
        sheet.band(band);
    }
    sheet.axis();
    sheet.labels(&timeline.bands);
    sheet.text(LEFT, 14.0, &timeline.title, RasterHeight::Size24, INK);
    sheet.text(LEFT, 46.0, &timeline.subtitle, RasterHeight::Size16, FAINT);
    sheet.pixmap.encode_png().ok()
}

struct Sheet {
    pixmap: Pixmap,
    start_ms: f64,
    span_ms: f64,
}

fn end_ms(band: &Band) -> f64 {
    band.at_ms as f64 + band.pcm.len() as f64 / SAMPLES_PER_MS
}

impl Sheet {
    fn new(timeline: &Timeline) -> Option<Self> {
        let mut pixmap = Pixmap::new(WIDTH, HEIGHT)?;
        pixmap.fill(color(PAPER));
        let start_ms = timeline.bands.first().map_or(0.0, |band| band.at_ms as f64);
        let end = timeline.bands.iter().map(end_ms).fold(start_ms, f64::max);
        Some(Self { pixmap, start_ms, span_ms: (end - start_ms).max(1.0) })
    }

    fn x(&self, ms: f64) -> f32 {
        let width = f64::from(WIDTH as f32 - LEFT - RIGHT);
        LEFT + ((ms - self.start_ms) / self.span_ms * width) as f32
    }

    fn middle() -> f32 {
        (TOP + HEIGHT as f32 - BOTTOM) / 2.0
    }

    fn panel_height() -> f32 {
        HEIGHT as f32 - BOTTOM - TOP
    }

    /// Time without audio.
    fn gaps(&mut self, bands: &[Band]) {
        for pair in bands.windows(2) {
            let (from, to) = (end_ms(&pair[0]), pair[1].at_ms as f64);
            if to - from > TOUCH_MS {
                let (x0, x1) = (self.x(from), self.x(to));
                self.rectangle(x0, TOP, (x1 - x0).max(1.0), Self::panel_height(), GAP);
                let text = format!("{:.2} s", (to - from) / 1000.0);
                self.centered(f32::midpoint(x0, x1), Self::middle() - 8.0, x1 - x0, &text, FAINT);
            }
        }
    }

    fn band(&mut self, band: &Band) {
        let (x0, x1) = (self.x(band.at_ms as f64), self.x(end_ms(band)));
        let shade = if band.fragment.is_multiple_of(2) { EVEN } else { ODD };
        self.rectangle(x0, TOP, (x1 - x0).max(1.0), Self::panel_height(), shade);
        self.line((x0, TOP), (x0, HEIGHT as f32 - BOTTOM + 6.0), EDGE);
        // Whole pixels: a column that lies across two would be pale.
        let left = x0.round();
        let columns = (x1.round() - left).max(1.0) as usize;
        let scale = (Self::panel_height() / 2.0 - 6.0) / 32_768.0;
        for column in 0..columns {
            let part = |n: usize| (band.pcm.len() * n / columns).min(band.pcm.len());
            let samples = &band.pcm[part(column)..part(column + 1)];
            let (Some(low), Some(high)) = (samples.iter().min(), samples.iter().max()) else { continue };
            let top = Self::middle() - f32::from(*high) * scale;
            let bottom = Self::middle() - f32::from(*low) * scale;
            self.rectangle(left + column as f32, top - 0.5, 1.0, bottom - top + 1.0, WAVE);
        }
    }

    /// Seconds since the first fragment's beginning.
    fn axis(&mut self) {
        let floor = HEIGHT as f32 - BOTTOM;
        self.line((LEFT, floor), (WIDTH as f32 - RIGHT, floor), FAINT);
        let right = WIDTH as f32 - RIGHT;
        let step_ms = [100.0, 250.0, 500.0, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 3.6e6, 3.6e7]
            .into_iter()
            .find(|step| self.span_ms / step <= 20.0)
            .unwrap_or(self.span_ms);
        let mut ms = 0.0;
        while ms <= self.span_ms {
            let x = self.x(self.start_ms + ms);
            self.line((x, floor + 34.0), (x, floor + 40.0), FAINT);
            let text = format!("{} s", ms / 1000.0);
            self.centered(x.min(right - 16.0), floor + 44.0, 200.0, &text, INK);
            ms += step_ms;
        }
        self.line((LEFT, floor + 34.0), (right, floor + 34.0), GRID);
        for (level, text) in [(0.5, "-6 dB"), (-0.5, "-6 dB"), (0.0, "0")] {
            let y = Self::middle() - level * (Self::panel_height() / 2.0 - 6.0);
            self.line((LEFT - 6.0, y), (LEFT, y), FAINT);
            let width = width_of(text, RasterHeight::Size16);
            self.text(LEFT - 10.0 - width, y - 8.0, text, RasterHeight::Size16, FAINT);
        }
        self.text(LEFT, HEIGHT as f32 - 22.0, "below each fragment: its chunks", RasterHeight::Size16, FAINT);
    }

    fn labels(&mut self, bands: &[Band]) {
        for band in bands {
            let (x0, x1) = (self.x(band.at_ms as f64), self.x(end_ms(band)));
            self.centered(f32::midpoint(x0, x1), HEIGHT as f32 - BOTTOM + 10.0, x1 - x0, &band.label, INK);
        }
    }

    /// Text in the middle of a place, left out where the place is too narrow for it.
    fn centered(&mut self, x: f32, y: f32, room: f32, text: &str, ink: [u8; 3]) {
        let width = width_of(text, RasterHeight::Size16);
        if width <= room {
            self.text(x - width / 2.0, y, text, RasterHeight::Size16, ink);
        }
    }

    /// Text from a bitmap font: the result needs no fonts of the system and is the same everywhere.
    fn text(&mut self, x: f32, y: f32, text: &str, height: RasterHeight, ink: [u8; 3]) {
        let (mut x, y) = (x.max(0.0) as usize, y.max(0.0) as usize);
        for c in text.chars() {
            let Some(glyph) =
                get_raster(c, FontWeight::Regular, height).or(get_raster('?', FontWeight::Regular, height))
            else {
                continue;
            };
            for (dy, row) in glyph.rows().enumerate() {
                for (dx, coverage) in row.iter().enumerate() {
                    self.blend(x + dx, y + dy, ink, *coverage);
                }
            }
            x += glyph.width();
        }
    }

    fn blend(&mut self, x: usize, y: usize, ink: [u8; 3], coverage: u8) {
        if x >= WIDTH as usize || y >= HEIGHT as usize || coverage == 0 {
            return;
        }
        let pixel = &mut self.pixmap.pixels_mut()[y * WIDTH as usize + x];
        let mix = |below: u8, ink: u8| {
            let (below, ink, coverage) = (u32::from(below), u32::from(ink), u32::from(coverage));
            ((below * (255 - coverage) + ink * coverage) / 255) as u8
        };
        let [r, g, b] = [mix(pixel.red(), ink[0]), mix(pixel.green(), ink[1]), mix(pixel.blue(), ink[2])];
        if let Some(mixed) = PremultipliedColorU8::from_rgba(r, g, b, 255) {
            *pixel = mixed;
        }
    }

    fn rectangle(&mut self, x: f32, y: f32, width: f32, height: f32, ink: [u8; 3]) {
        if let Some(rect) = Rect::from_xywh(x, y, width, height) {
            self.pixmap.fill_path(
                &PathBuilder::from_rect(rect),
                &paint(ink),
                FillRule::Winding,
                Transform::identity(),
                None,
            );
        }
    }

    fn line(&mut self, from: (f32, f32), to: (f32, f32), ink: [u8; 3]) {
        let mut path = PathBuilder::new();
        path.move_to(from.0, from.1);
        path.line_to(to.0, to.1);
        if let Some(path) = path.finish() {
            let stroke = Stroke { width: 1.0, line_cap: LineCap::Butt, ..Stroke::default() };
            self.pixmap.stroke_path(&path, &paint(ink), &stroke, Transform::identity(), None);
        }
    }
}

fn width_of(text: &str, height: RasterHeight) -> f32 {
    (text.chars().count() * get_raster_width(FontWeight::Regular, height)) as f32
}

fn color([r, g, b]: [u8; 3]) -> Color {
    Color::from_rgba8(r, g, b, 255)
}

fn paint(ink: [u8; 3]) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color(color(ink));
    paint
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(at_ms: u64, samples: usize) -> Band {
        let pcm = (0..samples).map(|i| ((i as f64 / 20.0).sin() * 20_000.0) as i16).collect();
        Band { fragment: 0, at_ms, pcm, label: "0-7".into() }
    }

    fn drawn(bands: Vec<Band>) -> Pixmap {
        let timeline = Timeline { title: "t".into(), subtitle: "\u{1F600} \u{e9}".into(), bands };
        Pixmap::decode_png(&png(&timeline).unwrap()).unwrap()
    }

    /// How many pixels of the middle row have this colour, by tenths of the width.
    fn row(pixmap: &Pixmap, ink: [u8; 3]) -> Vec<usize> {
        let y = TOP as u32 + 20;
        let is = |x: &u32| pixmap.pixel(*x, y).is_some_and(|p| [p.red(), p.green(), p.blue()] == ink);
        (0..10).map(|part| (part * WIDTH / 10..(part + 1) * WIDTH / 10).filter(is).count()).collect()
    }

    #[test]
    fn the_waveform_is_drawn_and_a_gap_shows_where_no_audio_is() {
        let whole = drawn(vec![tone(1_000, 32_000), tone(3_000, 32_000)]);
        assert_eq!(
            row(&whole, GAP).iter().sum::<usize>(),
            0,
            "fragments that touch have no gap between them"
        );
        let holed = drawn(vec![tone(1_000, 32_000), tone(8_000, 32_000)]);
        let gap = row(&holed, GAP);
        assert!(gap[4] > 100 && gap[5] > 100 && gap[1] == 0 && gap[8] == 0, "{gap:?}");
    }

    #[test]
    fn nothing_to_draw_and_odd_text_are_no_trouble() {
        assert_eq!(drawn(vec![]).width(), WIDTH);
        assert_eq!(drawn(vec![tone(5, 0), tone(0, 16), tone(u64::MAX / 2, 16)]).height(), HEIGHT);
    }
}
