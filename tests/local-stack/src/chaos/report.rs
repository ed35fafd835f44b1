//! What a run found, for a person and for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use comfy_table::Table;
use media::fragment::read::ReadFragment;
use media::opus::PRE_ROLL;
use serde::Serialize;

use super::inject::Injected;
use super::ledger::{Account, Fragment, Key, late_chunks};
use super::redrive::Redriven;
use super::reference::Expected;
use super::waits::Waits;
use crate::report::{align_right, plain_table};

/// The longest Opus packet: a chunk's end may hold the beginning of one, and decoding goes on behind it. 16 kHz samples.
const PACKET_MAX: usize = 1_920;

/// How a stream's sound compares with that of the undisturbed run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AudioCheck {
    /// Samples of the undisturbed run.
    pub samples_expected: usize,
    /// Samples in the stream.
    pub samples: usize,
    /// Samples that differ, over the common length, apart from those beside late chunks.
    pub differing: usize,
    /// The chunk that the first of them belongs to.
    pub first_difference: Option<Key>,
    /// Chunks that came after the writer's patience: the audio behind them was decoded without them.
    pub late_chunks: usize,
    /// Samples that differ in the second after late chunks, where a decoder that started afresh has not settled yet.
    pub differing_beside_late: usize,
    /// By how much a fragment's producer time differs from the undisturbed run's at most, ms. Not judged: how long a pause was is read from the
    /// chunks in sight, which are not the same in another batch.
    pub time_shift_ms: u64,
}

impl AudioCheck {
    /// Compares all blocks, in the order of their times. `parked` are chunks that the DLQ held at some time.
    pub fn of(
        expected: &Expected,
        read: &[ReadFragment],
        fragments: &[Fragment],
        parked: &BTreeSet<Key>,
    ) -> Self {
        let mut blocks: Vec<(u64, Option<&str>, &[u8])> = read
            .iter()
            .flat_map(|f| f.blocks.iter().map(move |(at, pcm)| (at.0, f.number.as_deref(), pcm.as_slice())))
            .collect();
        blocks.sort_by_key(|(at, number, _)| (*at, *number));
        let bytes = blocks.iter().flat_map(|(_, _, pcm)| pcm.chunks_exact(2));
        let pcm: Vec<i16> = bytes.map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        let late = late_chunks(fragments, parked);
        let beside: Vec<Range<usize>> = late
            .iter()
            .filter_map(|key| expected.chunks.get(key))
            .map(|range| range.start.saturating_sub(PACKET_MAX)..range.end + PACKET_MAX + PRE_ROLL.0 as usize)
            .collect();
        let common = pcm.len().min(expected.pcm.len());
        let (near, far): (Vec<usize>, Vec<usize>) = (0..common)
            .filter(|i| pcm[*i] != expected.pcm[*i])
            .partition(|i| beside.iter().any(|range| range.contains(i)));
        let first = far.first().copied().or((pcm.len() != expected.pcm.len()).then_some(common));
        let shift = |fragment: &Fragment| {
            let chunks = (fragment.first..=fragment.last).map(|index| (fragment.page, index));
            let begins = chunks.filter_map(|key| expected.begins_ms.get(&key)).next()?;
            Some(begins.abs_diff(fragment.at_ms))
        };
        Self {
            samples_expected: expected.pcm.len(),
            samples: pcm.len(),
            differing: far.len(),
            first_difference: first.and_then(|at| chunk_at(expected, at)),
            late_chunks: late.len(),
            differing_beside_late: near.len(),
            time_shift_ms: fragments.iter().filter_map(shift).max().unwrap_or(0),
        }
    }

    /// Equal, sample for sample, except for what a decoder that starts afresh after a late chunk cannot know.
    pub fn equal(&self) -> bool {
        self.samples == self.samples_expected && self.differing == 0
    }
}

fn chunk_at(expected: &Expected, sample: usize) -> Option<Key> {
    expected.chunks.iter().find(|(_, range)| range.contains(&sample)).map(|(key, _)| *key)
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionOutcome {
    /// The session.
    pub session_id: String,
    /// What it said.
    pub recording: String,
    /// How often its page was loaded.
    pub pages: usize,
    /// Chunks that the door refused; they never went in.
    pub refused: usize,
    /// Fragments in its stream.
    pub fragments: usize,
    /// The count when the queue was empty.
    pub before: Account,
    /// The count after the redrive.
    pub after: Account,
    /// The sound after the redrive.
    pub audio: AudioCheck,
}

impl SessionOutcome {
    /// Whether all that was promised holds.
    pub fn holds(&self) -> bool {
        self.before.holds() && self.after.holds() && self.after.parked == 0 && self.audio.equal()
    }
}

/// The run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// The schedule's short name.
    pub schedule: String,
    /// How long the sessions spoke.
    pub seconds: u64,
    /// Each session.
    pub sessions: Vec<SessionOutcome>,
    /// What was done to the stack.
    pub injected: Injected,
    /// The longest waits, by session.
    pub waits: BTreeMap<String, Waits>,
    /// Sessions that one failing stream held up although it is not theirs.
    pub held_up: Vec<String>,
    /// Messages in the DLQ before the redrive, by reason.
    pub park_reasons: BTreeMap<String, usize>,
    /// What kvsw said; `None` where nothing was parked.
    pub redriven: Option<Redriven>,
    /// Messages in the DLQ after the redrive, by reason.
    pub park_reasons_after: BTreeMap<String, usize>,
    /// Messages that never left the queue.
    pub left_in_queue: u64,
    /// How long all of it took.
    pub took_ms: u64,
}

impl Outcome {
    /// Whether all that was promised holds for every session.
    pub fn holds(&self) -> bool {
        let redriven = self.redriven.as_ref().is_none_or(|redriven| redriven.exit_code == Some(0));
        let sessions = self.sessions.iter().all(SessionOutcome::holds) && self.held_up.is_empty();
        self.left_in_queue == 0 && redriven && sessions
    }

    /// The table of the sessions.
    pub fn table(&self) -> Table {
        let header = [
            "session",
            "recording",
            "pages",
            "chunks in",
            "written once",
            "parked",
            "twice",
            "lost",
            "redriven: parked",
            "twice",
            "lost",
            "fragments",
            "samples differing",
            "late chunks",
            "time shift",
            "",
        ];
        let mut table = plain_table(&header);
        for session in &self.sessions {
            let (before, after, audio) = (&session.before, &session.after, &session.audio);
            table.add_row([
                session.session_id.clone(),
                session.recording.clone(),
                session.pages.to_string(),
                before.chunks_in.to_string(),
                before.written_once.to_string(),
                before.parked.to_string(),
                before.twice.len().to_string(),
                before.lost.len().to_string(),
                after.parked.to_string(),
                after.twice.len().to_string(),
                after.lost.len().to_string(),
                session.fragments.to_string(),
                match audio.samples.abs_diff(audio.samples_expected) {
                    0 => format!("{} of {}", audio.differing, audio.samples_expected),
                    by => format!("length differs by {by}"),
                },
                match audio.late_chunks {
                    0 => "0".to_owned(),
                    late => format!("{late} ({} samples differ behind)", audio.differing_beside_late),
                },
                format!("{} ms", audio.time_shift_ms),
                if session.holds() { "holds" } else { "BROKEN" }.to_owned(),
            ]);
        }
        (2..15).for_each(|column| align_right(&mut table, column));
        table
    }

    /// What was done, in a few lines.
    pub fn faults(&self) -> String {
        let injected = &self.injected;
        let list = |counts: &BTreeMap<String, usize>| match counts.is_empty() {
            true => "none".to_owned(),
            false => counts.iter().map(|(what, n)| format!("{what} {n}")).collect::<Vec<_>>().join(", "),
        };
        let redriven = self.redriven.as_ref().map_or_else(String::new, |redriven| {
            let Redriven { moved, gaps_closed, gaps, .. } = redriven;
            format!("kvsw dlq redrive: moved {moved}, gaps closed {gaps_closed} of {gaps}\n")
        });
        let media = injected.media.iter().map(|(kind, n)| (kind.clone(), *n as usize)).collect();
        format!(
            "workers killed at work {} (idle {}), ack errors {} of {}, Kinesis Video: {}\n\
             calls to SQS and DynamoDB broken {}, deliveries disturbed {}\nparked: {}\n{}parked after the redrive: {}",
            injected.kills,
            injected.kills_idle,
            injected.ack_errors.len(),
            super::schedule::ACK_IDS.len(),
            list(&media),
            injected.calls,
            injected.deliveries,
            list(&self.park_reasons),
            redriven,
            list(&self.park_reasons_after),
        )
    }

    /// How long chunks waited, one line a session.
    pub fn waited(&self) -> String {
        let line = |(session, waits): (&String, &Waits)| {
            let again =
                waits.live_again_ms.map_or_else(String::new, |ms| format!(", live again {ms} ms after that"));
            let parked = match waits.parked_ms {
                0 => String::new(),
                ms => format!(", parked after {ms} ms at most{again}"),
            };
            let after = match waits.written_after_ms {
                0 => String::new(),
                ms => format!(" ({ms} ms when it was over)"),
            };
            format!("{session}: written after {} ms at most{after}{parked}", waits.written_ms)
        };
        self.waits.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// What is broken, one line each; nothing where all holds.
    pub fn broken(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.left_in_queue > 0 {
            lines.push(format!("{} messages never left the queue", self.left_in_queue));
        }
        if let Some(Redriven { exit_code, .. }) = self.redriven.as_ref().filter(|r| r.exit_code != Some(0)) {
            lines.push(format!("kvsw dlq redrive ended with {exit_code:?}; kvsw.json and kvsw.log say why"));
        }
        for id in &self.held_up {
            lines.push(format!("{id}: held up by more than a deferral while another's stream failed"));
        }
        for session in &self.sessions {
            let id = &session.session_id;
            for (when, account) in [("", &session.before), (" after the redrive", &session.after)] {
                let mut say = |what: &str, found: String| lines.push(format!("{id}: {what}{when}: {found}"));
                if !account.lost.is_empty() {
                    say("lost (page, chunk)", format!("{:?}", account.lost));
                }
                if !account.twice.is_empty() {
                    say("twice (page, chunk)", format!("{:?}", account.twice));
                }
                account.overlaps.iter().for_each(|(a, b)| say("overlap", format!("{a} and {b}")));
                account.odd.iter().for_each(|odd| say("odd fragment", odd.clone()));
            }
            if session.after.parked > 0 {
                lines.push(format!("{id}: {} chunks are parked after the redrive", session.after.parked));
            }
            if !session.audio.equal() {
                lines
                    .push(format!("{id}: the audio differs from the undisturbed run's: {:?}", session.audio));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::time::EpochMs;

    fn fragment(at_ms: u64, pcm: &[i16]) -> ReadFragment {
        let bytes = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        ReadFragment {
            blocks: vec![(EpochMs(at_ms), bytes)],
            cluster_ms: EpochMs(at_ms),
            ..ReadFragment::default()
        }
    }

    #[test]
    fn sound_is_compared_in_the_order_of_time_and_the_first_difference_is_named() {
        let expected = Expected {
            pcm: vec![1, 2, 3, 4],
            chunks: [((0, 0), 0..2), ((0, 1), 2..4)].into(),
            begins_ms: BTreeMap::new(),
        };
        let check = |fragments: &[ReadFragment]| AudioCheck::of(&expected, fragments, &[], &BTreeSet::new());
        assert!(check(&[fragment(9, &[3, 4]), fragment(5, &[1, 2])]).equal());
        let wrong = check(&[fragment(5, &[1, 2]), fragment(9, &[3, 5])]);
        assert_eq!((wrong.differing, wrong.first_difference, wrong.equal()), (1, Some((0, 1)), false));
        let short = check(&[fragment(5, &[1, 2])]);
        assert_eq!((short.differing, short.first_difference, short.equal()), (0, Some((0, 1)), false));
    }
}
