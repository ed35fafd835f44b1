//! A scene as PNG. Text is of a bitmap font in the program: the result needs no fonts of the system and is the same
//! everywhere.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use tiny_skia::{Color, FillRule, Paint, PathBuilder, Pixmap, PremultipliedColorU8, Rect, Stroke, Transform};

use super::{Ink, Scene, Shape, TextSize};

const PAPER: Ink = [255, 255, 255];

pub(super) fn write(scene: &Scene) -> Option<Vec<u8>> {
    let mut pixmap = Pixmap::new(scene.width, scene.height)?;
    let [r, g, b] = PAPER;
    pixmap.fill(Color::from_rgba8(r, g, b, 255));
    scene.shapes.iter().for_each(|shape| draw(&mut pixmap, shape));
    pixmap.encode_png().ok()
}

pub(super) fn letter_width(size: TextSize) -> usize {
    get_raster_width(FontWeight::Regular, raster_height(size))
}

fn raster_height(size: TextSize) -> RasterHeight {
    match size {
        TextSize::Small => RasterHeight::Size16,
        TextSize::Large => RasterHeight::Size24,
    }
}

fn draw(pixmap: &mut Pixmap, shape: &Shape) {
    match shape {
        Shape::Rectangle { x, y, width, height, ink } => rectangle(pixmap, *x, *y, *width, *height, *ink),
        Shape::Line { from, to, ink } => line(pixmap, *from, *to, *ink),
        Shape::Bars { bars, ink } => {
            bars.iter().for_each(|(x, top, bottom)| rectangle(pixmap, *x, *top, 1.0, bottom - top, *ink));
        }
        Shape::Text { x, y, anchor, size, text, ink } => {
            write_text(pixmap, anchor.left(*x, size.width_of(text)), *y, *size, text, *ink);
        }
    }
}

fn rectangle(pixmap: &mut Pixmap, x: f32, y: f32, width: f32, height: f32, ink: Ink) {
    if let Some(rect) = Rect::from_xywh(x, y, width, height) {
        let path = PathBuilder::from_rect(rect);
        pixmap.fill_path(&path, &paint(ink), FillRule::Winding, Transform::identity(), None);
    }
}

fn line(pixmap: &mut Pixmap, from: (f32, f32), to: (f32, f32), ink: Ink) {
    let mut path = PathBuilder::new();
    path.move_to(from.0, from.1);
    path.line_to(to.0, to.1);
    if let Some(path) = path.finish() {
        let stroke = Stroke { width: 1.0, ..Stroke::default() };
        pixmap.stroke_path(&path, &paint(ink), &stroke, Transform::identity(), None);
    }
}

fn write_text(pixmap: &mut Pixmap, x: f32, y: f32, size: TextSize, text: &str, ink: Ink) {
    let (mut x, y, height) = (x.max(0.0) as usize, y.max(0.0) as usize, raster_height(size));
    for letter in text.chars() {
        let known = get_raster(letter, FontWeight::Regular, height);
        let Some(glyph) = known.or_else(|| get_raster('?', FontWeight::Regular, height)) else { continue };
        for (dy, row) in glyph.rows().enumerate() {
            for (dx, coverage) in row.iter().enumerate() {
                blend(pixmap, x + dx, y + dy, ink, *coverage);
            }
        }
        x += glyph.width();
    }
}

fn blend(pixmap: &mut Pixmap, x: usize, y: usize, ink: Ink, coverage: u8) {
    let (width, height) = (pixmap.width() as usize, pixmap.height() as usize);
    if x >= width || y >= height || coverage == 0 {
        return;
    }
    let pixel = &mut pixmap.pixels_mut()[y * width + x];
    let mix = |below: u8, ink: u8| {
        let (below, ink, coverage) = (u32::from(below), u32::from(ink), u32::from(coverage));
        ((below * (255 - coverage) + ink * coverage) / 255) as u8
    };
    let [r, g, b] = [mix(pixel.red(), ink[0]), mix(pixel.green(), ink[1]), mix(pixel.blue(), ink[2])];
    if let Some(mixed) = PremultipliedColorU8::from_rgba(r, g, b, 255) {
        *pixel = mixed;
    }
}

fn paint([r, g, b]: Ink) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color(Color::from_rgba8(r, g, b, 255));
    paint
}
