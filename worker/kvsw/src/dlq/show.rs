//! `kvsw dlq show`: every parked message of one session, and what its reason means.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use aws::parked_index::Entry;
use media::time::EpochMs;
use reader::text::{count, length, moment};
use serde::Serialize;

use super::message::DlqMessage;
use super::queue::{Dlq, right_queue};
use super::select::Selection;
use crate::error::{Error, Exit, Result, usage};
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
    Dlq::each(world, Selection::everything(), &Stop::default(), async |dlq, messages| {
        messages.iter().for_each(|message| dlq.hold(message));
        head.extend(messages.into_iter().filter(|message| message.group_id == session));
        looks += 1;
        Ok(if head.is_empty() && looks < LOOKS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })
    .await?;
    Ok(head)
}

/// The command.
///
/// # Errors
/// Those of the services; wrong use, where the session has nothing parked.
pub async fn run(world: &World, output: &Output, session: &str) -> Result<Exit> {
    right_queue(world).await?;
    let (all, depth) = futures::try_join!(world.notes(None), world.dlq_depth())?;
    let without_note = depth.total().saturating_sub(all.len());
    let notes: Vec<Entry> = all.into_iter().filter(|entry| entry.session_id == session).collect();
    let received = head(world, session).await?;
    let messages = join(&notes, &received);
    let Some(oldest) = messages.iter().map(|message| message.parked_at).min() else {
        return Err(nothing_seen(session, without_note));
    };
    let shown_without_note = messages.len().saturating_sub(notes.len());
    output.show(&Shown {
        session_id: session.to_owned(),
        not_shown: without_note.saturating_sub(shown_without_note),
        messages,
        head_seen: !received.is_empty(),
        oldest_ms: world.now().0.saturating_sub(oldest),
    });
    Ok(Exit::Finding)
}

fn nothing_seen(session: &str, without_note: usize) -> Error {
    let message = format!("nothing of session {session} is parked");
    match without_note {
        0 => usage(message, "`kvsw dlq list` shows the sessions that have something"),
        n => usage(
            format!("{message}, as far as the notes and a receive show"),
            format!(
                "{} in the queue without a note; `kvsw dlq list --look` shows whose",
                count(n, "message")
            ),
        ),
    }
}

impl Show for Shown {
    fn text(&self, pen: Pen) -> String {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let rows = self.messages.iter().map(|message| {
            [
                or_dash(message.chunk_index.map(|index| index.to_string())),
                message.reason.clone(),
                or_dash(message.class.clone()),
                or_dash(message.attempts.map(|n| n.to_string())),
                moment(EpochMs(message.parked_at)),
                message.message_id.clone(),
            ]
        });
        let mut lines = vec![
            table(["CHUNK", "REASON", "CLASS", "ATTEMPTS", "PARKED AT", "MESSAGE ID"], rows),
            String::new(),
        ];
        lines.push(format!(
            "{}: {}{}, the oldest parked {} ago",
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
            lines.extend(said.map(|said| pen.tone(Tone::Faint, &format!("  it said: {said}"))));
            lines.push(format!("  what to do: {}", advice.action));
        }
        if self.not_shown > 0 {
            let many = count(self.not_shown, "more message");
            let text = format!(
                "{many} in the queue without a note, of this session or others: a receive shows ten at most"
            );
            lines.push(pen.tone(Tone::Warn, &text));
        }
        if !self.head_seen {
            let text = "the queue showed none of them just now: somebody holds them, or they are gone";
            lines.push(pen.tone(Tone::Warn, text));
        }
        lines.join("\n")
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
            text.contains("1 more message in the queue without a note, of this session or others"),
            "{text}"
        );
        assert!(text.contains("what to do: wait until it has passed, then redrive"), "{text}");
    }
}
