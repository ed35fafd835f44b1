//! A read-back in words.

use reader::ranges::Ranges;
use reader::text::{count, length};

use super::{LiveVerdict, ReadBack};
use crate::output::{Pen, Show, Tone};

impl Show for ReadBack {
    fn text(&self, pen: Pen) -> String {
        let mut lines = Vec::new();
        for gap in &self.gaps {
            let name =
                format!("{} gap {}", gap.session_id, Ranges::inclusive(gap.chunk_first, gap.chunk_last));
            lines.push(match (gap.closed, gap.fragments) {
                (false, _) => pen.tone(Tone::Bad, &format!("{name}: still open, chunks {}", gap.open)),
                (true, 0) => {
                    pen.tone(Tone::Bad, &format!("{name}: closed, but the stream lists no audio there"))
                }
                (true, fragments) => {
                    let audio = length(gap.listed_ms);
                    let text = format!("{name}: closed, {} of {audio}", count(fragments, "fragment"));
                    pen.tone(Tone::Good, &text)
                }
            });
        }
        let written = self.live.iter().filter(|live| !live.written.is_empty());
        lines.extend(written.map(|live| live_text(live, pen)));
        if self.parked_again > 0 {
            let text =
                format!("{} parked again; `kvsw dlq list` says why", count(self.parked_again, "message"));
            lines.push(pen.tone(Tone::Warn, &text));
        }
        if self.awaited > 0 {
            let many = count(self.awaited, "message");
            let text = format!("{many} neither written nor parked again yet");
            lines.push(pen.tone(Tone::Warn, &text));
        }
        let (waited, written) = (length(self.waited_ms), count(self.written, "message"));
        lines.push(match self.is_settled() {
            true => format!("read back after {waited}: {written} written"),
            false => format!("not all is settled after {waited}; use --wait to wait longer"),
        });
        lines.join("\n")
    }
}

/// What became of the messages that went to the live audio's end.
fn live_text(LiveVerdict { session_id, written, fragments }: &LiveVerdict, pen: Pen) -> String {
    match fragments {
        0 => pen.tone(
            Tone::Bad,
            &format!("{session_id} chunks {written}: taken, but the stream lists no new fragment"),
        ),
        n => {
            let new = count(*n, "new fragment");
            pen.tone(Tone::Good, &format!("{session_id} chunks {written}: in the live audio, {new}"))
        }
    }
}
