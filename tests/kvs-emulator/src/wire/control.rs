//! The control plane: streams come, change and go.

use super::json::{Input, StreamRef};
use crate::error::ApiError;
use crate::operation::Operation;
use crate::rules::stream;
use crate::server::Server;
use crate::storage::{NewStream, Store, Stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const TAGS_MAX: usize = 50;
const LIST_STREAMS_MAX: u64 = 10_000;
const RETENTION_HOURS_MAX: u64 = 87_600;
const API_NAMES: &[&str] = &[
    "PUT_MEDIA",
    "GET_MEDIA",
    "LIST_FRAGMENTS",
    "GET_MEDIA_FOR_FRAGMENT_LIST",
    "GET_HLS_STREAMING_SESSION_URL",
    "GET_DASH_STREAMING_SESSION_URL",
    "GET_CLIP",
    "GET_IMAGES",
];

pub(crate) fn answer(operation: Operation, input: &Input, server: &Server) -> Result<Value, ApiError> {
    let now_ms = server.now_ms();
    let mut store = server.store();
    match operation {
        Operation::CreateStream => create(input, server, &mut store, now_ms),
        Operation::DescribeStream => {
            let stream = find(&mut store, &input.stream()?, now_ms)?;
            Ok(json!({ "StreamInfo": info(stream, now_ms) }))
        }
        Operation::ListStreams => list(input, &mut store, now_ms),
        Operation::DeleteStream => delete(input, server, &mut store, now_ms),
        Operation::UpdateDataRetention => update_retention(input, server, &mut store, now_ms),
        Operation::TagStream => tag(input, &mut store, now_ms),
        Operation::UntagStream => untag(input, &mut store, now_ms),
        Operation::ListTagsForStream => {
            let stream = find(&mut store, &input.stream()?, now_ms)?;
            Ok(json!({ "Tags": stream.tags }))
        }
        Operation::GetDataEndpoint => {
            let api = input.required_text("APIName")?;
            if !API_NAMES.contains(&api) {
                return Err(ApiError::invalid(format!(
                    "APIName {api:?} is none of {}.",
                    API_NAMES.join(", ")
                )));
            }
            find(&mut store, &input.stream()?, now_ms)?;
            Ok(json!({ "DataEndpoint": server.endpoint() }))
        }
        Operation::PutMedia
        | Operation::GetMedia
        | Operation::ListFragments
        | Operation::GetMediaForFragmentList => Err(ApiError::invalid("This is no control operation.")),
    }
}

/// The stream itself; one that is being deleted is still described, but an ARN must be exactly its own.
pub(crate) fn find<'a>(
    store: &'a mut Store,
    wanted: &StreamRef,
    now_ms: u64,
) -> Result<&'a mut Stream, ApiError> {
    let stream = store.stream(&wanted.name, now_ms)?;
    match &wanted.arn {
        Some(arn) if *arn != stream.arn => Err(ApiError::not_found(arn)),
        _ => Ok(stream),
    }
}

fn info(stream: &Stream, now_ms: u64) -> Value {
    let mut info = json!({
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "KmsKeyId": stream.kms_key.as_deref().unwrap_or("arn:aws:kms:::alias/aws/kinesisvideo"),
        "Version": stream.version_text(),
        "Status": stream.life.status(now_ms),
        "CreationTime": seconds(stream.life.created_ms),
        "DataRetentionInHours": stream.retention_hours,
    });
    if let Some(media_type) = &stream.media_type {
        info["MediaType"] = json!(media_type);
    }
    if let Some(device_name) = &stream.device_name {
        info["DeviceName"] = json!(device_name);
    }
    info
}

/// Times in answers are seconds since 1970 with a fraction.
pub(crate) fn seconds(ms: u64) -> Value {
    json!(ms as f64 / 1000.0)
}

fn create(input: &Input, server: &Server, store: &mut Store, now_ms: u64) -> Result<Value, ApiError> {
    let name = input.required_text("StreamName")?;
    if !stream::is_stream_name(name) {
        return Err(ApiError::invalid(format!(
            "StreamName {name:?} does not match [a-zA-Z0-9_.-]{{1,256}}."
        )));
    }
    let media_type = input.text("MediaType")?;
    if let Some(bad) = media_type.filter(|media_type| !stream::is_media_type(media_type)) {
        return Err(ApiError::invalid(format!("MediaType {bad:?} is not of the form type/sub[,type/sub].")));
    }
    let device_name = input.text("DeviceName")?;
    if let Some(bad) = device_name.filter(|device_name| !stream::is_device_name(device_name)) {
        return Err(ApiError::invalid(format!("DeviceName {bad:?} does not match [a-zA-Z0-9_.-]{{1,128}}.")));
    }
    let mut tags = BTreeMap::new();
    add_tags(&mut tags, input)?;
    let new = NewStream {
        name: name.to_owned(),
        retention_hours: input.number("DataRetentionInHours", 0, RETENTION_HOURS_MAX)?.unwrap_or(0),
        media_type: media_type.map(str::to_owned),
        device_name: device_name.map(str::to_owned),
        kms_key: input.text("KmsKeyId")?.map(str::to_owned),
        tags,
    };
    let stream = store.create(new, &server.config, now_ms)?;
    Ok(json!({ "StreamARN": stream.arn }))
}

fn add_tags(tags: &mut BTreeMap<String, String>, input: &Input) -> Result<(), ApiError> {
    for (key, value) in input.text_map("Tags")?.unwrap_or_default() {
        if !stream::is_tag(key, value) {
            return Err(ApiError::invalid(format!("Tag {key:?} is not a valid key and value.")));
        }
        tags.insert(key.to_owned(), value.to_owned());
    }
    if tags.len() > TAGS_MAX {
        let message = format!("{} tags; a stream has at most {TAGS_MAX}.", tags.len());
        return Err(ApiError::new(
            http::StatusCode::BAD_REQUEST,
            "TagsPerResourceExceededLimitException",
            message,
        ));
    }
    Ok(())
}

fn list(input: &Input, store: &mut Store, now_ms: u64) -> Result<Value, ApiError> {
    let max = input.number("MaxResults", 1, LIST_STREAMS_MAX)?.unwrap_or(LIST_STREAMS_MAX) as usize;
    let prefix = match input.object("StreamNameCondition")? {
        None => String::new(),
        Some(condition) => {
            if let Some(other) =
                condition.text("ComparisonOperator")?.filter(|operator| *operator != "BEGINS_WITH")
            {
                return Err(ApiError::invalid(format!("ComparisonOperator {other:?} is not BEGINS_WITH.")));
            }
            condition.text("ComparisonValue")?.unwrap_or("").to_owned()
        }
    };
    let after = input.text("NextToken")?.map(super::archive::decode_token).transpose()?.unwrap_or_default();
    let names = store.names(now_ms).into_iter().filter(|name| name.starts_with(&prefix) && *name > after);
    let names: Vec<String> = names.take(max + 1).collect();
    let mut infos = Vec::new();
    for name in names.iter().take(max) {
        infos.push(info(store.stream(name, now_ms)?, now_ms));
    }
    let mut answer = json!({ "StreamInfoList": infos });
    if names.len() > max {
        answer["NextToken"] = json!(super::archive::encode_token(&names[max - 1]));
    }
    Ok(answer)
}

fn check_version(stream: &Stream, version: Option<&str>) -> Result<(), ApiError> {
    let current = stream.version_text();
    match version {
        Some(version) if version != current => Err(ApiError::version(&current)),
        _ => Ok(()),
    }
}

fn delete(input: &Input, server: &Server, store: &mut Store, now_ms: u64) -> Result<Value, ApiError> {
    let arn = input.required_text("StreamARN")?;
    let wanted = StreamRef::new(None, Some(arn))?;
    let stream = find(store, &wanted, now_ms)?;
    check_version(stream, input.text("CurrentVersion")?)?;
    if stream.life.gone_ms.is_some() {
        return Err(ApiError::in_use(format!("The stream {} is being deleted.", wanted.name)));
    }
    store.delete(&wanted.name, now_ms + server.config.create_ms, now_ms)?;
    Ok(json!({}))
}

fn update_retention(
    input: &Input,
    server: &Server,
    store: &mut Store,
    now_ms: u64,
) -> Result<Value, ApiError> {
    let version = input.required_text("CurrentVersion")?;
    let change = input
        .number("DataRetentionChangeInHours", 1, RETENTION_HOURS_MAX)?
        .ok_or_else(|| ApiError::invalid("DataRetentionChangeInHours is missing."))?;
    let operation = input.required_text("Operation")?;
    let stream = find(store, &input.stream()?, now_ms)?;
    check_version(stream, Some(version))?;
    if !stream.takes_media(now_ms) || stream.life.updated_ms > now_ms {
        return Err(ApiError::in_use(format!("The stream {} is not ACTIVE.", stream.name)));
    }
    let hours = match operation {
        "INCREASE_DATA_RETENTION" => Some(stream.retention_hours + change),
        "DECREASE_DATA_RETENTION" => stream.retention_hours.checked_sub(change),
        other => {
            return Err(ApiError::invalid(format!(
                "Operation {other:?} is not INCREASE or DECREASE_DATA_RETENTION."
            )));
        }
    };
    let hours = hours.filter(|hours| *hours <= RETENTION_HOURS_MAX).ok_or_else(|| {
        ApiError::invalid(format!("{} hours cannot be changed by {change}.", stream.retention_hours))
    })?;
    stream.retention_hours = hours;
    stream.version += 1;
    stream.life.updated_ms = now_ms + server.config.create_ms;
    Ok(json!({}))
}

fn tag(input: &Input, store: &mut Store, now_ms: u64) -> Result<Value, ApiError> {
    if input.text_map("Tags")?.is_none_or(|tags| tags.is_empty()) {
        return Err(ApiError::invalid("Tags is missing."));
    }
    let stream = find(store, &input.stream()?, now_ms)?;
    let mut tags = stream.tags.clone();
    add_tags(&mut tags, input)?;
    stream.tags = tags;
    Ok(json!({}))
}

fn untag(input: &Input, store: &mut Store, now_ms: u64) -> Result<Value, ApiError> {
    let keys = input.texts("TagKeyList")?.ok_or_else(|| ApiError::invalid("TagKeyList is missing."))?;
    let stream = find(store, &input.stream()?, now_ms)?;
    keys.iter().for_each(|key| drop(stream.tags.remove(*key)));
    Ok(json!({}))
}
