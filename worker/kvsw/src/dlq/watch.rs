//! `kvsw dlq watch`: what is parked and what leaves, as it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use aws::parked_index::Entry;
use media::time::EpochMs;
use reader::ranges::Ranges;
use reader::text::{count, moment};
use serde::Serialize;

use crate::args::DlqWatch;
use crate::error::{Exit, Result};
use crate::output::{Output, Pen, Show, Tone};
use crate::stop::Stop;
use crate::world::World;

/// Pause between two looks whether somebody asks to stop.
const BLINK: Duration = Duration::from_millis(100);

/// What has changed since the last look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// When it was seen, epoch ms.
    pub at: u64,
    /// Parked since.
    pub parked: Vec<Group>,
    /// Gone since: redriven, discarded or expired.
    pub gone: Vec<Group>,
    /// Messages parked now, of what is watched.
    pub now: usize,
}

/// Messages of one session and reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The message group.
    pub session_id: String,
    /// Why they were parked.
    pub reason: String,
    /// How many.
    pub messages: usize,
    /// Their chunks, where known.
    #[serde(skip)]
    chunks: String,
}

type Notes = BTreeMap<String, Entry>;

/// What differs between two looks; `None` if nothing does.
fn change(before: &Notes, now: &Notes, at: EpochMs) -> Option<Change> {
    let only_in = |some: &Notes, others: &Notes| {
        groups(some.iter().filter(|(id, _)| !others.contains_key(*id)).map(|(_, entry)| entry))
    };
    let (parked, gone) = (only_in(now, before), only_in(before, now));
    let differs = !parked.is_empty() || !gone.is_empty();
    differs.then_some(Change { at: at.0, parked, gone, now: now.len() })
}

fn groups<'e>(entries: impl Iterator<Item = &'e Entry>) -> Vec<Group> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Entry>> = BTreeMap::new();
    entries.for_each(|e| groups.entry((&e.session_id, &e.note.reason)).or_default().push(e));
    let group = |((session, reason), entries): ((&str, &str), Vec<&Entry>)| Group {
        session_id: session.to_owned(),
        reason: reason.to_owned(),
        messages: entries.len(),
        chunks: entries.iter().filter_map(|entry| entry.note.chunk_index).collect::<Ranges>().to_string(),
    };
    groups.into_iter().map(group).collect()
}

/// The command.
///
/// # Errors
/// Those of the state table.
pub async fn run(world: &World, output: &Output, args: &DlqWatch) -> Result<Exit> {
    let stop = Stop::listen();
    let mut before = Notes::new();
    loop {
        let notes = world.notes(args.filter.session.as_deref()).await?;
        let chosen = args.filter.choose(&notes, world.now()).into_iter().cloned();
        let now: Notes = chosen.map(|entry| (entry.note.message_id.clone(), entry)).collect();
        if let Some(change) = change(&before, &now, world.now()) {
            output.show(&change)?;
        }
        before = now;
        if before.is_empty() && args.until_empty {
            return Ok(Exit::Fine);
        }
        let look_again = tokio::time::Instant::now() + args.every;
        while tokio::time::Instant::now() < look_again {
            if stop.asked() {
                return Ok(if before.is_empty() { Exit::Fine } else { Exit::Finding });
            }
            tokio::time::sleep(BLINK.min(args.every)).await;
        }
    }
}

impl Show for Change {
    fn text(&self, pen: Pen) -> String {
        let line = |group: &Group, sign: &str, tone: Tone| {
            let chunks =
                if group.chunks.is_empty() { String::new() } else { format!(", chunks {}", group.chunks) };
            let many = count(group.messages, "message");
            let text = format!("{sign}{many} of {} ({}){chunks}", group.session_id, group.reason);
            format!("{} {}; {} parked", moment(EpochMs(self.at)), pen.tone(tone, &text), self.now)
        };
        let parked = self.parked.iter().map(|group| line(group, "+", Tone::Bad));
        parked
            .chain(self.gone.iter().map(|group| line(group, "-", Tone::Good)))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::note;
    use super::*;

    #[test]
    fn only_what_changes_is_told() {
        let notes = |chunks: std::ops::Range<u64>| -> Notes {
            let notes = chunks.map(|chunk| note("owl", Some(chunk), "CRASHED"));
            notes.map(|entry| (entry.note.message_id.clone(), entry)).collect()
        };
        let told = |before: &Notes, now: &Notes| {
            change(before, now, EpochMs(0)).map(|change| change.text(Pen::PLAIN))
        };
        assert_eq!(told(&notes(0..3), &notes(0..3)), None);
        assert_eq!(
            told(&notes(0..0), &notes(0..3)).unwrap(),
            "1970-01-01T00:00:00.000Z +3 messages of owl (CRASHED), chunks 0-2; 3 parked"
        );
        let both = told(&notes(0..3), &notes(2..4)).unwrap();
        assert!(both.contains("+1 message of owl (CRASHED), chunks 3; 2 parked"), "{both}");
        assert!(both.contains("-2 messages of owl (CRASHED), chunks 0-1; 2 parked"), "{both}");
    }
}
