//! Progress on standard error; shows nothing where that is not a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use local_stack::progress::Progress;

/// A bar or a spinner.
pub struct Bar(pub ProgressBar);

impl Bar {
    /// A bar for so many messages.
    pub fn of_messages(messages: usize) -> Self {
        let bar = ProgressBar::new(messages as u64).with_message("sending");
        Self(styled(bar, "{msg:<24} {wide_bar} {pos}/{len} {elapsed_precise}"))
    }

    /// A spinner for the parts of a run.
    pub fn of_phases() -> Self {
        Self(styled(ProgressBar::new_spinner(), "{spinner} {msg:<24} {pos} {elapsed_precise}"))
    }
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

impl Progress for Bar {
    fn phase(&self, name: &str) {
        if self.0.is_hidden() {
            eprintln!("{:>4} s  {name}", self.0.elapsed().as_secs());
        }
        self.0.set_message(name.to_owned());
        self.0.set_position(0);
    }

    fn sent(&self) {
        self.0.inc(1);
    }

    fn accounted(&self, chunks: usize, of: usize) {
        self.0.set_message("in the stream or parked");
        self.0.set_length(of as u64);
        self.0.set_position(chunks as u64);
    }

    fn left(&self, messages: u64) {
        self.0.set_position(messages);
    }
}
