//! `kvsw dlq export`: parked messages as a folder that `make replay` plays.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::fitting::{must_fit, nothing_fits};
use super::folder::MessageFolder;
use super::goal::Goal;
use super::message::DlqMessage;
use super::right_queue::right_queue;
use super::turn::turn;
use super::walk::Walk;
use crate::args::{DlqExport, Filter};
use crate::error::{Exit, Result, usage};
use crate::output::{Output, Pen, Show, Tone};
use crate::stop::Stop;
use crate::text::count;
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
    right_queue(world).await?;
    let (mut notes, depth) = futures::try_join!(world.notes(None), world.dlq_depth())?;
    if depth.total() == 0 {
        return Err(usage("nothing is parked", "`kvsw dlq list` shows what is"));
    }
    let without_note = depth.total().saturating_sub(notes.len());
    must_fit(&args.filter, &notes, without_note)?;
    let all_notes = notes.clone();
    // A turn goes on until each group is as it was, whatever reason is chosen.
    let wanted = if args.all { Filter { reason: None, ..args.filter.clone() } } else { args.filter.clone() };
    notes.retain(|entry| wanted.chooses(&entry.session_id, &entry.note.reason));
    let (folder, run) = (MessageFolder::at(&args.out), format!("{:016x}", unique()));
    let mut export = Export { world, args, folder, run, seen: BTreeSet::new() };
    let mut walk = Walk::new(world, Goal::new(notes, without_note));
    let outcome = export.walk(&mut walk, &Stop::listen()).await;
    let goal = walk.release().await?;
    outcome?;
    let not_reached = goal.not_reached(world).await?;
    if export.folder.messages() == 0 && not_reached.is_empty() {
        return Err(nothing_fits(&args.filter, &all_notes));
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
    async fn walk(&mut self, walk: &mut Walk<'_>, stop: &Stop) -> Result<()> {
        while !stop.asked() {
            let received = walk.next().await?;
            if received.is_empty() {
                return Ok(());
            }
            let mut groups: BTreeMap<String, Vec<DlqMessage>> = BTreeMap::new();
            received.into_iter().for_each(|m| groups.entry(m.group_id.clone()).or_default().push(m));
            for (group_id, messages) in groups {
                self.group(walk, &group_id, messages).await?;
            }
        }
        Ok(())
    }

    /// The head of one group: written down; with `--all`, turned over unless this run has turned it already.
    async fn group(&mut self, walk: &mut Walk<'_>, group_id: &str, messages: Vec<DlqMessage>) -> Result<()> {
        let filter = &self.args.filter;
        let chosen = messages.iter().filter(|m| filter.chooses(group_id, m.reason()));
        let new: Vec<DlqMessage> =
            chosen.filter(|m| self.seen.insert(m.original_id().to_owned())).cloned().collect();
        self.folder.append(&new)?;
        let wanted = filter.session.as_deref().is_none_or(|session| session == group_id);
        let again = messages.iter().position(|m| m.was_turned_by(&self.run)).unwrap_or(messages.len());
        let (fresh, turned) = messages.split_at(again);
        if !self.args.all || !wanted {
            messages.iter().for_each(|message| walk.hold(message));
            return Ok(());
        }
        // What this run has turned stays hidden behind the last that are turned now, until the walk is over.
        turn(self.world, walk, &self.run, fresh).await?;
        turned.iter().for_each(|message| walk.hold(message));
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
