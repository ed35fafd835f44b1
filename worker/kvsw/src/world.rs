//! The clients that commands use, and what several of them ask.

use std::collections::BTreeMap;
use std::time::Duration;

use aws::failure::call;
use aws::parked_index::{Entry, ParkedIndex};
use aws::sessions::SessionsTable;
use aws::settings::{self, Settings, SettingsError};
use aws::store::StateTable;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use aws_sdk_sqs::types::QueueAttributeName;
use ingest::checkpoint::Checkpoint;
use ingest::failure::ServiceFailure;
use ingest::message::SessionId;
use media::time::EpochMs;
use serde::Serialize;
use writer::ports::{Clock as _, Store as _};

use crate::error::{Error, Result, is_no_queue, usage};

/// The DLQ keeps a message for 14 days; a note that is older speaks of none.
const DLQ_KEEPS: Duration = Duration::from_secs(14 * 24 * 3_600);

/// Keys of one BatchGetItem.
const MAX_KEYS: usize = 100;

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

/// How many messages a queue holds, by SQS's own approximation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Depth {
    /// Ready to be received.
    pub visible: usize,
    /// Received and not deleted yet.
    pub in_flight: usize,
    /// Not ready yet.
    #[serde(skip)]
    pub delayed: usize,
}

impl Depth {
    /// As GetQueueAttributes tells it.
    pub fn of(attributes: &BTreeMap<String, String>) -> Self {
        let number = |state: &str| {
            let name = format!("ApproximateNumberOfMessages{state}");
            attributes.get(&name).and_then(|n| n.parse().ok()).unwrap_or_default()
        };
        Self { visible: number(""), in_flight: number("NotVisible"), delayed: number("Delayed") }
    }

    /// In any state.
    pub fn total(self) -> usize {
        self.visible + self.in_flight + self.delayed
    }
}

impl World {
    /// Loads the SDK's configuration. Connects to nothing yet.
    ///
    /// # Errors
    /// Wrong use, where the Region is not known.
    pub async fn connect(settings: Settings) -> Result<Self> {
        let config = aws::config::load().await;
        if config.region().is_none() {
            let missing = SettingsError::Missing { name: "AWS_REGION" };
            return Err(usage(missing.to_string(), "export AWS_REGION=…, the Region of the stack"));
        }
        Ok(Self::with_config(config, settings))
    }

    /// Builds the clients from a configuration that is already there.
    pub fn with_config(config: SdkConfig, settings: Settings) -> Self {
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        Self {
            sqs: aws_sdk_sqs::Client::new(&config),
            streams: aws_sdk_kinesisvideo::Client::new(&config),
            state: StateTable::new(dynamodb.clone(), settings.state_table.clone()),
            index: ParkedIndex::new(dynamodb.clone(), settings.state_table.clone()),
            sessions: SessionsTable::new(dynamodb.clone(), settings.sessions_table.clone()),
            dynamodb,
            config,
            settings,
        }
    }

    /// Now.
    pub fn now(&self) -> EpochMs {
        aws::clock::SystemClock.now()
    }

    /// Notes of parked messages, by group, then by index.
    ///
    /// # Errors
    /// Those of the state table.
    pub async fn notes(&self, session: Option<&str>) -> Result<Vec<Entry>> {
        let mut notes = self.index.list(session).await?;
        let oldest = self.now().0.saturating_sub(DLQ_KEEPS.as_millis() as u64);
        notes.retain(|entry| {
            entry.note.parked_at.0 >= oldest && session.is_none_or(|session| session == entry.session_id)
        });
        notes.sort_by(|a, b| (&a.session_id, a.note.chunk_index).cmp(&(&b.session_id, b.note.chunk_index)));
        Ok(notes)
    }

    /// Deletes notes whose messages are gone.
    ///
    /// # Errors
    /// Those of the state table.
    pub async fn forget(&self, notes: &[Entry]) -> Result<()> {
        self.forget_ids(notes.iter().map(|entry| (&entry.session_id[..], &entry.note.message_id[..]))).await
    }

    /// The same, by group and by the id under which the message was parked.
    ///
    /// # Errors
    /// Those of the state table.
    pub async fn forget_ids<'n>(&self, ids: impl Iterator<Item = (&'n str, &'n str)>) -> Result<()> {
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
        let Some(stored) = self.state.load(session).await? else { return Ok(None) };
        let checkpoint = Checkpoint::decode(&stored.bytes);
        checkpoint.map(Some).map_err(|source| Error::State { session_id: session.to_string(), source })
    }

    /// When each session's checkpoint was last written; sessions without one are left out.
    ///
    /// # Errors
    /// Those of BatchGetItem.
    pub async fn last_activity(&self, sessions: &[SessionId]) -> Result<BTreeMap<SessionId, EpochMs>> {
        let mut activity = BTreeMap::new();
        for some in sessions.chunks(MAX_KEYS) {
            let keys = some.iter().map(|session| {
                [("pk", session.as_str()), ("sk", "checkpoint")]
                    .map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())))
                    .into()
            });
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys.collect()))
                .projection_expression("pk, updatedAt");
            for item in self.batch_get(&self.settings.state_table, wanted).await? {
                let at = item.get("updatedAt").and_then(|at| at.as_n().ok()?.parse().ok()).map(EpochMs);
                let session = item.get("pk").and_then(|pk| SessionId::parse(pk.as_s().ok()?).ok());
                activity.extend(session.zip(at));
            }
        }
        Ok(activity)
    }

    /// BatchGetItem of at most 100 keys of one table; what is left unprocessed is asked for again.
    pub(crate) async fn batch_get(
        &self,
        table: &str,
        wanted: aws_sdk_dynamodb::types::builders::KeysAndAttributesBuilder,
    ) -> Result<Vec<std::collections::HashMap<String, AttributeValue>>> {
        const BATCH_GET: &str = "BatchGetItem";
        let garbled = |detail: String| ServiceFailure::Garbled { operation: BATCH_GET.into(), detail };
        let mut wanted = Some(wanted.build().map_err(|e| garbled(e.to_string()))?);
        let (mut items, mut pause) = (Vec::new(), Duration::from_millis(50));
        while let Some(keys) = wanted {
            let asked = self.dynamodb.batch_get_item().request_items(table, keys);
            let answer = call(BATCH_GET, asked.send()).await?;
            items.extend(answer.responses.and_then(|mut tables| tables.remove(table)).unwrap_or_default());
            wanted = answer.unprocessed_keys.and_then(|mut tables| tables.remove(table));
            if wanted.is_some() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
        Ok(items)
    }

    /// Some attributes of a queue.
    ///
    /// # Errors
    /// Those of GetQueueAttributes; where there is no such queue, it names the variable.
    pub async fn queue_attributes(&self, url: &str) -> Result<BTreeMap<String, String>> {
        let asked = self.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
        let answer = call("GetQueueAttributes", asked.send()).await;
        let answer = answer.map_err(|failure| match is_no_queue(&failure) {
            true => self.no_queue(url),
            false => failure.into(),
        });
        let told = answer?.attributes.unwrap_or_default();
        Ok(told.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect())
    }

    fn no_queue(&self, url: &str) -> Error {
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
