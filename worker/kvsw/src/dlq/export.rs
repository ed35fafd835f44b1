//! `kvsw dlq export`: parked messages as a folder that `make replay` plays.
//!
//! What lies behind a FIFO group's first ten messages shows only once those are gone: with `--all` they are turned over
//! ([`walk`](super::walk)).

use std::collections::{BTreeMap, BTreeSet};

use reader::text::count;
use serde::Serialize;

use super::folder::MessageFolder;
use super::queue::right_queue;
use super::select::{Selection, fits_some, not_reached, nothing};
use super::walk::{Acted, walk};
use crate::args::DlqExport;
use crate::error::{Exit, Result};
use crate::files::can_be_made;
use crate::output::{Output, Pen, Show, Tone};
use crate::stop::Stop;
use crate::world::World;

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// The folder.
    pub folder: String,
    /// Messages in it.
    pub messages: usize,
    /// Noted messages that were not reached, by session.
    pub not_reached: BTreeMap<String, usize>,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// Whether it looked behind the first ten of each session.
    #[serde(skip)]
    all: bool,
    /// What was asked for, where nothing of it is parked.
    #[serde(skip)]
    asked: String,
}

/// The command.
///
/// # Errors
/// Those of the services and of the file system; wrong use, where the folder exists.
pub async fn run(world: &World, output: &Output, args: &DlqExport) -> Result<Exit> {
    can_be_made(&args.out)?;
    right_queue(world).await?;
    let (notes, depth) = futures::try_join!(world.notes(None), world.dlq_depth())?;
    let (without_note, now) = (depth.total().saturating_sub(notes.len()), world.now());
    let mut folder = MessageFolder::at(&args.out);
    let mut exported = Exported {
        folder: folder.path().display().to_string(),
        messages: 0,
        not_reached: BTreeMap::new(),
        interrupted: false,
        all: args.all,
        asked: nothing(&args.filter),
    };
    if fits_some(output, &args.filter, &notes, without_note, now)? {
        let mut selection = Selection::new(&args.filter, &notes, without_note, now);
        let mut seen = BTreeSet::new();
        selection.turns = args.all;
        let stop = Stop::listen();
        let walked = walk(world, selection, &stop, async |_, mut messages| {
            messages.retain(|message| seen.insert(message.original_id().to_owned()));
            folder.append(&messages)?;
            Ok(Acted::default())
        });
        let walked = walked.await?;
        exported.messages = folder.messages();
        exported.interrupted = walked.interrupted;
        exported.not_reached = walked.goal.not_reached(world).await?;
    }
    let complete = exported.not_reached.is_empty() && !exported.interrupted;
    output.show(&exported)?;
    Ok(if complete { Exit::Fine } else { Exit::Finding })
}

impl Show for Exported {
    fn text(&self, pen: Pen) -> String {
        let mut lines = vec![match self.messages {
            0 => match self.not_reached.is_empty() {
                true => format!("{}; no folder was made", self.asked),
                false => "no message was reached; no folder was made".to_owned(),
            },
            n => format!("{} in {}", count(n, "message"), self.folder),
        }];
        for (session, n) in &self.not_reached {
            let many = count(*n, "message");
            lines.push(pen.tone(Tone::Warn, &match (self.interrupted, self.all) {
                (true, _) => format!("{many} of {session} not reached: it was interrupted"),
                (false, true) => not_reached(*n, session),
                (false, false) => {
                    format!("{many} of {session} not reached: SQS shows ten of a session at most; --all gets behind them")
                }
            }));
        }
        if self.interrupted {
            lines.push(
                pen.tone(Tone::Warn, "interrupted; each session is in its order. Run it again to get all"),
            );
        }
        if self.messages > 0 {
            let folder = std::path::absolute(&self.folder).unwrap_or_else(|_| self.folder.clone().into());
            let text = format!("play it, in the repository: make replay RECORDING={}", folder.display());
            lines.push(pen.tone(Tone::Faint, &text));
        }
        lines.join("\n")
    }
}
