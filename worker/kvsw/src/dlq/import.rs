//! `kvsw dlq import`: puts what an export or a discard wrote to a folder back into the DLQ, with its reasons and notes, so that
//! it can be redriven.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aws_sdk_sqs::types::MessageAttributeValue;
use media::time::EpochMs;
use reader::text::count;
use serde::Serialize;
use serde_json::Value;
use writer::ports::ParkedNote;

use super::message::{Attributes, DlqMessage, batches};
use super::queue::{Dlq, right_queue};
use crate::args::DlqImport;
use crate::error::{Error, Exit, Result, usage};
use crate::output::{Output, Pen, Show, Tone};
use crate::world::World;

/// What was imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// The folder.
    pub folder: String,
    /// Nothing was changed.
    pub dry_run: bool,
    /// Messages put into the DLQ, by session.
    pub imported: BTreeMap<String, usize>,
    /// Messages left out, since they are parked already.
    pub parked_already: usize,
    /// Messages that the DLQ did not take, with the reason.
    pub not_taken: BTreeMap<String, usize>,
}

/// The command.
///
/// # Errors
/// Those of the services; wrong use, where the folder is no export.
pub async fn run(world: &World, output: &Output, args: &DlqImport) -> Result<Exit> {
    let messages = read(&args.folder)?;
    right_queue(world).await?;
    let parked: BTreeSet<String> =
        world.notes(None).await?.into_iter().map(|entry| entry.note.message_id).collect();
    let all = messages.len();
    let new: Vec<DlqMessage> =
        messages.into_iter().filter(|message| !parked.contains(message.original_id())).collect();
    let mut imported = Imported {
        folder: args.folder.display().to_string(),
        dry_run: args.dry_run,
        parked_already: all - new.len(),
        ..Imported::default()
    };
    let (dlq, run) = (Dlq::new(world), format!("{:x}", world.now().0));
    for batch in batches(&new, 10) {
        let sent = match args.dry_run {
            true => vec![Ok(String::new()); batch.len()],
            false => {
                let name = |m: &DlqMessage| (m.turned_id(&run), m.attributes.clone());
                dlq.send(&world.settings.dlq_url, batch, name).await?
            }
        };
        for (message, outcome) in batch.iter().zip(sent) {
            match outcome {
                Err(failure) => *imported.not_taken.entry(failure.to_string()).or_default() += 1,
                Ok(_) => {
                    *imported.imported.entry(message.group_id.clone()).or_default() += 1;
                    if let Some(note) = note(message, world.now()).filter(|_| !args.dry_run) {
                        world.index.add(&message.group_id, &[note]).await?;
                    }
                }
            }
        }
    }
    output.show(&imported)?;
    Ok(if imported.not_taken.is_empty() { Exit::Fine } else { Exit::Finding })
}

/// The messages of a folder that `dlq export` or `dlq discard` wrote.
fn read(folder: &Path) -> Result<Vec<DlqMessage>> {
    let text = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|source| Error::File { path, source })
    };
    let (bodies, facts) = (text("messages.jsonl")?, text("facts.jsonl")?);
    let (bodies, facts): (Vec<&str>, Vec<&str>) = (bodies.lines().collect(), facts.lines().collect());
    let hint = "name a folder that `kvsw dlq export` or `kvsw dlq discard` has made";
    if bodies.len() != facts.len() {
        let told = format!("messages.jsonl has {} lines, facts.jsonl {}", bodies.len(), facts.len());
        return Err(usage(format!("{}: {told}", folder.display()), hint));
    }
    let messages = bodies.into_iter().zip(facts).enumerate().map(|(i, (body, facts))| {
        let wrong =
            || usage(format!("{}, line {} of facts.jsonl tells no message", folder.display(), i + 1), hint);
        message(body, facts).ok_or_else(wrong)
    });
    messages.collect()
}

fn message(body: &str, facts: &str) -> Option<DlqMessage> {
    let facts: Value = serde_json::from_str(facts).ok()?;
    let text = |name: &str| facts[name].as_str().map(str::to_owned);
    let attribute = |(name, value): (&String, &Value)| {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value.as_str()?);
        Some((name.clone(), value.build().ok()?))
    };
    let attributes: Attributes = facts["attributes"].as_object()?.iter().filter_map(attribute).collect();
    Some(DlqMessage {
        message_id: text("messageId")?,
        receipt_handle: String::new(),
        body: body.to_owned(),
        group_id: text("messageGroupId")?,
        deduplication_id: text("originalMessageId")?,
        sent_at: EpochMs(facts["sentAtMs"].as_u64()?),
        attributes,
    })
}

/// The note that the writer would have made; none of what SQS moved itself.
fn note(message: &DlqMessage, now: EpochMs) -> Option<ParkedNote> {
    let number = |name: &str| message.attribute(name).and_then(|n| n.parse::<u64>().ok());
    Some(ParkedNote {
        message_id: message.original_id().to_owned(),
        chunk_index: message.chunk_index(),
        captured_at: message.chunk().map(|chunk| chunk.captured_at),
        numbering: None,
        reason: message.attribute("reason")?.to_owned(),
        class: message.attribute("class").unwrap_or_default().to_owned(),
        attempts: number("attempts").and_then(|n| u32::try_from(n).ok()).unwrap_or_default(),
        first_failure_at: number("firstFailureAt").map_or(message.sent_at, EpochMs),
        parked_at: now,
    })
}

impl Show for Imported {
    fn text(&self, pen: Pen) -> String {
        let messages = count(self.imported.values().sum(), "message");
        let sessions = count(self.imported.len(), "session");
        let what = if self.dry_run { "would be put" } else { "put" };
        let mut lines = vec![format!("{messages} of {sessions} {what} into the DLQ from {}", self.folder)];
        if self.parked_already > 0 {
            lines.push(format!("{} left out: parked already", count(self.parked_already, "message")));
        }
        for (why, n) in &self.not_taken {
            lines.push(pen.tone(Tone::Bad, &format!("{} not taken: {why}", count(*n, "message"))));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::folder::MessageFolder;
    use super::super::message::message;
    use super::*;

    #[test]
    fn what_an_export_wrote_is_read_again() {
        let folder = std::env::temp_dir().join(format!("kvsw-import-{}", std::process::id()));
        let mut parked = message("m-1", "owl", "{\"chunkIndex\":7,\"timestamp\":9}");
        let text = |text: &str| {
            MessageAttributeValue::builder().data_type("String").string_value(text).build().unwrap()
        };
        for (name, value) in [("reason", "CRASHED"), ("class", "passing"), ("firstFailureAt", "5")] {
            parked.attributes.insert(name.into(), text(value));
        }
        let moved = message("m-2", "owl", "no JSON");
        MessageFolder::at(&folder).append(&[parked.clone(), moved.clone()]).unwrap();
        let again = read(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(again.len(), 2);
        assert_eq!((&again[0].body, &again[0].attributes), (&parked.body, &parked.attributes));
        assert_eq!((again[0].original_id(), &again[1].group_id), ("m-1", &moved.group_id));
        let note = note(&again[0], EpochMs(20)).unwrap();
        assert_eq!(
            (note.chunk_index, note.captured_at, note.parked_at),
            (Some(7), Some(EpochMs(9)), EpochMs(20))
        );
        assert_eq!((&note.reason[..], note.first_failure_at), ("CRASHED", EpochMs(5)));
        assert_eq!(super::note(&again[1], EpochMs(20)), None, "what SQS moved has no note");
        assert!(read(Path::new("/no/such/folder")).is_err());
    }
}
