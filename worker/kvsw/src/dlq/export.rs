//! `kvsw dlq export`: parked messages as a folder that `make replay` plays.
//!
//! What lies behind a FIFO group's first ten messages shows only once those are gone. With `--all`, each message is sent to
//! the end of its own group and then deleted: after one turn the group is as it was, in order. Killed in between, a
//! message may be there twice, which a redrive puts right.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use media::time::EpochMs;
use reader::text::count;
use serde::Serialize;

use super::folder::MessageFolder;
use super::message::{DlqMessage, batches};
use super::queue::{Dlq, right_queue};
use super::select::{Goal, Selection, must_fit, nothing_fits};
use crate::args::{DlqExport, Filter};
use crate::error::{Exit, Result, usage};
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
}

/// The command.
///
/// # Errors
/// Those of the services and of the file system; wrong use, where nothing is chosen.
pub async fn run(world: &World, output: &Output, args: &DlqExport) -> Result<Exit> {
    can_be_made(&args.out)?;
    right_queue(world).await?;
    let (notes, depth) = futures::try_join!(world.notes(None), world.dlq_depth())?;
    if depth.total() == 0 {
        return Err(usage("nothing is parked", "`kvsw dlq list` shows what is"));
    }
    let without_note = depth.total().saturating_sub(notes.len());
    must_fit(&args.filter, &notes, without_note)?;
    // A turn goes on until each group is as it was, whatever reason is chosen.
    let filter = if args.all { Filter { reason: None, ..args.filter.clone() } } else { args.filter.clone() };
    let wanted = notes.iter().filter(|entry| filter.chooses(&entry.session_id, &entry.note.reason));
    let goal = Goal::new(wanted.cloned(), without_note);
    let selection = Selection { filter, before: EpochMs(u64::MAX), goal };
    let (folder, run) = (MessageFolder::at(&args.out), format!("{:016x}", unique()));
    let mut export = Export { world, args, folder, run, seen: BTreeSet::new() };
    let goal = Dlq::each(world, selection, &Stop::listen(), async |dlq, messages| {
        export.take(dlq, messages).await.map(ControlFlow::Continue)
    })
    .await?;
    let not_reached = goal.not_reached(world).await?;
    if export.folder.messages() == 0 && not_reached.is_empty() {
        return Err(nothing_fits(&args.filter, &notes));
    }
    let complete = not_reached.is_empty();
    let folder = export.folder.path().display().to_string();
    output.show(&Exported { folder, messages: export.folder.messages(), not_reached });
    Ok(if complete { Exit::Fine } else { Exit::Finding })
}

/// A number that no other run has.
fn unique() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

struct Export<'a> {
    world: &'a World,
    args: &'a DlqExport,
    folder: MessageFolder,
    /// Names this turn.
    run: String,
    /// Original ids of what is in the folder.
    seen: BTreeSet<String>,
}

impl Export<'_> {
    /// What one receive shows: written down; with `--all`, turned over unless this run has turned it already.
    async fn take(&mut self, dlq: &mut Dlq<'_>, messages: Vec<DlqMessage>) -> Result<()> {
        let chosen = messages.iter().filter(|m| self.args.filter.chooses(&m.group_id, m.reason()));
        let new: Vec<DlqMessage> =
            chosen.filter(|m| self.seen.insert(m.original_id().to_owned())).cloned().collect();
        self.folder.append(&new)?;
        let mut groups: BTreeMap<String, Vec<DlqMessage>> = BTreeMap::new();
        messages.into_iter().for_each(|m| groups.entry(m.group_id.clone()).or_default().push(m));
        for messages in groups.values() {
            let again = messages.iter().position(|m| m.was_turned_by(&self.run)).unwrap_or(messages.len());
            let (fresh, turned) = messages.split_at(if self.args.all { again } else { 0 });
            self.turn(dlq, fresh).await?;
            // What this run has turned stays hidden behind the last that are turned now, until all have come by.
            turned.iter().for_each(|message| dlq.hold(message));
        }
        Ok(())
    }

    /// Sends messages of one group to its end and deletes the originals.
    async fn turn(&self, dlq: &Dlq<'_>, messages: &[DlqMessage]) -> Result<()> {
        let name = |m: &DlqMessage| (m.turned_id(&self.run), m.attributes.clone());
        for batch in batches(messages, 10) {
            let sent = dlq.send(&self.world.settings.dlq_url, batch, name).await?;
            sent.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
            dlq.delete(&batch.iter().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

impl Show for Exported {
    fn text(&self, pen: Pen) -> String {
        let mut lines = vec![match self.messages {
            0 => "no message was reached, and no folder made".to_owned(),
            n => format!("{} in {}", count(n, "message"), self.folder),
        }];
        for (session, n) in &self.not_reached {
            let many = count(*n, "message");
            let text = format!(
                "{many} of {session} not reached: SQS shows ten of a session at most; --all gets behind them"
            );
            lines.push(pen.tone(Tone::Warn, &text));
        }
        if self.messages > 0 {
            let text = format!("play it: make replay RECORDING={}", self.folder);
            lines.push(pen.tone(Tone::Faint, &text));
        }
        lines.join("\n")
    }
}
