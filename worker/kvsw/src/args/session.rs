//! Arguments of `kvsw session`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ingest::message::SessionId;
use media::time::EpochMs;

use super::parse;
use crate::error::{Result, usage};
use crate::time::Place;

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
  no longer in the stream  expired, or deleted together with the stream
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

/// What of which session goes into a file.
#[derive(Debug, Args)]
pub struct Portion {
    /// The session
    #[arg(value_parser = parse::session_id)]
    pub session: SessionId,
    /// Which part.
    #[command(flatten)]
    pub span: Span,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
}

/// `session export`.
#[derive(Debug, Args)]
pub struct SessionExport {
    /// The file to make: .wav or .mkv
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// What of which session.
    #[command(flatten)]
    pub portion: Portion,
    /// Silence where nothing was recorded or is missing, so that the file keeps the true time
    #[arg(long)]
    pub fill_gaps: bool,
}

/// `session timeline`.
#[derive(Debug, Args)]
pub struct Timeline {
    /// The file to make: .svg
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// What of which session.
    #[command(flatten)]
    pub portion: Portion,
}
