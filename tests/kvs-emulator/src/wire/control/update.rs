//! What of a stream can be changed: each change names the version it was made for.

use super::{
    RETENTION_HOURS_MAX, check_version, checked_device_name, checked_media_type, checked_tier, find,
};
use crate::error::ApiError;
use crate::rules::stream;
use crate::server::Server;
use crate::storage::{Store, Stream};
use crate::wire::json::Input;
use serde_json::{Value, json};

/// The stream in the version the caller knows, if it is ACTIVE.
fn changeable<'a>(input: &Input, store: &'a mut Store, now_ms: u64) -> Result<&'a mut Stream, ApiError> {
    let version = input.required_text("CurrentVersion")?;
    if !stream::is_version(version) {
        return Err(ApiError::invalid(format!(
            "CurrentVersion {version:?} does not match [a-zA-Z0-9]{{1,64}}."
        )));
    }
    let stream = find(store, &input.stream()?, now_ms)?;
    if !stream.is_active(now_ms) {
        return Err(ApiError::in_use(format!("The stream {} is not ACTIVE.", stream.is.name)));
    }
    check_version(stream, Some(version))?;
    Ok(stream)
}

fn changed(stream: &mut Stream, server: &Server, now_ms: u64) -> String {
    stream.updated(now_ms + server.config.create_ms);
    stream.is.name.clone()
}

pub(super) fn stream(
    input: &Input,
    server: &Server,
    store: &mut Store,
    now_ms: u64,
) -> Result<Value, ApiError> {
    let (media_type, device_name) = (checked_media_type(input)?, checked_device_name(input)?);
    let stream = changeable(input, store, now_ms)?;
    if media_type.is_some() {
        stream.is.media_type = media_type;
    }
    if device_name.is_some() {
        stream.is.device_name = device_name;
    }
    let name = changed(stream, server, now_ms);
    store.changed(&name);
    Ok(json!({}))
}

pub(super) fn storage(
    input: &Input,
    server: &Server,
    store: &mut Store,
    now_ms: u64,
) -> Result<Value, ApiError> {
    let tier =
        checked_tier(input)?.ok_or_else(|| ApiError::invalid("StreamStorageConfiguration is missing."))?;
    let stream = changeable(input, store, now_ms)?;
    stream.is.storage_tier = tier;
    let name = changed(stream, server, now_ms);
    store.changed(&name);
    Ok(json!({}))
}

pub(super) fn retention(
    input: &Input,
    server: &Server,
    store: &mut Store,
    now_ms: u64,
) -> Result<Value, ApiError> {
    let change = input
        .number("DataRetentionChangeInHours", 1, RETENTION_HOURS_MAX)?
        .ok_or_else(|| ApiError::invalid("DataRetentionChangeInHours is missing."))?;
    let increase = match input.required_text("Operation")? {
        "INCREASE_DATA_RETENTION" => true,
        "DECREASE_DATA_RETENTION" => false,
        other => {
            return Err(ApiError::invalid(format!(
                "Operation {other:?} is not INCREASE or DECREASE_DATA_RETENTION."
            )));
        }
    };
    let stream = changeable(input, store, now_ms)?;
    let hours = stream.is.retention_hours;
    let changed_hours = if increase { hours.checked_add(change) } else { hours.checked_sub(change) };
    stream.is.retention_hours = changed_hours
        .filter(|hours| *hours <= RETENTION_HOURS_MAX)
        .ok_or_else(|| ApiError::invalid(format!("{hours} hours cannot be changed by {change}.")))?;
    let name = changed(stream, server, now_ms);
    store.changed(&name);
    Ok(json!({}))
}
