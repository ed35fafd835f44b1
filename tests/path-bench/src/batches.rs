//! A recording, cut into batches as the worker itself would cut it, and the path of one batch.

use std::path::{Path, PathBuf};

use ingest::backlog::{Crowd, Delivery};
use ingest::batch::group;
use ingest::checkpoint::Checkpoint;
use ingest::decide::{Decision, End, View, decide};
use ingest::fold::{Around, Step, fold};
use ingest::message::{Entry, Record, SessionId};
use ingest::plan::{Plan, plan_as_decided};
use ingest::policy::Policy;
use ingest::snapshot::Snapshot;
use ingest::sort::sort;
use media::opus::Decoder;
use media::time::EpochMs;

use crate::webm;

/// What SQS adds to a capture time: the queue takes a chunk this much later.
const UPLOAD_MS: u64 = 40;

/// A batch and what must be known before it.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The session's state before it.
    pub start: Snapshot,
    /// Its records.
    pub records: Vec<Record>,
    /// Its Opus packets.
    pub packets: Vec<Vec<u8>>,
    /// Its audio, in samples.
    pub samples: u64,
    /// Its packets as a whole WebM file: what a converter without state would be given.
    pub webm: Vec<u8>,
}

/// A batch that went down the path.
#[derive(Clone, Debug)]
pub struct Written {
    /// The Matroska fragment.
    pub fragment: Vec<u8>,
    /// The state after it.
    pub next: Snapshot,
}

/// What keeps a recording from being measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The recording cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A line is not a good message.
    #[error("message {0} of the recording is not a chunk that can be written")]
    BadMessage(usize),
    /// Nothing was measured.
    #[error("no round was measured: ROUNDS must be 1 or more, and the recording longer than a batch")]
    NoRounds,
    /// The path gave no fragment.
    #[error("a batch could not be written: {0}")]
    Path(String),
    /// A program could not be run, or failed.
    #[error("{program}: {reason}")]
    Program {
        /// The program.
        program: String,
        /// The reason.
        reason: String,
    },
    /// What came out is not what one pass gives.
    #[error("{0}")]
    Wrong(String),
}

/// The messages of a recording: the lines of `folder/messages.jsonl`.
///
/// # Errors
/// [`BenchError::Unreadable`].
pub fn messages(folder: &Path) -> Result<Vec<String>, BenchError> {
    let path = folder.join("messages.jsonl");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(source) => Err(BenchError::Unreadable { path, source }),
    }
}

/// A message as the queue would deliver it.
fn record(i: usize, body: &str) -> Option<Record> {
    let fields = ingest::message::object(body).ok()?;
    let captured_ms = ingest::message::number(&fields, "timestamp").ok()?;
    Some(Record {
        message_id: format!("m-{i}"),
        body: body.to_owned(),
        group_id: ingest::message::string(&fields, "sessionId").ok()?.to_owned(),
        sequence_number: i as u128 + 1,
        sent_at: EpochMs(captured_ms + UPLOAD_MS),
        receive_count: 1,
        ..Record::default()
    })
}

/// Cuts a recording's messages where the worker's own decision says that a batch is ripe. What is left at the end is not a batch.
///
/// # Errors
/// [`BenchError::BadMessage`]: only recordings without faults are measured.
pub fn cut(messages: &[String]) -> Result<Vec<Batch>, BenchError> {
    let mut batches = Vec::new();
    let mut start = Snapshot::default();
    let mut waiting: Vec<Record> = Vec::new();
    for (i, body) in messages.iter().enumerate() {
        waiting.push(record(i, body).ok_or(BenchError::BadMessage(i))?);
        let (_, entries) = session_of(waiting.clone()).ok_or(BenchError::BadMessage(i))?;
        let Some(plan) = decided(&start, &entries) else { continue };
        if !plan.refused.is_empty() {
            return Err(BenchError::BadMessage(i));
        }
        let packets = packets_of(&plan);
        let next = next_of(&plan)?;
        batches.push(Batch {
            start: std::mem::replace(&mut start, next),
            records: std::mem::take(&mut waiting),
            webm: webm::write(&packets),
            packets,
            samples: plan.advance.samples.0,
        });
    }
    Ok(batches)
}

/// The path of a batch: base64 and JSON, sort, demux, decide, decode, mux. `decoder` stands where `start` does.
///
/// # Errors
/// [`BenchError::Path`] if the records are not a ripe batch.
pub fn path(start: &Snapshot, decoder: &mut Decoder, records: Vec<Record>) -> Result<Written, BenchError> {
    let failed = |what: &str| BenchError::Path(what.to_owned());
    let (session, entries) =
        session_of(records).ok_or_else(|| failed("the records are not one session's"))?;
    let plan = decided(start, &entries).ok_or_else(|| failed("the batch is not ripe"))?;
    let fragment = plan.render(&session, decoder).map_err(|error| failed(&error.to_string()))?;
    Ok(Written { fragment, next: next_of(&plan)? })
}

fn session_of(records: Vec<Record>) -> Option<(SessionId, Vec<Entry>)> {
    let mut delivery = group(records);
    let (session, entries) = delivery.sessions.pop_first()?;
    (delivery.sessions.is_empty() && delivery.refused.is_empty()).then_some((session, entries))
}

/// The plan of the batch, if it is ripe as a whole.
fn decided(start: &Snapshot, entries: &[Entry]) -> Option<Plan> {
    let checkpoint = Checkpoint { live: start.position.clone(), ..Checkpoint::default() };
    let pieces = sort(&checkpoint, entries, &[]).live;
    let around = Around::default();
    let folded = fold(start, &pieces, around);
    let now = pieces.last()?.record.sent_at;
    let delivery = Delivery { pieces: &pieces, ends: &[], came_again: &[], is_full: false, now };
    let place = start.position.place();
    let view = View { delivery, folded: &folded, place, end: End::Open, crowd: Crowd::No };
    match decide(&view, &Policy::default()) {
        Decision::Write { chunks } if chunks == pieces.len() => {
            Some(plan_as_decided(start, &pieces, chunks, around, folded))
        }
        _ => None,
    }
}

fn next_of(plan: &Plan) -> Result<Snapshot, BenchError> {
    let at = &plan.advance.to;
    let found = plan.snapshots.iter().find(|(_, snapshot)| snapshot.position == *at);
    found
        .map(|(_, snapshot)| snapshot.clone())
        .ok_or_else(|| BenchError::Path("no state comes after it".into()))
}

fn packets_of(plan: &Plan) -> Vec<Vec<u8>> {
    let steps = plan.runs.iter().flat_map(|run| &run.steps);
    let packets = steps.filter_map(|step| match step {
        Step::Decode { packet, .. } => Some(packet.clone()),
        Step::Reset | Step::Gain(_) | Step::Conceal(_) | Step::Pcm(_) => None,
    });
    packets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::fragment::read::read_fragments;

    fn recording(name: &str) -> Vec<String> {
        messages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../end-to-end/recordings").join(name)).unwrap()
    }

    #[test]
    fn a_recording_falls_into_batches_of_two_seconds_and_each_goes_down_the_path() {
        let recording = recording("chromium-speech-default");
        let batches = cut(&recording).unwrap();
        assert!((13..=15).contains(&batches.len()), "{} batches of 30 s", batches.len());
        let mut decoder = Decoder::new().unwrap();
        let mut start = Snapshot::default();
        for batch in &batches {
            assert!((32_000..48_000).contains(&batch.samples), "{} samples", batch.samples);
            assert_eq!(batch.start, start);
            let written = path(&start, &mut decoder, batch.records.clone()).unwrap();
            assert_eq!(read_fragments(&written.fragment).unwrap()[0].samples().0, batch.samples);
            start = written.next;
        }
    }

    #[test]
    fn a_recording_with_a_fault_is_not_measured() {
        let mut recording = recording("firefox-speech");
        recording[3] = "{".into();
        assert!(matches!(cut(&recording), Err(BenchError::BadMessage(3))));
    }
}
