//! The clients that commands use, and what several of them ask.

use std::collections::{BTreeMap, BTreeSet};

use aws::config::load_in_region;
use aws::parked_index::{Entry, ParkedIndex};
use aws::queue::{self, Depth};
use aws::sessions::SessionsTable;
use aws::settings::{self, Settings};
use aws::store::StateTable;
use aws_config::SdkConfig;
use ingest::checkpoint::Checkpoint;
use ingest::failure::ServiceFailure;
use ingest::message::SessionId;
use media::time::EpochMs;
use reader::stream::StreamReader;
use writer::ports::{Clock as _, SessionStatus, Sessions as _, Store as _};

use crate::args::check_region;
use crate::error::{Error, Result, is_no_queue, no_table, usage};

/// Clients and names.
#[derive(Debug)]
pub struct World {
    /// Region, credentials, endpoints.
    pub config: SdkConfig,
    /// Where everything is.
    pub settings: Settings,
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
    /// DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Kinesis Video's control plane.
    pub streams: aws_sdk_kinesisvideo::Client,
    /// The writer's checkpoints.
    pub state: StateTable,
    /// Notes of what is parked.
    pub index: ParkedIndex,
    /// The application's sessions.
    pub sessions: SessionsTable,
}

impl World {
    /// Loads the SDK's configuration and builds the clients. Connects to nothing yet.
    ///
    /// # Errors
    /// Wrong use, where the Region is not known.
    pub async fn connect(settings: Settings) -> Result<Self> {
        let config = load_in_region().await;
        let config = config
            .map_err(|missing| usage(missing.to_string(), "export AWS_REGION=…, the Region of the stack"))?;
        check_region(&config.region().map(ToString::to_string).unwrap_or_default())?;
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        Ok(Self {
            sqs: aws_sdk_sqs::Client::new(&config),
            streams: aws_sdk_kinesisvideo::Client::new(&config),
            state: StateTable::new(dynamodb.clone(), settings.state_table.clone()),
            index: ParkedIndex::new(dynamodb.clone(), settings.state_table.clone()),
            sessions: SessionsTable::new(dynamodb.clone(), settings.sessions_table.clone()),
            dynamodb,
            config,
            settings,
        })
    }

    /// Now.
    pub fn now(&self) -> EpochMs {
        aws::clock::SystemClock.now()
    }

    /// The session's stream.
    pub fn stream(&self, session: &SessionId) -> StreamReader {
        StreamReader::new(&self.config, &session.stream_name())
    }

    /// Notes of parked messages, by group, then by index.
    ///
    /// # Errors
    /// Those of the state table.
    pub async fn notes(&self, session: Option<&str>) -> Result<Vec<Entry>> {
        let notes = self.index.list(session, self.now()).await;
        let mut notes = notes.map_err(|failure| self.state_error(failure))?;
        notes.retain(|entry| session.is_none_or(|session| session == entry.session_id));
        Ok(notes)
    }

    /// Deletes notes, by group and by the id under which the message was parked.
    ///
    /// # Errors
    /// Those of the state table.
    pub async fn forget<'n>(&self, ids: impl Iterator<Item = (&'n str, &'n str)>) -> Result<()> {
        let mut by_group: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        ids.for_each(|(group, id)| by_group.entry(group).or_default().push(id.to_owned()));
        for (group, ids) in by_group {
            self.index.remove(group, &ids).await?;
        }
        Ok(())
    }

    /// A session's checkpoint, strongly consistent.
    ///
    /// # Errors
    /// Those of the state table; a checkpoint that this version cannot read.
    pub async fn checkpoint(&self, session: &SessionId) -> Result<Option<Checkpoint>> {
        let stored = self.state.load(session).await.map_err(|failure| self.state_error(failure))?;
        let Some(stored) = stored else { return Ok(None) };
        let checkpoint = Checkpoint::decode(&stored.bytes);
        checkpoint.map(Some).map_err(|source| Error::State { session_id: session.to_string(), source })
    }

    /// Gaps whose state before them is still stored, by numbering and first index: only these can be filled.
    ///
    /// # Errors
    /// Those of the state table.
    pub async fn placeable(
        &self,
        session: &SessionId,
        checkpoint: &Checkpoint,
    ) -> Result<BTreeSet<(u32, u64)>> {
        // Gaps may share a snapshot.
        let keys: BTreeSet<&str> = checkpoint.gaps.iter().map(|gap| gap.snapshot.as_str()).collect();
        let stored = self.state.stored_snapshots(session, &keys).await?;
        let gaps = checkpoint.gaps.iter().filter(|gap| stored.contains(gap.snapshot.as_str()));
        Ok(gaps.map(|gap| (gap.chunks.numbering, gap.chunks.from)).collect())
    }

    /// A session's status, by the Sessions table.
    ///
    /// # Errors
    /// Those of the Sessions table.
    pub async fn status(&self, session: &SessionId) -> Result<SessionStatus> {
        let name = &self.settings.sessions_table;
        let status = self.sessions.status(session).await;
        status.map_err(|failure| no_table(settings::SESSIONS_TABLE, name, failure))
    }

    fn state_error(&self, failure: ServiceFailure) -> Error {
        no_table(settings::STATE_TABLE, &self.settings.state_table, failure)
    }

    /// A queue's attributes.
    ///
    /// # Errors
    /// Those of GetQueueAttributes; where there is no such queue, it names the variable.
    pub async fn queue_attributes(&self, url: &str) -> Result<BTreeMap<String, String>> {
        queue::attributes(&self.sqs, url).await.map_err(|failure| self.queue_error(url, failure))
    }

    /// A failed call to a queue; where there is no such queue, the error names the variable.
    pub fn queue_error(&self, url: &str, failure: ServiceFailure) -> Error {
        if !is_no_queue(&failure) {
            return failure.into();
        }
        let variable = if url == self.settings.dlq_url { settings::DLQ_URL } else { settings::QUEUE_URL };
        Error::NoQueue { variable, url: url.to_owned() }
    }

    /// How many messages the DLQ holds.
    ///
    /// # Errors
    /// Those of GetQueueAttributes.
    pub async fn dlq_depth(&self) -> Result<Depth> {
        Ok(Depth::of(&self.queue_attributes(&self.settings.dlq_url).await?))
    }
}

/// A session's status in a word.
pub fn status_name(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Active => "active",
        SessionStatus::Ended { .. } => "ended",
        SessionStatus::Unknown => "unknown",
    }
}
