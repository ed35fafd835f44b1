//! A scene as SVG.

use std::fmt::Write as _;

use super::{Anchor, Ink, Scene, Shape};

pub(super) fn write(scene: &Scene) -> String {
    let (width, height) = (scene.width, scene.height);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', monospace\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for shape in &scene.shapes {
        // Writing into a String cannot fail.
        let _ = writeln!(svg, "{}", element(shape));
    }
    svg.push_str("</svg>\n");
    svg
}

fn element(shape: &Shape) -> String {
    match shape {
        Shape::Rectangle { x, y, width, height, ink } => {
            let ink = colour(*ink);
            format!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{ink}\"/>"
            )
        }
        Shape::Line { from, to, ink } => format!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{}\"/>",
            from.0,
            from.1,
            to.0,
            to.1,
            colour(*ink)
        ),
        Shape::Bars { bars, ink } => {
            let mut path = String::new();
            for (x, top, bottom) in bars {
                let _ = write!(path, "M{x:.1} {top:.1}V{bottom:.1}");
            }
            format!("<path d=\"{path}\" stroke=\"{}\" fill=\"none\"/>", colour(*ink))
        }
        Shape::Text { x, y, anchor, size, text, ink } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            // Letters of one width, six tenths of their size, as wide as the bitmap font's.
            let (height, letters) = (size.height(), size.width_of("m") / 0.6);
            format!(
                "<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"{letters:.1}\" text-anchor=\"{anchor}\" fill=\"{}\">{}</text>",
                y + height * 0.8,
                colour(*ink),
                escaped(text)
            )
        }
    }
}

fn colour([r, g, b]: Ink) -> String {
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
    use crate::picture::TextSize;

    #[test]
    fn no_text_breaks_out_of_its_element() {
        let text = Shape::Text {
            x: 1.0,
            y: 2.0,
            anchor: Anchor::Start,
            size: TextSize::Small,
            text: "<script>&\u{1}".into(),
            ink: [1, 2, 255],
        };
        let svg = write(&Scene { width: 10, height: 10, shapes: vec![text] });
        assert!(svg.contains("&lt;script&gt;&amp;?</text>") && svg.contains("#0102ff"), "{svg}");
    }
}
