//! Arguments of `kvsw dlq`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::filter::Filter;
use super::parse;

/// Parked messages.
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// What is parked, per session: how many, since when, why, which chunks
    #[command(after_help = "Example:\n  kvsw dlq list --reason ack-5001 --json")]
    List(DlqList),
    /// Every parked message of a session, and what its reason means
    #[command(after_help = "Examples:\n  kvsw dlq show quiet-fox\n  kvsw dlq show quiet-fox --logs")]
    Show(DlqShow),
    /// Shows what is parked and what leaves, as it happens
    #[command(after_help = "Example:\n  kvsw dlq watch --until-empty")]
    Watch(DlqWatch),
    /// Puts what `dlq export` or `dlq discard` wrote to a folder back into the DLQ
    #[command(after_help = "Example:\n  kvsw dlq import discarded-2026-11-22T100000.000Z --dry-run")]
    Import(DlqImport),
    /// Copies parked messages into a folder that `make replay RECORDING=FOLDER` understands
    #[command(after_help = "Example:\n  kvsw dlq export --session quiet-fox --all --out quiet-fox")]
    Export(DlqExport),
    /// Sends parked messages back to the queue: plan, ordered move, read-back from the stream
    #[command(after_help = "\
Examples:
  kvsw dlq redrive --dry-run                   the plan for everything that is parked
  kvsw dlq redrive --session quiet-fox         one session, and wait until its gaps are closed
  kvsw dlq redrive --reason ack-5001 --rate 20 what one failure parked, 20 messages a second")]
    Redrive(Redrive),
    /// Deletes parked messages for good, after writing them to a folder
    #[command(after_help = "Example:\n  kvsw dlq discard --session quiet-fox --reason NOT_JSON")]
    Discard(Discard),
}

/// `dlq list`.
#[derive(Debug, Args)]
pub struct DlqList {
    /// Which messages.
    #[command(flatten)]
    pub filter: Filter,
    /// Receive once to see whose messages have no note; it hides messages for a moment, so not during a redrive
    #[arg(long)]
    pub look: bool,
}

/// `dlq show`.
#[derive(Debug, Args)]
pub struct DlqShow {
    /// The session; a message group need not be a valid sessionId
    #[arg(value_parser = parse::group)]
    pub session: String,
    /// Also the writer's log lines of the session, from CloudWatch Logs, on stderr
    #[arg(long)]
    pub logs: bool,
    /// The writer's log group [default: by the queue's name, as the template names both]
    #[arg(long, value_name = "NAME", requires = "logs")]
    pub log_group: Option<String>,
}

/// `dlq watch`.
#[derive(Debug, Args)]
pub struct DlqWatch {
    /// Which messages.
    #[command(flatten)]
    pub filter: Filter,
    /// Pause between two looks
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse::some_time)]
    pub every: Duration,
    /// End with exit code 0 as soon as nothing is parked
    #[arg(long)]
    pub until_empty: bool,
}

/// `dlq import`.
#[derive(Debug, Args)]
pub struct DlqImport {
    /// The folder, with messages.jsonl and facts.jsonl
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Show what would be put back and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `dlq export`.
#[derive(Debug, Args)]
pub struct DlqExport {
    /// Which messages.
    #[command(flatten)]
    pub filter: Filter,
    /// The folder to make; it must not exist yet
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Also what lies behind the first ten of a session: each message moves to the end of its session
    #[arg(long)]
    pub all: bool,
}

/// `dlq redrive`.
#[derive(Debug, Args)]
pub struct Redrive {
    /// Which messages.
    #[command(flatten)]
    pub filter: Filter,
    /// Show the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Messages a second
    #[arg(long, value_name = "N", default_value = "100", allow_hyphen_values = true, value_parser = parse::rate)]
    pub rate: u32,
    /// How long to wait until the gaps are closed; 0 does not wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse::duration)]
    pub wait: Duration,
}

/// `dlq discard`.
#[derive(Debug, Args)]
pub struct Discard {
    /// Which messages.
    #[command(flatten)]
    pub filter: Filter,
    /// The folder that keeps what is dropped [default: discarded-TIME]; it must not exist yet
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}
