//! `local-stack bench`: the release build's figures, as a table and as `target/bench/report.json`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use local_stack::bench::batches::cut;
use local_stack::bench::cold_start::cold_starts;
use local_stack::bench::memory::after_batches;
use local_stack::bench::path::answer_as_fresh_process;
use local_stack::bench::{Figures, cpu, measure_path};
use local_stack::project;
use local_stack::replay::recording::Recording;
use local_stack::replay::write_json;
use local_stack::stack::{Stack, StackConfig};

/// What to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder with messages.jsonl; a shipped recording of Chromium if absent.
    #[arg(long, value_name = "FOLDER")]
    recording: Option<PathBuf>,
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
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build; `make bench` measures the release build");
    }
    let shipped = || project::root().join("tests/end-to-end/recordings/chromium-speech-default");
    let recording = Recording::read(&arguments.recording.unwrap_or_else(shipped))?;
    let out = project::root().join("target/bench");
    std::fs::create_dir_all(&out).context("target/bench")?;
    let program = std::env::current_exe()?;
    let worker = program.with_file_name("kvs-stream-writer");
    let worker_bytes = std::fs::metadata(&worker).with_context(|| {
        format!("{} is not there; build it with cargo build --release -p functions", worker.display())
    })?;
    let batches = cut(&recording)?;
    ensure!(!batches.is_empty(), "{} is shorter than one batch", recording.name);

    let bar = steps((arguments.rounds + arguments.batches) as u64);
    bar.set_message("CPU of the media path");
    let path = measure_path(&program, &out, &batches, arguments.rounds, &|| bar.inc(1))?;
    bar.set_message("cold starts");
    let starts = cold_starts(&worker, arguments.starts)?;
    let starts: Vec<f64> = starts.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
    bar.set_message("memory");
    let stack = Stack::start(StackConfig::default()).await.context("the stack did not start")?;
    let memory = after_batches(&stack, &batches, arguments.batches, &|| bar.inc(1)).await;
    stack.shutdown().await;
    let memory = memory?;
    bar.finish_and_clear();

    let figures = Figures {
        path_over_libopus_warm: path.warm,
        path_over_libopus_cold: path.cold,
        ffmpeg_cpu_over_ours: path.ffmpeg,
        cold_start_ms_median: cpu::median(starts.clone()).context("no start was measured")?,
        rss_mb: memory.rss_mb,
        binary_mb: worker_bytes.len() as f64 / 1e6,
        fresh_process_over_libopus: path.fresh_process,
        ffmpeg_cpu_over_ours_cold: path.ffmpeg_cold,
        libopus_ms_per_audio_s: path.libopus_ms_per_audio_s,
        cold_start_ms_min: starts.iter().copied().fold(f64::INFINITY, f64::min),
        rss_peak_mb: memory.peak_mb,
        batches_before_rss: arguments.batches,
        recording: recording.name,
        rounds: arguments.rounds,
    };
    println!("{}", figures.table());
    write_json(&out, "report.json", &figures)?;
    println!("written to {}", out.join("report.json").display());
    Ok(ExitCode::SUCCESS)
}

/// One batch in this fresh process: the other side of the cold figure.
pub fn fresh_process() -> anyhow::Result<ExitCode> {
    answer_as_fresh_process()?;
    Ok(ExitCode::SUCCESS)
}

fn steps(count: u64) -> ProgressBar {
    let bar = ProgressBar::new(count);
    let template = "{msg:<24} {wide_bar} {elapsed_precise}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
