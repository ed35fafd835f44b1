//! What a message on a connection asks for: a value to enqueue, a question, or a refusal. No clock, no services.

use ingest::message::{
    Format, Rejection, SessionId, TRACEPARENT, audio, format, is_traceparent, number, object, string, time,
};
use media::demux::unsupported_codec;
use media::hash::Fnv;
use media::time::EpochMs;
use serde::Serialize;
use serde_json::{Map, Value};

use super::refusal::Refusal;

/// Who speaks on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The connection.
    pub connection_id: String,
    /// Its session.
    pub session: SessionId,
    /// `speaker`, or one who only listens.
    pub role: String,
}

impl Caller {
    /// Whether it may send.
    pub fn is_speaker(&self) -> bool {
        self.role == "speaker"
    }
}

/// A message for the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueue {
    /// `MessageGroupId`: the session.
    pub group_id: String,
    /// `MessageDeduplicationId`, the same when the browser sends the same again.
    pub deduplication_id: String,
    /// The body.
    pub body: String,
    /// When a chunk was captured; an end has no such time.
    pub captured_at: Option<EpochMs>,
    /// W3C trace context, beside the body: what is sent again under another one is still the same message.
    pub traceparent: Option<String>,
    /// An error for the speaker although the message goes into the queue: the writer refuses the whole recording by this chunk.
    pub told: Option<Box<Refusal>>,
}

/// What a message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To be put into the queue, and to be acknowledged then if the page asked for it with `"ack": true`.
    Send(Enqueue, Option<Ack>),
    /// `status`: how far the session's audio has come.
    Status,
    /// `ping`: nothing but an answer, so that an idle connection stays open and a dead one is noticed.
    Ping,
}

/// Told to the page once the queue has its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// A chunk, named as the page named it. The time distinguishes the chunks of two pages with the same index.
    Chunk {
        /// `chunkIndex`.
        index: u64,
        /// `timestamp`.
        captured_at: EpochMs,
    },
    /// The end of the stream.
    End,
}

/// The queue's messages, as `ingest::message` reads them.
#[derive(Serialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Body<'a> {
    WriteToStream {
        session_id: &'a str,
        audio_data: &'a str,
        timestamp: u64,
        format: &'a str,
        chunk_index: u64,
        connection_id: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        continues: bool,
    },
    EndStream {
        session_id: &'a str,
        timestamp: u64,
        connection_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        chunk_index: Option<u64>,
    },
}

/// Reads a message, with the very functions that the writer reads it with.
///
/// # Errors
/// A refusal that names the culprit, and the chunk where its index can be read.
pub fn read(caller: &Caller, text: &str, now: EpochMs) -> Result<Request, Refusal> {
    if !caller.is_speaker() {
        return Err(Refusal::not_speaker(&caller.role).about(index_of(text)));
    }
    let fields = object(text)?;
    let read = match string(&fields, "action")? {
        "audioChunk" => chunk(caller, &fields, now),
        "endStream" => end(caller, &fields, now),
        "status" => Ok(Request::Status),
        "ping" => Ok(Request::Ping),
        other => Err(Refusal::unknown_action(other)),
    };
    read.map_err(|refusal| refusal.about(number(&fields, "chunkIndex").ok()))
}

/// The end of a connection whose speaker may not have sent an end.
pub fn disconnected(caller: &Caller, now: EpochMs) -> Enqueue {
    let deduplication_id = format!("end-{}-disconnect", caller.connection_id);
    enqueue_end(caller, deduplication_id, now, None)
}

/// A timestamp that is further from the service's time does not show when a chunk was captured.
pub const MAX_OFF_MS: u64 = 24 * 3_600_000;

fn chunk(caller: &Caller, fields: &Map<String, Value>, now: EpochMs) -> Result<Request, Refusal> {
    check_session(caller, fields)?;
    let chunk_index = number(fields, "chunkIndex")?;
    let timestamp = time(fields, "timestamp")?.0;
    if timestamp.abs_diff(now.0) > MAX_OFF_MS {
        return Err(Refusal::bad_timestamp(timestamp, now));
    }
    let (acknowledged, continues) = (flag(fields, "ack")?, flag(fields, "continues")?);
    let format_name = string(fields, "format")?;
    let format = format(format_name)?;
    let audio_data = string(fields, "audioData")?;
    let audio = audio(audio_data, format)?;
    let codec = if format == Format::Pcm { None } else { unsupported_codec(&audio) };
    let body = Body::WriteToStream {
        session_id: caller.session.as_str(),
        audio_data,
        timestamp,
        format: format_name,
        chunk_index,
        connection_id: &caller.connection_id,
        continues,
    };
    let hash = Fnv::of(audio_data.as_bytes());
    let traceparent = fields.get(TRACEPARENT).and_then(Value::as_str).filter(|text| is_traceparent(text));
    let enqueued = enqueue(caller, format!("{chunk_index}-{timestamp}-{hash}"), &body);
    let told = codec.map(|codec| Box::new(Refusal::unsupported_codec(&codec).about(Some(chunk_index))));
    let traceparent = traceparent.map(str::to_owned);
    let enqueued = Enqueue { captured_at: Some(EpochMs(timestamp)), traceparent, told, ..enqueued };
    let ack = Ack::Chunk { index: chunk_index, captured_at: EpochMs(timestamp) };
    Ok(Request::Send(enqueued, acknowledged.then_some(ack)))
}

fn end(caller: &Caller, fields: &Map<String, Value>, now: EpochMs) -> Result<Request, Refusal> {
    check_session(caller, fields)?;
    let told = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    let last_index = told("chunkIndex").then(|| number(fields, "chunkIndex")).transpose()?;
    let timestamp = told("timestamp").then(|| time(fields, "timestamp")).transpose()?.unwrap_or(now);
    let last = last_index.map(|index| index.to_string()).unwrap_or_default();
    let deduplication_id = format!("end-{}-{last}-{}", caller.connection_id, timestamp.0);
    let ack = flag(fields, "ack")?.then_some(Ack::End);
    Ok(Request::Send(enqueue_end(caller, deduplication_id, timestamp, last_index), ack))
}

fn enqueue_end(caller: &Caller, deduplication_id: String, at: EpochMs, last_index: Option<u64>) -> Enqueue {
    let body = Body::EndStream {
        session_id: caller.session.as_str(),
        timestamp: at.0,
        connection_id: &caller.connection_id,
        chunk_index: last_index,
    };
    enqueue(caller, deduplication_id, &body)
}

fn enqueue(caller: &Caller, deduplication_id: String, body: &Body<'_>) -> Enqueue {
    Enqueue {
        group_id: caller.session.as_str().to_owned(),
        deduplication_id,
        body: serde_json::to_string(body).expect("strings and numbers are JSON"),
        captured_at: None,
        traceparent: None,
        told: None,
    }
}

fn check_session(caller: &Caller, fields: &Map<String, Value>) -> Result<(), Refusal> {
    match fields.get("sessionId") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => match string(fields, "sessionId")? {
            named if named == caller.session.as_str() => Ok(()),
            named => Err(Refusal::wrong_session(named, &caller.session)),
        },
    }
}

/// An optional field that is true or false; false where it is missing.
fn flag(fields: &Map<String, Value>, field: &str) -> Result<bool, Rejection> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => {
            let found = match other {
                Value::String(_) => "string",
                Value::Number(_) => "number",
                _ => "list or object",
            };
            let expected = "true or false".into();
            Err(Rejection::WrongType { field: field.into(), expected, found: found.into() })
        }
    }
}

/// The chunk's index, where it can be read.
pub fn index_of(text: &str) -> Option<u64> {
    number(&object(text).ok()?, "chunkIndex").ok()
}

#[cfg(test)]
mod tests;
