//! The operator's tool: a folder or file per command, and what others use too: [`readback`] reads a stream, [`picture`] draws
//! it, [`session::mkv`] writes it, [`sweep`] is also a scheduled function.
//!
//! Every command is a function of a [`world::World`] and its arguments that shows a value; the value has one text and one
//! JSON form. A dry run and the real one come from the same plan.

pub mod args;
pub mod dlq;
pub mod doctor;
pub mod error;
pub mod output;
pub mod picture;
pub mod ranges;
pub mod readback;
pub mod reasons;
pub mod session;
pub mod stop;
pub mod sweep;
pub mod text;
pub mod world;

use args::{Command, HiArgs};
use error::{Exit, Result};
use world::World;

/// Runs a command.
///
/// # Errors
/// Whatever stopped it; [`error::Error::exit`] is its exit code.
pub async fn run(args: HiArgs) -> Result<Exit> {
    let HiArgs { output, settings, command } = args;
    let (world, output) = (&World::connect(settings).await?, &output);
    match &command {
        Command::DlqList { filter, look } => dlq::list::run(world, output, filter, *look).await,
        Command::DlqShow(session) => dlq::show::run(world, output, session).await,
        Command::DlqExport(args) => dlq::export::run(world, output, args).await,
        Command::DlqRedrive(args) => dlq::redrive::run(world, output, args).await,
        Command::DlqDiscard(args) => dlq::discard::run(world, output, args).await,
        Command::SessionShow(session) => session::show::run(world, output, session).await,
        Command::SessionExport(args) => session::export::run(world, output, args).await,
        Command::SessionTimeline(args) => session::timeline::run(world, output, args).await,
        Command::Doctor(args) => doctor::run(world, output, args).await,
        Command::Sweep(args) => sweep::run(world, output, args).await,
    }
}
