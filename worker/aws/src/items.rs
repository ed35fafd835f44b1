//! DynamoDB items: attribute values in and out, and many items at once.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::types::builders::KeysAndAttributesBuilder;
use ingest::failure::ServiceFailure;
use writer::ports::Result;

use crate::failure::call;

/// Keys that one BatchGetItem takes.
pub const MAX_KEYS: usize = 100;

const BATCH_GET: &str = "BatchGetItem";

/// An item, or its key.
pub type Item = HashMap<String, AttributeValue>;

/// A string.
pub fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// A number.
pub fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A string attribute.
pub fn string_of<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// A whole number that is not negative.
pub fn number_of(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// BatchGetItem of at most [`MAX_KEYS`] keys of one table. What the service leaves out is asked for again.
///
/// # Errors
/// Those of BatchGetItem.
pub async fn batch_get(client: &Client, table: &str, wanted: KeysAndAttributesBuilder) -> Result<Vec<Item>> {
    let garbled = |detail: String| ServiceFailure::Garbled { operation: BATCH_GET.into(), detail };
    let mut wanted = Some(wanted.build().map_err(|e| garbled(e.to_string()))?);
    let (mut items, mut pause) = (Vec::new(), Duration::from_millis(50));
    while let Some(keys) = wanted {
        let answer = call(BATCH_GET, client.batch_get_item().request_items(table, keys).send()).await?;
        items.extend(answer.responses.and_then(|mut tables| tables.remove(table)).unwrap_or_default());
        wanted = answer.unprocessed_keys.and_then(|mut tables| tables.remove(table));
        if wanted.is_some() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
    Ok(items)
}
