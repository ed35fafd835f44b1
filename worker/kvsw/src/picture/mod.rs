//! Pictures as values: a [`Scene`] is a list of simple shapes, and PNG and SVG are two ways to write it down.

mod png;
mod svg;
pub mod timeline;

/// Red, green, blue.
pub type Ink = [u8; 3];

/// Where a text stands at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// Sizes of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextSize {
    /// 16 pixels high.
    Small,
    /// 24 pixels high.
    Large,
}

/// One shape, in pixels from the top left.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A filled rectangle.
    Rectangle {
        /// Left.
        x: f32,
        /// Top.
        y: f32,
        /// Its width.
        width: f32,
        /// Its height.
        height: f32,
        /// Its colour.
        ink: Ink,
    },
    /// A line one pixel wide.
    Line {
        /// From here.
        from: (f32, f32),
        /// To here.
        to: (f32, f32),
        /// Its colour.
        ink: Ink,
    },
    /// Vertical bars one pixel wide: left, top, bottom of each. A waveform.
    Bars {
        /// The bars.
        bars: Vec<(f32, f32, f32)>,
        /// Their colour.
        ink: Ink,
    },
    /// A line of text.
    Text {
        /// Where, by `anchor`.
        x: f32,
        /// Top.
        y: f32,
        /// How.
        anchor: Anchor,
        /// How large.
        size: TextSize,
        /// What.
        text: String,
        /// Its colour.
        ink: Ink,
    },
}

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// From back to front.
    pub shapes: Vec<Shape>,
}

impl Scene {
    /// As PNG; `None` only if there is no memory for it.
    pub fn png(&self) -> Option<Vec<u8>> {
        png::write(self)
    }

    /// As SVG.
    pub fn svg(&self) -> String {
        svg::write(self)
    }
}

impl TextSize {
    /// How wide a text is: both sizes have letters of one width.
    pub fn width_of(self, text: &str) -> f32 {
        text.chars().count() as f32 * png::letter_width(self) as f32
    }

    fn height(self) -> f32 {
        match self {
            Self::Small => 16.0,
            Self::Large => 24.0,
        }
    }
}

impl Anchor {
    fn left(self, x: f32, width: f32) -> f32 {
        match self {
            Self::Start => x,
            Self::Middle => x - width / 2.0,
            Self::End => x - width,
        }
    }
}
