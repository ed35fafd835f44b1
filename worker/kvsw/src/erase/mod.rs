//! `kvsw erase`: everything that the deployment holds of one session, found, deleted and looked for again.
//!
//! Only a session that has ended is erased, and only when no warm writer can believe it active any more. Its row in the Sessions
//! table goes first: from then on nobody connects to it, and the writer parks what still comes instead of writing it. The DLQ
//! goes after the chunk queue, since what was in flight may be parked meanwhile.

mod stores;

use std::time::Duration;

use ingest::message::SessionId;
use reader::text::{count, length};
use serde::Serialize;
use writer::ports::SessionStatus;

use crate::args::{self, Filter};
use crate::confirm;
use crate::dlq::message::DlqMessage;
use crate::dlq::queue::right_queue;
use crate::dlq::select::Selection;
use crate::dlq::walk::{Acted, walk};
use crate::error::{Exit, Result, usage};
use crate::output::{Output, Pen, Show, Tone};
use crate::stop::Stop;
use crate::world::World;

/// A writer that is warm believes a session active for 2 s, and an invocation lasts 10 s.
const SETTLED: Duration = Duration::from_secs(60);

/// What kvsw cannot reach.
const OUT_OF_REACH: [&str; 5] = [
    "log groups in CloudWatch: the session's name, no audio; they expire by their retention",
    "point-in-time recovery of the tables: up to 35 days",
    "what readers of the stream and of EventBridge's events have kept",
    "folders and files of `kvsw dlq export`, `dlq discard` and `session export`",
    "chunks that the speaker's browser still keeps on its disk",
];

/// What the stores hold of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holdings {
    /// Its row in the Sessions table.
    pub row: bool,
    /// Its connections; `None` where CONNECTIONS_TABLE is not known.
    pub connections: Option<usize>,
    /// Items in the state table: checkpoint, snapshots, chunks set aside.
    pub state_items: usize,
    /// Messages in the DLQ that the writer noted.
    pub parked: usize,
    /// Messages in the DLQ of which no note speaks, of any session.
    pub without_note: usize,
    /// Messages in the chunk queue, of any session: only receiving them shows whose they are.
    pub queued: usize,
    /// Its stream, with all fragments.
    pub stream: bool,
}

impl Holdings {
    /// Whether nothing of the session is known to be anywhere.
    fn is_empty(&self) -> bool {
        let connections = self.connections.unwrap_or_default();
        !self.row && connections == 0 && self.state_items == 0 && self.parked == 0 && !self.stream
    }
}

/// What was deleted where only deleting tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Erased {
    /// Messages deleted from the chunk queue.
    pub queued: usize,
    /// Messages deleted from the DLQ, noted or not.
    pub parked: usize,
    /// What is still there, looked for afterwards; nothing of it if all went well.
    pub left: Holdings,
    /// Messages of the session that the queues still showed afterwards; they were deleted too.
    pub came_after: usize,
    /// Whether the chunk queue was seen to its end.
    pub whole_queue_seen: bool,
}

/// All of an erasure.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Erasure {
    /// Which session.
    pub session_id: String,
    /// What there was.
    pub found: Holdings,
    /// What was done; `None` in a dry run.
    pub erased: Option<Erased>,
    /// What kvsw cannot reach.
    pub out_of_reach: [&'static str; 5],
}

/// The command.
///
/// # Errors
/// Those of the services; wrong use, where the session is active or ended just now.
pub async fn run(world: &World, output: &Output, args: &args::Erase) -> Result<Exit> {
    let session = &args.session;
    right_queue(world).await?;
    let status = world.status(session).await?;
    let connections = args.connections_table.as_deref().filter(|table| !table.is_empty());
    let found = holdings(world, session, connections).await?;
    let mut erasure =
        Erasure { session_id: session.to_string(), found, erased: None, out_of_reach: OUT_OF_REACH };
    if args.dry_run {
        output.show(&erasure)?;
        return Ok(Exit::Fine);
    }
    may_be_erased(world, session, status)?;
    if !args.yes {
        confirm::possible("erasing", "--yes erases without asking; --dry-run shows what")?;
        output.say(&erasure.text(Pen::PLAIN));
        if !confirm::agreed("erase all of this? Nothing brings it back.") {
            output.say("nothing was erased");
            return Ok(Exit::Finding);
        }
    }
    let erased = erase(world, session, connections).await?;
    let gone = erased.left.is_empty() && erased.came_after == 0 && erased.whole_queue_seen;
    erasure.erased = Some(erased);
    output.show(&erasure)?;
    Ok(if gone { Exit::Fine } else { Exit::Finding })
}

/// Refuses a session that may still be spoken in or written.
fn may_be_erased(world: &World, session: &SessionId, status: SessionStatus) -> Result<()> {
    let settled_ms = SETTLED.as_millis() as u64;
    match status {
        SessionStatus::Active => Err(usage(
            format!("session {session} is active; nothing was erased"),
            format!(
                "end it first (docs/runbook.md, Erasure), then run this again after {}",
                length(settled_ms)
            ),
        )),
        SessionStatus::Ended { at: Some(at) } => {
            let ago_ms = world.now().ms_since(at);
            match settled_ms.saturating_sub(ago_ms) {
                0 => Ok(()),
                left_ms => Err(usage(
                    format!("session {session} ended {} ago; nothing was erased", length(ago_ms)),
                    format!("run this again in {}: until then it may still be written", length(left_ms)),
                )),
            }
        }
        SessionStatus::Ended { at: None } | SessionStatus::Unknown => Ok(()),
    }
}

async fn holdings(world: &World, session: &SessionId, connections: Option<&str>) -> Result<Holdings> {
    let connections = async {
        match connections {
            Some(table) => Ok(Some(stores::connection_keys(world, table, session).await?.len())),
            None => Ok(None),
        }
    };
    let queue = world.queue_attributes(&world.settings.queue_url);
    let (row, connections, state, notes, depth, queue, stream) = futures::try_join!(
        stores::has_row(world, session),
        connections,
        stores::state_keys(world, session),
        world.notes(None),
        world.dlq_depth(),
        queue,
        stores::stream(world, session),
    )?;
    Ok(Holdings {
        row,
        connections,
        state_items: state.len(),
        parked: notes.iter().filter(|entry| entry.session_id == session.as_str()).count(),
        without_note: depth.total().saturating_sub(notes.len()),
        queued: aws::queue::Depth::of(&queue).total(),
        stream: stream.is_some(),
    })
}

async fn erase(world: &World, session: &SessionId, connections: Option<&str>) -> Result<Erased> {
    if !stores::delete_row(world, session).await? {
        may_be_erased(world, session, SessionStatus::Active)?;
    }
    let queued = stores::look_through_queue(world, session).await?;
    let parked = erase_stored(world, session, connections).await?;
    // The proof: what the stores say now, and what the queues show to somebody who receives.
    let again = stores::look_through_queue(world, session).await?;
    let came_after = again.deleted + erase_parked(world, session).await?;
    Ok(Erased {
        queued: queued.deleted,
        parked,
        left: holdings(world, session, connections).await?,
        came_after,
        whole_queue_seen: again.whole,
    })
}

/// Deletes from all stores but the chunk queue. Returns the messages deleted from the DLQ.
async fn erase_stored(world: &World, session: &SessionId, connections: Option<&str>) -> Result<usize> {
    if let Some(table) = connections {
        let keys = stores::connection_keys(world, table, session).await?;
        stores::delete_items(world, table, keys).await?;
    }
    let keys = stores::state_keys(world, session).await?;
    stores::delete_items(world, &world.settings.state_table, keys).await?;
    if let Some(stream) = stores::stream(world, session).await? {
        stores::delete_stream(world, &stream).await?;
    }
    erase_parked(world, session).await
}

/// Deletes the session's messages from the DLQ, and its notes.
async fn erase_parked(world: &World, session: &SessionId) -> Result<usize> {
    let filter = Filter { session: Some(session.to_string()), ..Filter::default() };
    let notes = world.notes(None).await?;
    // The count lags, and a message without a note is looked for in any case.
    let selection = Selection::new(&filter, &notes, usize::MAX, world.now());
    let mut deleted = 0;
    walk(world, selection, &Stop::listen(), async |dlq, messages| {
        let all: Vec<&DlqMessage> = messages.iter().collect();
        deleted += all.len() - dlq.remove(&all).await?;
        Ok(Acted { gone: messages.into_iter().map(|message| message.message_id).collect(), ends: false })
    })
    .await?;
    let notes = world.notes(Some(session.as_str())).await?;
    world.forget(notes.iter().map(|entry| (&entry.session_id[..], &entry.note.message_id[..]))).await?;
    Ok(deleted)
}

impl Show for Erasure {
    fn text(&self, pen: Pen) -> String {
        let mut lines = match &self.erased {
            None => self.found.lines(&self.session_id, pen),
            Some(erased) => erased.lines(&self.session_id, &self.found, pen),
        };
        if self.found.connections.is_none() {
            let text = "connections: not looked for; set CONNECTIONS_TABLE or give --connections-table";
            lines.push(pen.tone(Tone::Warn, text));
        }
        lines.push("out of reach:".into());
        lines.extend(self.out_of_reach.iter().map(|what| format!("  {what}")));
        lines.join("\n")
    }
}

impl Holdings {
    /// Each store that holds something.
    fn parts(&self) -> Vec<String> {
        let mut parts = Vec::new();
        if self.row {
            parts.push("its row in the Sessions table".to_owned());
        }
        for (n, what) in [
            (self.connections.unwrap_or_default(), "connection"),
            (self.state_items, "item of its state"),
            (self.parked, "parked message"),
        ] {
            if n > 0 {
                parts.push(count(n, what).replace("item of its states", "items of its state"));
            }
        }
        if self.stream {
            parts.push("its stream".into());
        }
        parts
    }

    fn lines(&self, session: &str, pen: Pen) -> Vec<String> {
        let mut lines = vec![match self.is_empty() {
            true => pen.tone(Tone::Good, &format!("nothing of session {session} is known to be stored")),
            false => format!("of session {session}: {}", self.parts().join(", ")),
        }];
        for (n, place) in [(self.queued, "chunk queue"), (self.without_note, "DLQ without a note")] {
            if n > 0 {
                lines.push(format!(
                    "{} in the {place}, of any session: erasing looks through them",
                    count(n, "message")
                ));
            }
        }
        lines
    }
}

impl Erased {
    fn lines(&self, session: &str, found: &Holdings, pen: Pen) -> Vec<String> {
        let mut parts = found.parts();
        parts.retain(|part| !part.contains("parked message"));
        for (n, place) in [(self.queued, "the chunk queue"), (self.parked, "the DLQ")] {
            if n > 0 {
                parts.push(format!("{} from {place}", count(n, "message")));
            }
        }
        let mut lines = vec![match parts.is_empty() {
            true => format!("nothing of session {session} was stored"),
            false => format!("erased of session {session}: {}", parts.join(", ")),
        }];
        let left = self.left.parts();
        if !left.is_empty() {
            lines.push(pen.tone(Tone::Bad, &format!("still there: {}; run it again", left.join(", "))));
        }
        if self.came_after > 0 {
            let text = format!(
                "{} came meanwhile and were erased too; run it again",
                count(self.came_after, "message")
            );
            lines.push(pen.tone(Tone::Warn, &text));
        }
        if !self.whole_queue_seen {
            let text = "the chunk queue was too busy to be seen to its end; run it again";
            lines.push(pen.tone(Tone::Warn, text));
        }
        if left.is_empty() && self.came_after == 0 && self.whole_queue_seen {
            let text = "looked for again: nothing of it in the queues, the tables and Kinesis Video";
            lines.push(pen.tone(Tone::Good, text));
        }
        lines
    }
}
