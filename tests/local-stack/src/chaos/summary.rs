//! Many runs in one table: what each seed came to.

use comfy_table::Table;
use serde::Serialize;

use super::report::Outcome;
use crate::report::{align_right, plain_table};

/// The runs of several seeds, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// One a seed.
    pub runs: Vec<Run>,
}

/// What one seed came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// What was counted, where the run came to its end.
    #[serde(flatten)]
    pub counts: Counts,
    /// Whether all promises hold.
    pub holds: bool,
    /// What is broken, or why the run has no result.
    pub broken: Vec<String>,
    /// The logs of a run that did not hold.
    pub logs: Option<String>,
}

/// What was counted, over all sessions of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Chunks that went in.
    pub chunks: usize,
    /// Chunks that were parked when the queue was empty.
    pub parked: usize,
    /// Chunks that are nowhere, before or after the redrive.
    pub lost: usize,
    /// Chunks in more than one fragment, before or after the redrive.
    pub twice: usize,
    /// Chunks that are still parked after the redrive.
    pub parked_after: usize,
    /// Samples that differ from the undisturbed run's after the redrive, those that are missing or too many included.
    pub differing: usize,
    /// Workers killed at work.
    pub kills: u64,
    /// Faults of Kinesis Video, and calls to SQS and DynamoDB that were broken.
    pub faults: u64,
    /// The longest wait of a live fragment, ms.
    pub oldest_ms: u64,
    /// How long the run took, ms.
    pub took_ms: u64,
}

impl Counts {
    fn of(outcome: &Outcome) -> Self {
        let sum =
            |count: fn(&super::report::SessionOutcome) -> usize| outcome.sessions.iter().map(count).sum();
        let injected = &outcome.injected;
        Self {
            chunks: sum(|session| session.before.chunks_in),
            parked: sum(|session| session.before.parked),
            lost: sum(|session| session.before.lost.len().max(session.after.lost.len())),
            twice: sum(|session| session.before.twice.len().max(session.after.twice.len())),
            parked_after: sum(|session| session.after.parked),
            differing: sum(|session| {
                let audio = &session.audio;
                audio.differing + audio.samples.abs_diff(audio.samples_expected)
            }),
            kills: injected.kills,
            faults: injected.calls + injected.media.values().sum::<u64>(),
            oldest_ms: outcome.waits.values().map(|waits| waits.written_ms).max().unwrap_or_default(),
            took_ms: outcome.took_ms,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            chunks: self.chunks + other.chunks,
            parked: self.parked + other.parked,
            lost: self.lost + other.lost,
            twice: self.twice + other.twice,
            parked_after: self.parked_after + other.parked_after,
            differing: self.differing + other.differing,
            kills: self.kills + other.kills,
            faults: self.faults + other.faults,
            oldest_ms: self.oldest_ms.max(other.oldest_ms),
            took_ms: self.took_ms + other.took_ms,
        }
    }

    fn cells(&self) -> [String; 10] {
        let seconds = |ms: u64| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100);
        [
            self.chunks.to_string(),
            self.kills.to_string(),
            self.faults.to_string(),
            self.parked.to_string(),
            self.lost.to_string(),
            self.twice.to_string(),
            self.parked_after.to_string(),
            self.differing.to_string(),
            seconds(self.oldest_ms),
            seconds(self.took_ms),
        ]
    }
}

impl Run {
    /// A run that came to its end; `logs` is where a broken one left them.
    pub fn of(outcome: &Outcome, logs: Option<String>) -> Self {
        let (counts, broken) = (Counts::of(outcome), outcome.broken());
        Self { seed: outcome.seed, counts, holds: outcome.holds(), broken, logs }
    }

    /// A run without a result.
    pub fn failed(seed: u64, why: String, logs: Option<String>) -> Self {
        Self { seed, counts: Counts::default(), holds: false, broken: vec![why], logs }
    }

    /// In one line.
    pub fn line(&self) -> String {
        let Counts { chunks, lost, twice, parked, parked_after, differing, .. } = self.counts;
        let verdict = if self.holds { "holds" } else { "BROKEN" };
        format!(
            "seed {}: {chunks} chunks, {parked} parked, lost {lost}, twice {twice}, after the redrive {parked_after} parked and \
             {differing} samples differ: {verdict}",
            self.seed
        )
    }
}

impl Summary {
    /// Seeds that hold.
    pub fn hold(&self) -> usize {
        self.runs.iter().filter(|run| run.holds).count()
    }

    /// Whether all promises hold in every run.
    pub fn holds(&self) -> bool {
        self.hold() == self.runs.len()
    }

    /// One row a seed, and the sum.
    pub fn table(&self) -> Table {
        let header = [
            "seed",
            "chunks in",
            "kills",
            "faults",
            "parked",
            "lost",
            "twice",
            "redriven: parked",
            "samples differing",
            "oldest live",
            "took",
            "",
        ];
        let mut table = plain_table(&header);
        let verdict = |holds| if holds { "holds" } else { "BROKEN" }.to_owned();
        let row = |name: String, counts: Counts, verdict: String| {
            std::iter::once(name).chain(counts.cells()).chain([verdict]).collect::<Vec<_>>()
        };
        for run in &self.runs {
            table.add_row(row(run.seed.to_string(), run.counts, verdict(run.holds)));
        }
        let all = self.runs.iter().fold(Counts::default(), |sum, run| sum.plus(run.counts));
        table.add_row(row("all".into(), all, format!("{} of {}", self.hold(), self.runs.len())));
        (1..11).for_each(|column| align_right(&mut table, column));
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, lost: usize, holds: bool) -> Run {
        let counts = Counts { chunks: 100, lost, oldest_ms: 1_000 * seed, ..Counts::default() };
        Run { seed, counts, holds, broken: Vec::new(), logs: None }
    }

    #[test]
    fn the_last_row_says_how_many_seeds_hold() {
        let summary = Summary { runs: vec![run(7, 0, true), run(8, 3, false)] };
        let table = summary.table().to_string();
        let last = table.lines().map(str::trim).find(|line| line.starts_with("all")).unwrap_or_default();
        assert!(last.ends_with("1 of 2"), "{table}");
        assert!(last.contains("200") && last.contains("8.0 s"), "{table}");
        assert!(!summary.holds(), "a seed that lost audio must fail the command");
    }

    #[test]
    fn a_run_without_a_result_does_not_hold() {
        let summary = Summary { runs: vec![Run::failed(1, "the stack did not start".into(), None)] };
        assert!(!summary.holds());
    }
}
