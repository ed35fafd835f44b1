//! `kvsw dlq show`: every parked message of one session, and what its reason means.

use std::collections::{BTreeMap, BTreeSet};

use aws::parked_index::Entry;
use media::time::EpochMs;
use reader::ranges::Ranges;
use reader::text::{count, length, moment};
use serde::Serialize;

use super::message::DlqMessage;
use super::queue::right_queue;
use super::select::Selection;
use super::walk::{Acted, walk};
use crate::args::DlqShow;
use crate::error::{Exit, Result};
use crate::output::{Output, Pen, Show, Tone, table};
use crate::reasons::advice;
use crate::stop::Stop;
use crate::world::World;

/// Receives in search of the session's head; other sessions' heads come first where they are older.
const LOOKS: usize = 100;

/// One parked message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParkedMessage {
    /// Its id when it was parked.
    pub message_id: String,
    /// Its chunkIndex, where known.
    pub chunk_index: Option<u64>,
    /// When the chunk was captured, epoch ms, where its note tells.
    pub captured_at: Option<u64>,
    /// Which numbering of chunkIndex it belongs to, where its note tells.
    pub numbering: Option<u32>,
    /// Why.
    pub reason: String,
    /// `message`, `audio`, `session`, `passing` or `lasting`; not known of what SQS moved itself.
    pub class: Option<String>,
    /// Attempts made.
    pub attempts: Option<u32>,
    /// First failure, epoch ms.
    pub first_failure_at: Option<u64>,
    /// When it was parked, epoch ms.
    pub parked_at: u64,
    /// The failure in words; a receive shows it of the first messages only.
    pub message: Option<String>,
    /// Which version of the writer parked it.
    pub worker_version: Option<String>,
}

/// A session's parked messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// The message group.
    pub session_id: String,
    /// By chunk index.
    pub messages: Vec<ParkedMessage>,
    /// Whether the head of the session's messages was seen in the queue itself.
    pub head_seen: bool,
    /// Messages in the queue that are in no note and were not shown now: nobody knows whose they are.
    pub not_shown: usize,
    /// Age of the oldest, ms.
    pub oldest_ms: u64,
}

/// Joins what was noted with what a receive showed.
fn join(notes: &[Entry], received: &[DlqMessage]) -> Vec<ParkedMessage> {
    let by_id: BTreeMap<&str, &DlqMessage> = received.iter().map(|m| (m.original_id(), m)).collect();
    let noted = notes.iter().map(|Entry { note, .. }| {
        let message = by_id.get(note.message_id.as_str());
        let attribute = |name| message.and_then(|m| m.attribute(name)).map(str::to_owned);
        ParkedMessage {
            message_id: note.message_id.clone(),
            chunk_index: note.chunk_index,
            captured_at: note.captured_at.map(|at| at.0),
            numbering: note.numbering,
            reason: note.reason.clone(),
            class: Some(note.class.clone()),
            attempts: Some(note.attempts),
            first_failure_at: Some(note.first_failure_at.0),
            parked_at: note.parked_at.0,
            message: attribute("message"),
            worker_version: attribute("workerVersion"),
        }
    });
    let known: BTreeSet<&str> = notes.iter().map(|entry| entry.note.message_id.as_str()).collect();
    let others = received.iter().filter(|m| !known.contains(m.original_id())).map(|m| ParkedMessage {
        message_id: m.original_id().to_owned(),
        chunk_index: m.chunk_index(),
        captured_at: None,
        numbering: None,
        reason: m.reason().to_owned(),
        class: m.attribute("class").map(str::to_owned),
        attempts: m.attribute("attempts").and_then(|n| n.parse().ok()),
        first_failure_at: m.attribute("firstFailureAt").and_then(|at| at.parse().ok()),
        parked_at: m.sent_at.0,
        message: m.attribute("message").map(str::to_owned),
        worker_version: m.attribute("workerVersion").map(str::to_owned),
    });
    let mut all: Vec<ParkedMessage> = noted.chain(others).collect();
    all.sort_by_key(|message| (message.chunk_index, message.parked_at));
    all
}

/// The first messages of the group, as a receive shows them.
async fn head(world: &World, session: &str) -> Result<Vec<DlqMessage>> {
    let (mut head, mut looks) = (Vec::new(), 0);
    walk(world, Selection::everything(), &Stop::default(), async |_, messages| {
        head.extend(messages.into_iter().filter(|message| message.group_id == session));
        looks += 1;
        Ok(Acted { ends: !head.is_empty() || looks >= LOOKS, ..Acted::default() })
    })
    .await?;
    Ok(head)
}

/// The command.
///
/// # Errors
/// Those of the services.
pub async fn run(world: &World, output: &Output, args: &DlqShow) -> Result<Exit> {
    let session = args.session.as_str();
    right_queue(world).await?;
    let (all, depth) = futures::try_join!(world.notes(None), world.dlq_depth())?;
    let without_note = depth.total().saturating_sub(all.len());
    let notes: Vec<Entry> = all.into_iter().filter(|entry| entry.session_id == session).collect();
    let received = head(world, session).await?;
    let messages = join(&notes, &received);
    let oldest = messages.iter().map(|message| message.parked_at).min();
    let shown_without_note = messages.len().saturating_sub(notes.len());
    let shown = Shown {
        session_id: session.to_owned(),
        not_shown: without_note.saturating_sub(shown_without_note),
        messages,
        head_seen: !received.is_empty(),
        oldest_ms: oldest.map_or(0, |oldest| world.now().0.saturating_sub(oldest)),
    };
    output.show(&shown)?;
    if args.logs && !shown.messages.is_empty() {
        log(world, output, args, &shown).await?;
    }
    Ok(if shown.messages.is_empty() && shown.not_shown == 0 { Exit::Fine } else { Exit::Finding })
}

/// The writer's log lines from the first failure to the last parking, on stderr: stdout has the messages alone.
async fn log(world: &World, output: &Output, args: &DlqShow, shown: &Shown) -> Result<()> {
    let from =
        shown.messages.iter().map(|message| message.first_failure_at.unwrap_or(message.parked_at)).min();
    let to = shown.messages.iter().map(|message| message.parked_at).max();
    let time = (EpochMs(from.unwrap_or_default()), EpochMs(to.unwrap_or_default()));
    let lines = crate::logs::lines(world, args.log_group.as_deref(), &args.session, time).await?;
    output.say(&format!("{} of the writer's log:", count(lines.len(), "line")));
    lines.iter().for_each(|line| output.say(line));
    Ok(())
}

/// Messages of neighbouring chunks that were parked for the same reason: one line of the table.
fn runs(messages: &[ParkedMessage]) -> Vec<&[ParkedMessage]> {
    let same = |a: &ParkedMessage, b: &ParkedMessage| {
        let of = |m: &ParkedMessage| (m.reason.clone(), m.class.clone(), m.attempts, m.numbering);
        let next = a.chunk_index.map(|index| index.saturating_add(1));
        of(a) == of(b) && (next == b.chunk_index || a.chunk_index == b.chunk_index)
    };
    messages.chunk_by(same).collect()
}

impl Show for Shown {
    fn text(&self, pen: Pen) -> String {
        if self.messages.is_empty() {
            return self.nothing(pen);
        }
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let rows = runs(&self.messages).into_iter().filter_map(|run| {
            let (first, last) = (run.first()?, run.last()?);
            let chunks = first.chunk_index.zip(last.chunk_index);
            Some([
                or_dash(chunks.map(|(first, last)| Ranges::inclusive(first, last).to_string())),
                run.len().to_string(),
                first.reason.clone(),
                or_dash(first.class.clone()),
                or_dash(first.attempts.map(|n| n.to_string())),
                moment(EpochMs(first.parked_at)),
            ])
        });
        let headings = ["CHUNKS", "MESSAGES", "REASON", "CLASS", "ATTEMPTS", "PARKED AT"];
        let mut lines = vec![table(headings, rows), String::new()];
        lines.push(format!(
            "{}: {}{}, the oldest parked {} ago; --json shows each message",
            self.session_id,
            count(self.messages.len(), "message"),
            if self.not_shown > 0 { " or more" } else { "" },
            length(self.oldest_ms)
        ));
        let reasons: BTreeSet<&str> = self.messages.iter().map(|message| message.reason.as_str()).collect();
        for reason in reasons {
            let advice = advice(reason);
            lines.push(format!("{reason}: {}", advice.meaning));
            let said = self.messages.iter().filter(|m| m.reason == reason).find_map(|m| m.message.as_ref());
            lines.extend(said.map(|said| pen.tone(Tone::Faint, &format!("  error: {said}"))));
            lines.push(format!("  what to do: {}", advice.action));
        }
        if self.not_shown > 0 {
            let many = count(self.not_shown, "more message");
            let text = format!(
                "{many} in the DLQ without a note, of this session or others: a receive shows ten at most"
            );
            lines.push(pen.tone(Tone::Warn, &text));
        }
        if !self.head_seen {
            let text = "the DLQ showed none of them just now: they are in flight elsewhere, or gone";
            lines.push(pen.tone(Tone::Warn, text));
        }
        lines.join("\n")
    }
}

impl Shown {
    fn nothing(&self, pen: Pen) -> String {
        let nothing = format!("nothing of session {} is parked", self.session_id);
        match self.not_shown {
            0 => pen.tone(Tone::Good, &nothing),
            n => {
                let many = count(n, "message");
                let more = format!("{many} in the DLQ without a note; `kvsw dlq list --look` shows whose");
                format!("{nothing}, as far as the notes and a receive show\n{}", pen.tone(Tone::Warn, &more))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::message;
    use super::super::plan::tests::note;
    use super::*;

    #[test]
    fn notes_and_messages_are_joined_by_the_id_they_were_parked_with() {
        let mut noted = note("owl", Some(7), "ack-5001");
        noted.note.message_id = "m-1".into();
        let mut alone = note("owl", Some(5), "CRASHED");
        alone.note.message_id = "m-2".into();
        let received = [message("m-1", "owl", "{}"), message("m-3", "owl", "{\"chunkIndex\":6}")];
        let joined = join(&[noted, alone], &received);
        let told: Vec<_> = joined.iter().map(|m| (m.chunk_index, m.reason.as_str())).collect();
        assert_eq!(told, [(Some(5), "CRASHED"), (Some(6), "MOVED_BY_QUEUE"), (Some(7), "ack-5001")]);
        let session_id = "owl".into();
        let shown = Shown { session_id, messages: joined, head_seen: true, not_shown: 1, oldest_ms: 1_000 };
        let text = shown.text(Pen::PLAIN);
        assert!(text.contains("owl: 3 messages or more, the oldest parked 1 s ago"), "{text}");
        assert!(
            text.contains("1 more message in the DLQ without a note, of this session or others"),
            "{text}"
        );
        assert!(text.contains("what to do: wait until it has passed, then redrive"), "{text}");
    }

    #[test]
    fn a_hundred_equal_messages_are_one_line() {
        let notes: Vec<Entry> = (0..102).map(|i| note("owl", Some(i), "CRASHED")).collect();
        let mut messages = join(&notes, &[]);
        messages[50].reason = "NO_PLACE".into();
        let of: Vec<usize> = runs(&messages).iter().map(|run| run.len()).collect();
        assert_eq!(of, [50, 1, 51]);
        let shown = Shown { session_id: "owl".into(), messages, head_seen: true, not_shown: 0, oldest_ms: 0 };
        let text = shown.text(Pen::PLAIN);
        assert!(text.contains("0-49") && text.contains("51-101") && text.lines().count() < 12, "{text}");
    }
}
