//! The operator's tool, a folder or file per command. Nothing else is built on it: what services need too is in `reader`
//! and `sweep`.
//!
//! Every command is a function of a [`world::World`] and its arguments that shows a value; the value has one text and one
//! JSON form. A dry run and the real one come from the same plan.

pub mod args;
pub mod confirm;
pub mod dlq;
pub mod doctor;
pub mod erase;
pub mod error;
pub mod files;
pub mod logs;
pub mod output;
pub mod reasons;
pub mod session;
pub mod stop;
pub mod sweep;
pub mod time;
pub mod world;

use clap::CommandFactory as _;

use args::{Cli, Command, DlqCommand, SessionCommand};
use error::{Exit, Result};
use output::Output;
use world::World;

/// Runs a command; `env` gives a variable's value.
///
/// # Errors
/// Whatever stopped it; [`error::Error::exit`] is its exit code.
pub async fn run(cli: Cli, env: impl Fn(&str) -> Option<String>) -> Result<Exit> {
    let output = &Output::new(cli.global.json, cli.global.color);
    if let Command::Completions { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "kvsw", &mut script);
        return output.print(&String::from_utf8_lossy(&script)).map(|()| Exit::Fine);
    }
    let world = &World::connect(args::settings(&cli.global, env)?).await?;
    match &cli.command {
        Command::Dlq(DlqCommand::List(args)) => dlq::list::run(world, output, args).await,
        Command::Dlq(DlqCommand::Show(args)) => dlq::show::run(world, output, args).await,
        Command::Dlq(DlqCommand::Watch(args)) => dlq::watch::run(world, output, args).await,
        Command::Dlq(DlqCommand::Import(args)) => dlq::import::run(world, output, args).await,
        Command::Dlq(DlqCommand::Export(args)) => dlq::export::run(world, output, args).await,
        Command::Dlq(DlqCommand::Redrive(args)) => dlq::redrive::run(world, output, args).await,
        Command::Dlq(DlqCommand::Discard(args)) => dlq::discard::run(world, output, args).await,
        Command::Session(SessionCommand::List(args)) => session::list::run(world, output, args).await,
        Command::Session(SessionCommand::Show { session }) => {
            session::show::run(world, output, session).await
        }
        Command::Session(SessionCommand::Export(args)) => session::export::run(world, output, args).await,
        Command::Session(SessionCommand::Timeline(args)) => session::timeline::run(world, output, args).await,
        Command::Doctor(args) => doctor::run(world, output, args).await,
        Command::Sweep(args) => sweep::run(world, output, args).await,
        Command::Erase(args) => erase::run(world, output, args).await,
        Command::Completions { .. } => Ok(Exit::Fine), // needs no world
    }
}
