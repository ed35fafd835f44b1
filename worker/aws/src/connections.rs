//! The Connections table: who speaks on a WebSocket connection. `connectionId`, `sessionId`, `role`, `connectedAt`
//! (epoch ms), `expiresAt` (epoch seconds, the table's TTL).

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use media::time::EpochMs;
use writer::ports::Result;

use crate::failure::call;
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

fn connection(item: HashMap<String, AttributeValue>) -> Option<Connection> {
    let field = |name| item.get(name)?.as_s().ok().cloned();
    Some(Connection { session_id: field("sessionId")?, role: field("role")? })
}
