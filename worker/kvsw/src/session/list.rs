//! `kvsw session list`: the sessions of the Sessions table, and those of which something is parked, with what the writer knows of
//! each.

use std::collections::BTreeMap;

use aws::failure::call;
use aws::items::{Item, number_of, string_of};
use aws::settings;
use ingest::message::SessionId;
use media::time::EpochMs;
use reader::text::{count, length};
use serde::Serialize;

use crate::args::{SessionList, SessionState};
use crate::error::{Exit, Result, no_table};
use crate::output::{Output, Pen, Show, table};
use crate::world::World;

/// Rows of the Sessions table that are looked at, at most.
const MAX_SCANNED: usize = 100_000;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Which.
    pub session_id: String,
    /// `active`, `ended`, or `unknown` where the table has no row of it and messages of it are parked.
    pub status: &'static str,
    /// When it ended, epoch ms, where the table tells.
    pub ended_at: Option<u64>,
    /// When the writer last touched it, epoch ms; `None` where it never sent a chunk.
    pub last_activity: Option<u64>,
    /// Its parked messages, by the writer's notes.
    pub parked: usize,
    /// For how long it has been quiet, ms.
    pub quiet_ms: Option<u64>,
}

/// The sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    /// The latest activity first.
    pub sessions: Vec<Listed>,
    /// Sessions that fit and are not shown.
    pub more: usize,
    /// Not the whole table was looked at.
    pub cut: bool,
}

/// The command.
///
/// # Errors
/// Those of the tables.
pub async fn run(world: &World, output: &Output, args: &SessionList) -> Result<Exit> {
    let (mut sessions, cut) = scan(world, args.status).await?;
    sessions.sort_by(|a, b| (b.last_activity, &a.session_id).cmp(&(a.last_activity, &b.session_id)));
    let more = sessions.len().saturating_sub(args.limit as usize);
    sessions.truncate(args.limit as usize);
    output.show(&Sessions { sessions, more, cut })?;
    Ok(Exit::Fine)
}

async fn scan(world: &World, state: Option<SessionState>) -> Result<(Vec<Listed>, bool)> {
    let mut parked: BTreeMap<String, usize> = BTreeMap::new();
    world.notes(None).await?.into_iter().for_each(|entry| *parked.entry(entry.session_id).or_default() += 1);
    let (mut listed, mut from, mut scanned) = (Vec::new(), None, 0);
    loop {
        let asked = world.dynamodb.scan().table_name(&world.settings.sessions_table);
        let asked = asked.projection_expression("sessionId, #status, endedAt");
        let asked = asked.expression_attribute_names("#status", "status").set_exclusive_start_key(from);
        let page = call("Scan", asked.send())
            .await
            .map_err(|failure| no_table(settings::SESSIONS_TABLE, &world.settings.sessions_table, failure))?;
        scanned += usize::try_from(page.scanned_count).unwrap_or_default().max(1);
        let rows: Vec<(SessionId, Item)> =
            page.items.unwrap_or_default().into_iter().filter_map(row).collect();
        let ids: Vec<SessionId> = rows.iter().map(|(id, _)| id.clone()).collect();
        let activity = world.state.last_activity(&ids).await?;
        for (id, item) in rows {
            let last = activity.get(&id).copied();
            let own = parked.remove(id.as_str()).unwrap_or_default();
            listed.push(of(id.as_str(), status(&item), (last, own), world.now()));
        }
        from = page.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() || scanned >= MAX_SCANNED {
            if from.is_none() {
                listed.append(&mut unknown(world, parked).await?);
            }
            listed.retain(|session| state.is_none_or(|state| state.name() == session.status));
            return Ok((listed, from.is_some()));
        }
    }
}

fn row(item: Item) -> Option<(SessionId, Item)> {
    Some((SessionId::parse(string_of(&item, "sessionId")?).ok()?, item))
}

/// Who has parked messages and no row: a session that was never added, or whose row was deleted.
async fn unknown(world: &World, parked: BTreeMap<String, usize>) -> Result<Vec<Listed>> {
    let ids: Vec<SessionId> = parked.keys().filter_map(|id| SessionId::parse(id).ok()).collect();
    let activity = world.state.last_activity(&ids).await?;
    let last = |id: &str| activity.get(&SessionId::parse(id).ok()?).copied();
    let listed = parked.iter().map(|(id, n)| of(id, ("unknown", None), (last(id), *n), world.now()));
    Ok(listed.collect())
}

/// What a row says: the status, and when it ended.
fn status(item: &Item) -> (&'static str, Option<u64>) {
    let ended_at = number_of(item, "endedAt");
    let ended = ended_at.is_some() || string_of(item, "status") == Some("ended");
    (if ended { "ended" } else { "active" }, ended_at)
}

fn of(
    session_id: &str,
    (status, ended_at): (&'static str, Option<u64>),
    (last, parked): (Option<EpochMs>, usize),
    now: EpochMs,
) -> Listed {
    Listed {
        session_id: session_id.to_owned(),
        status,
        ended_at,
        last_activity: last.map(|at| at.0),
        parked,
        quiet_ms: last.map(|at| now.ms_since(at)),
    }
}

impl Show for Sessions {
    fn text(&self, _: Pen) -> String {
        let rows = self.sessions.iter().map(|session| {
            let quiet = match (session.quiet_ms, session.parked) {
                (Some(ms), _) => format!("{} ago", length(ms)),
                (None, 0) => "never sent a chunk".to_owned(),
                (None, _) => "nothing written".to_owned(),
            };
            let parked = if session.parked > 0 { session.parked.to_string() } else { "-".into() };
            [session.session_id.clone(), session.status.into(), quiet, parked]
        });
        let mut lines = Vec::new();
        if !self.sessions.is_empty() {
            lines.push(table(["SESSION", "STATUS", "LAST ACTIVITY", "PARKED"], rows));
        }
        let mut total = count(self.sessions.len(), "session");
        if self.more > 0 {
            total.push_str(&format!(", {} more; --limit shows more", self.more));
        }
        if self.cut {
            total.push_str("; the table has more than was looked at");
        }
        lines.push(total);
        lines.join("\n")
    }
}
