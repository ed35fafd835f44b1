//! `cargo run -p simulation -- --seeds 1000000`: long runs, and single seeds with their trace.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use simulation::case::Case;
use simulation::many;
use simulation::shrink::shrink;

/// Simulates the writer on models of queue, store and stream, and holds it against its promises.
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  simulation --seeds 1000000        the long run\n  simulation --seed 4711 --trace    one seed, call by call\n  simulation --seed 4711 --shrink   the smallest case that fails alike"
)]
struct Args {
    /// Runs this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Prints every call of that run.
    #[arg(long, requires = "seed")]
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
    /// Threads; 0 for one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Goes on after this many failing seeds.
    #[arg(long, default_value_t = 1)]
    failures: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.seed {
        Some(seed) => one(&args, seed),
        None => all(&args),
    }
}

fn one(args: &Args, seed: u64) -> ExitCode {
    let mut case = Case::draw(seed);
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
    let started = Instant::now();
    let bar = ProgressBar::new(args.seeds).with_style(style());
    let seeds = args.from..args.from.saturating_add(args.seeds);
    let failed = many::run_seeds(seeds, args.threads, args.failures, |seed, violations| {
        bar.inc(1);
        if let Some(first) = violations.first() {
            bar.suspend(|| {
                println!("seed {seed}: {first}");
                println!("  reproduce: cargo run -p simulation -- --seed {seed} --shrink --trace");
            });
        }
    });
    let run = bar.position();
    bar.finish_and_clear();
    println!(
        "{run} seeds from {} in {:.1} s: {} broke a promise",
        args.from,
        started.elapsed().as_secs_f64(),
        failed.len()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Shown on a terminal only.
fn style() -> ProgressStyle {
    let template = "{bar:40} {human_pos} of {human_len} seeds, {per_sec}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
