//! The [`Backend`] on AWS.

use std::sync::{Mutex, PoisonError};

use aws::clock::SystemClock;
use aws::connections::{Connection, ConnectionsTable, Speaker};
use aws::queue::ChunkSender;
use aws::sessions::SessionsTable;
use aws::settings::GatewaySettings;
use aws::store::StateTable;
use ingest::message::SessionId;
use media::time::EpochMs;
use writer::ports::{Clock as _, SessionStatus, Sessions as _, Store as _};

use super::budget::Budget;
use super::message::Enqueue;
use super::{Backend, Outcome};

/// The tables and the queue.
#[derive(Debug)]
pub struct AwsBackend {
    sessions: SessionsTable,
    connections: ConnectionsTable,
    state: StateTable,
    queue: ChunkSender,
    budget: Mutex<Budget>,
}

impl AwsBackend {
    /// Loads the SDK's configuration and builds the clients. Connects to nothing yet.
    pub async fn connect(settings: GatewaySettings) -> Self {
        let config = aws::config::load().await;
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        Self {
            sessions: SessionsTable::new(dynamodb.clone(), settings.sessions_table),
            connections: ConnectionsTable::new(dynamodb.clone(), settings.connections_table),
            state: StateTable::new(dynamodb, settings.state_table),
            queue: ChunkSender::new(aws_sdk_sqs::Client::new(&config), settings.queue_url),
            budget: Mutex::default(),
        }
    }
}

impl Backend for AwsBackend {
    async fn status(&self, session: &SessionId) -> Outcome<SessionStatus> {
        self.sessions.status(session).await
    }

    async fn connect(&self, id: &str, connection: &Connection, at: EpochMs) -> Outcome<()> {
        self.connections.put(id, connection, at).await
    }

    async fn take_over(&self, session: &SessionId, id: &str, at: EpochMs) -> Outcome<()> {
        self.connections.take_over(session.as_str(), id, at).await
    }

    async fn speaker(&self, session: &SessionId) -> Outcome<Option<Speaker>> {
        self.connections.speaker(session.as_str()).await
    }

    async fn connection(&self, id: &str) -> Outcome<Option<Connection>> {
        self.connections.get(id).await
    }

    async fn disconnect(&self, id: &str) -> Outcome<Option<Connection>> {
        self.connections.delete(id).await
    }

    fn may_send(&self, session: &SessionId) -> bool {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).take(session, self.now())
    }

    async fn send(&self, message: Enqueue) -> Outcome<()> {
        let Enqueue { group_id, deduplication_id, body, traceparent, captured_at: _, told: _ } = message;
        self.queue.send(&group_id, &deduplication_id, body, traceparent).await
    }

    async fn checkpoint(&self, session: &SessionId) -> Outcome<Option<Vec<u8>>> {
        Ok(self.state.load(session).await?.map(|stored| stored.bytes))
    }

    fn now(&self) -> EpochMs {
        SystemClock.now()
    }
}
