//! The control plane: streams come, change and go.

mod tags;
mod update;

use super::json::{Input, StreamRef};
use crate::error::ApiError;
use crate::operation::Operation;
use crate::rules::stream;
use crate::server::Server;
use crate::storage::{NewStream, Store, Stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const LIST_STREAMS_MAX: u64 = 10_000;
const RETENTION_HOURS_MAX: u64 = 87_600;
const KMS_KEY_CHARS_MAX: usize = 2048;
const NEXT_TOKEN_CHARS_MAX: usize = 1024;
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
            Ok(json!({ "StreamInfo": info(stream, server, now_ms) }))
        }
        Operation::ListStreams => list(input, server, &mut store, now_ms),
        Operation::DeleteStream => delete(input, server, &mut store, now_ms),
        Operation::UpdateStream => update::stream(input, server, &mut store, now_ms),
        Operation::UpdateDataRetention => update::retention(input, server, &mut store, now_ms),
        Operation::DescribeStreamStorageConfiguration => {
            let stream = find(&mut store, &input.stream()?, now_ms)?;
            let tier = json!({ "DefaultStorageTier": stream.is.storage_tier });
            let (name, arn) = (&stream.is.name, &stream.arn);
            Ok(json!({ "StreamName": name, "StreamARN": arn, "StreamStorageConfiguration": tier }))
        }
        Operation::UpdateStreamStorageConfiguration => update::storage(input, server, &mut store, now_ms),
        Operation::TagStream => tags::tag(input, server, &mut store, now_ms),
        Operation::UntagStream => tags::untag(input, &mut store, now_ms),
        Operation::ListTagsForStream => tags::list(input, &mut store, now_ms),
        Operation::GetDataEndpoint => {
            let api = input.required_text("APIName")?;
            if !API_NAMES.contains(&api) {
                let names = API_NAMES.join(", ");
                return Err(ApiError::invalid(format!("APIName {api:?} is none of {names}.")));
            }
            find(&mut store, &input.stream()?, now_ms)?;
            Ok(json!({ "DataEndpoint": server.advertised_endpoint() }))
        }
        _ => Err(ApiError::invalid("This is not a control operation.")),
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
        Some(arn) if *arn != stream.arn => Err(ApiError::not_found()),
        _ => Ok(stream),
    }
}

/// A stream whose media can be read: that of one that is being deleted cannot.
pub(crate) fn find_readable<'a>(
    store: &'a mut Store,
    wanted: &StreamRef,
    now_ms: u64,
) -> Result<&'a mut Stream, ApiError> {
    let stream = find(store, wanted, now_ms)?;
    if stream.life.gone_ms.is_some() { Err(ApiError::not_found()) } else { Ok(stream) }
}

/// What is not set is there and null, as in the service's answers.
fn info(stream: &Stream, server: &Server, now_ms: u64) -> Value {
    json!({
        "DeviceName": stream.is.device_name,
        "IngestionConfiguration": null,
        "StreamName": stream.is.name,
        "StreamARN": stream.arn,
        "MediaType": stream.is.media_type,
        "KmsKeyId": stream.is.kms_key.clone().unwrap_or_else(|| own_key(server)),
        "Version": stream.version_text(),
        "Status": stream.life.status(now_ms),
        "CreationTime": seconds(stream.life.created_ms),
        "DataRetentionInHours": stream.is.retention_hours,
    })
}

/// The service's own key in the account.
fn own_key(server: &Server) -> String {
    let (region, account) = (&server.config.region, &server.config.account);
    format!("arn:aws:kms:{region}:{account}:alias/aws/kinesisvideo")
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
    let kms_key = input.text("KmsKeyId")?;
    if kms_key.is_some_and(|key| key.is_empty() || key.chars().count() > KMS_KEY_CHARS_MAX) {
        return Err(ApiError::invalid(format!("KmsKeyId must have 1 to {KMS_KEY_CHARS_MAX} characters.")));
    }
    let mut tags = BTreeMap::new();
    tags::add(&mut tags, input, server.config.limits.stream_tags_max)?;
    let new = NewStream {
        name: name.to_owned(),
        retention_hours: input.number("DataRetentionInHours", 0, RETENTION_HOURS_MAX)?.unwrap_or(0),
        media_type: checked_media_type(input)?,
        device_name: checked_device_name(input)?,
        kms_key: kms_key.map(str::to_owned),
        storage_tier: checked_tier(input)?.unwrap_or_else(|| "HOT".to_owned()),
        tags,
    };
    let stream = store.create(new, &server.config, now_ms)?;
    Ok(json!({ "StreamARN": stream.arn }))
}

fn checked_media_type(input: &Input) -> Result<Option<String>, ApiError> {
    match input.text("MediaType")? {
        Some(bad) if !stream::is_media_type(bad) => {
            Err(ApiError::invalid(format!("MediaType {bad:?} is not of the form type/sub[,type/sub].")))
        }
        good => Ok(good.map(str::to_owned)),
    }
}

fn checked_device_name(input: &Input) -> Result<Option<String>, ApiError> {
    match input.text("DeviceName")? {
        Some(bad) if !stream::is_device_name(bad) => {
            Err(ApiError::invalid(format!("DeviceName {bad:?} does not match [a-zA-Z0-9_.-]{{1,128}}.")))
        }
        good => Ok(good.map(str::to_owned)),
    }
}

fn checked_tier(input: &Input) -> Result<Option<String>, ApiError> {
    let Some(configuration) = input.object("StreamStorageConfiguration")? else { return Ok(None) };
    match configuration.required_text("DefaultStorageTier")? {
        tier @ ("HOT" | "WARM") => Ok(Some(tier.to_owned())),
        other => Err(ApiError::invalid(format!("DefaultStorageTier {other:?} is not HOT or WARM."))),
    }
}

fn list(input: &Input, server: &Server, store: &mut Store, now_ms: u64) -> Result<Value, ApiError> {
    let max = input.number("MaxResults", 1, LIST_STREAMS_MAX)?.unwrap_or(LIST_STREAMS_MAX) as usize;
    let prefix = match input.object("StreamNameCondition")? {
        None => String::new(),
        Some(condition) => {
            if let Some(other) =
                condition.text("ComparisonOperator")?.filter(|operator| *operator != "BEGINS_WITH")
            {
                return Err(ApiError::invalid(format!("ComparisonOperator {other:?} is not BEGINS_WITH.")));
            }
            match condition.text("ComparisonValue")? {
                Some(bad) if !stream::is_stream_name(bad) => {
                    return Err(ApiError::invalid(format!("ComparisonValue {bad:?} begins no stream name.")));
                }
                prefix => prefix.unwrap_or("").to_owned(),
            }
        }
    };
    let token = input.text("NextToken")?;
    if token.is_some_and(|token| token.len() > NEXT_TOKEN_CHARS_MAX) {
        return Err(ApiError::invalid(format!("NextToken has more than {NEXT_TOKEN_CHARS_MAX} characters.")));
    }
    let after = token.map(super::archive::decode_token).transpose()?.unwrap_or_default();
    let names = store.names(now_ms).into_iter().filter(|name| name.starts_with(&prefix) && *name > after);
    let names: Vec<String> = names.take(max + 1).collect();
    let mut infos = Vec::new();
    for name in names.iter().take(max) {
        infos.push(info(store.stream(name, now_ms)?, server, now_ms));
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
    if !stream.is_active(now_ms) {
        return Err(ApiError::in_use(format!("The stream {} is not ACTIVE.", wanted.name)));
    }
    check_version(stream, input.text("CurrentVersion")?)?;
    store.delete(&wanted.name, now_ms + server.config.create_ms, now_ms)?;
    server.stored.notify_waiters();
    Ok(json!({}))
}
