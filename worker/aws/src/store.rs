//! DynamoDB behind [`writer::ports::Store`].
//!
//! One table. `pk` is the sessionId; `sk` is `checkpoint`, or `snapshot#` and a key (the parked index has a partition
//! of its own). Every item has `schema` (of
//! the item, 1), `version`, `bytes`, `updatedAt` (epoch ms) and `expiresAt` (epoch seconds, the table's TTL).
//! Items past their `expiresAt` are still read: TTL deletes them some day, and until then a checkpoint that is
//! ignored would stand in the way of the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use ingest::failure::ServiceFailure;
use ingest::message::SessionId;
use media::time::EpochMs;
use writer::ports::{Clock, ParkedNote, Result, Saved, Store, Stored};

use crate::clock::SystemClock;
use crate::failure::{call, has_code};
use crate::items::{Item, MAX_KEYS, batch_get, number, number_of, string_of, text};
use crate::parked_index::ParkedIndex;

/// The layout of an item, as this version writes it.
const SCHEMA: u64 = 1;

/// How long a session's checkpoint outlives its last fragment: a message stays in the DLQ for at most 14 days, and
/// a redrive then needs the gap's checkpoint.
const KEEP_CHECKPOINT_SECONDS: u64 = 30 * 24 * 3_600;

const CHECKPOINT: &str = "checkpoint";
const SNAPSHOT: &str = "snapshot#";

const GET: &str = "GetItem";
const PUT: &str = "PutItem";

/// The writer's state table.
#[derive(Clone, Debug)]
pub struct StateTable {
    client: Client,
    once: Client,
    table: String,
    parked: ParkedIndex,
}

impl StateTable {
    /// The table's keys are `pk` and `sk`, both strings.
    pub fn new(client: Client, table: String) -> Self {
        // A conditional write that is repeated after a lost answer would meet its own version.
        let once = client.config().to_builder().retry_config(RetryConfig::disabled()).build();
        let parked = ParkedIndex::new(client.clone(), table.clone());
        Self { client, once: Client::from_conf(once), table, parked }
    }

    /// When each session's checkpoint was last written; sessions without one are left out.
    ///
    /// # Errors
    /// Those of BatchGetItem.
    pub async fn last_activity(&self, sessions: &[SessionId]) -> Result<BTreeMap<SessionId, EpochMs>> {
        let mut activity = BTreeMap::new();
        for some in sessions.chunks(MAX_KEYS) {
            let keys = some.iter().map(|session| key(session, CHECKPOINT));
            let wanted = KeysAndAttributes::builder().set_keys(Some(keys.collect()));
            let wanted = wanted.projection_expression("pk, updatedAt");
            for item in batch_get(&self.client, &self.table, wanted).await? {
                let session = string_of(&item, "pk").and_then(|pk| SessionId::parse(pk).ok());
                activity.extend(session.zip(number_of(&item, "updatedAt").map(EpochMs)));
            }
        }
        Ok(activity)
    }

    /// Those of a session's snapshots that are stored; at most 100 `keys`.
    ///
    /// # Errors
    /// Those of BatchGetItem.
    pub async fn stored_snapshots(
        &self,
        session: &SessionId,
        keys: &BTreeSet<&str>,
    ) -> Result<BTreeSet<String>> {
        if keys.is_empty() {
            return Ok(BTreeSet::new());
        }
        let keys = keys.iter().map(|name| key(session, &format!("{SNAPSHOT}{name}")));
        let wanted = KeysAndAttributes::builder().set_keys(Some(keys.collect())).consistent_read(true);
        let found = batch_get(&self.client, &self.table, wanted.projection_expression("sk")).await?;
        let name = |item: &Item| Some(string_of(item, "sk")?.strip_prefix(SNAPSHOT)?.to_owned());
        Ok(found.iter().filter_map(name).collect())
    }

    async fn read(&self, session: &SessionId, sort_key: &str) -> Result<Option<Stored>> {
        let asked = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(session.as_str()))
            .key("sk", text(sort_key))
            .consistent_read(true);
        call(GET, asked.send()).await?.item.map(stored).transpose()
    }

    fn item(
        &self,
        client: &Client,
        session: &SessionId,
        sort_key: &str,
        version: u64,
        bytes: &[u8],
        keep_seconds: u64,
    ) -> PutItemFluentBuilder {
        let now = SystemClock.now();
        client
            .put_item()
            .table_name(&self.table)
            .item("pk", text(session.as_str()))
            .item("sk", text(sort_key))
            .item("schema", number(SCHEMA))
            .item("version", number(version))
            .item("bytes", AttributeValue::B(Blob::new(bytes)))
            .item("updatedAt", number(now.0))
            .item("expiresAt", number(now.0 / 1_000 + keep_seconds))
    }
}

impl Store for StateTable {
    async fn load(&self, session: &SessionId) -> Result<Option<Stored>> {
        self.read(session, CHECKPOINT).await
    }

    async fn save(&self, session: &SessionId, expected: Option<u64>, bytes: &[u8]) -> Result<Saved> {
        let version = expected.unwrap_or(0) + 1;
        let put = self.item(&self.once, session, CHECKPOINT, version, bytes, KEEP_CHECKPOINT_SECONDS);
        let put = match expected {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(expected) => put
                .condition_expression("#version = :expected")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":expected", number(expected)),
        };
        match call(PUT, put.send()).await {
            Ok(_) => Ok(Saved::Yes),
            Err(failure) if has_code(&failure, "ConditionalCheckFailedException") => Ok(Saved::Conflict),
            Err(failure) => Err(failure),
        }
    }

    fn stamp(&self) -> u64 {
        // The standard library's hasher has keys of its own in each process, and others each time.
        RandomState::new().build_hasher().finish()
    }

    async fn load_snapshot(&self, session: &SessionId, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.read(session, &format!("{SNAPSHOT}{key}")).await?.map(|stored| stored.bytes))
    }

    async fn save_snapshot(
        &self,
        session: &SessionId,
        key: &str,
        bytes: &[u8],
        keep_seconds: u64,
    ) -> Result<()> {
        let put = self.item(&self.client, session, &format!("{SNAPSHOT}{key}"), 1, bytes, keep_seconds);
        call(PUT, put.send()).await.map(drop)
    }

    async fn note_parked(&self, session_id: &str, notes: &[ParkedNote]) -> Result<()> {
        self.parked.add(session_id, notes).await
    }
}

fn stored(mut item: Item) -> Result<Stored> {
    let (schema, version) = (number_of(&item, "schema"), number_of(&item, "version"));
    let bytes = match item.remove("bytes") {
        Some(AttributeValue::B(bytes)) => Some(bytes.into_inner()),
        _ => None,
    };
    match (schema, version, bytes) {
        (Some(1..=SCHEMA), Some(version), Some(bytes)) => Ok(Stored { bytes, version }),
        (Some(schema), ..) if schema > SCHEMA => Err(garbled(format!(
            "the item's schema is {schema}, this worker knows {SCHEMA}: deploy the newer worker"
        ))),
        _ => Err(garbled("the item lacks schema, version or bytes".into())),
    }
}

fn key(session: &SessionId, sort_key: &str) -> Item {
    [("pk".to_owned(), text(session.as_str())), ("sk".to_owned(), text(sort_key))].into()
}

fn garbled(detail: String) -> ServiceFailure {
    ServiceFailure::Garbled { operation: GET.into(), detail }
}

#[cfg(test)]
mod tests;
