//! From a queue record to a typed [`Entry`], or a [`Rejection`] that names the culprit.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use media::demux::{Foreign, Sniffed, sniff, sniff_pcm};
use media::time::EpochMs;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The largest audio chunk: what fits, in base64, an API Gateway WebSocket message of 128 KB (aws-facts 7).
pub const MAX_AUDIO_BYTES: usize = 96 * 1024;
/// The largest queue message body that is looked into.
pub const MAX_BODY_BYTES: usize = 144 * 1024;
/// The longest sessionId: an SQS message group id has at most 128 characters (aws-facts 5.1).
pub const MAX_SESSION_ID: usize = 128;

/// A session's name: also the message group and, behind `session-`, the stream's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(String);

impl SessionId {
    /// Accepts what Kinesis Video accepts in a stream name: `[a-zA-Z0-9_.-]`, at most 128 characters.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if text.is_empty() || text.len() > MAX_SESSION_ID || !text.chars().all(legal) {
            return Err(Rejection::BadSessionId { session_id: text.chars().take(MAX_SESSION_ID).collect() });
        }
        Ok(Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The Kinesis Video stream of this session.
    pub fn stream_name(&self) -> String {
        format!("session-{}", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A queue record as the event source mapping delivers it; nothing in it is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// SQS `messageId`; what the partial batch answer names.
    pub message_id: String,
    /// SQS `receiptHandle` of this delivery.
    pub receipt_handle: String,
    /// The message body.
    pub body: String,
    /// `MessageGroupId`.
    pub group_id: String,
    /// `SequenceNumber`: given at send, kept by redeliveries, new after a redrive.
    pub sequence_number: u128,
    /// `SentTimestamp`.
    pub sent_at: EpochMs,
    /// `ApproximateReceiveCount`, this delivery included.
    pub receive_count: u32,
    /// String message attributes, such as those that parking adds.
    pub attributes: BTreeMap<String, String>,
}

/// The message attribute that carries the W3C trace context.
pub const TRACEPARENT: &str = "traceparent";

impl Record {
    /// The W3C trace context that came with the message, if it is one.
    pub fn traceparent(&self) -> Option<&str> {
        self.attributes.get(TRACEPARENT).map(String::as_str).filter(|text| is_traceparent(text))
    }
}

/// Whether the text is a version 00 `traceparent` (W3C Trace Context, 3.2.2): `00-{32 hex}-{16 hex}-{2 hex}`, ids not zero.
pub fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let named = |part: &str, digits: usize| hex(part, digits) && part.bytes().any(|b| b != b'0');
    matches!(parts[..], ["00", trace, parent, flags] if named(trace, 32) && named(parent, 16) && hex(flags, 2))
}

/// How the message's author says the audio is packed. Between the two containers the bytes decide where they say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `webm-opus`
    #[default]
    WebmOpus,
    /// `ogg-opus`
    OggOpus,
    /// `pcm-s16le`: samples of 16 bits, little-endian, at 16 kHz, mono, and nothing else.
    Pcm,
}

/// One MediaRecorder blob, with the record that brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The record it came in.
    pub record: Record,
    /// `chunkIndex`: the speaker page's own numbering.
    pub index: u64,
    /// `timestamp`: the speaker's clock when the blob was handed out, about the end of its audio.
    pub captured_at: EpochMs,
    /// `connectionId`, added by connection_handler.
    pub connection_id: Option<String>,
    /// `format`, where the audio is not refused.
    pub format: Format,
    /// `continues`: a piece of a blob that goes on in the next chunk. All pieces of a blob have its one capture time.
    pub continues: bool,
    /// The blob, or why there is none.
    pub audio: Result<Vec<u8>, Rejection>,
}

impl Default for Chunk {
    /// An empty blob.
    fn default() -> Self {
        Self {
            record: Record::default(),
            index: 0,
            captured_at: EpochMs(0),
            connection_id: None,
            format: Format::default(),
            continues: false,
            audio: Ok(Vec::new()),
        }
    }
}

/// A record of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `writeToStream`, also one whose audio is refused: its index is known, so the session need not wait for it.
    Chunk(Arc<Chunk>),
    /// `endStream`: nothing more comes for now; write what is there.
    End {
        /// The record it came in.
        record: Record,
        /// `chunkIndex` of the last chunk sent, if the speaker sent it.
        last_index: Option<u64>,
    },
}

impl Entry {
    /// The record it came in.
    pub fn record(&self) -> &Record {
        match self {
            Self::Chunk(chunk) => &chunk.record,
            Self::End { record, .. } => record,
        }
    }

    /// Its chunkIndex, if it is a chunk.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Chunk(chunk) => Some(chunk.index),
            Self::End { .. } => None,
        }
    }
}

/// Why a message is refused. Each variant is a culprit a person can look for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Rejection {
    #[error("the message body of {bytes} bytes is over {max}; use a smaller MediaRecorder timeslice")]
    BodyTooLarge { bytes: usize, max: usize },
    #[error("the message body is not JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("the message body is {found}, not a JSON object")]
    NotAnObject { found: String },
    #[error("the field {field} is missing")]
    MissingField { field: String },
    #[error("field `{field}` must be {expected}, but is {found}")]
    WrongType { field: String, expected: String, found: String },
    #[error("the action {action:?} is not one of writeToStream, endStream")]
    UnknownAction { action: String },
    #[error("invalid sessionId {session_id:?}: use 1 to 128 characters from a-z A-Z 0-9 _ . -")]
    BadSessionId { session_id: String },
    #[error("sessionId {session_id} came in message group {group_id}; both must be the same")]
    WrongGroup { session_id: String, group_id: String },
    #[error("audioData is not base64 (offset {offset})")]
    BadBase64 { offset: usize },
    #[error("audioData holds {bytes} bytes, more than {max}; use a smaller MediaRecorder timeslice")]
    AudioTooLarge { bytes: usize, max: usize },
    #[error(
        "the format {format:?} is not supported: record audio/webm;codecs=opus or audio/ogg;codecs=opus, or send pcm-s16le"
    )]
    UnsupportedFormat { format: String },
    #[error("the audio is {kind}, not Opus in WebM or Ogg")]
    ForeignAudio { kind: Foreign },
    #[error("the audio is {kind}, not plain samples, although its format is pcm-s16le")]
    ForeignPcm { kind: Foreign },
    #[error("pcm-s16le has 2 bytes a sample, but audioData holds {bytes} bytes; cut between samples")]
    HalfSample { bytes: usize },
}

/// `code()` and the list of all codes, from one table.
macro_rules! codes {
    ($($variant:ident => $code:literal),+ $(,)?) => {
        /// Every code.
        pub const CODES: [&'static str; [$($code),+].len()] = [$($code),+];

        /// A short name for error codes, metrics and the DLQ's `reason` attribute.
        pub fn code(&self) -> &'static str {
            match self {
                $(Self::$variant { .. } => $code),+
            }
        }
    };
}

impl Rejection {
    codes! {
        BodyTooLarge => "BODY_TOO_LARGE",
        NotJson => "NOT_JSON",
        NotAnObject => "NOT_AN_OBJECT",
        MissingField => "MISSING_FIELD",
        WrongType => "WRONG_TYPE",
        UnknownAction => "UNKNOWN_ACTION",
        BadSessionId => "BAD_SESSION_ID",
        WrongGroup => "WRONG_GROUP",
        BadBase64 => "BAD_BASE64",
        AudioTooLarge => "AUDIO_TOO_LARGE",
        UnsupportedFormat => "UNSUPPORTED_FORMAT",
        ForeignAudio => "UNSUPPORTED_FORMAT",
        ForeignPcm => "UNSUPPORTED_FORMAT",
        HalfSample => "HALF_SAMPLE",
    }
}

/// A message that names no chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The record it came in.
    pub record: Record,
    /// Why it is refused.
    pub rejection: Rejection,
}

/// Parses one record.
///
/// # Errors
/// [`Rejected`] where it cannot be known which chunk of which session it is; a chunk whose audio is refused is an [`Entry`].
pub fn parse(record: Record) -> Result<(SessionId, Entry), Box<Rejected>> {
    match parse_body(&record.body, &record.group_id) {
        Ok((session, Body::End { last_index })) => Ok((session, Entry::End { record, last_index })),
        Ok((session, Body::Chunk { index, captured_at, continues, content })) => {
            let (connection_id, format, audio) = match content {
                Ok(Content { connection_id, format, audio }) => (connection_id, format, Ok(audio)),
                Err(rejection) => (None, Format::default(), Err(rejection)),
            };
            let chunk = Chunk { record, index, captured_at, connection_id, format, continues, audio };
            Ok((session, Entry::Chunk(Arc::new(chunk))))
        }
        Err(rejection) => Err(Box::new(Rejected { record, rejection })),
    }
}

/// What a message asks for.
enum Body {
    Chunk { index: u64, captured_at: EpochMs, continues: bool, content: Result<Content, Rejection> },
    End { last_index: Option<u64> },
}

/// A chunk's connection and audio.
struct Content {
    connection_id: Option<String>,
    format: Format,
    audio: Vec<u8>,
}

fn parse_body(body: &str, group_id: &str) -> Result<(SessionId, Body), Rejection> {
    let fields = object(body)?;
    let session = SessionId::parse(string(&fields, "sessionId")?)?;
    if session.as_str() != group_id {
        return Err(Rejection::WrongGroup { session_id: session.0, group_id: group_id.to_owned() });
    }
    let body = match string(&fields, "action")? {
        "writeToStream" => Body::Chunk {
            index: number(&fields, "chunkIndex")?,
            captured_at: time(&fields, "timestamp")?,
            continues: fields.get("continues").and_then(Value::as_bool).unwrap_or_default(),
            content: content(&fields),
        },
        "endStream" => Body::End { last_index: optional(&fields, "chunkIndex", number)? },
        other => return Err(Rejection::UnknownAction { action: other.chars().take(64).collect() }),
    };
    Ok((session, body))
}

fn content(fields: &Map<String, Value>) -> Result<Content, Rejection> {
    let format = format(string(fields, "format")?)?;
    let connection_id = optional(fields, "connectionId", string)?.map(|id| id.chars().take(128).collect());
    Ok(Content { connection_id, format, audio: audio(string(fields, "audioData")?, format)? })
}

/// Reads a field that may be missing or null.
fn optional<'f, T>(
    fields: &'f Map<String, Value>,
    field: &str,
    read: impl Fn(&'f Map<String, Value>, &str) -> Result<T, Rejection>,
) -> Result<Option<T>, Rejection> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => read(fields, field).map(Some),
    }
}

/// Reads `text` as a JSON object, within the size bound.
pub fn object(text: &str) -> Result<Map<String, Value>, Rejection> {
    if text.len() > MAX_BODY_BYTES {
        return Err(Rejection::BodyTooLarge { bytes: text.len(), max: MAX_BODY_BYTES });
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(Rejection::NotAnObject { found: type_name(&other).into() }),
        Err(e) => Err(Rejection::NotJson { line: e.line(), column: e.column() }),
    }
}

/// Decodes `audioData` and looks at its first bytes. If they are not from a WebM or Ogg recording, the error names what they are.
pub fn audio(base64: &str, format: Format) -> Result<Vec<u8>, Rejection> {
    let bytes = base64.len() / 4 * 3;
    if bytes > MAX_AUDIO_BYTES {
        return Err(Rejection::AudioTooLarge { bytes, max: MAX_AUDIO_BYTES });
    }
    let engine =
        if base64.ends_with('=') || base64.len().is_multiple_of(4) { STANDARD } else { STANDARD_NO_PAD };
    let audio = engine.decode(base64).map_err(|e| Rejection::BadBase64 {
        offset: match e {
            base64::DecodeError::InvalidByte(offset, _)
            | base64::DecodeError::InvalidLastSymbol(offset, _)
            | base64::DecodeError::InvalidLength(offset) => offset,
            base64::DecodeError::InvalidPadding => base64.len(),
        },
    })?;
    match (format, sniff(&audio)) {
        (Format::Pcm, _) => plain_samples(&audio)?,
        (_, Sniffed::Foreign(kind)) => return Err(Rejection::ForeignAudio { kind }),
        (_, Sniffed::WebM | Sniffed::Ogg | Sniffed::Unknown) => {}
    }
    Ok(audio)
}

/// Any bytes may be samples, so only what names itself beyond doubt is refused; and what would shift all samples by a byte.
fn plain_samples(audio: &[u8]) -> Result<(), Rejection> {
    match sniff_pcm(audio) {
        Some(kind) => Err(Rejection::ForeignPcm { kind }),
        None if !audio.len().is_multiple_of(2) => Err(Rejection::HalfSample { bytes: audio.len() }),
        None => Ok(()),
    }
}

/// Reads the `format` field's value.
pub fn format(name: &str) -> Result<Format, Rejection> {
    match name {
        "webm-opus" => Ok(Format::WebmOpus),
        "ogg-opus" => Ok(Format::OggOpus),
        "pcm-s16le" => Ok(Format::Pcm),
        other => Err(Rejection::UnsupportedFormat { format: other.chars().take(64).collect() }),
    }
}

/// Reads a string field.
pub fn string<'a>(fields: &'a Map<String, Value>, field: &str) -> Result<&'a str, Rejection> {
    let value = fields.get(field).ok_or_else(|| Rejection::MissingField { field: field.into() })?;
    value.as_str().ok_or_else(|| wrong_type(field, "a string", value))
}

/// Reads a field that is a whole number from 0 to 2^53, JavaScript's exact range.
pub fn number(fields: &Map<String, Value>, field: &str) -> Result<u64, Rejection> {
    let value = fields.get(field).ok_or_else(|| Rejection::MissingField { field: field.into() })?;
    let whole =
        value.as_u64().or_else(|| value.as_f64().filter(|f| f.fract() == 0.0 && *f >= 0.0).map(|f| f as u64));
    whole.filter(|n| *n <= 1 << 53).ok_or_else(|| wrong_type(field, "a whole number from 0 to 2^53", value))
}

/// Reads a time, epoch ms. A page's finer clocks give fractions: it is rounded.
pub fn time(fields: &Map<String, Value>, field: &str) -> Result<EpochMs, Rejection> {
    let value = fields.get(field).and_then(Value::as_f64).map(f64::round);
    match value.filter(|ms| (0.0..=(1_u64 << 53) as f64).contains(ms)) {
        Some(ms) => Ok(EpochMs(ms as u64)),
        None => number(fields, field).map(EpochMs), // says what is wrong
    }
}

fn wrong_type(field: &str, expected: &str, value: &Value) -> Rejection {
    Rejection::WrongType { field: field.into(), expected: expected.into(), found: type_name(value).into() }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
