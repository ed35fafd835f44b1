//! Shapes as SVG: the picture needs no renderer here and no fonts of its own, and opens in any browser.

use std::fmt::Write as _;

/// Red, green, blue.
pub(super) type Ink = [u8; 3];

/// Where a text stands at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// Sizes of text; letters are of one width, six tenths of the font's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextSize {
    Small,
    Large,
}

impl TextSize {
    fn font_px(self) -> f32 {
        match self {
            Self::Small => 14.0,
            Self::Large => 21.0,
        }
    }

    /// How wide a text is, in pixels.
    pub(super) fn width_of(self, text: &str) -> f32 {
        text.chars().count() as f32 * self.font_px() * 0.6
    }
}

/// A drawing that grows from back to front. Places are pixels from the top left.
#[derive(Clone, Debug)]
pub(super) struct Drawing(String);

impl Drawing {
    /// White paper.
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"ui-monospace, 'DejaVu Sans Mono', monospace\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        ))
    }

    /// The document.
    pub(super) fn finish(self) -> String {
        self.0 + "</svg>\n"
    }

    /// Writing into a String cannot fail.
    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(element);
    }

    pub(super) fn rectangle(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), ink: Ink) {
        let ink = colour(ink);
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{ink}\"/>\n"
        ));
    }

    pub(super) fn line(&mut self, (x1, y1): (f32, f32), (x2, y2): (f32, f32), ink: Ink) {
        let ink = colour(ink);
        self.add(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{ink}\"/>\n"
        ));
    }

    /// Vertical bars one pixel wide, left, top and bottom of each: a waveform.
    pub(super) fn bars(&mut self, bars: &[(f32, f32, f32)], ink: Ink) {
        if bars.is_empty() {
            return;
        }
        self.add(format_args!("<path stroke=\"{}\" fill=\"none\" d=\"", colour(ink)));
        bars.iter().for_each(|(x, top, bottom)| self.add(format_args!("M{x:.1} {top:.1}V{bottom:.1}")));
        self.add(format_args!("\"/>\n"));
    }

    /// One line of text whose baseline is at `y`.
    pub(super) fn text(&mut self, (x, y): (f32, f32), anchor: Anchor, size: TextSize, text: &str, ink: Ink) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (font, ink, text) = (size.font_px(), colour(ink), escaped(text));
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{font}\" text-anchor=\"{anchor}\" fill=\"{ink}\">{text}</text>\n"
        ));
    }
}

pub(super) fn colour([r, g, b]: Ink) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// XML 1.0 forbids most control characters even when they are escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            control if control.is_control() => escaped.push('?'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_breaks_out_of_its_element() {
        let mut drawing = Drawing::new(10, 10);
        drawing.text((1.0, 2.0), Anchor::Start, TextSize::Small, "<script>&\u{1}", [1, 2, 255]);
        let svg = drawing.finish();
        assert!(svg.contains("&lt;script&gt;&amp;?</text>") && svg.contains("#0102ff"), "{svg}");
    }
}
