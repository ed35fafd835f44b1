//! `kvsw session show`: the ledger.

use aws::parked_index::Entry;
use ingest::message::SessionId;
use media::time::EpochMs;
use reader::fragment::Fragment;
use reader::ledger::{ChunkRow, GapRow, HoleKind, Ledger, ledger};
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
    /// Messages in the DLQ of which no note speaks: some may be this session's.
    pub without_note: usize,
    /// Parked messages of this session, by their notes.
    pub parked_messages: usize,
    /// Why the stream could not be asked; then only what the writer's state tells is here.
    pub stream_error: Option<String>,
    /// A redrive can bring back something that is parked in a gap; where not, the messages themselves are at fault.
    pub redrive_helps: bool,
    /// The ledger.
    #[serde(flatten)]
    pub ledger: Ledger,
}

/// The command.
///
/// # Errors
/// Those of the services but Kinesis Video's; wrong use, where there is no such session.
pub async fn run(world: &World, output: &Output, session: &SessionId) -> Result<Exit> {
    let reader = world.stream(session);
    let mut known = facts(world, &reader, session).await?;
    let mut fragments = Vec::new();
    let media = read(&reader, output, &known.listed, |fragment, _| {
        fragments.push(fragment);
        Ok(())
    });
    if let Err(error) = media.await {
        fragments.clear();
        known.stream_error.get_or_insert(error);
    }
    let shown = shown(&known, &fragments, world.now());
    output.show(&shown)?;
    Ok(shown.exit())
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
        without_note: known.without_note,
        parked_messages: known.parked.len(),
        stream_error: known.stream_error.as_ref().map(ToString::to_string),
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
    fn exit(&self) -> Exit {
        let well = self.ledger.is_whole() && self.failing_since.is_none() && self.without_note == 0;
        match (&self.stream_error, well) {
            (Some(_), _) => Exit::Unreachable,
            (None, true) => Exit::Fine,
            (None, false) => Exit::Finding,
        }
    }

    fn headline(&self) -> String {
        let mut parts = vec![format!("session {} is {}", self.session_id, self.status)];
        parts.push(match (self.quiet_ms, self.parked_messages) {
            (Some(ms), _) => format!("last activity {} ago", length(ms)),
            (None, 0) => "the writer has stored nothing of it".into(),
            (None, n) => format!("the writer has stored nothing of it and parked {}", count(n, "message")),
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
        whole(ledger, redrive_helps).text(Pen::PLAIN)
    }

    fn whole(ledger: Ledger, redrive_helps: bool) -> Shown {
        Shown {
            session_id: "owl".into(),
            status: "active",
            last_activity: Some(17_000),
            quiet_ms: Some(1_000),
            drift_ms: Some(-3),
            failing_since: None,
            writing: false,
            without_note: 0,
            parked_messages: 0,
            stream_error: None,
            redrive_helps,
            ledger,
        }
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
            "14 processed, 14 written",
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

    /// Two stubs of an empty recorder are parked at the tail of a fragment: all three accounts agree.
    #[test]
    fn fragments_gaps_and_chunks_do_not_contradict_each_other() {
        let fragment = Fragment {
            number: "1".into(),
            at: EpochMs(10_000),
            stretches: vec![(EpochMs(10_000), Samples::from_ms(2_000))],
            numbering: Some(0),
            chunks: Some((48, 57)),
            ..Fragment::default()
        };
        let stub = |index: u64| Gap {
            begins_at: EpochMs(12_000),
            ends_at: Some(EpochMs(12_252)),
            ..crate::dlq::plan::tests::gap(0, index, index + 1)
        };
        let live = Position { next: 59, ..Position::default() };
        let state = Checkpoint { live, gaps: vec![stub(57), stub(58)], ..Checkpoint::default() };
        let ledger = ledger(&[fragment], &state, &[parked(57), parked(58)]);
        let text = shown(ledger, false);
        has(&text, &["gap       57-58 at 1970-01-01T00:00:12.000Z (252 ms): 2 parked", "gaps 252 ms"]);
        has(&text, &["59 processed, 9 written, 2 parked (57-58)", " 48-56 "]);
        assert_eq!(text.matches("252 ms").count(), 2, "{text}");
    }

    #[test]
    fn a_session_is_not_well_while_it_fails_or_its_stream_or_messages_are_unknown() {
        let well = whole(Ledger::default(), false);
        assert_eq!(well.exit(), Exit::Fine);
        let failing = Shown { failing_since: Some(1_000), ..well.clone() };
        assert_eq!(failing.exit(), Exit::Finding);
        let moved = Shown { without_note: 60, ..well.clone() };
        assert_eq!(moved.exit(), Exit::Finding);
        has(&moved.text(Pen::PLAIN), &["60 messages without a note: some may be this session's"]);
        let state =
            Checkpoint { live: Position { next: 14, ..Position::default() }, ..Checkpoint::default() };
        let dark = Shown {
            stream_error: Some("GetDataEndpoint failed with 503".into()),
            ..whole(ledger(&[], &state, &[parked(3)]), false)
        };
        assert_eq!(dark.exit(), Exit::Unreachable);
        let text = dark.text(Pen::PLAIN);
        has(&text, &["could not be asked: GetDataEndpoint failed with 503", "14 processed\n", "any gap: 3"]);
        assert!(!text.contains("no longer in the stream") && !text.contains("no audio"), "{text}");
        let refused = Shown { quiet_ms: None, parked_messages: 12, ..well };
        has(&refused.text(Pen::PLAIN), &["the writer has stored nothing of it and parked 12 messages"]);
    }
}
