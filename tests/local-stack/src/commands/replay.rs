//! `local-stack replay`: a recording through the whole stack, and what came out of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use local_stack::backend::BackendKind;
use local_stack::replay::recording::Recording;
use local_stack::replay::speaker::Speaker;
use local_stack::replay::{self, SessionResult, replay, write_json};
use local_stack::report::{Report, fragment_table, session_table};
use local_stack::stack::{Stack, StackConfig};

use super::bar::Bar;

/// A chunk is neither in the stream nor in the dead-letter queue, or is in the stream twice.
const LOST: u8 = 3;
/// Everything that was taken is accounted for, but the door refused messages.
const REFUSED: u8 = 4;

/// What to replay.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes:
  0  every chunk is in the stream or in the dead-letter queue
  1  the stack did not start or did not answer
  2  wrong usage
  3  a chunk is neither in the stream nor in the dead-letter queue, or is in the stream twice
  4  the WebSocket API refused messages (report.json says which and why); all others are accounted for

Examples:
  make replay RECORDING=tests/end-to-end/recordings/firefox-speech OUT=/tmp/firefox
  make replay RECORDING=my-recording OUT=/tmp/twenty SPEED=1 SESSIONS=20 BACKEND=localstack")]
pub struct Arguments {
    /// Folder that holds messages.jsonl, one queue message a line.
    #[arg(long, env = "RECORDING", value_name = "FOLDER")]
    recording: PathBuf,
    /// Folder for audio.wav, stream.mkv, fragments.json and report.json; made if it is not there.
    #[arg(long, env = "OUT", value_name = "FOLDER")]
    out: PathBuf,
    /// Times real time.
    #[arg(long, env = "SPEED", default_value = "8", value_parser = speed)]
    speed: f64,
    /// Sessions that say the same side by side, each in a stream of its own.
    #[arg(long, env = "SESSIONS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=500))]
    sessions: u16,
    /// SQS and DynamoDB: ministack, localstack or aws.
    #[arg(long, env = "BACKEND", default_value = "ministack", hide_possible_values = true)]
    backend: BackendKind,
    /// Seconds to wait, after the last message, for chunks that are nowhere yet.
    #[arg(long, value_name = "SECONDS", default_value_t = replay::DEADLINE.as_secs())]
    deadline: u64,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| format!("{text:?} is not a number; use 1 for real time"))?;
    if (0.1..=100.0).contains(&speed) { Ok(speed) } else { Err("use 0.1 to 100; 1 is real time".into()) }
}

/// Replays, writes the files and tells what was found.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let recording = Arc::new(usable(Recording::read(&arguments.recording)));
    let sessions = usize::from(arguments.sessions);
    let mut config = StackConfig::for_sessions(sessions);
    config.backend = arguments.backend;
    let stack = Stack::start(config).await.context("the stack did not start")?;
    let speakers = speakers(&recording, sessions, arguments.speed, stack.backend());
    let bar = Bar::of_messages(recording.lines.len() * sessions);
    let results = replay(&stack, &speakers, Duration::from_secs(arguments.deadline), &bar).await;
    bar.0.finish_and_clear();
    let results = match results {
        Ok(results) => results,
        Err(error) => {
            let log = stack.folder().to_owned();
            stack.shutdown().await;
            return Err(error).with_context(|| format!("the replay failed (logs were in {})", log.display()));
        }
    };
    stack.shutdown().await;
    write(&arguments.out, &results)?;
    Ok(verdict(&results, &arguments.out))
}

/// Wrong usage ends the program as clap itself does.
fn usable<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n")).exit())
}

/// One session keeps the recording's id, several get a number; in a real account each run gets ids of its own, so that no
/// run writes into another one's stream.
fn speakers(recording: &Arc<Recording>, sessions: usize, speed: f64, backend: BackendKind) -> Vec<Speaker> {
    let run = match backend {
        BackendKind::Aws => format!("-{:06x}", fastrand::u32(..1 << 24)),
        BackendKind::MiniStack | BackendKind::LocalStack => String::new(),
    };
    let stagger = Duration::from_secs_f64(1.0 / speed);
    let speaker = |n: usize| Speaker {
        recording: Arc::clone(recording),
        session_id: match sessions {
            1 => format!("{}{run}", recording.session_id()),
            _ => format!("{}{run}-{:03}", recording.session_id(), n + 1),
        },
        speed,
        // Spread over a second of the recording, so that no two sessions are in step.
        delay: stagger * n as u32 / sessions as u32,
    };
    (0..sessions).map(speaker).collect()
}

fn write(out: &Path, results: &[SessionResult]) -> anyhow::Result<()> {
    if let [result] = results {
        return Ok(result.write(out)?);
    }
    for result in results {
        result.write(&out.join(&result.report.session_id))?;
    }
    let reports: Vec<&Report> = results.iter().map(|result| &result.report).collect();
    Ok(write_json(out, "summary.json", &reports)?)
}

fn verdict(results: &[SessionResult], out: &Path) -> ExitCode {
    if let [result] = results {
        println!("{}", fragment_table(&result.rows));
    }
    let reports: Vec<Report> = results.iter().map(|result| result.report.clone()).collect();
    println!("{}", session_table(&reports));
    println!("written to {}", out.display());
    for report in &reports {
        explain(report);
    }
    if reports.iter().any(|report| !report.is_whole()) {
        return ExitCode::from(LOST);
    }
    if reports.iter().any(|report| report.chunks_refused > 0) {
        return ExitCode::from(REFUSED);
    }
    ExitCode::SUCCESS
}

/// What a person should know beyond the figures.
pub fn explain(report: &Report) {
    let id = &report.session_id;
    for refusal in &report.refusals {
        let chunk = refusal.chunk_index.map_or_else(|| "a message".into(), |index| format!("chunk {index}"));
        let hint = refusal.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
        println!("{id}: {chunk} was refused: {} {}{hint}", refusal.code, refusal.reason);
    }
    for reason in &report.park_reasons {
        println!("{id}: parked: {reason}");
    }
    if !report.chunks_missing.is_empty() {
        println!(
            "{id}: neither in the stream nor in the dead-letter queue: chunks {:?}",
            report.chunks_missing
        );
    }
    if report.fragments_copied > 0 {
        println!("{id}: {} fragments are stored twice, and read once", report.fragments_copied);
    }
    if !report.chunks_twice.is_empty() {
        println!("{id}: in the stream twice: chunks {:?}", report.chunks_twice);
    }
}
