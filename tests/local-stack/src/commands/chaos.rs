//! `local-stack chaos`: faults of every kind while sessions speak, and the count of what went in.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use local_stack::backend::BackendKind;
use local_stack::chaos::report::Outcome;
use local_stack::chaos::summary::{Run, Summary};
use local_stack::chaos::voices::voices;
use local_stack::chaos::{ChaosError, Options, Trouble, run as run_chaos, stack_config};
use local_stack::project;
use local_stack::replay::recording::Recording;
use local_stack::stack::Stack;

use super::bar::Bar;

/// A promise is broken.
const BROKEN: u8 = 3;

/// What to break, and for how long.
#[derive(clap::Args)]
#[command(after_help = "\
The same seed gives the same schedule of faults; the processes' time is real, so two runs of one seed need not go the same way.

Exit codes:
  0  nothing lost, nothing twice; after the redrive nothing parked and the audio equal to the undisturbed run's
  1  the stack did not start or did not answer
  2  wrong usage
  3  a promise is broken; the logs are kept

Without a recording, the sessions say what Chromium, Firefox, a recorder of Ogg, a recorder that is restarted and a page that stalls
hand out.

Examples:
  make chaos
  make chaos SEEDS=20
  make chaos SEED=42 SESSIONS=4 SECONDS=30
  local-stack chaos --one-stream 5000 --seconds 60
  make chaos RECORDING=tests/end-to-end/recordings/firefox-speech")]
pub struct Arguments {
    /// Folder that holds messages.jsonl; spoken as often as it takes. Of several, each session speaks one.
    #[arg(long, value_name = "FOLDER")]
    recording: Vec<PathBuf>,
    /// Sessions that speak side by side.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=50))]
    sessions: u16,
    /// How long they speak, and things go wrong.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// Chooses the faults; a random one if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Runs so many seeds, this one and those that follow, each on a stack of its own, and ends with one table.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    seeds: u16,
    /// Instead of all that: the first session's stream answers each fragment with this ErrorId (5000, say) for --seconds, and all sessions
    /// speak on for half a minute.
    #[arg(long, value_name = "ERROR_ID", value_parser = clap::value_parser!(u16).range(4000..=5999))]
    one_stream: Option<u16>,
    /// SQS and DynamoDB: ministack or localstack.
    #[arg(long, env = "BACKEND", default_value = "ministack", hide_possible_values = true)]
    backend: BackendKind,
    /// Print the outcome, or the table of several seeds, as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Breaks things, counts, tells.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let options = options(&arguments);
    match arguments.seeds {
        1 => one(&options, arguments.json).await,
        seeds => many(options, seeds, arguments.json).await,
    }
}

async fn one(options: &Options, json: bool) -> anyhow::Result<ExitCode> {
    let (outcome, folder) = on_a_stack(options).await?;
    tell(&outcome, json)?;
    if outcome.holds() {
        return Ok(ExitCode::SUCCESS);
    }
    outcome.broken().iter().for_each(|line| eprintln!("{line}"));
    eprintln!("seed {} broke a promise; logs are in {}", outcome.seed, folder.display());
    Ok(ExitCode::from(BROKEN))
}

async fn many(mut options: Options, seeds: u16, json: bool) -> anyhow::Result<ExitCode> {
    let mut summary = Summary::default();
    for _ in 0..seeds {
        let run = match on_a_stack(&options).await {
            Ok((outcome, folder)) => {
                let logs = (!outcome.holds()).then(|| folder.display().to_string());
                Run::of(&outcome, logs)
            }
            Err(why) => Run::failed(options.seed, format!("{why:#}"), None),
        };
        eprintln!("{}", run.line());
        run.broken.iter().chain(&run.logs).for_each(|line| eprintln!("  {line}"));
        summary.runs.push(run);
        options.seed = options.seed.wrapping_add(1);
    }
    match json {
        true => println!("{}", serde_json::to_string(&summary)?),
        false => println!("{}", summary.table()),
    }
    Ok(if summary.holds() { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
}

/// One run on a stack of its own; the logs of one that holds are removed.
async fn on_a_stack(options: &Options) -> anyhow::Result<(Outcome, PathBuf)> {
    let names: Vec<&str> = options.recordings.iter().map(|recording| recording.name.as_str()).collect();
    let (sessions, seconds) = (options.sessions, options.length.as_secs());
    eprintln!("seed {}: {sessions} sessions speak for {seconds} s: {}", options.seed, names.join(", "));
    let mut config = stack_config(options.sessions, options.backend);
    let folder = project::run_folder().context("no folder for the logs")?;
    config.folder = Some(folder.clone());
    let stack = Stack::start(config).await.context("the stack did not start")?;
    let bar = Bar::of_phases();
    let outcome = run_chaos(&stack, options, &bar).await;
    bar.0.finish_and_clear();
    stack.shutdown().await;
    let outcome = match outcome {
        Err(ChaosError::Unusable(why)) => usage(&why.to_string()),
        outcome => outcome.with_context(|| format!("the run failed; logs are in {}", folder.display()))?,
    };
    if outcome.holds() {
        let _ = std::fs::remove_dir_all(&folder);
    }
    Ok((outcome, folder))
}

fn options(arguments: &Arguments) -> Options {
    if arguments.backend == BackendKind::Aws {
        usage("a real account cannot be broken on purpose; use BACKEND=ministack or localstack");
    }
    let recordings = match arguments.recording.as_slice() {
        [] => voices(),
        folders => folders.iter().map(|folder| Recording::read(folder)).collect(),
    };
    Options {
        recordings: recordings.unwrap_or_else(|error| usage(&error.to_string())),
        sessions: usize::from(arguments.sessions),
        length: Duration::from_secs(arguments.seconds),
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
        trouble: arguments.one_stream.map_or(Trouble::Everything, |ack| Trouble::OneStream { ack }),
        backend: arguments.backend,
    }
}

/// Wrong usage ends the program as clap itself does.
fn usage(why: &str) -> ! {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{why}\n")).exit()
}

fn tell(outcome: &Outcome, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(outcome)?);
        return Ok(());
    }
    println!("{}", outcome.table());
    println!("{}", outcome.faults());
    println!("{}", outcome.waited());
    let verdict = if outcome.holds() { "all promises hold" } else { "BROKEN" };
    let took_s = outcome.took_ms as f64 / 1000.0;
    println!("seed {} (schedule {}): {verdict}, {took_s:.0} s", outcome.seed, outcome.schedule);
    Ok(())
}
