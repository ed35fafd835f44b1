//! The command line, as types. What can be refused without asking a service is refused when it is parsed, or by the command
//! before it asks.

mod dlq;
mod filter;
mod parse;
mod session;
mod settings;

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ingest::message::SessionId;

pub use self::dlq::{Discard, DlqCommand, DlqExport, DlqImport, DlqList, DlqShow, DlqWatch, Redrive};
pub use self::filter::{Class, Filter};
pub use self::session::{SessionCommand, SessionExport, SessionList, SessionState, Span, Timeline};
pub use self::settings::{check_region, settings};
use crate::output::Colour;

/// The operator's tool of kvs-stream-writer: parked audio, sessions, the deployment's health, the sweep.
///
/// It finds everything by the variables that the functions have too: QUEUE_URL, DLQ_URL, STATE_TABLE,
/// SESSIONS_TABLE, and the AWS SDK's own for region, credentials and endpoints.
#[derive(Debug, Parser)]
#[command(name = "kvsw", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    /// Settings that hold for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kvsw dlq list                                  what is parked, and why
  kvsw dlq redrive --session quiet-fox --dry-run what a redrive would do
  kvsw session show quiet-fox                    where every chunk and millisecond is
  kvsw doctor                                    is the deployment set up right?

Words:
  parked      in the dead-letter queue (DLQ), with its reason; the session goes on without it
  note        what the writer keeps of a parked message in the state table; SQS itself makes none for what it moves
  redrive     sending parked messages back to the chunk queue
  gap         a time whose chunks are parked or missing; a redrive fills it (backfilled)
  checkpoint  what the writer keeps of a session to go on

Exit codes: 0 all is well, done, or nothing to do; 1 something was found or is left undone; 2 wrong use (nothing was changed);
3 a service could not be reached or refused. docs/runbook.md has every reason and what to do.";

/// Settings that hold for every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Colour,
    /// URL of the chunk queue, instead of QUEUE_URL
    #[arg(long, global = true, value_name = "URL", help_heading = "Where everything is")]
    pub queue_url: Option<String>,
    /// URL of the dead-letter queue, instead of DLQ_URL
    #[arg(long, global = true, value_name = "URL", help_heading = "Where everything is")]
    pub dlq_url: Option<String>,
    /// The writer's state table, instead of STATE_TABLE
    #[arg(long, global = true, value_name = "NAME", help_heading = "Where everything is")]
    pub state_table: Option<String>,
    /// The table of sessions, instead of SESSIONS_TABLE
    #[arg(long, global = true, value_name = "NAME", help_heading = "Where everything is")]
    pub sessions_table: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Parked messages: list, show, watch, redrive, export, discard, import
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Sessions: a list; of one its ledger, its audio, its picture
    #[command(subcommand)]
    Session(SessionCommand),
    /// Looks whether the deployment is set up right, and says what to do where not
    #[command(after_help = "Example:\n  kvsw doctor --writer my-stack-kvs-stream-writer")]
    Doctor(Doctor),
    /// Ends sessions that fell silent, and deletes streams of ended sessions after their retention
    #[command(
        after_help = "Nobody is ended while messages wait in the queue and nothing has been written for 5 minutes (exit 1).\n\nExample:\n  kvsw sweep --dry-run --silent-for 30m"
    )]
    Sweep(Sweep),
    /// Deletes everything that the deployment holds of a session that has ended, and looks for it again
    #[command(after_help = ERASE)]
    Erase(Erase),
    /// Prints a completion script for a shell
    #[command(
        after_help = "Example:\n  kvsw completions bash > ~/.local/share/bash-completion/completions/kvsw"
    )]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

const ERASE: &str = "\
Chunk queue, DLQ, checkpoints, snapshots, notes, connections, the stream, the row of the Sessions table. A session that is
active, or ended less than a minute ago, is refused. What cannot be reached is named.

Examples:
  kvsw erase quiet-fox --dry-run
  kvsw erase quiet-fox --yes --json";

/// `erase`.
#[derive(Debug, Args)]
pub struct Erase {
    /// The session
    #[arg(value_parser = parse::session_id)]
    pub session: SessionId,
    /// Show what there is and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// The table of WebSocket connections
    #[arg(long, value_name = "NAME", env = "CONNECTIONS_TABLE", hide_env_values = true)]
    pub connections_table: Option<String>,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Name of the writer's function [default: the one that the queue's mapping names]
    #[arg(long, value_name = "NAME", value_parser = parse::function)]
    pub writer: Option<String>,
    /// The writer's time-out where Lambda cannot be asked
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse::some_time)]
    pub timeout: Duration,
}

/// `sweep`.
#[derive(Debug, Args)]
pub struct Sweep {
    /// Show what would be done and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// A session without a chunk for this long has fallen silent
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = parse::silence)]
    pub silent_for: Duration,
    /// Sessions to end and streams to delete in one run, each
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub max: u32,
}
