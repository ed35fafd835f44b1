//! Data goes to stdout, talk to stderr. Every result is a value with one text and one JSON form.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error::{Error, Result};

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Emphasis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// Beside the point.
    Faint,
}

/// Puts emphasis into text, or leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pen {
    colour: bool,
}

impl Pen {
    /// Writes without colour.
    pub const PLAIN: Self = Self { colour: false };

    /// The text with its tone.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A result that a command shows.
pub trait Show: Serialize {
    /// For a person, without a newline at the end.
    fn text(&self, pen: Pen) -> String;
}

/// Where a command's output goes.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    pen: Pen,
    progress: bool,
}

impl Output {
    /// By the caller's wish and the terminals at hand.
    pub fn new(json: bool, colour: Colour) -> Self {
        let colour = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        Self { json, pen: Pen { colour: colour && !json }, progress: std::io::stderr().is_terminal() }
    }

    /// Shows a result. A reader that goes away is no error.
    ///
    /// # Errors
    /// Stdout cannot be written: whoever reads it would take too little for all.
    pub fn show(&self, value: &impl Show) -> Result<()> {
        let text = match self.json {
            true => serde_json::to_string_pretty(value).unwrap_or_default(),
            false => value.text(self.pen),
        };
        write(&(text + "\n"))
    }

    /// Shows text that has no other form.
    ///
    /// # Errors
    /// Those of [`Output::show`].
    pub fn print(&self, text: &str) -> Result<()> {
        write(text)
    }

    /// Says something that is no data.
    pub fn say(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// A progress bar on stderr; nothing at all where that is no terminal.
    pub fn progress(&self, total: u64, what: &'static str) -> ProgressBar {
        if !self.progress {
            return ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        }
        let bar = ProgressBar::new(total).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

fn write(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Stdout(error)),
        _ => Ok(()),
    }
}

/// A table without lines, under `headings`, as wide as the terminal at most.
pub fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    table_within(columns(), headings, rows)
}

/// What COLUMNS says; without it the terminal's own width holds, and no limit where there is no terminal.
fn columns() -> Option<u16> {
    const NARROWEST: u16 = 40;
    let columns: u16 = std::env::var("COLUMNS").ok()?.trim().parse().ok()?;
    Some(columns.max(NARROWEST))
}

fn table_within<const N: usize>(
    width: Option<u16>,
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table.set_header(headings);
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_no_wider_than_the_terminal_and_loses_nothing() {
        let reasons: Vec<String> = (0..9).map(|i| format!("PutMedia-SomeLongException{i} × {i}")).collect();
        let number = "91343852333181432392682062635049359023427483".to_owned();
        let row = ["quiet-fox".into(), "102".into(), "0-101, 103".into(), reasons.join(", "), number.clone()];
        for width in [60, 80, 120, 200] {
            let headings = ["SESSION", "MESSAGES", "CHUNKS", "REASONS", "FRAGMENT"];
            let text = table_within(Some(width), headings, [row.clone()]);
            for line in text.lines() {
                assert!(line.chars().count() <= usize::from(width), "wider than {width}:\n{text}");
            }
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
            let all: usize = row.iter().map(|cell| letters(cell)).sum();
            assert_eq!(letters(&text), all + letters(&headings.concat()), "{text}");
        }
    }
}
