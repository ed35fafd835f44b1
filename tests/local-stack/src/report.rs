//! What a replay found, as the files that it leaves: `report.json`, `fragments.json`, and a summary of several sessions.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use serde::Serialize;

use crate::replay::ledger::{Balance, Span};

/// One fragment, as read back from the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FragmentRow {
    /// The service's number.
    pub fragment_number: String,
    /// Time of its first sample, epoch ms.
    pub producer_timestamp_ms: u64,
    /// Length of its audio in whole ms, rounded down.
    pub duration_ms: u64,
    /// Length of its audio at 16 kHz.
    pub samples: u64,
    /// First chunkIndex, from its tags.
    pub chunk_first: Option<u64>,
    /// Last chunkIndex, from its tags.
    pub chunk_last: Option<u64>,
    /// From the sending of its last chunk to its persistence; absent where that chunk was not sent by this replay.
    pub persisted_after_ms: Option<u64>,
}

/// A message that was refused at the door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Which message of the recording, counted from 0; absent where the answer does not tell.
    pub message: Option<usize>,
    /// Its chunkIndex, where it has one.
    pub chunk_index: Option<u64>,
    /// The culprit's short name.
    pub code: String,
    /// What is wrong, for a person.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Median and 99th percentile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Half are no longer.
    pub p50: u64,
    /// Ninety-nine of a hundred are no longer.
    pub p99: u64,
}

impl Percentiles {
    /// By the nearest rank; `None` of nothing.
    pub fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let rank =
            |percent: usize| values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { p50: rank(50)?, p99: rank(99)? })
    }
}

/// One session's report.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The session.
    pub session_id: String,
    /// The recording's name.
    pub recording: String,
    /// Times real time.
    pub speed: f64,
    /// Chunks sent over the WebSocket.
    pub chunks_sent: usize,
    /// Chunks in persisted fragments.
    pub chunks_written: usize,
    /// Chunks in the dead-letter queue.
    pub chunks_parked: usize,
    /// Chunks refused at the door.
    pub chunks_refused: usize,
    /// Chunks that are nowhere: neither written nor parked nor refused.
    pub chunks_missing: Vec<u64>,
    /// Chunks in more than one fragment.
    pub chunks_twice: Vec<u64>,
    /// Runs of chunks that no fragment holds.
    pub gaps: usize,
    /// The chunks of each gap.
    pub gap_ranges: Vec<Span>,
    /// Fragments in the stream.
    pub fragments: usize,
    /// Fragments beside these that are copies of one of them, by time and chunks; they are read once.
    pub fragments_copied: usize,
    /// Times that a batch was handed back to the queue for a moment.
    pub deferrals: u64,
    /// Invocations of the writer that held the session's records.
    pub invocations: u64,
    /// From a chunk's sending to its persistence, over all written chunks.
    pub age_at_write_ms: Option<Percentiles>,
    /// What the door said.
    pub refusals: Vec<Refusal>,
    /// Why messages were parked, each once.
    pub park_reasons: Vec<String>,
}

/// Counts that come from elsewhere than the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// See [`Report::deferrals`].
    pub deferrals: u64,
    /// See [`Report::fragments_copied`].
    pub fragments_copied: usize,
    /// See [`Report::invocations`].
    pub invocations: u64,
    /// See [`Report::refusals`].
    pub refusals: Vec<Refusal>,
    /// See [`Report::park_reasons`].
    pub park_reasons: Vec<String>,
    /// Ages of all written chunks.
    pub ages_ms: Vec<u64>,
}

impl Report {
    /// Puts the figures together.
    pub fn new(names: (&str, &str), speed: f64, balance: &Balance, fragments: usize, seen: Observed) -> Self {
        Self {
            session_id: names.0.to_owned(),
            recording: names.1.to_owned(),
            speed,
            chunks_sent: balance.sent,
            chunks_written: balance.written,
            chunks_parked: balance.parked,
            chunks_refused: balance.refused,
            chunks_missing: balance.missing.clone(),
            chunks_twice: balance.twice.clone(),
            gaps: balance.gaps.len(),
            gap_ranges: balance.gaps.clone(),
            fragments,
            fragments_copied: seen.fragments_copied,
            deferrals: seen.deferrals,
            invocations: seen.invocations,
            age_at_write_ms: Percentiles::of(seen.ages_ms),
            refusals: seen.refusals,
            park_reasons: seen.park_reasons,
        }
    }

    /// Every chunk is in exactly one fragment or in the dead-letter queue, apart from those the door refused.
    pub fn is_whole(&self) -> bool {
        self.chunks_missing.is_empty() && self.chunks_twice.is_empty()
    }
}

/// The table of a session's fragments.
pub fn fragment_table(fragments: &[FragmentRow]) -> Table {
    let mut table =
        plain_table(&["#", "fragment number", "producer time", "duration", "chunks", "persisted after"]);
    for (i, fragment) in fragments.iter().enumerate() {
        table.add_row([
            (i + 1).to_string(),
            fragment.fragment_number.clone(),
            clock_time(fragment.producer_timestamp_ms),
            format!("{:.3} s", fragment.duration_ms as f64 / 1000.0),
            match (fragment.chunk_first, fragment.chunk_last) {
                (Some(first), Some(last)) => format!("{first} - {last}"),
                _ => "?".to_owned(),
            },
            fragment.persisted_after_ms.map_or("?".to_owned(), |ms| format!("{ms} ms")),
        ]);
    }
    for column in [0, 3, 4, 5] {
        align_right(&mut table, column);
    }
    table
}

/// The table of several sessions.
pub fn session_table(reports: &[Report]) -> Table {
    let mut table = plain_table(&[
        "session",
        "recording",
        "sent",
        "written",
        "parked",
        "refused",
        "missing",
        "gaps",
        "fragments",
        "deferrals",
        "invocations",
        "age p50",
        "age p99",
    ]);
    let age = |report: &Report, of: fn(&Percentiles) -> u64| {
        report.age_at_write_ms.as_ref().map_or("-".to_owned(), |ages| format!("{} ms", of(ages)))
    };
    for report in reports {
        table.add_row([
            report.session_id.clone(),
            report.recording.clone(),
            report.chunks_sent.to_string(),
            report.chunks_written.to_string(),
            report.chunks_parked.to_string(),
            report.chunks_refused.to_string(),
            report.chunks_missing.len().to_string(),
            report.gaps.to_string(),
            report.fragments.to_string(),
            report.deferrals.to_string(),
            report.invocations.to_string(),
            age(report, |ages| ages.p50),
            age(report, |ages| ages.p99),
        ]);
    }
    for column in 2..13 {
        align_right(&mut table, column);
    }
    table
}

/// A table with a header and three lines.
pub fn plain_table(header: &[&str]) -> Table {
    let line = LineStyle::none().fill('─').junction('─');
    let style = TableStyle::new().top_border(line).header_separator(line).bottom_border(line);
    let mut table = Table::new();
    table.load_style(style).set_header(header);
    table
}

/// Aligns a column of figures.
pub fn align_right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// `14:03:07.125` (UTC) of an epoch time.
pub fn clock_time(epoch_ms: u64) -> String {
    let (seconds, ms) = (epoch_ms / 1000, epoch_ms % 1000);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{h:02}:{m:02}:{s:02}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert_eq!(Percentiles::of((1..=200).rev().collect()), Some(Percentiles { p50: 100, p99: 198 }));
        assert_eq!(Percentiles::of(vec![7]), Some(Percentiles { p50: 7, p99: 7 }));
        assert_eq!(Percentiles::of(vec![]), None);
    }

    #[test]
    fn the_report_has_the_field_names_that_scripts_rely_on() {
        let balance =
            Balance { sent: 3, written: 2, parked: 1, gaps: vec![Span::new(2, 2)], ..Balance::default() };
        let seen = Observed { deferrals: 1, invocations: 2, ages_ms: vec![5, 9], ..Observed::default() };
        let report = serde_json::to_value(Report::new(("s", "r"), 8.0, &balance, 4, seen)).unwrap();
        let expected = serde_json::json!({
            "sessionId": "s", "chunksSent": 3, "chunksWritten": 2, "chunksParked": 1, "gaps": 1, "fragments": 4,
            "deferrals": 1, "invocations": 2, "ageAtWriteMs": {"p50": 5, "p99": 9},
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&report[name], value, "{name}");
        }
    }

    #[test]
    fn a_time_of_day_reads_as_one() {
        assert_eq!(clock_time(1_795_335_945_729), "08:25:45.729");
    }
}
