//! `kvsw session show`: the ledger.

mod text;

use std::collections::BTreeSet;

use aws::parked_index::Entry;
use ingest::message::SessionId;
use media::time::EpochMs;
use reader::fragment::Fragment;
use reader::ledger::{GapRow, Ledger, ledger};
use serde::Serialize;

use super::facts::{SessionFacts, facts, read};
use crate::error::{Exit, Result};
use crate::output::Output;
use crate::reasons::advice;
use crate::world::{World, status_name};

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
    /// A redrive can bring back something that is parked in a gap.
    pub redrive_helps: bool,
    /// It could, were the state before those gaps still stored.
    pub state_lost: bool,
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
    let (redrive_helps, state_lost) = redrive_helps(&known.parked, &ledger, &known.placeable);
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
        redrive_helps,
        state_lost,
        ledger,
    }
}

/// Whether a redrive fills some gap; whether it would, were the state before the gap still stored. Where neither, the messages
/// themselves are at fault.
fn redrive_helps(parked: &[Entry], ledger: &Ledger, placeable: &BTreeSet<(u32, u64)>) -> (bool, bool) {
    let curable = parked.iter().map(|entry| &entry.note).filter(|note| advice(&note.reason).redrive);
    let gap = |index: u64| ledger.gaps.iter().find(|gap| gap.holds(index));
    let gaps: Vec<&GapRow> = curable.filter_map(|note| gap(note.chunk_index?)).collect();
    let helps = gaps.iter().any(|gap| placeable.contains(&(gap.numbering, gap.chunk_first)));
    (helps, !helps && !gaps.is_empty())
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
    use crate::output::{Pen, Show as _};

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
            state_lost: false,
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
        let (stored, notes) = (BTreeSet::from([(0, 0)]), [bad.clone(), note("owl", Some(3), "ack-5001")]);
        assert_eq!(redrive_helps(&[bad, outside], &ledger, &stored), (false, false));
        assert_eq!(redrive_helps(&notes, &ledger, &stored), (true, false));
        assert_eq!(redrive_helps(&notes, &ledger, &BTreeSet::new()), (false, true));
        let lost = Shown { state_lost: true, ..whole(ledger, false) };
        has(&lost.text(Pen::PLAIN), &["the state before them is no longer stored"]);
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
        has(&refused.text(Pen::PLAIN), &["the writer keeps no state of it and has parked 12 messages"]);
    }
}
