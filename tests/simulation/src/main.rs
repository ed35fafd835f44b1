//! `cargo run -p simulation -- --seeds 1000000`: long runs, and single seeds with their trace.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{ArgGroup, Parser};
use indicatif::{ProgressBar, ProgressStyle};
use simulation::case::Case;
use simulation::case::kinds::Kinds;
use simulation::many;
use simulation::run::run;
use simulation::scenario::{Line, parse, report};
use simulation::shrink::shrink;

/// Simulates the writer on models of queue, store and stream, and holds it against its promises.
#[derive(Parser)]
#[command(
    group = ArgGroup::new("one").args(["seed", "scenario"]).multiple(true),
    after_help = "Examples:\n  simulation --seeds 1000000        the long run\n  simulation --seed 4711 --trace    one seed, call by call\n  simulation --seed 4711 --shrink   the smallest case that fails alike\n  simulation --scenario x.jsonl     what comes of a scenario, as JSON lines"
)]
struct Args {
    /// Runs the scenario in this file and prints what comes of it (README.md has both formats).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shrink", "seeds", "from", "kinds", "threads", "failures"])]
    scenario: Option<PathBuf>,
    /// Runs this seed only, or several with commas between them; with --scenario, draws latencies and deliveries from it (default 0).
    #[arg(long, value_name = "SEED", value_delimiter = ',')]
    seed: Vec<u64>,
    /// Prints every call of that run, with --scenario on stderr.
    #[arg(long, requires = "one")]
    trace: bool,
    /// Makes that case as small as it can be while it still fails.
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// How many seeds to run.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Kinds of trouble that speakers are drawn with: all, none, or some with commas between them.
    #[arg(long, default_value = "none")]
    kinds: Kinds,
    /// Threads; 0 for one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Goes on after this many failing seeds.
    #[arg(long, default_value_t = 1)]
    failures: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match (&args.scenario, args.seed.as_slice()) {
        (Some(file), _) => scenario(&args, file),
        (None, []) => all(&args),
        (None, [seed]) => one(&args, *seed),
        (None, seeds) => all_of(&args, seeds.iter().copied()),
    }
}

/// Exit code 2: the file is wrong.
const WRONG_FILE: u8 = 2;

fn scenario(args: &Args, file: &Path) -> ExitCode {
    let read = std::fs::read(file).map_err(|error| format!("cannot be read: {error}"));
    let mut scenario = match read.and_then(|bytes| parse(&bytes).map_err(|wrong| wrong.to_string())) {
        Ok(scenario) => scenario,
        Err(why) => {
            eprintln!("{}: {why}", file.display());
            return ExitCode::from(WRONG_FILE);
        }
    };
    scenario.seed = args.seed.first().copied().unwrap_or(scenario.seed);
    scenario.trace = args.trace;
    let outcome = run(&scenario);
    outcome.world.trace.iter().flatten().for_each(|line| eprintln!("{line}"));
    match print(&report(&outcome)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stdout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(lines: &[Line]) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in lines {
        serde_json::to_writer(&mut out, line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn one(args: &Args, seed: u64) -> ExitCode {
    let mut case = Case::draw(seed, args.kinds);
    let (mut outcome, mut violations) = case.judge_traced(args.trace);
    if args.shrink
        && let Some(first) = violations.first()
    {
        case = shrink(&case, first);
        (outcome, violations) = case.judge_traced(args.trace);
    }
    for line in outcome.world.trace.iter().flatten() {
        println!("{line}");
    }
    println!("{case:#?}");
    println!("{} invocations, {} calls", outcome.invocations, outcome.world.calls);
    violations.iter().for_each(|violation| println!("{violation}"));
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all(args: &Args) -> ExitCode {
    all_of(args, args.from..args.from.saturating_add(args.seeds))
}

fn all_of(args: &Args, seeds: impl Iterator<Item = u64> + Send) -> ExitCode {
    let started = Instant::now();
    let bar = ProgressBar::new(seeds.size_hint().0 as u64).with_style(style());
    let kinds = args.kinds.argument();
    let failed = many::run_seeds(seeds, args.kinds, args.threads, args.failures, |seed, violations| {
        bar.inc(1);
        if let Some(first) = violations.first() {
            bar.suspend(|| {
                println!("seed {seed}: {first}");
                println!("  reproduce: cargo run -p simulation -- --seed {seed}{kinds} --shrink --trace");
            });
        }
    });
    let run = bar.position();
    bar.finish_and_clear();
    println!("{run} seeds in {:.1} s: {} broke a promise", started.elapsed().as_secs_f64(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Shown on a terminal only.
fn style() -> ProgressStyle {
    let template = "{bar:40} {human_pos} of {human_len} seeds, {per_sec}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
