//! What our path costs over libopus: in one process that stays, and in a fresh process for every batch.

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingest::message::Record;
use ingest::render::prime;
use ingest::snapshot::Snapshot;
use media::opus::Decoder;
use media::time::EpochMs;
use serde::{Deserialize, Serialize};

use super::batches::{Batch, BenchError, path};
use super::cpu;

/// libopus alone: CPU time for all packets of all batches, with one decoder.
///
/// # Errors
/// A packet cannot be decoded.
pub fn libopus(batches: &[Batch]) -> Result<Duration, BenchError> {
    let failed = |error: media::opus::DecodeError| BenchError::Path(error.to_string());
    let mut decoder = Decoder::new().map_err(failed)?;
    let mut pcm = Vec::with_capacity(64_000);
    let (time, decoded) = cpu::of(|| {
        batches.iter().try_for_each(|batch| {
            pcm.clear();
            batch.packets.iter().try_for_each(|packet| decoder.decode(packet, &mut pcm).map(drop))
        })
    });
    decoded.map_err(failed)?;
    Ok(time)
}

/// The path in one process that keeps decoder and state, and its fragments.
///
/// # Errors
/// A batch cannot be written.
pub fn warm(batches: &[Batch]) -> Result<(Duration, Vec<Vec<u8>>), BenchError> {
    let mut decoder = Decoder::new().map_err(|error| BenchError::Path(error.to_string()))?;
    let mut start = Snapshot::default();
    let mut fragments = Vec::with_capacity(batches.len());
    let mut total = Duration::ZERO;
    for batch in batches {
        let records = batch.records.clone();
        let (time, written) = cpu::of(|| path(&start, &mut decoder, records));
        let written = written?;
        total += time;
        start = written.next;
        fragments.push(written.fragment);
    }
    Ok((total, fragments))
}

/// What a fresh process says about its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fresh {
    /// CPU of the path: stored state read, pre-roll, base64 to fragment; ns.
    pub path_ns: u64,
    /// CPU of the whole process, its start included; ns.
    pub process_ns: u64,
}

/// Sends each batch to a fresh process of `program` (`path-bench batch`) and checks that the fragment is the same as `expected`.
///
/// # Errors
/// [`BenchError::Program`] if it does not run, [`BenchError::Wrong`] if its fragment differs.
pub fn cold(
    program: &Path,
    batches: &[Batch],
    expected: &[Vec<u8>],
) -> Result<(Duration, Duration), BenchError> {
    let (mut of_path, mut of_process) = (Duration::ZERO, Duration::ZERO);
    for (i, (batch, expected)) in batches.iter().zip(expected).enumerate() {
        let (fresh, fragment) = ask_fresh_process(program, batch).map_err(|reason| BenchError::Program {
            program: format!("{} batch", program.display()),
            reason: reason.to_string(),
        })?;
        if fragment != *expected {
            return Err(BenchError::Wrong(format!("batch {i}: a fresh process writes another fragment")));
        }
        of_path += Duration::from_nanos(fresh.path_ns);
        of_process += Duration::from_nanos(fresh.process_ns);
    }
    Ok((of_path, of_process))
}

fn ask_fresh_process(program: &Path, batch: &Batch) -> std::io::Result<(Fresh, Vec<u8>)> {
    let mut child =
        Command::new(program).arg("batch").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut question = String::new();
    question += &STANDARD.encode(batch.start.encode());
    question += "\n";
    for record in &batch.records {
        question += &format!("{} {} {}\n", record.group_id, record.sent_at.0, record.body);
    }
    // The process reads all of it before it writes anything.
    child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?.write_all(question.as_bytes())?;
    let output = child.wait_with_output()?;
    let newline = output.stdout.iter().position(|byte| *byte == b'\n').unwrap_or(output.stdout.len());
    let (head, rest) = output.stdout.split_at(newline);
    let fresh = serde_json::from_slice(head).map_err(std::io::Error::other)?;
    Ok((fresh, rest.get(1..).unwrap_or_default().to_vec()))
}

/// The other side: reads one batch from standard input, sends it down the path, writes figures and fragment to standard output.
///
/// # Errors
/// The input is not what [`cold`] sends, or the batch cannot be written.
pub fn answer_as_fresh_process() -> Result<(), BenchError> {
    let wrong = |error: &dyn std::fmt::Display| BenchError::Path(error.to_string());
    let mut lines = std::io::stdin().lock().lines();
    let state = lines.next().and_then(Result::ok).unwrap_or_default();
    let state = STANDARD.decode(state).map_err(|error| wrong(&error))?;
    let records: Vec<Record> = lines.map_while(Result::ok).enumerate().filter_map(record).collect();
    let (path_time, written) = cpu::of(|| {
        let start = Snapshot::decode(&state).map_err(|error| wrong(&error))?;
        let mut decoder = prime(&start.media.pre_roll).map_err(|error| wrong(&error))?;
        path(&start, &mut decoder, records)
    });
    let fragment = written?.fragment;
    let fresh = Fresh { path_ns: path_time.as_nanos() as u64, process_ns: cpu::process().as_nanos() as u64 };
    let mut answer = serde_json::to_vec(&fresh).map_err(|error| wrong(&error))?;
    answer.push(b'\n');
    answer.extend(fragment);
    std::io::stdout().write_all(&answer).map_err(|error| wrong(&error))
}

fn record((i, line): (usize, String)) -> Option<Record> {
    let mut parts = line.splitn(3, ' ');
    let (group_id, sent_at) = (parts.next()?.to_owned(), EpochMs(parts.next()?.parse().ok()?));
    let body = parts.next()?.to_owned();
    let sequence_number = i as u128 + 1;
    let message_id = format!("m-{i}");
    Some(Record {
        message_id,
        body,
        group_id,
        sequence_number,
        sent_at,
        receive_count: 1,
        ..Record::default()
    })
}

/// The obvious alternative: one ffmpeg process per batch, given the very same packets. CPU time of all of them; `None` where there is no ffmpeg.
///
/// # Errors
/// [`BenchError::Wrong`] if ffmpeg gives back less than the audio: then it would be cheap for the wrong reason.
pub fn ffmpeg(folder: &Path, batches: &[Batch]) -> Result<Option<Duration>, BenchError> {
    let failed =
        |error: std::io::Error| BenchError::Program { program: "ffmpeg".into(), reason: error.to_string() };
    let input = folder.join("batch.webm");
    let Some(before) = cpu::children() else { return Ok(None) };
    for batch in batches {
        std::fs::write(&input, &batch.webm).map_err(failed)?;
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-loglevel", "quiet", "-nostdin", "-i"]).arg(&input);
        command.args(["-ac", "1", "-ar", "16000", "-f", "s16le", "-"]).stderr(Stdio::null());
        let output = match command.output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            output => output.map_err(failed)?,
        };
        let samples = output.stdout.len() as u64 / 2;
        if samples * 100 < batch.samples * 98 {
            let expected = batch.samples;
            return Err(BenchError::Wrong(format!("ffmpeg decoded {samples} of {expected} samples")));
        }
    }
    Ok(cpu::children().map(|after| after.saturating_sub(before)))
}
