//! `kvsw dlq discard`: deletes parked messages for good. What is dropped is on disk before it is deleted.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reader::text::{count, moment};
use serde::Serialize;

use super::folder::MessageFolder;
use super::list::list;
use super::message::DlqMessage;
use super::queue::right_queue;
use super::select::{Selection, fits_some, not_reached, nothing};
use super::walk::{Acted, walk};
use crate::args::{Discard, Filter};
use crate::confirm;
use crate::error::{Exit, Result};
use crate::files::can_be_made;
use crate::output::{Output, Pen, Show, Tone};
use crate::stop::Stop;
use crate::world::World;

/// What was discarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Discarded {
    /// Where it was written to.
    pub folder: String,
    /// Messages deleted.
    pub messages: usize,
    /// Messages that SQS did not delete; they are in the folder too.
    pub not_deleted: usize,
    /// Noted messages that were not reached, by session.
    pub not_reached: BTreeMap<String, usize>,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// What was asked for, where nothing of it is parked.
    #[serde(skip)]
    asked: String,
}

/// The command.
///
/// # Errors
/// Those of the services and of the file system; wrong use, where nobody can be asked.
pub async fn run(world: &World, output: &Output, args: &Discard) -> Result<Exit> {
    let name = || PathBuf::from(format!("discarded-{}", moment(world.now()).replace(':', "")));
    let out = args.out.clone().unwrap_or_else(name);
    can_be_made(&out)?;
    right_queue(world).await?;
    let (notes, depth) = futures::try_join!(world.notes(None), world.dlq_depth())?;
    let (without_note, now) = (depth.total().saturating_sub(notes.len()), world.now());
    let mut discarded = Discarded {
        folder: out.display().to_string(),
        messages: 0,
        not_deleted: 0,
        not_reached: BTreeMap::new(),
        interrupted: false,
        asked: nothing(&args.filter),
    };
    if fits_some(output, &args.filter, &notes, without_note, now)? {
        if !args.yes && !agreed(world, output, &args.filter).await? {
            output.say("nothing was discarded");
            return Ok(Exit::Finding);
        }
        let mut folder = MessageFolder::at(&out);
        let selection = Selection::new(&args.filter, &notes, without_note, now);
        let stop = Stop::listen();
        let walked = walk(world, selection, &stop, async |dlq, messages| {
            folder.append(&messages)?;
            discarded.not_deleted += dlq.remove(&messages.iter().collect::<Vec<&DlqMessage>>()).await?;
            Ok(Acted { gone: messages.into_iter().map(|message| message.message_id).collect(), ends: false })
        });
        let walked = walked.await?;
        discarded.interrupted = walked.interrupted;
        discarded.not_reached = walked.goal.not_reached(world).await?;
        discarded.messages = folder.messages() - discarded.not_deleted;
    }
    let complete = discarded.not_deleted == 0 && discarded.not_reached.is_empty() && !discarded.interrupted;
    output.show(&discarded)?;
    Ok(if complete { Exit::Fine } else { Exit::Finding })
}

/// Asks on the terminal.
async fn agreed(world: &World, output: &Output, filter: &Filter) -> Result<bool> {
    let hint = "--yes discards without asking; `kvsw dlq list` with the same filter shows what";
    confirm::possible("discarding", hint)?;
    output.say(&list(world, filter, true).await?.text(Pen::PLAIN));
    Ok(confirm::agreed("discard these for good? They are written to a folder first."))
}

impl Show for Discarded {
    fn text(&self, pen: Pen) -> String {
        let many = count(self.messages, "message");
        let mut lines = vec![match self.messages + self.not_deleted {
            0 => format!("{}; nothing was discarded", self.asked),
            _ => format!("{many} discarded; {} keeps them", self.folder),
        }];
        if self.not_deleted > 0 {
            let text = format!("{} could not be deleted; run it again", count(self.not_deleted, "message"));
            lines.push(pen.tone(Tone::Bad, &text));
        }
        for (session, n) in &self.not_reached {
            lines.push(pen.tone(Tone::Warn, &not_reached(*n, session)));
        }
        if self.interrupted {
            lines.push(pen.tone(Tone::Warn, "interrupted; run it again to go on"));
        }
        lines.join("\n")
    }
}
