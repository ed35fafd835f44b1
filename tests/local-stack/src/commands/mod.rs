//! One file per subcommand.

mod bar;
mod bench;
mod chaos;
mod demo;
mod replay;
mod run;

use std::process::ExitCode;

/// What to do.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Start the stack and keep it up until Ctrl-C; prints its endpoints and how to talk to it.
    Run(run::Arguments),
    /// Show a shipped recording travel through every part, and compare what comes back with its reference.
    Demo(demo::Arguments),
    /// Measure the release build: CPU over libopus and ffmpeg, cold start, memory, size.
    Bench(bench::Arguments),
    /// Send a recording's messages through the stack; write sound, stream, fragments and report.
    Replay(replay::Arguments),
    /// Break everything that can break while sessions speak, then count: nothing lost, nothing twice, and a redrive restores.
    Chaos(chaos::Arguments),
}

impl Command {
    /// What is logged where LOCAL_STACK_LOG does not say: a chaos run breaks so much on purpose that warnings tell nothing.
    pub fn log_level(&self) -> &'static str {
        if matches!(self, Self::Chaos(_)) { "error" } else { "warn" }
    }

    /// Does it; gives the exit code.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(arguments) => run::run(arguments).await,
            Self::Demo(arguments) => demo::run(arguments).await,
            Self::Bench(arguments) => bench::run(arguments).await,
            Self::Replay(arguments) => replay::run(arguments).await,
            Self::Chaos(arguments) => chaos::run(arguments).await,
        }
    }
}
