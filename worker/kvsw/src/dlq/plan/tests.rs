use ingest::gap::ChunkRange;
use ingest::position::Position;
use proptest::prelude::*;

use super::*;
use crate::output::{Pen, Show as _};

/// A note of a message parked at epoch ms 1,002, first failed at 1,000.
pub(crate) fn note(session_id: &str, chunk_index: Option<u64>, reason: &str) -> Entry {
    let class = match reason {
        "NOT_JSON" | "BAD_BASE64" => "message",
        "UNDECODABLE_AUDIO" => "audio",
        "SESSION_ENDED" | "SESSION_UNKNOWN" | "NO_PLACE" => "session",
        _ => "passing",
    };
    Entry {
        session_id: session_id.into(),
        note: ParkedNote {
            message_id: format!("{session_id}-{chunk_index:?}-{reason}"),
            chunk_index,
            captured_at: None,
            numbering: None,
            reason: reason.into(),
            class: class.into(),
            attempts: 4,
            first_failure_at: EpochMs(1_000),
            parked_at: EpochMs(2_000),
        },
    }
}

pub(crate) fn gap(numbering: u32, from: u64, to: u64) -> Gap {
    Gap {
        chunks: ChunkRange { numbering, from, to },
        begins_at: EpochMs(10_000 + from * 300),
        ends_at: Some(EpochMs(10_000 + to * 300)),
        captured: (EpochMs(0), EpochMs(u64::MAX)),
        snapshot: ingest::snapshot::SnapshotKey::default(),
        search: ingest::gap::Search::default(),
        unsure: None,
        tries: Vec::new(),
        parked: None,
        cause: String::new(),
        taken_until: None,
    }
}

/// A session that stands before `next`, with these gaps, all of which can be placed.
pub(crate) fn facts(next: u64, gaps: Vec<Gap>, chosen: Vec<Entry>) -> SessionFacts {
    let placeable = gaps.iter().map(|gap| (gap.chunks.numbering, gap.chunks.from)).collect();
    let live = Position { next, ..Position::default() };
    SessionFacts {
        session_id: "owl".into(),
        status: SessionStatus::Active,
        checkpoint: Some(Checkpoint { live, gaps, ..Checkpoint::default() }),
        placeable,
        retention_hours: Some(1),
        chosen,
        staying: Vec::new(),
    }
}

pub(crate) fn owls(indices: std::ops::Range<u64>, reason: &str) -> Vec<Entry> {
    indices.map(|index| note("owl", Some(index), reason)).collect()
}

fn planned(facts: SessionFacts) -> SessionPlan {
    session(&facts, EpochMs(20_000))
}

fn why(plan: &SessionPlan) -> Vec<Again> {
    plan.parked_again.iter().map(|again| again.why).collect()
}

#[test]
fn a_gap_whose_chunks_all_come_back_will_be_filled() {
    let plan = planned(facts(100, vec![gap(0, 40, 48)], owls(40..48, "ack-5001")));
    assert!(plan.gaps[0].closes());
    assert_eq!(plan.gaps[0].returning.pairs(), [(40, 47)]);
    assert!(plan.parked_again.is_empty() && plan.appended.is_empty() && plan.written.is_empty());
    let whole = Plan { sessions: vec![plan], ..Plan::default() };
    let text = whole.text(Pen::PLAIN);
    assert!(text.contains("gap 40-47 at 1970-01-01T00:00:22.000Z (2.4 s): will be filled"), "{text}");
    assert!(text.ends_with("plan: move 8 messages, close 1 gap"), "{text}");
}

#[test]
fn what_a_filter_leaves_and_what_nobody_has_is_told_apart() {
    let mut facts = facts(100, vec![gap(0, 40, 48)], owls(40..44, "ack-5001"));
    facts.staying = owls(44..46, "CRASHED");
    let plan = planned(facts);
    assert!(!plan.gaps[0].closes());
    assert_eq!(
        (plan.gaps[0].staying.pairs(), plan.gaps[0].nowhere.pairs()),
        (vec![(44, 45)], vec![(46, 47)])
    );
    let text = Plan { sessions: vec![plan], ..Plan::default() }.text(Pen::PLAIN);
    assert!(text.contains("40-43 return, 44-45 stay parked, 46-47 not noted as parked"), "{text}");
}

#[test]
fn what_cannot_be_placed_is_foreseen_with_its_reason() {
    let in_gap = |reason| facts(100, vec![gap(0, 4, 6)], owls(4..6, reason));
    assert_eq!(why(&planned(in_gap("NOT_JSON"))), [Again::RefusedForItself]);
    assert_eq!(why(&planned(in_gap("UNDECODABLE_AUDIO"))), [Again::RefusedForItself]);

    let mut unknown = in_gap("SESSION_UNKNOWN");
    unknown.status = SessionStatus::Unknown;
    assert_eq!(why(&planned(unknown)), [Again::SessionUnknown]);

    let mut ended = facts(4, vec![], owls(4..6, "SESSION_ENDED"));
    ended.status = SessionStatus::Ended { at: Some(EpochMs(5)) };
    assert_eq!(why(&planned(ended)), [Again::SessionEnded]);

    let mut given_up = facts(100, vec![], owls(4..6, "CRASHED"));
    let range = ChunkRange { numbering: 0, from: 0, to: 9 };
    given_up.checkpoint.as_mut().unwrap().given_up.push(range);
    assert_eq!(why(&planned(given_up)), [Again::GivenUp]);

    assert_eq!(why(&planned(facts(100, vec![], owls(4..6, "NO_PLACE")))), [Again::Placeless]);
    let mut expired = in_gap("ack-5001");
    expired.placeable.clear();
    assert_eq!(why(&planned(expired)), [Again::Expired]);
}

#[test]
fn chunks_outside_gaps_are_appended_or_known_as_written() {
    let plan = planned(facts(100, vec![], owls(98..102, "ack-5001")));
    assert_eq!((plan.written.pairs(), plan.appended.pairs()), (vec![(98, 99)], vec![(100, 101)]));
    let mut never_written = facts(0, vec![], owls(0..3, "CRASHED"));
    never_written.checkpoint = None;
    assert_eq!(planned(never_written).appended.pairs(), [(0, 2)]);
}

#[test]
fn a_gap_that_held_an_ended_session_is_filled_all_the_same() {
    let mut ended = facts(100, vec![gap(0, 4, 6)], owls(4..6, "ack-5001"));
    ended.status = SessionStatus::Ended { at: Some(EpochMs(5)) };
    assert!(planned(ended).gaps[0].closes());
}

/// A note of a chunk that was captured then.
fn captured(index: u64, at: u64, reason: &str) -> Entry {
    let mut entry = note("owl", Some(index), reason);
    entry.note.message_id = format!("{index} at {at}");
    entry.note.captured_at = Some(EpochMs(at));
    entry
}

/// A session whose page was reloaded at 10,000: chunks 0 to 9 of each page, of which 4 and 5 are missing, 300 ms apart.
fn reloaded() -> SessionFacts {
    let of_page = |numbering: u32, began: u64| Gap {
        captured: (EpochMs(began + 1_200), EpochMs(began + 1_800)),
        ..gap(numbering, 4, 6)
    };
    let mut facts = facts(10, vec![of_page(0, 1_000), of_page(1, 10_000)], vec![]);
    let checkpoint = facts.checkpoint.as_mut().unwrap();
    checkpoint.live.numbering = 1;
    checkpoint.live.numbering_began = EpochMs(10_300);
    checkpoint.live.last_captured = EpochMs(13_000);
    let past = ingest::checkpoint::PastNumbering {
        numbering: 0,
        next: 10,
        captured: (EpochMs(1_300), EpochMs(4_000)),
        connection_id: None,
    };
    checkpoint.past.push(past);
    facts
}

#[test]
fn the_capture_time_tells_which_pages_gap_a_chunk_fills() {
    let second = |index: u64| captured(index, 10_300 + index * 300, "ack-5001");
    let plan = planned(SessionFacts { chosen: vec![second(4), second(5)], ..reloaded() });
    assert_eq!((plan.gaps.len(), plan.gaps[0].numbering, plan.gaps[0].closes()), (1, 1, true));
    let first = |index: u64| captured(index, 1_300 + index * 300, "CRASHED");
    let both = vec![first(4), second(4), first(5), second(5)];
    let plan = planned(SessionFacts { chosen: both, ..reloaded() });
    assert_eq!(
        plan.gaps.iter().map(|gap| (gap.numbering, gap.closes())).collect::<Vec<_>>(),
        [(0, true), (1, true)]
    );
    let one_stays = SessionFacts { chosen: vec![first(4), second(4)], staying: vec![first(5)], ..reloaded() };
    let plan = planned(one_stays);
    assert_eq!((plan.gaps[0].staying.pairs(), plan.gaps[1].staying.pairs()), (vec![(5, 5)], vec![]));
    assert_eq!(plan.gaps[1].nowhere.pairs(), [(5, 5)], "the other page's chunk 5 does not help");
}

#[test]
fn a_chunk_of_a_page_that_was_never_seen_is_not_taken_for_one_that_is_written() {
    let facts = SessionFacts { chosen: vec![captured(3, 7_000, "CRASHED")], ..reloaded() };
    assert_eq!(why(&planned(facts)), [Again::Placeless], "captured between the two pages");
    let facts = SessionFacts { chosen: vec![captured(3, 2_200, "CRASHED")], ..reloaded() };
    assert_eq!(planned(facts).written.pairs(), [(3, 3)]);
}

#[test]
fn the_sessions_end_is_compared_with_the_capture_time_whatever_the_chunk_was_parked_for() {
    let mut ended = facts(
        4,
        vec![],
        vec![
            captured(4, 900, "SESSION_ENDED"),
            captured(5, 2_900, "ack-5001"),
            captured(6, 4_200, "ack-5001"),
        ],
    );
    ended.status = SessionStatus::Ended { at: Some(EpochMs(1_000)) };
    let plan = planned(ended);
    assert_eq!(plan.appended.pairs(), [(4, 5)], "its end was corrected; 2 s later is still taken");
    assert_eq!(
        (plan.parked_again[0].why, plan.parked_again[0].chunks.pairs()),
        (Again::SessionEnded, vec![(6, 6)])
    );
}

#[test]
fn a_refused_chunk_of_a_gap_stays_parked_and_is_not_said_to_be_nowhere() {
    let mut chosen = owls(4..6, "ack-5001");
    chosen.push(note("owl", Some(6), "UNDECODABLE_AUDIO"));
    let plan = planned(facts(100, vec![gap(0, 4, 7)], chosen));
    assert_eq!((plan.gaps[0].staying.pairs(), plan.gaps[0].nowhere.pairs()), (vec![(6, 6)], vec![]));
    assert_eq!(why(&plan), [Again::RefusedForItself]);
}

#[test]
fn a_gap_older_than_the_retention_is_warned_of() {
    let facts = facts(100, vec![gap(0, 4, 6)], owls(4..6, "ack-5001"));
    assert_eq!(session(&facts, EpochMs(20_000)).older_than_retention, None);
    let late = session(&facts, EpochMs(11_200 + 3_600_001));
    assert_eq!(late.older_than_retention, Some(11_200));
}

proptest! {
    /// Whatever the session's state: every message to move has one fate, and no more.
    #[test]
    fn every_message_has_exactly_one_fate(
        next in 0..40_u64,
        gaps in prop::collection::vec((0..2_u32, 0..30_u64, 1..8_u64), 0..5),
        chosen in prop::collection::vec((prop::option::of(0..50_u64), 0..4_usize, prop::option::of(0..20_000_u64)), 0..40),
        status in 0..3,
        placeable in any::<bool>(),
    ) {
        let reasons = ["ack-5001", "NOT_JSON", "SESSION_ENDED", "NO_PLACE"];
        // A checkpoint has one gap at most that begins at a chunk.
        let gaps: BTreeMap<GapKey, Gap> =
            gaps.into_iter().map(|(n, from, len)| ((n, from), gap(n, from, from + len))).collect();
        let gaps: Vec<Gap> = gaps.into_values().collect();
        let chosen = chosen.into_iter().map(|(i, r, at)| {
            let mut entry = note("owl", i, reasons[r]);
            entry.note.captured_at = at.map(EpochMs);
            entry
        });
        let chosen: Vec<Entry> = chosen.collect();
        let mut facts = facts(next, gaps, chosen);
        facts.status = match status {
            0 => SessionStatus::Active,
            1 => SessionStatus::Unknown,
            _ => SessionStatus::Ended { at: None },
        };
        if !placeable {
            facts.placeable.clear();
        }
        let plan = planned(facts.clone());
        let inside = |ranges: &Ranges| ranges.len() as usize;
        let filled: usize = plan.gaps.iter().map(|gap| inside(&gap.returning)).sum();
        let again: usize = plan.parked_again.iter().map(|again| again.messages).sum();
        // Runs count an index once, so messages of one chunk may make them shorter, never longer.
        let told = filled + inside(&plan.appended) + inside(&plan.written) + plan.unforeseen + again;
        prop_assert!(told <= facts.chosen.len());
        let distinct: BTreeSet<_> = facts.chosen.iter().map(|e| (e.note.chunk_index, e.note.reason.clone())).collect();
        if distinct.len() == facts.chosen.len() && distinct.iter().map(|d| d.0).collect::<BTreeSet<_>>().len() == distinct.len() {
            prop_assert_eq!(told, facts.chosen.len());
        }
        for gap in &plan.gaps {
            let all = inside(&gap.returning) + inside(&gap.staying) + inside(&gap.nowhere);
            prop_assert_eq!(all as u64, gap.chunk_last - gap.chunk_first + 1, "each chunk of a gap is accounted for once");
        }
    }
}
