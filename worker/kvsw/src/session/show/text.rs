//! A session's ledger in words.

use media::time::EpochMs;
use reader::ledger::{ChunkRow, GapRow, HoleKind};
use reader::ranges::Ranges;
use reader::text::{count, length, moment};

use super::Shown;
use crate::output::{Pen, Show, Tone, table};

/// Fragments that the text shows; `--json` shows all.
const SHOWN: usize = 40;

impl Show for Shown {
    fn text(&self, pen: Pen) -> String {
        let mut lines = vec![self.headline(), String::new()];
        self.trouble(&mut lines, pen);
        self.time(&mut lines, pen);
        self.chunks(&mut lines, pen);
        self.gaps(&mut lines, pen);
        self.fragments(&mut lines);
        lines.join("\n")
    }
}

impl Shown {
    fn headline(&self) -> String {
        let mut parts = vec![format!("session {} is {}", self.session_id, self.status)];
        parts.push(match (self.quiet_ms, self.parked_messages) {
            (Some(ms), _) => format!("last activity {} ago", length(ms)),
            (None, 0) => "the writer keeps no state of it".into(),
            (None, n) => format!("the writer keeps no state of it and has parked {}", count(n, "message")),
        });
        parts.extend(self.drift_ms.map(|ms| format!("drift {ms} ms")));
        if self.writing {
            parts.push("a write is under way".into());
        }
        parts.join(", ")
    }

    fn trouble(&self, lines: &mut Vec<String>, pen: Pen) {
        if let Some(since) = self.failing_since {
            let text = format!("failing   every attempt has failed since {}", moment(EpochMs(since)));
            lines.push(pen.tone(Tone::Bad, &text));
        }
        if let Some(error) = &self.stream_error {
            let text = format!("stream    could not be asked: {error}");
            lines.push(pen.tone(Tone::Bad, &text));
        }
        if self.without_note > 0 {
            let many = count(self.without_note, "message");
            let text = format!(
                "DLQ       {many} without a note: some may be this session's. `kvsw dlq show {}` looks",
                self.session_id
            );
            lines.push(pen.tone(Tone::Warn, &text));
        }
    }

    fn time(&self, lines: &mut Vec<String>, pen: Pen) {
        let time = &self.ledger.time;
        if self.stream_error.is_some() {
            lines.push("time      unknown without the stream".into());
            return;
        }
        if time.to == time.from {
            lines.push("time      the stream has no audio of it".into());
            return;
        }
        let total = time.to - time.from;
        lines.push(format!(
            "time      {} to {}: {}",
            moment(EpochMs(time.from)),
            moment(EpochMs(time.to)),
            length(total)
        ));
        let mut parts = vec![format!("audio {}", length(time.audio_ms))];
        for (ms, what, tone) in [
            (time.pause_ms, "pauses", None),
            (time.gap_ms, "gaps", Some(Tone::Bad)),
            (time.unknown_ms, "unknown", Some(Tone::Warn)),
        ] {
            if ms > 0 {
                let text = format!("{what} {}", length(ms));
                parts.push(tone.map_or(text.clone(), |tone| pen.tone(tone, &text)));
            }
        }
        lines.push(format!("          = {}", parts.join(" + ")));
        if time.overlap_ms > 0 {
            let text = format!("          two fragments overlap for {}", length(time.overlap_ms));
            lines.push(pen.tone(Tone::Bad, &text));
        }
    }

    fn chunks(&self, lines: &mut Vec<String>, pen: Pen) {
        let several = self.ledger.chunks.len() > 1;
        for row in &self.ledger.chunks {
            let title = if several { format!("chunks #{}", row.numbering) } else { "chunks".into() };
            lines.push(format!("{title:<9} {}", self.chunk_parts(row, pen).join(", ")));
        }
        if !self.ledger.parked_elsewhere.is_empty() {
            let text = format!("          parked outside any gap: {}", self.ledger.parked_elsewhere);
            lines.push(pen.tone(Tone::Warn, &text));
        }
        if self.ledger.parked_without_index > 0 {
            let text = format!("          parked without an index: {}", self.ledger.parked_without_index);
            lines.push(pen.tone(Tone::Warn, &text));
        }
    }

    fn chunk_parts(&self, row: &ChunkRow, pen: Pen) -> Vec<String> {
        let mut parts = vec![format!("{} processed", row.next)];
        let none = Ranges::default();
        let expired = match self.stream_error {
            None => {
                parts.push(format!("{} written", row.written.len()));
                &row.not_in_stream
            }
            Some(_) => &none,
        };
        let places: [(&str, &Ranges, Tone); 6] = [
            ("parked", &row.parked, Tone::Bad),
            ("missing", &row.missing, Tone::Bad),
            ("withheld until the gap before them is filled", &row.held, Tone::Bad),
            ("given up", &row.given_up, Tone::Bad),
            ("no longer in the stream", expired, Tone::Faint),
            ("in two fragments", &row.twice, Tone::Bad),
        ];
        for (what, place, tone) in places.into_iter().filter(|(_, place, _)| !place.is_empty()) {
            parts.push(pen.tone(tone, &format!("{} {what} ({place})", place.len())));
        }
        parts
    }

    fn gaps(&self, lines: &mut Vec<String>, pen: Pen) {
        // Neighbours of which nobody can tell where one ends share their time.
        let one_time = |a: &GapRow, b: &GapRow| {
            (a.numbering, a.chunk_last + 1, a.begins_at, a.until)
                == (b.numbering, b.chunk_first, b.begins_at, b.until)
        };
        let runs: Vec<&[GapRow]> = self.ledger.gaps.chunk_by(one_time).collect();
        for run in runs.iter().take(SHOWN) {
            lines.extend(gap_line(run).map(|text| pen.tone(Tone::Bad, &text)));
        }
        if runs.len() > SHOWN {
            lines
                .push(format!("          … and {} more; --json shows all", count(runs.len() - SHOWN, "gap")));
        }
        if self.ledger.gaps.iter().any(|gap| !gap.parked.is_empty()) {
            let session = &self.session_id;
            lines.push(match (self.redrive_helps, self.state_lost) {
                (true, _) => format!("          kvsw dlq redrive --session {session} fills them"),
                (false, true) => format!(
                    "          no redrive fills them: the state before them is no longer stored; kvsw dlq export --session {session} keeps them"
                ),
                (false, false) => format!(
                    "          no redrive fills them: kvsw dlq show {session} says why and what to do"
                ),
            });
        }
    }

    fn fragments(&self, lines: &mut Vec<String>) {
        let fragments = &self.ledger.fragments;
        if fragments.is_empty() {
            return;
        }
        lines.push(String::new());
        let start = self.ledger.time.from;
        let rows = fragments.iter().take(SHOWN).map(|row| {
            let hole = self.ledger.holes.iter().find(|hole| hole.to == row.at);
            let before = hole.map_or(String::new(), |hole| {
                let kind = match hole.kind {
                    HoleKind::Pause => "pause",
                    HoleKind::Gap => "GAP",
                    HoleKind::Unknown => "unknown",
                };
                format!("{kind} {}", length(hole.to - hole.from))
            });
            let chunks = match row.chunks.is_empty() {
                true => "-".to_owned(),
                false => row.chunks.to_string(),
            };
            let notes = if row.backfilled { "backfilled" } else { "" };
            let at = format!("{:.3} s", (row.at - start) as f64 / 1_000.0);
            [at, length(row.span_ms), chunks, before, notes.into(), row.number.clone()]
        });
        lines.push(table(["AT", "LENGTH", "CHUNKS", "BEFORE IT", "", "FRAGMENT"], rows));
        if fragments.len() > SHOWN {
            let more = count(fragments.len() - SHOWN, "fragment");
            lines.push(format!("… and {more} more; --json shows all"));
        }
    }
}

/// Gaps that lie in one time.
fn gap_line(gaps: &[GapRow]) -> Option<String> {
    let (first, last) = gaps.first().zip(gaps.last())?;
    let mut long = length(first.until.saturating_sub(first.begins_at));
    if first.ends_at.is_none() {
        long.push_str(", nothing written after it");
    }
    let (parked, missing) = (
        gaps.iter().map(|gap| gap.parked.len()).sum::<u64>(),
        gaps.iter().map(|gap| gap.missing.len()).sum::<u64>(),
    );
    let parts = [(parked, "parked"), (missing, "missing")];
    let parts: Vec<String> =
        parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let chunks = Ranges::inclusive(first.chunk_first, last.chunk_last);
    let at = moment(EpochMs(first.begins_at));
    Some(format!("gap       {chunks} at {at} ({long}): {}", parts.join(", ")))
}
