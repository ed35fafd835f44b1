//! `kvsw session show`: the ledger.

use aws::parked_index::Entry;
use ingest::message::SessionId;
use media::time::EpochMs;
use reader::fragment::Fragment;
use reader::ledger::{HoleKind, Ledger, ledger};
use reader::ranges::Ranges;
use reader::text::{count, length, moment};
use serde::Serialize;

use super::facts::{SessionFacts, facts, read};
use crate::error::{Exit, Result};
use crate::output::{Output, Pen, Show, Tone, table};
use crate::reasons::advice;
use crate::world::{World, status_name};

/// Fragments that the text shows; `--json` shows all.
const SHOWN: usize = 40;

/// A session's ledger and state.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Which.
    pub session_id: String,
    /// `active`, `ended` or `unknown`.
    pub status: &'static str,
    /// When the writer last touched it, epoch ms.
    pub last_activity: Option<u64>,
    /// How long ago that is.
    pub quiet_ms: Option<u64>,
    /// The speaker's clock minus the media clock.
    pub drift_ms: Option<i64>,
    /// Since when every attempt has failed, epoch ms.
    pub failing_since: Option<u64>,
    /// A write is under way, or its outcome is not known yet.
    pub writing: bool,
    /// A redrive can bring back something that is parked in a gap; where not, the messages themselves are at fault.
    pub redrive_helps: bool,
    /// The ledger.
    #[serde(flatten)]
    pub ledger: Ledger,
}

/// The command.
///
/// # Errors
/// Those of the services; wrong use, where nobody knows the session.
pub async fn run(world: &World, output: &Output, session: &SessionId) -> Result<Exit> {
    let reader = world.stream(session);
    let known = facts(world, &reader, session).await?;
    let mut fragments = Vec::new();
    read(&reader, output, &known.listed, |fragment, _| {
        fragments.push(fragment);
        Ok(())
    })
    .await?;
    let shown = shown(&known, &fragments, world.now());
    let whole = shown.ledger.is_whole();
    output.show(&shown)?;
    Ok(if whole { Exit::Fine } else { Exit::Finding })
}

fn shown(known: &SessionFacts, fragments: &[Fragment], now: EpochMs) -> Shown {
    let checkpoint = known.checkpoint.clone().unwrap_or_default();
    let ledger = ledger(fragments, &checkpoint, &known.parked_chunks());
    Shown {
        session_id: known.session.to_string(),
        status: status_name(known.status),
        last_activity: known.last_activity.map(|at| at.0),
        quiet_ms: known.last_activity.map(|at| now.0.saturating_sub(at.0)),
        drift_ms: known.checkpoint.as_ref().map(|checkpoint| checkpoint.live.timeline.drift_ms()),
        failing_since: checkpoint.failing_since.map(|at| at.0),
        writing: checkpoint.lease.is_some(),
        redrive_helps: redrive_helps(&known.parked, &ledger),
        ledger,
    }
}

fn redrive_helps(parked: &[Entry], ledger: &Ledger) -> bool {
    let in_gap = |index: u64| ledger.gaps.iter().any(|gap| gap.holds(index));
    let mut notes = parked.iter().map(|entry| &entry.note);
    notes.any(|note| note.chunk_index.is_some_and(in_gap) && advice(&note.reason).redrive)
}

impl Show for Shown {
    fn text(&self, pen: Pen) -> String {
        let mut lines = vec![self.headline(pen), String::new()];
        self.time(&mut lines, pen);
        self.chunks(&mut lines, pen);
        self.gaps(&mut lines, pen);
        self.fragments(&mut lines);
        lines.join("\n")
    }
}

impl Shown {
    fn headline(&self, pen: Pen) -> String {
        let mut parts = vec![format!("session {} is {}", self.session_id, self.status)];
        match self.quiet_ms {
            Some(ms) => parts.push(format!("last activity {} ago", length(ms))),
            None => parts.push("the writer has never seen it".into()),
        }
        parts.extend(self.drift_ms.map(|ms| format!("drift {ms} ms")));
        if self.writing {
            parts.push("a write is under way".into());
        }
        let mut line = parts.join(", ");
        if let Some(since) = self.failing_since {
            let text = format!("every attempt has failed since {}", moment(EpochMs(since)));
            line = format!("{line}\n{}", pen.tone(Tone::Bad, &text));
        }
        line
    }

    fn time(&self, lines: &mut Vec<String>, pen: Pen) {
        let time = &self.ledger.time;
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
        if time.pause_ms > 0 {
            parts.push(format!("pauses {}", length(time.pause_ms)));
        }
        if time.gap_ms > 0 {
            parts.push(pen.tone(Tone::Bad, &format!("gaps {}", length(time.gap_ms))));
        }
        if time.unknown_ms > 0 {
            parts.push(pen.tone(Tone::Warn, &format!("unknown {}", length(time.unknown_ms))));
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
            let mut parts = vec![format!("{} gone past", row.next), format!("{} written", row.written.len())];
            let places: [(&str, &Ranges, Tone); 6] = [
                ("parked", &row.parked, Tone::Bad),
                ("missing", &row.missing, Tone::Bad),
                ("held with the gap before them", &row.held, Tone::Bad),
                ("given up", &row.given_up, Tone::Bad),
                ("no longer in the stream", &row.not_in_stream, Tone::Faint),
                ("TWICE", &row.twice, Tone::Bad),
            ];
            for (what, place, tone) in places.into_iter().filter(|(_, place, _)| !place.is_empty()) {
                let text = format!("{} {what} ({})", place.len(), place);
                parts.push(pen.tone(tone, &text));
            }
            lines.push(format!("{title:<9} {}", parts.join(", ")));
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

    fn gaps(&self, lines: &mut Vec<String>, pen: Pen) {
        for gap in &self.ledger.gaps {
            let mut long = length(gap.until.saturating_sub(gap.begins_at));
            if gap.ends_at.is_none() {
                long.push_str(", nothing written after it");
            }
            let mut parts = Vec::new();
            if !gap.parked.is_empty() {
                parts.push(format!("{} parked", gap.parked.len()));
            }
            if !gap.missing.is_empty() {
                parts.push(format!("{} missing", gap.missing.len()));
            }
            let chunks = Ranges::inclusive(gap.chunk_first, gap.chunk_last);
            let at = moment(EpochMs(gap.begins_at));
            let text = format!("gap       {chunks} at {at} ({long}): {}", parts.join(", "));
            lines.push(pen.tone(Tone::Bad, &text));
        }
        if self.ledger.gaps.iter().any(|gap| !gap.parked.is_empty()) {
            let session = &self.session_id;
            lines.push(match self.redrive_helps {
                true => format!("          kvsw dlq redrive --session {session} fills them"),
                false => format!(
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
            let chunks = row.chunks.map(|(first, last)| Ranges::inclusive(first, last).to_string());
            let chunks = chunks.unwrap_or_else(|| "-".into());
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

#[cfg(test)]
mod tests {
    use ingest::checkpoint::Checkpoint;
    use ingest::gap::Gap;
    use ingest::position::Position;
    use media::time::Samples;
    use reader::ledger::Parked;

    use super::*;
    use crate::dlq::plan::tests::note;

    fn parked(index: u64) -> Parked {
        Parked { numbering: Some(0), index: Some(index) }
    }

    fn shown(ledger: Ledger, redrive_helps: bool) -> String {
        let shown = Shown {
            session_id: "owl".into(),
            status: "active",
            last_activity: Some(17_000),
            quiet_ms: Some(1_000),
            drift_ms: Some(-3),
            failing_since: None,
            writing: false,
            redrive_helps,
            ledger,
        };
        shown.text(Pen::PLAIN)
    }

    fn has(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn the_text_adds_up_for_a_person() {
        let fragment = |number: u32, at: u64, chunks| Fragment {
            number: number.to_string(),
            at: EpochMs(at),
            stretches: vec![(EpochMs(at), Samples::from_ms(2_000))],
            numbering: Some(0),
            chunks: Some(chunks),
            ..Fragment::default()
        };
        let fragments = [fragment(1, 10_000, (0, 6)), fragment(2, 15_000, (7, 13))];
        let parts = [
            "session owl is active, last activity 1 s ago, drift -3 ms",
            "= audio 4 s + pauses 3 s",
            "14 gone past, 14 written",
            "parked outside any gap: 3",
            "pause 3 s",
        ];
        has(&shown(ledger(&fragments, &Default::default(), &[parked(3)]), false), &parts);
    }

    #[test]
    fn a_wholly_parked_session_has_a_time_and_a_way_out() {
        let gap = Gap {
            begins_at: EpochMs(1_000),
            ends_at: None,
            captured: (EpochMs(0), EpochMs(3_000)),
            ..crate::dlq::plan::tests::gap(0, 0, 7)
        };
        let live = Position { next: 7, ..Position::default() };
        let state = Checkpoint { live, gaps: vec![gap], ..Checkpoint::default() };
        let ledger = ledger(&[], &state, &[parked(0)]);
        let text = shown(ledger.clone(), true);
        has(&text, &["= audio 0 ms + gaps 2 s", "(2 s, nothing written after it): 1 parked, 6 missing"]);
        has(&text, &["kvsw dlq redrive --session owl fills them"]);
        has(&shown(ledger.clone(), false), &["no redrive fills them: kvsw dlq show owl"]);

        let (bad, outside) = (note("owl", Some(0), "BAD_BASE64"), note("owl", Some(99), "ack-5001"));
        assert!(!redrive_helps(&[bad.clone(), outside], &ledger));
        assert!(redrive_helps(&[bad, note("owl", Some(3), "ack-5001")], &ledger));
    }
}
