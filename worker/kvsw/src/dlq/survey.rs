//! What a plan needs to know of the world.

use std::collections::{BTreeMap, BTreeSet};

use aws::failure::{call, has_code};
use aws::parked_index::Entry;
use futures::{StreamExt as _, TryStreamExt as _};
use ingest::message::SessionId;
use reader::stream::patiently;
use writer::ports::SessionStatus;

use super::plan::{Plan, SessionFacts, Unnoted};
use super::select::fits_some;
use crate::args::Filter;
use crate::error::Result;
use crate::output::Output;
use crate::world::World;

/// Sessions that are asked for at the same time.
const AT_ONCE: usize = 8;

/// A plan, and what it was made of.
#[derive(Debug)]
pub struct Survey {
    /// What will happen.
    pub plan: Plan,
    /// All notes.
    pub notes: Vec<Entry>,
    /// Messages in the queue without a note.
    pub without_note: usize,
}

/// Surveys what `filter` chooses, and plans.
///
/// # Errors
/// Those of the state table, the Sessions table, the DLQ and Kinesis Video; wrong use, where the filter names no known reason.
pub async fn survey(world: &World, output: &Output, filter: &Filter) -> Result<Survey> {
    let (notes, depth) = futures::try_join!(world.notes(None), world.dlq_depth())?;
    let (without_note, now) = (depth.total().saturating_sub(notes.len()), world.now());
    let mut plan = Plan::default();
    if fits_some(output, filter, &notes, without_note, now)? {
        let mut sessions: BTreeMap<&str, (Vec<Entry>, Vec<Entry>)> = BTreeMap::new();
        let chosen = filter.choose(&notes, now);
        let ids: BTreeSet<&str> = chosen.iter().map(|entry| entry.note.message_id.as_str()).collect();
        for entry in &notes {
            let (moving, staying) = sessions.entry(&entry.session_id).or_default();
            let is_chosen = ids.contains(entry.note.message_id.as_str());
            if is_chosen { moving.push(entry.clone()) } else { staying.push(entry.clone()) }
        }
        let sessions = sessions.into_iter().filter(|(_, (moving, _))| !moving.is_empty());
        let facts =
            sessions.map(|(session, (moving, staying))| facts(world, session.to_owned(), moving, staying));
        let facts: Vec<SessionFacts> = futures::stream::iter(facts).buffered(AT_ONCE).try_collect().await?;
        let (meant, only_of) = (filter.reaches_unnoted(), filter.session.clone());
        plan = super::plan::plan(&facts, now, Unnoted { messages: without_note, meant, only_of });
    }
    Ok(Survey { plan, notes, without_note })
}

async fn facts(
    world: &World,
    session_id: String,
    chosen: Vec<Entry>,
    staying: Vec<Entry>,
) -> Result<SessionFacts> {
    let mut facts = SessionFacts {
        session_id,
        status: SessionStatus::Unknown,
        checkpoint: None,
        placeable: BTreeSet::new(),
        retention_hours: None,
        chosen,
        staying,
    };
    // A refused message's group may be no session's name at all; then nothing can be known of it.
    let Ok(session) = SessionId::parse(&facts.session_id) else { return Ok(facts) };
    let (status, checkpoint, hours) = futures::try_join!(
        world.status(&session),
        world.checkpoint(&session),
        retention_hours(world, &session)
    )?;
    if let Some(checkpoint) = &checkpoint {
        facts.placeable = world.placeable(&session, checkpoint).await?;
    }
    Ok(SessionFacts { status, checkpoint, retention_hours: hours, ..facts })
}

/// `None` where there is no stream; the writer makes one.
async fn retention_hours(world: &World, session: &SessionId) -> Result<Option<u64>> {
    let described = patiently(async || {
        let asked = world.streams.describe_stream().stream_name(session.stream_name());
        call("DescribeStream", asked.send()).await
    });
    match described.await {
        Ok(answer) => {
            Ok(answer.stream_info.and_then(|info| u64::try_from(info.data_retention_in_hours?).ok()))
        }
        Err(failure) if has_code(&failure, "ResourceNotFoundException") => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}
