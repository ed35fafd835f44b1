//! Tags of a stream.

use super::find;
use crate::error::ApiError;
use crate::rules::stream;
use crate::server::Server;
use crate::storage::Store;
use crate::wire::json::Input;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const KEYS_MAX: usize = 50;

pub(super) fn add(tags: &mut BTreeMap<String, String>, input: &Input, max: usize) -> Result<(), ApiError> {
    for (key, value) in input.text_map("Tags")?.unwrap_or_default() {
        if !stream::is_tag(key, value) {
            return Err(ApiError::invalid(format!("Tag {key:?} is not a valid key and value.")));
        }
        tags.insert(key.to_owned(), value.to_owned());
    }
    if tags.len() > max {
        return Err(ApiError::tag_limit(tags.len(), max));
    }
    Ok(())
}

pub(super) fn tag(input: &Input, server: &Server, store: &mut Store, now_ms: u64) -> Result<Value, ApiError> {
    if input.text_map("Tags")?.is_none_or(|tags| tags.is_empty()) {
        return Err(ApiError::invalid("Tags is missing."));
    }
    let wanted = input.resource()?;
    let stream = find(store, &wanted, now_ms)?;
    let mut tags = stream.is.tags.clone();
    add(&mut tags, input, server.config.limits.stream_tags_max)?;
    stream.is.tags = tags;
    store.changed(&wanted.name);
    Ok(json!({}))
}

pub(super) fn untag(input: &Input, store: &mut Store, now_ms: u64) -> Result<Value, ApiError> {
    let keys = input.texts("TagKeyList")?.ok_or_else(|| ApiError::invalid("TagKeyList is missing."))?;
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(ApiError::invalid(format!(
            "TagKeyList has {} keys; 1 to {KEYS_MAX} are taken.",
            keys.len()
        )));
    }
    if let Some(bad) = keys.iter().find(|key| !stream::is_tag(key, "")) {
        return Err(ApiError::invalid(format!("TagKeyList: {bad:?} is not a valid key.")));
    }
    let wanted = input.resource()?;
    let stream = find(store, &wanted, now_ms)?;
    keys.iter().for_each(|key| drop(stream.is.tags.remove(*key)));
    store.changed(&wanted.name);
    Ok(json!({}))
}

/// All tags of a stream fit into one page, so no token is ever given, and none is valid.
pub(super) fn list(input: &Input, store: &mut Store, now_ms: u64) -> Result<Value, ApiError> {
    if let Some(token) = input.text("NextToken")? {
        return Err(ApiError::invalid(format!("NextToken {token:?} is not one that this service gave.")));
    }
    let stream = find(store, &input.resource()?, now_ms)?;
    Ok(json!({ "Tags": stream.is.tags }))
}
