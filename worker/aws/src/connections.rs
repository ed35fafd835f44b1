//! The Connections table: who speaks on a WebSocket connection. `connectionId`, `sessionId`, `role`, `connectedAt`
//! (epoch ms), `expiresAt` (epoch seconds, the table's TTL).
//!
//! Beside them, one item for each session names its speaker: `connectionId` is `speaker:` and the session (no connection has a
//! colon in its id), `sessionId` as above, `speaker` the connection, `connectedAt` since when, `expiresAt` as above.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use media::time::EpochMs;
use writer::ports::Result;

use crate::failure::{call, has_code};
use crate::items::{number, text};

/// API Gateway ends a connection after two hours; an item whose `$disconnect` never came goes a little later.
const KEEP_SECONDS: u64 = 3 * 3_600;

/// Who speaks on a connection, as the authorizer said when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The session.
    pub session_id: String,
    /// `speaker`, or one who only listens.
    pub role: String,
}

/// Which connection speaks for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// The connection.
    pub connection_id: String,
    /// Since when.
    pub since: EpochMs,
}

/// The Connections table.
#[derive(Clone, Debug)]
pub struct ConnectionsTable {
    client: Client,
    table: String,
}

impl ConnectionsTable {
    /// The table's key is `connectionId`, a string.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Records a connection.
    ///
    /// # Errors
    /// Those of PutItem.
    pub async fn put(&self, connection_id: &str, connection: &Connection, at: EpochMs) -> Result<()> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .item("connectionId", text(connection_id))
            .item("sessionId", text(&connection.session_id))
            .item("role", text(&connection.role))
            .item("connectedAt", number(at.0))
            .item("expiresAt", number(at.0 / 1_000 + KEEP_SECONDS));
        call("PutItem", put.send()).await.map(drop)
    }

    /// Makes a connection its session's speaker, unless a newer one is.
    ///
    /// # Errors
    /// Those of PutItem.
    pub async fn take_over(&self, session_id: &str, connection_id: &str, at: EpochMs) -> Result<()> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .item("connectionId", text(&speaker_key(session_id)))
            .item("sessionId", text(session_id))
            .item("speaker", text(connection_id))
            .item("connectedAt", number(at.0))
            .item("expiresAt", number(at.0 / 1_000 + KEEP_SECONDS))
            .condition_expression("attribute_not_exists(connectionId) OR connectedAt <= :at")
            .expression_attribute_values(":at", number(at.0));
        match call("PutItem", put.send()).await {
            Err(failure) if has_code(&failure, "ConditionalCheckFailedException") => Ok(()),
            put => put.map(drop),
        }
    }

    /// Which connection speaks for a session; eventually consistent, since each chunk asks.
    ///
    /// # Errors
    /// Those of GetItem.
    pub async fn speaker(&self, session_id: &str) -> Result<Option<Speaker>> {
        let key = text(&speaker_key(session_id));
        let asked = self.client.get_item().table_name(&self.table).key("connectionId", key);
        Ok(call("GetItem", asked.send()).await?.item.and_then(|item| {
            let connection_id = item.get("speaker")?.as_s().ok()?.clone();
            let since = EpochMs(item.get("connectedAt")?.as_n().ok()?.parse().ok()?);
            Some(Speaker { connection_id, since })
        }))
    }

    /// Looks a connection up, strongly consistent.
    ///
    /// # Errors
    /// Those of GetItem.
    pub async fn get(&self, connection_id: &str) -> Result<Option<Connection>> {
        let asked = self.client.get_item().table_name(&self.table).key("connectionId", text(connection_id));
        Ok(call("GetItem", asked.consistent_read(true).send()).await?.item.and_then(connection))
    }

    /// Forgets a connection, and says whose it was.
    ///
    /// # Errors
    /// Those of DeleteItem.
    pub async fn delete(&self, connection_id: &str) -> Result<Option<Connection>> {
        let asked = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("connectionId", text(connection_id))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllOld);
        Ok(call("DeleteItem", asked.send()).await?.attributes.and_then(connection))
    }
}

fn speaker_key(session_id: &str) -> String {
    format!("speaker:{session_id}")
}

fn connection(item: HashMap<String, AttributeValue>) -> Option<Connection> {
    let field = |name| item.get(name)?.as_s().ok().cloned();
    Some(Connection { session_id: field("sessionId")?, role: field("role")? })
}
