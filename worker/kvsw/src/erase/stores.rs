//! The stores that hold something of a session, one function each to look and one to erase.

use std::collections::HashMap;
use std::time::Duration;

use aws::failure::{call, has_code};
use aws::items::{Item, string_of, text};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesisvideo::types::{Status, StreamInfo};
use ingest::message::SessionId;
use tokio::time::Instant;

use crate::dlq::message::DlqMessage;
use crate::dlq::queue::Dlq;
use crate::error::Result;
use crate::world::World;

/// How long a message of another session is hidden at most while the chunk queue is looked through.
const HIDDEN_SECONDS: u32 = 10;
/// How long the chunk queue is looked through: the other sessions' chunks wait no longer.
const LOOK_FOR: Duration = Duration::from_secs(5);
/// Connections that one look takes in, at most.
const MAX_SCANNED: usize = 100_000;

/// What a look through the chunk queue found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Messages of the session; they are deleted.
    pub deleted: usize,
    /// Nothing more was to be received: all that is visible was seen.
    pub whole: bool,
}

/// Deletes the session's messages from the chunk queue. Other sessions' messages are shown again at once; their chunks are
/// delayed by [`LOOK_FOR`] at most.
pub(super) async fn look_through_queue(world: &World, session: &SessionId) -> Result<Looked> {
    let queue = Dlq::at(world, &world.settings.queue_url);
    let (mut looked, mut others, began) = (Looked::default(), Vec::new(), Instant::now());
    let outcome = loop {
        if began.elapsed() >= LOOK_FOR {
            break Ok(());
        }
        let received = match queue.receive(HIDDEN_SECONDS).await {
            Ok(received) => received,
            Err(error) => break Err(error),
        };
        if received.is_empty() {
            looked.whole = true;
            break Ok(());
        }
        let (own, other): (Vec<DlqMessage>, Vec<_>) =
            received.into_iter().partition(|message| message.group_id == session.as_str());
        others.extend(other.into_iter().map(|message| message.receipt_handle));
        match queue.delete(&own.iter().collect::<Vec<_>>()).await {
            Ok(left) => looked.deleted += own.len() - left.len(),
            Err(error) => break Err(error),
        }
    };
    queue.hide(&others, 0).await?;
    outcome.map(|()| looked)
}

/// Keys of the session's items in the state table: checkpoint, snapshots, chunks set aside.
pub(super) async fn state_keys(world: &World, session: &SessionId) -> Result<Vec<Item>> {
    let (mut keys, mut from) = (Vec::new(), None);
    loop {
        let asked = world.dynamodb.query().table_name(&world.settings.state_table).consistent_read(true);
        let asked = asked.key_condition_expression("pk = :pk").projection_expression("pk, sk");
        let asked = asked.expression_attribute_values(":pk", text(session.as_str()));
        let page = call("Query", asked.set_exclusive_start_key(from).send()).await?;
        keys.extend(page.items.unwrap_or_default());
        from = page.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() {
            return Ok(keys);
        }
    }
}

/// Keys of the session's connections.
pub(super) async fn connection_keys(world: &World, table: &str, session: &SessionId) -> Result<Vec<Item>> {
    let (mut keys, mut from, mut scanned) = (Vec::new(), None, 0);
    loop {
        let asked = world.dynamodb.scan().table_name(table).filter_expression("sessionId = :session");
        let asked = asked.expression_attribute_values(":session", text(session.as_str()));
        let asked = asked.projection_expression("connectionId").set_exclusive_start_key(from);
        let page = call("Scan", asked.send()).await?;
        scanned += usize::try_from(page.scanned_count).unwrap_or_default().max(1);
        let items = page.items.unwrap_or_default();
        let ids = items.iter().filter_map(|item| string_of(item, "connectionId"));
        keys.extend(ids.map(|id| Item::from([("connectionId".to_owned(), text(id))])));
        from = page.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() || scanned >= MAX_SCANNED {
            return Ok(keys);
        }
    }
}

/// Deletes items, one call each: there are few, and each may fail by itself.
pub(super) async fn delete_items(world: &World, table: &str, keys: Vec<Item>) -> Result<()> {
    for key in keys {
        let asked = world.dynamodb.delete_item().table_name(table).set_key(Some(key));
        call("DeleteItem", asked.send()).await?;
    }
    Ok(())
}

/// Whether the Sessions table has the session.
pub(super) async fn has_row(world: &World, session: &SessionId) -> Result<bool> {
    let asked = world.dynamodb.get_item().table_name(&world.settings.sessions_table).consistent_read(true);
    let asked = asked.set_key(Some(row(session))).projection_expression("sessionId");
    Ok(call("GetItem", asked.send()).await?.item.is_some())
}

/// Deletes the session from the Sessions table, if it has ended. `false` where it has not: somebody made it active meanwhile.
pub(super) async fn delete_row(world: &World, session: &SessionId) -> Result<bool> {
    let asked = world.dynamodb.delete_item().table_name(&world.settings.sessions_table);
    let ended = "attribute_not_exists(sessionId) OR attribute_exists(endedAt) OR #status = :ended";
    let asked = asked.set_key(Some(row(session))).condition_expression(ended);
    let asked = asked.expression_attribute_names("#status", "status");
    let asked = asked.expression_attribute_values(":ended", text("ended"));
    match call("DeleteItem", asked.send()).await {
        Err(failure) if has_code(&failure, "ConditionalCheckFailedException") => Ok(false),
        outcome => Ok(outcome.map(|_| true)?),
    }
}

fn row(session: &SessionId) -> HashMap<String, AttributeValue> {
    Item::from([("sessionId".to_owned(), text(session.as_str()))])
}

/// The session's stream, unless it is being deleted already.
pub(super) async fn stream(world: &World, session: &SessionId) -> Result<Option<StreamInfo>> {
    let asked = world.streams.describe_stream().stream_name(session.stream_name());
    match call("DescribeStream", asked.send()).await {
        Err(failure) if has_code(&failure, "ResourceNotFoundException") => Ok(None),
        told => Ok(told?.stream_info.filter(|stream| stream.status != Some(Status::Deleting))),
    }
}

/// Deletes the stream with all its fragments.
pub(super) async fn delete_stream(world: &World, stream: &StreamInfo) -> Result<()> {
    let asked = world.streams.delete_stream().set_stream_arn(stream.stream_arn.clone());
    match call("DeleteStream", asked.send()).await {
        Err(failure) if has_code(&failure, "ResourceNotFoundException") => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}
