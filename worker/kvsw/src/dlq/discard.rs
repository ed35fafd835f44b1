//! `kvsw dlq discard`: deletes parked messages for good. What is dropped is on disk before it is deleted.

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;

use reader::text::{count, moment};
use serde::Serialize;

use super::folder::MessageFolder;
use super::list::{DlqList, list};
use super::message::DlqMessage;
use super::queue::Dlq;
use super::select::{Goal, Selection, nothing_fits};
use crate::args::Discard;
use crate::error::{Exit, Result, usage};
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
}

/// The command.
///
/// # Errors
/// Those of the services and of the file system; wrong use, where nothing is chosen or nobody can be asked.
pub async fn run(world: &World, output: &Output, args: &Discard) -> Result<Exit> {
    let name = || PathBuf::from(format!("discarded-{}", moment(world.now()).replace(':', "")));
    let out = args.out.clone().unwrap_or_else(name);
    can_be_made(&out)?;
    let listed = list(world, &args.filter, true).await?;
    if listed.sessions.is_empty() && listed.not_noted.is_empty() {
        return Err(nothing_fits(&args.filter, &world.notes(None).await?));
    }
    if !args.yes && !agreed(output, &listed)? {
        output.say("nothing was discarded");
        return Ok(Exit::Finding);
    }
    let (mut folder, mut not_deleted) = (MessageFolder::at(&out), 0);
    let notes = world.notes(args.filter.session.as_deref()).await?;
    let chosen = notes.into_iter().filter(|e| args.filter.chooses(&e.session_id, &e.note.reason));
    let goal = Goal::new(chosen, listed.unknown());
    let selection = Selection { filter: args.filter.clone(), before: world.now(), goal };
    let goal = Dlq::each(world, selection, &Stop::listen(), async |dlq, messages| {
        folder.append(&messages)?;
        not_deleted += dlq.remove(&messages.iter().collect::<Vec<&DlqMessage>>()).await?;
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    let not_reached = goal.not_reached(world).await?;
    let discarded = Discarded {
        folder: folder.path().display().to_string(),
        messages: folder.messages() - not_deleted,
        not_deleted,
        not_reached,
    };
    output.show(&discarded);
    let complete = discarded.not_deleted == 0 && discarded.not_reached.is_empty();
    Ok(if complete { Exit::Fine } else { Exit::Finding })
}

/// Asks on the terminal.
fn agreed(output: &Output, listed: &DlqList) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        let hint = "--yes discards without asking; `kvsw dlq list` with the same filter shows what";
        return Err(usage("discarding needs a yes, and nobody can be asked", hint));
    }
    output.say(&listed.text(Pen::PLAIN));
    let _ =
        write!(std::io::stderr(), "discard these for good? They are written to a folder first. [yes/no] ");
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    Ok(answer.trim() == "yes")
}

impl Show for Discarded {
    fn text(&self, pen: Pen) -> String {
        let many = count(self.messages, "message");
        let mut lines = vec![match self.messages + self.not_deleted {
            0 => "nothing was discarded".to_owned(),
            _ => format!("{many} discarded; {} keeps them", self.folder),
        }];
        if self.not_deleted > 0 {
            let text = format!("{} could not be deleted; run it again", count(self.not_deleted, "message"));
            lines.push(pen.tone(Tone::Bad, &text));
        }
        for (session, n) in &self.not_reached {
            let text = format!(
                "{} of {session} not reached: behind messages that were not chosen, or gone",
                count(*n, "message")
            );
            lines.push(pen.tone(Tone::Warn, &text));
        }
        lines.join("\n")
    }
}
