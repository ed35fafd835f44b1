//! The command line, as types. What can be refused without asking a service is refused when it is parsed, or by the command
//! before it asks.

mod filter;
mod parse;
mod settings;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ingest::message::SessionId;
use media::time::EpochMs;

pub use self::filter::{Class, Filter};
pub use self::settings::{check_region, settings};
use crate::error::{Result, usage};
use crate::output::Colour;
use crate::time::Place;

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

Exit codes: 0 all is well, 1 something was found or is left undone, 2 wrong use (nothing was changed),
3 a service could not be reached or refused.";

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
    /// Parked messages: list, show, export, redrive, discard
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// One session: its ledger, its audio, its picture
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

/// One session.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// The sessions, the latest activity first
    #[command(after_help = "Example:\n  kvsw session list --status active")]
    List(SessionList),
    /// The ledger: chunks, fragments, gaps; every millisecond between first and last
    #[command(after_help = LEDGER)]
    Show {
        /// The session
        #[arg(value_parser = parse::session_id)]
        session: SessionId,
    },
    /// Writes the session's audio to a file
    #[command(after_help = "Examples:
  kvsw session export quiet-fox --out quiet-fox.wav --fill-gaps
  kvsw session export quiet-fox --out part.mkv --from 1:30 --to 2:00")]
    Export(SessionExport),
    /// Draws the session: waveform, fragments, gaps, parked and backfilled parts
    #[command(after_help = "Example:\n  kvsw session timeline quiet-fox --out quiet-fox.svg")]
    Timeline(Timeline),
}

/// `session list`.
#[derive(Debug, Args)]
pub struct SessionList {
    /// Only sessions in this state
    #[arg(long, value_enum, value_name = "STATUS")]
    pub status: Option<SessionState>,
    /// Sessions to show, at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// What the Sessions table says of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SessionState {
    /// May be written.
    Active,
    /// Has ended.
    Ended,
}

impl SessionState {
    /// As results say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Ended => "ended",
        }
    }
}

const LEDGER: &str = "\
Words:
  drift      the speaker's clock minus the audio's; 300 ms and more are corrected while writing
  chunks #0  the chunks of the first page; each reload of the page counts one up, and its chunkIndex begins at 0 again
  processed  chunks that the session has advanced beyond: written, parked or missing
  withheld   the middle of a Cluster that begins in a gap: cannot be decoded until the gap is filled
  given up   more than 32 gaps were open; the chunks still play from `kvsw dlq export`
  pause      no audio, and no chunk is missing there
  gap        no audio, since chunks are parked or missing
  unknown    no audio, and fragments expired or a gap was given up

Exit codes: 0 whole, 1 something is missing, parked or failing, 3 the stream could not be asked (what the writer's state
tells is shown all the same).

Example:
  kvsw session show quiet-fox --json";

/// A part of a session.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Span {
    /// Begin here: 90s, 1:30 after the session's beginning, or 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse::place)]
    pub from: Option<Place>,
    /// End here
    #[arg(long, value_name = "TIME", value_parser = parse::place)]
    pub to: Option<Place>,
}

impl Span {
    /// Refuses a part that ends before it begins, as far as that shows without the session: `begin` is its beginning, or,
    /// where nobody has asked yet, `None`.
    ///
    /// # Errors
    /// Wrong use.
    pub fn check(&self, begin: Option<EpochMs>) -> Result<()> {
        let backwards = match (self.from, self.to, begin) {
            (Some(from), Some(to), Some(begin)) => to.moment(begin) <= from.moment(begin),
            (Some(Place::After { ms: from }), Some(Place::After { ms: to }), None) => to <= from,
            (Some(Place::At(from)), Some(Place::At(to)), None) => to <= from,
            _ => false,
        };
        match backwards {
            true => Err(usage("--to must be later than --from", "swap them")),
            false => Ok(()),
        }
    }
}

/// `session export`.
#[derive(Debug, Args)]
pub struct SessionExport {
    /// The session
    #[arg(value_parser = parse::session_id)]
    pub session: SessionId,
    /// The file to make: .wav or .mkv
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Which part.
    #[command(flatten)]
    pub span: Span,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Silence where nothing was recorded or is missing, so that the file keeps the true time
    #[arg(long)]
    pub fill_gaps: bool,
}

/// `session timeline`.
#[derive(Debug, Args)]
pub struct Timeline {
    /// The session
    #[arg(value_parser = parse::session_id)]
    pub session: SessionId,
    /// The file to make: .svg
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Which part.
    #[command(flatten)]
    pub span: Span,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
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
