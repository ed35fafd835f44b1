//! `local-stack demo`: a browser's recording travels through every real part, and comes back as the sound it was.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use local_stack::backend::BackendKind;
use local_stack::compare::{CORRELATION_MIN, Comparison, LENGTH_TOLERANCE_PER_RUN, SNR_MIN_DB, compare};
use local_stack::project;
use local_stack::replay::recording::Recording;
use local_stack::replay::speaker::Speaker;
use local_stack::replay::{DEADLINE, SessionResult, replay, write_json};
use local_stack::report::{fragment_table, plain_table};
use local_stack::stack::{Stack, StackConfig};
use media::time::EpochMs;
use reader::fragment::Fragment;
use reader::ledger::ledger;
use reader::picture::{Timeline, Wave};

use super::bar::Bar;
use super::replay::explain;

/// The sound is not right, or a chunk is not in the stream.
const NOT_RIGHT: u8 = 3;

/// What to show.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder with messages.jsonl and reference.wav; a shipped recording of Chromium if absent.
    #[arg(long, env = "RECORDING", value_name = "FOLDER")]
    recording: Option<PathBuf>,
    /// Folder for the results.
    #[arg(long, env = "OUT", value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Times real time.
    #[arg(long, env = "SPEED", default_value_t = 8.0)]
    speed: f64,
    /// SQS and DynamoDB: ministack, localstack or aws.
    #[arg(long, env = "BACKEND", default_value = "ministack", hide_possible_values = true)]
    backend: BackendKind,
}

/// Shows it; success only if the sound is right and every chunk is in the stream.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let shipped = || project::root().join("tests/end-to-end/recordings/chromium-speech-default");
    let recording = Arc::new(Recording::read(&arguments.recording.unwrap_or_else(shipped))?);
    let reference = recording.reference().context("reference.wav beside messages.jsonl")?;
    let out = arguments.out.unwrap_or_else(|| project::root().join("target/demo"));
    println!(
        "{}: {} chunks, {:.1} s of audio, sent at {} times real time",
        recording.name,
        recording.lines.len(),
        reference.len() as f64 / 16_000.0,
        arguments.speed
    );
    let config = StackConfig { backend: arguments.backend, ..StackConfig::default() };
    let stack = Stack::start(config).await.context("the stack did not start")?;
    let speaker = Speaker {
        session_id: recording.session_id(),
        recording: Arc::clone(&recording),
        speed: arguments.speed,
        delay: Duration::ZERO,
    };
    let bar = Bar::of_messages(recording.lines.len());
    let results = replay(&stack, &[speaker], DEADLINE, &bar).await;
    bar.0.finish_and_clear();
    stack.shutdown().await;
    let result = results?.pop().context("the replay of one session has one result")?;
    let comparison = compare(&result.audio(), &reference);
    result.write(&out)?;
    write_json(&out, "comparison.json", &comparison)?;
    draw(&out, &result, &comparison)?;
    Ok(tell(&result, &comparison, recording.recorder_runs(), &out))
}

fn draw(out: &Path, result: &SessionResult, comparison: &Comparison) -> anyhow::Result<()> {
    let fragments: Vec<Fragment> = result.fragments.iter().map(Fragment::of).collect();
    let ledger = ledger(&fragments, &Default::default(), &[]);
    let mut wave = Wave::new(EpochMs(ledger.time.from), EpochMs(ledger.time.to));
    result.blocks().iter().for_each(|block| wave.add(block));
    let begins = EpochMs(ledger.time.from);
    let mut timeline = Timeline::of(&result.report.session_id, &ledger, &fragments, wave, begins);
    timeline.subtitle = format!(
        "{}: {} chunks in {} fragments, correlation {:.5}, SNR {:.1} dB",
        result.report.recording,
        result.report.chunks_written,
        result.report.fragments,
        comparison.correlation,
        comparison.snr_db
    );
    std::fs::write(out.join("timeline.svg"), timeline.svg()).context("timeline.svg")
}

fn tell(result: &SessionResult, comparison: &Comparison, runs: usize, out: &Path) -> ExitCode {
    let report = &result.report;
    println!("{}", fragment_table(&result.rows));
    let all_written = report.is_whole() && report.chunks_written == report.chunks_sent;
    let length_ms = comparison.length_difference_samples as f64 / 16.0;
    let tolerance = LENGTH_TOLERANCE_PER_RUN * runs.max(1);
    let mut table = plain_table(&["against reference.wav", "found", "bar", ""]);
    let mut row = |what: &str, found: String, bar: String, holds: bool| {
        table.add_row([what, &found, &bar, if holds { "ok" } else { "NOT RIGHT" }]);
    };
    let Comparison { correlation, snr_db, lag_samples, length_difference_samples } = *comparison;
    row(
        "correlation",
        format!("{correlation:.6}"),
        format!(">= {CORRELATION_MIN}"),
        correlation >= CORRELATION_MIN,
    );
    row("SNR", format!("{snr_db:.1} dB"), format!(">= {SNR_MIN_DB} dB"), snr_db >= SNR_MIN_DB);
    row("lag", format!("{lag_samples} samples"), "0".into(), lag_samples == 0);
    let fits = length_difference_samples.unsigned_abs() as usize <= tolerance;
    row("length", format!("{length_ms:+.2} ms"), format!("within {runs} ms"), fits);
    let chunks = format!("{} of {}", report.chunks_written, report.chunks_sent);
    row("chunks in the stream", chunks, "all, once".into(), all_written);
    println!("{table}");
    explain(report);
    println!("sound    {}", out.join("audio.wav").display());
    println!("stream   {}", out.join("stream.mkv").display());
    println!("picture  {}", out.join("timeline.svg").display());
    if comparison.holds(runs) && all_written { ExitCode::SUCCESS } else { ExitCode::from(NOT_RIGHT) }
}
