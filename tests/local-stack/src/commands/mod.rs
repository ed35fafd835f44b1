//! One file per subcommand.

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
    /// Send a recording's messages through the stack; write sound, stream, fragments and report.
    Replay(replay::Arguments),
}

impl Command {
    /// Does it; gives the exit code.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(arguments) => run::run(arguments).await,
            Self::Demo(arguments) => demo::run(arguments).await,
            Self::Replay(arguments) => replay::run(arguments).await,
        }
    }
}
