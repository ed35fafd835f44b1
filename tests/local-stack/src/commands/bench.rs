//! `local-stack bench`: the release build's figures, as a table and as `target/bench/report.json`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use indicatif::ProgressBar;
use local_stack::bench::Figures;
use local_stack::bench::cold_start::cold_starts;
use local_stack::bench::memory::{Memory, after_batches};
use local_stack::project;
use local_stack::replay::write_json;
use local_stack::stack::{Stack, StackConfig};
use path_bench::batches::{Batch, cut, messages};
use path_bench::hostile::Hostile;
use path_bench::{PathFigures, cpu};

use super::bar::Bar;

/// What to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder with messages.jsonl; a shipped recording of Chromium if absent.
    #[arg(long, value_name = "FOLDER")]
    recording: Option<PathBuf>,
    /// Folder of the released programs: kvs-stream-writer and path-bench.
    #[arg(long, value_name = "FOLDER", default_value = "target/release")]
    release: PathBuf,
    /// Rounds of the CPU figures; the middle one counts.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Starts of the worker's process.
    #[arg(long, default_value_t = 40)]
    starts: usize,
    /// Batches before the memory is looked at.
    #[arg(long, default_value_t = 1_000)]
    batches: usize,
}

/// Measures everything. The figures are no verdict: the exit code tells only whether they could be measured.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let shipped = || project::root().join("tests/end-to-end/recordings/chromium-speech-default");
    let recording = arguments.recording.unwrap_or_else(shipped);
    let out = project::root().join("target/bench");
    std::fs::create_dir_all(&out).context("target/bench")?;
    let (worker, path_bench) =
        (arguments.release.join("kvs-stream-writer"), arguments.release.join("path-bench"));
    let worker_bytes = std::fs::metadata(&worker).with_context(|| missing(&worker))?.len();
    let batches = cut(&messages(&recording)?)?;
    ensure!(!batches.is_empty(), "{} is shorter than one batch", recording.display());

    let Bar(bar) = Bar::of_phases();
    bar.set_message("CPU of the media path");
    let path = path_figures(&path_bench, &recording, &out, arguments.rounds)?;
    bar.set_message("hostile chunks");
    let hostile = hostile_figures(&path_bench)?;
    bar.set_message("cold starts");
    let starts = starts_ms(&worker, arguments.starts)?;
    let median_of = |name: &str| median(starts_ms(&arguments.release.join(name), arguments.starts)?);
    let other_starts = [median_of("connection-handler")?, median_of("session-authorizer")?];
    bar.set_message("memory");
    let memory = memory(arguments.release, &batches, arguments.batches, &bar).await?;
    bar.finish_and_clear();

    let figures = Figures {
        path_over_libopus_warm: path.warm,
        path_over_libopus_cold: path.cold,
        ffmpeg_cpu_over_ours: path.ffmpeg,
        cold_start_ms_median: median(starts.clone())?,
        other_cold_starts_ms_median: other_starts,
        rss_mb: memory.rss_mb,
        binary_mb: worker_bytes as f64 / 1e6,
        fresh_process_over_libopus: path.fresh_process,
        ffmpeg_cpu_over_ours_cold: path.ffmpeg_cold,
        libopus_ms_per_audio_s: path.libopus_ms_per_audio_s,
        cold_start_ms_min: starts.iter().copied().fold(f64::INFINITY, f64::min),
        rss_peak_mb: memory.peak_mb,
        batches_before_rss: arguments.batches,
        recording: recording.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        rounds: arguments.rounds,
        hostile,
    };
    println!("{}", figures.table());
    write_json(&out, "report.json", &figures)?;
    println!("written to {}", out.join("report.json").display());
    Ok(ExitCode::SUCCESS)
}

fn starts_ms(program: &Path, starts: usize) -> anyhow::Result<Vec<f64>> {
    Ok(cold_starts(program, starts)?.iter().map(|time| time.as_secs_f64() * 1000.0).collect())
}

fn median(starts_ms: Vec<f64>) -> anyhow::Result<f64> {
    cpu::median(starts_ms).context("no start was measured")
}

/// The released worker's memory, in a stack of its own.
async fn memory(
    release: PathBuf,
    batches: &[Batch],
    count: usize,
    bar: &ProgressBar,
) -> anyhow::Result<Memory> {
    let config = StackConfig { bin_dir: Some(release), ..StackConfig::default() };
    let stack = Stack::start(config).await.context("the stack did not start")?;
    let memory = after_batches(&stack, batches, count, &|| bar.tick()).await;
    stack.shutdown().await;
    Ok(memory?)
}

fn missing(program: &Path) -> String {
    format!("{} is not there; `make bench` builds it", program.display())
}

fn hostile_figures(program: &Path) -> anyhow::Result<Vec<Hostile>> {
    let output = Command::new(program).arg("hostile").output().with_context(|| missing(program))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8(output.stdout)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn path_figures(
    program: &Path,
    recording: &Path,
    folder: &Path,
    rounds: usize,
) -> anyhow::Result<PathFigures> {
    let mut command = Command::new(program);
    let output = command.arg(recording).arg(folder).arg(rounds.to_string()).output();
    let output = output.with_context(|| missing(program))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(serde_json::from_slice(&output.stdout)?)
}
