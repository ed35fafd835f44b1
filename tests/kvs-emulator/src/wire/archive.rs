//! The archive: which fragments there are, and their media by number.

use super::body::{self, Body};
use super::control::{find_readable, seconds};
use super::flow::{Flow, ReadFault};
use super::get_media::CONTENT_TYPE;
use super::json::Input;
use super::line::Peer;
use super::media::seconds_text;
use super::slot::ReadSlot;
use crate::error::ApiError;
use crate::faults::FaultKind;
use crate::operation::Operation;
use crate::server::Server;
use crate::storage::StoredFragment;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Response, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

const LIST_MAX: u64 = 1000;
const LIST_DEFAULT: u64 = 100;

/// Which time a selector means, and from when to when, both included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    stream: String,
    server: bool,
    from_ms: u64,
    to_ms: u64,
    after: String,
}

/// Tokens are opaque to clients and say all that is needed to go on.
pub(super) fn encode_token(text: &str) -> String {
    STANDARD.encode(text)
}

pub(super) fn decode_token(token: &str) -> Result<String, ApiError> {
    let wrong = || ApiError::invalid("NextToken is not one that this service gave.");
    let bytes = STANDARD.decode(token).map_err(|_| wrong())?;
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn range(input: &Input, stream: &str) -> Result<Range, ApiError> {
    if let Some(token) = input.text("NextToken")? {
        let wrong = || ApiError::invalid("NextToken is not one that this service gave.");
        let range: Range = serde_json::from_str(&decode_token(token)?).map_err(|_| wrong())?;
        return if range.stream == stream { Ok(range) } else { Err(wrong()) };
    }
    let selector = input
        .object("FragmentSelector")?
        .ok_or_else(|| ApiError::invalid("FragmentSelector is missing; only a NextToken takes its place."))?;
    let server = match selector.required_text("FragmentSelectorType")? {
        "SERVER_TIMESTAMP" => true,
        "PRODUCER_TIMESTAMP" => false,
        other => {
            let message =
                format!("FragmentSelectorType {other:?} is not PRODUCER_TIMESTAMP or SERVER_TIMESTAMP.");
            return Err(ApiError::invalid(message));
        }
    };
    let range =
        selector.object("TimestampRange")?.ok_or_else(|| ApiError::invalid("TimestampRange is missing."))?;
    let time = |name| range.time_ms(name)?.ok_or_else(|| ApiError::invalid(format!("{name} is missing.")));
    let (from_ms, to_ms) = (time("StartTimestamp")?, time("EndTimestamp")?);
    if from_ms > to_ms {
        return Err(ApiError::invalid("StartTimestamp is after EndTimestamp."));
    }
    Ok(Range { stream: stream.to_owned(), server, from_ms, to_ms, after: String::new() })
}

/// ListFragments, in the order of fragment numbers.
pub(super) fn list(input: &Input, server: &Server) -> Result<Value, ApiError> {
    let now_ms = server.now_ms();
    let wanted = input.stream()?;
    let max = input.number("MaxResults", 1, LIST_MAX)?.unwrap_or(LIST_DEFAULT);
    let mut range = range(input, &wanted.name)?;
    let mut store = server.store();
    let stream = find_readable(&mut store, &wanted, now_ms)?;
    if range.server && stream.outlives(range.to_ms, now_ms) {
        return Err(ApiError::outside_retention(range.to_ms));
    }
    let limits = &server.config.limits;
    if limits.rates && !stream.spend(Operation::ListFragments, limits.metadata_per_second, max, now_ms) {
        return Err(ApiError::throttled(
            Operation::ListFragments,
            Some(&wanted.name),
            limits.metadata_per_second,
        ));
    }
    let within = |fragment: &&Arc<StoredFragment>| {
        let ms = if range.server { fragment.server_timestamp_ms } else { fragment.producer_timestamp_ms };
        (range.from_ms..=range.to_ms).contains(&ms)
            && fragment.listed_from_ms <= now_ms
            && fragment.number > range.after
    };
    // Without retention nothing is archived; what readers still get is a buffer.
    let archived = stream.fragments.values().filter(|_| stream.is.retention_hours > 0);
    let found: Vec<&Arc<StoredFragment>> = archived.filter(within).take(max as usize + 1).collect();
    let more = found.len() as u64 > max;
    let shown = &found[..found.len().min(max as usize)];
    let mut answer =
        json!({ "Fragments": shown.iter().map(|fragment| describe(fragment)).collect::<Vec<_>>() });
    if let Some(last) = shown.last().filter(|_| more) {
        range.after = last.number.clone();
        answer["NextToken"] = json!(encode_token(&json!(range).to_string()));
    }
    Ok(answer)
}

fn describe(fragment: &StoredFragment) -> Value {
    json!({
        "FragmentNumber": fragment.number,
        "FragmentSizeInBytes": fragment.size_bytes,
        "ProducerTimestamp": seconds(fragment.producer_timestamp_ms),
        "ServerTimestamp": seconds(fragment.server_timestamp_ms),
        "FragmentLengthInMilliseconds": fragment.length_ms,
    })
}

/// GetMediaForFragmentList, in the order of the request.
pub(super) fn media(
    input: &Input,
    server: &Arc<Server>,
    faults: &[FaultKind],
    peer: &Peer,
) -> Result<Response<Body>, ApiError> {
    let now_ms = server.now_ms();
    let wanted = input.stream()?;
    let numbers = input.texts("Fragments")?.ok_or_else(|| ApiError::invalid("Fragments is missing."))?;
    if numbers.is_empty() || numbers.len() > LIST_MAX as usize {
        return Err(ApiError::invalid(format!("{} fragments; 1 to {LIST_MAX} are taken.", numbers.len())));
    }
    if let Some(bad) = numbers.iter().find(|number| !is_number(number)) {
        return Err(ApiError::invalid(format!("{bad:?} is not a fragment number.")));
    }
    let mut store = server.store();
    let stream = find_readable(&mut store, &wanted, now_ms)?;
    let limits = &server.config.limits;
    let (operation, points) = (Operation::GetMediaForFragmentList, numbers.len() as u64);
    ReadSlot::check(stream, operation, limits.fragment_list_connections)?;
    if limits.rates && !stream.spend(operation, limits.media_per_second, points, now_ms) {
        return Err(ApiError::throttled(operation, Some(&wanted.name), limits.media_per_second));
    }
    let slot = ReadSlot::take(server, stream, operation);
    let numbers = numbers.into_iter().map(str::to_owned).collect();
    let archive = Archive { server: server.clone(), name: wanted.name, arn: stream.arn.clone() };
    drop(store);
    let (writer, body) = body::channel();
    let flow = Flow::new(server.clone(), writer, peer.clone(), faults);
    slot.run(peer.clone(), send(numbers, flow, archive, ReadFault::of(faults)));
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    Ok(response)
}

fn is_number(number: &str) -> bool {
    (1..=128).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where the fragments of one stream are looked up.
struct Archive {
    server: Arc<Server>,
    name: String,
    arn: String,
}

impl Archive {
    /// The fragment, if it is archived and still there.
    fn fragment(&self, number: &str) -> Option<Arc<StoredFragment>> {
        let mut store = self.server.store();
        let stream = store.stream(&self.name, self.server.now_ms()).ok()?;
        let archived = stream.arn == self.arn && stream.is.retention_hours > 0;
        stream.fragments.get(number).filter(|_| archived).cloned()
    }
}

/// Looks each fragment up when its turn comes, so that a slow reader keeps one of them, not a thousand.
async fn send(numbers: Vec<String>, mut flow: Flow, archive: Archive, fault: Option<ReadFault>) {
    for (index, number) in numbers.into_iter().enumerate() {
        let fault = fault.as_ref().filter(|fault| fault.after <= index as u64);
        let found = if fault.is_none() { archive.fragment(&number) } else { None };
        let sent = match found {
            Some(fragment) => flow.send_fragment(&tags(&fragment), &fragment, &[]).await,
            // What cannot be given is told inside the media, and the rest goes on.
            None => flow.send_error(&exception(number, fault)).await,
        };
        if !sent {
            return;
        }
    }
}

fn tags(fragment: &StoredFragment) -> [(&'static str, String); 3] {
    [
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", fragment.number.clone()),
        ("AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP", seconds_text(fragment.server_timestamp_ms)),
        ("AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP", seconds_text(fragment.producer_timestamp_ms)),
    ]
}

fn exception(number: String, fault: Option<&ReadFault>) -> [(&'static str, String); 3] {
    let (code, message) = fault.map_or((3000, "FRAGMENT_NOT_FOUND"), |fault| (fault.id, &fault.code));
    [
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", number),
        ("AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE", code.to_string()),
        ("AWS_KINESISVIDEO_EXCEPTION_MESSAGE", message.to_owned()),
    ]
}
