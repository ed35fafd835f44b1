//! The operator's index of parked messages, in the state table under a few partitions of its own.
//!
//! A FIFO queue shows at most ten messages of a group at a time, so the DLQ alone cannot be listed. The index is a
//! help and not the truth: a message that SQS moved by itself is not in it, and one that was redriven by other means
//! still is, until its TTL.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest};
use ingest::failure::ServiceFailure;
use media::time::EpochMs;
use writer::ports::{ParkedNote, Result};

use crate::failure::call;
use crate::items::{Item, number, number_of, string_of, text};
use crate::retry::{Outcome, Policy, repeat};

/// Partitions `#parked-0` and so on; `#` is not a character of a sessionId. One takes 1,000 writes a second, and an outage
/// of Kinesis Video parks what a thousand sessions say.
const PARTITIONS: u64 = 16;

/// The longest that a queue keeps a message, 14 days. A note that is older speaks of none.
const DLQ_KEEPS_MS: u64 = 14 * 24 * 3_600_000;
/// A day longer than that.
const KEEP_SECONDS: u64 = 15 * 24 * 3_600;

/// Requests in one BatchWriteItem.
const MAX_WRITES: usize = 25;

/// For what DynamoDB leaves undone because it is busy; the SDK does not ask again for that.
const UNDONE: Policy = Policy {
    first: Duration::from_millis(50),
    longest: Duration::from_millis(400),
    growth: 2.0,
    jitter: 0.5,
};
const UNDONE_WITHIN: Duration = Duration::from_secs(1);

const WRITE: &str = "BatchWriteItem";

/// A note with its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its session; the message group, if the message does not name one.
    pub session_id: String,
    /// What was parked.
    pub note: ParkedNote,
}

/// The index, in the writer's state table.
#[derive(Clone, Debug)]
pub struct ParkedIndex {
    client: Client,
    table: String,
}

impl ParkedIndex {
    /// The table's keys are `pk` and `sk`, both strings.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Adds notes; adding one again is harmless.
    ///
    /// # Errors
    /// Those of BatchWriteItem, also where it leaves some undone.
    pub async fn add(&self, session_id: &str, notes: &[ParkedNote]) -> Result<()> {
        let requests = notes.iter().map(|note| {
            let put =
                PutRequest::builder().set_item(Some(item(session_id, note))).build().map_err(garbled)?;
            Ok((note.message_id.as_str(), WriteRequest::builder().put_request(put).build()))
        });
        self.write(requests.collect::<Result<_>>()?).await
    }

    /// Removes notes, after a redrive.
    ///
    /// # Errors
    /// Those of [`ParkedIndex::add`].
    pub async fn remove(&self, session_id: &str, message_ids: &[String]) -> Result<()> {
        let requests = message_ids.iter().map(|message_id| {
            let key = Some(key(session_id, message_id));
            let delete = DeleteRequest::builder().set_key(key).build().map_err(garbled)?;
            Ok((message_id.as_str(), WriteRequest::builder().delete_request(delete).build()))
        });
        self.write(requests.collect::<Result<_>>()?).await
    }

    /// Lists the notes of messages that the DLQ may still hold `now`, of one session or of all, in the order of sessions
    /// and chunks.
    ///
    /// # Errors
    /// Those of Query.
    pub async fn list(&self, session_id: Option<&str>, now: EpochMs) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        match session_id {
            Some(session_id) => {
                self.query(partition(session_id), &format!("{session_id}#"), &mut entries).await?
            }
            None => {
                for partition in 0..PARTITIONS {
                    self.query(partition, "", &mut entries).await?;
                }
            }
        }
        entries.retain(|entry| now.ms_since(entry.note.parked_at) <= DLQ_KEEPS_MS);
        entries.sort_by(|a, b| {
            (&a.session_id, a.note.chunk_index, a.note.parked_at).cmp(&(
                &b.session_id,
                b.note.chunk_index,
                b.note.parked_at,
            ))
        });
        Ok(entries)
    }

    async fn query(&self, partition: u64, prefix: &str, entries: &mut Vec<Entry>) -> Result<()> {
        let mut start = None;
        loop {
            let asked = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .expression_attribute_values(":pk", partition_key(partition))
                .set_exclusive_start_key(start);
            let asked = match prefix {
                "" => asked.key_condition_expression("pk = :pk"),
                prefix => asked
                    .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                    .expression_attribute_values(":prefix", text(prefix)),
            };
            let page = call("Query", asked.send()).await?;
            entries.extend(page.items.unwrap_or_default().iter().filter_map(entry));
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(());
            }
        }
    }

    /// Writes, one request a message: DynamoDB refuses two for the same item in one call.
    async fn write(&self, requests: BTreeMap<&str, WriteRequest>) -> Result<()> {
        let requests: Vec<_> = requests.into_values().collect();
        for batch in requests.chunks(MAX_WRITES) {
            let left = &std::sync::Mutex::new(batch.to_vec());
            repeat(UNDONE, UNDONE_WITHIN, || async move {
                let asked = left.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
                let asked = self.client.batch_write_item().request_items(&self.table, asked);
                let answer = call(WRITE, asked.send()).await.map_err(Outcome::permanent)?;
                let undone: Vec<_> =
                    answer.unprocessed_items.unwrap_or_default().into_values().flatten().collect();
                if undone.is_empty() {
                    return Ok(());
                }
                let failure = busy(undone.len());
                *left.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = undone;
                Err(Outcome::transient(failure))
            })
            .await?;
        }
        Ok(())
    }
}

fn busy(undone: usize) -> ServiceFailure {
    ServiceFailure::Service {
        operation: WRITE.into(),
        status: 200,
        code: "ProvisionedThroughputExceededException".into(),
        message: format!("{undone} writes were left undone"),
    }
}

/// Spreads sessions over the partitions, the same in every version of this program.
fn partition(session_id: &str) -> u64 {
    session_id.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into())) % PARTITIONS
}

fn partition_key(partition: u64) -> AttributeValue {
    text(&format!("#parked-{partition}"))
}

fn key(session_id: &str, message_id: &str) -> Item {
    let sort_key = text(&format!("{session_id}#{message_id}"));
    Item::from([("pk".into(), partition_key(partition(session_id))), ("sk".into(), sort_key)])
}

fn item(session_id: &str, note: &ParkedNote) -> Item {
    let mut item = key(session_id, &note.message_id);
    let fields = [
        ("sessionId", text(session_id)),
        ("messageId", text(&note.message_id)),
        ("reason", text(&note.reason)),
        ("class", text(&note.class)),
        ("attempts", number(note.attempts.into())),
        ("firstFailureAt", number(note.first_failure_at.0)),
        ("parkedAt", number(note.parked_at.0)),
        ("expiresAt", number(note.parked_at.0 / 1_000 + KEEP_SECONDS)),
    ];
    item.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    let chunk = [
        ("chunkIndex", note.chunk_index),
        ("capturedAt", note.captured_at.map(|at| at.0)),
        ("numbering", note.numbering.map(u64::from)),
    ];
    item.extend(chunk.into_iter().filter_map(|(name, value)| Some((name.to_owned(), number(value?)))));
    item
}

/// Reads an item; an item that is not this project's is ignored.
fn entry(item: &Item) -> Option<Entry> {
    let string = |name| string_of(item, name).map(str::to_owned);
    let whole = |name| number_of(item, name);
    Some(Entry {
        session_id: string("sessionId")?,
        note: ParkedNote {
            message_id: string("messageId")?,
            chunk_index: whole("chunkIndex"),
            captured_at: whole("capturedAt").map(EpochMs),
            numbering: whole("numbering").and_then(|n| u32::try_from(n).ok()),
            reason: string("reason")?,
            class: string("class")?,
            attempts: u32::try_from(whole("attempts")?).ok()?,
            first_failure_at: EpochMs(whole("firstFailureAt")?),
            parked_at: EpochMs(whole("parkedAt")?),
        },
    })
}

fn garbled(error: impl ToString) -> ServiceFailure {
    ServiceFailure::Garbled { operation: WRITE.into(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::test_server::{Calls, Server, json_service};

    const NOW: EpochMs = EpochMs(1_795_335_947_000);

    fn note(message_id: &str, chunk_index: Option<u64>) -> ParkedNote {
        ParkedNote {
            message_id: message_id.into(),
            chunk_index,
            captured_at: chunk_index.map(|index| EpochMs(1_795_335_900_000 + index)),
            numbering: chunk_index.map(|_| 3),
            reason: "ack-4006".into(),
            class: "lasting".into(),
            attempts: 2,
            first_failure_at: EpochMs(1_795_335_945_000),
            parked_at: EpochMs(1_795_335_946_000),
        }
    }

    /// Two keys' worth of DynamoDB, which answers queries in pages of one.
    async fn table() -> (ParkedIndex, Server, Calls) {
        let items = Arc::new(Mutex::new(BTreeMap::<(String, String), Value>::new()));
        let key = |key: &Value| {
            (key["pk"]["S"].as_str().unwrap().to_owned(), key["sk"]["S"].as_str().unwrap().to_owned())
        };
        let (server, calls) = json_service(move |operation, body| {
            let mut items = items.lock().unwrap();
            if operation == "BatchWriteItem" {
                for request in body["RequestItems"]["state"].as_array().unwrap() {
                    match &request["PutRequest"]["Item"] {
                        Value::Null => drop(items.remove(&key(&request["DeleteRequest"]["Key"]))),
                        put => drop(items.insert(key(put), put.clone())),
                    }
                }
                return (200, json!({"UnprocessedItems": {}}));
            }
            let values = &body["ExpressionAttributeValues"];
            let (partition, prefix) =
                (values[":pk"]["S"].as_str().unwrap(), values[":prefix"]["S"].as_str().unwrap_or(""));
            let behind = body["ExclusiveStartKey"]["sk"]["S"].as_str().unwrap_or("");
            let mut found = items
                .iter()
                .filter(|((pk, sk), _)| pk == partition && sk.starts_with(prefix) && sk.as_str() > behind);
            match found.next() {
                Some(((pk, sk), item)) => {
                    let last = json!({"pk": {"S": pk}, "sk": {"S": sk}});
                    (200, json!({"Items": [item], "LastEvaluatedKey": last}))
                }
                None => (200, json!({"Items": []})),
            }
        })
        .await;
        (ParkedIndex::new(Client::new(&server.config()), "state".into()), server, calls)
    }

    #[tokio::test]
    async fn what_was_parked_is_listed_by_session_and_chunk_until_it_is_removed() {
        let (index, _server, _) = table().await;
        index.add("b", &[note("1", Some(70)), note("2", Some(9)), note("3", None)]).await.unwrap();
        index.add("a", &[note("4", Some(0))]).await.unwrap();
        index.add("bb", &[note("5", Some(0))]).await.unwrap();
        let listed = index.list(None, NOW).await.unwrap();
        let ids: Vec<_> = listed.iter().map(|entry| entry.note.message_id.as_str()).collect();
        assert_eq!(ids, ["4", "3", "2", "1", "5"]);
        assert_eq!(index.list(Some("b"), NOW).await.unwrap()[2].note, note("1", Some(70)));
        index.remove("b", &["1".into(), "2".into()]).await.unwrap();
        let left = index.list(Some("b"), NOW).await.unwrap();
        assert_eq!(left, [Entry { session_id: "b".into(), note: note("3", None) }]);
    }

    #[tokio::test]
    async fn a_note_without_place_or_older_than_any_message_is_read_for_what_it_is() {
        let older_version =
            item("a", &ParkedNote { captured_at: None, numbering: None, ..note("1", Some(7)) });
        assert!(!older_version.contains_key("capturedAt") && !older_version.contains_key("numbering"));
        assert_eq!(entry(&older_version).unwrap().note.chunk_index, Some(7));
        let (index, _server, _) = table().await;
        index.add("a", &[note("1", Some(7))]).await.unwrap();
        let after = |ms: u64| EpochMs(1_795_335_946_000 + ms);
        assert_eq!(index.list(None, after(DLQ_KEEPS_MS)).await.unwrap().len(), 1);
        assert_eq!(index.list(None, after(DLQ_KEEPS_MS + 1)).await.unwrap(), []);
    }

    #[tokio::test]
    async fn many_notes_go_out_in_calls_that_dynamodb_takes() {
        let (index, _server, calls) = table().await;
        let mut notes: Vec<_> = (0..30_u64).map(|i| note(&i.to_string(), Some(i))).collect();
        notes.push(note("0", Some(0))); // DynamoDB refuses a call that names an item twice
        index.add("a", &notes).await.unwrap();
        let sizes: Vec<_> = {
            let calls = calls.lock().unwrap();
            calls.iter().map(|(_, body)| body["RequestItems"]["state"].as_array().unwrap().len()).collect()
        };
        assert_eq!(sizes, [25, 5]);
        assert_eq!(index.list(None, NOW).await.unwrap().len(), 30);
    }

    #[test]
    fn sessions_spread_over_the_partitions() {
        let used: std::collections::BTreeSet<_> =
            (0..200).map(|i| partition(&format!("session-{i}"))).collect();
        assert_eq!(used.len() as u64, PARTITIONS);
        assert_eq!(partition("quiet-fox-1"), 10, "notes of an older version must be found again");
    }

    /// Leaves each first write of a call undone `times` times.
    async fn busy_table(times: usize) -> (ParkedIndex, Server, Calls) {
        let asked = Arc::new(Mutex::new(0));
        let (server, calls) = json_service(move |_, body| {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            let undone = if *asked <= times {
                json!({"state": [body["RequestItems"]["state"][0]]})
            } else {
                json!({})
            };
            (200, json!({"UnprocessedItems": undone}))
        })
        .await;
        (ParkedIndex::new(Client::new(&server.config()), "state".into()), server, calls)
    }

    #[tokio::test]
    async fn what_dynamodb_leaves_undone_is_asked_for_again_and_in_the_end_told() {
        let (index, _server, calls) = busy_table(1).await;
        index.add("a", &[note("1", None), note("2", None)]).await.unwrap();
        let sizes = |calls: &Calls| -> Vec<_> {
            let calls = calls.lock().unwrap();
            calls.iter().map(|(_, body)| body["RequestItems"]["state"].as_array().unwrap().len()).collect()
        };
        assert_eq!(sizes(&calls), [2, 1]);

        let (index, _server, _) = busy_table(usize::MAX).await;
        let failure = index.add("a", &[note("1", None)]).await.unwrap_err();
        assert_eq!(failure.class(), ingest::failure::Class::Passing, "{failure}");
    }
}
