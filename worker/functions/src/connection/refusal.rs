//! Why a connection or a message is refused, in words for the person at the browser.

use ingest::checkpoint::Unreadable;
use ingest::failure::{Class, ServiceFailure};
use ingest::message::{MAX_SESSION_ID, Rejection, SessionId};
use media::demux::Foreign;
use media::time::EpochMs;
use serde::Serialize;

/// Answer to a connection or message that is not accepted. As JSON it is what the browser receives:
/// `{"type":"error","code":…,"message":…,"hint":…,"chunkIndex":…}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "error", rename_all = "camelCase")]
pub struct Refusal {
    /// A short name that a program can act on.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
    /// The chunk, where its index could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_index: Option<u64>,
    /// HTTP status, where the handshake is refused.
    #[serde(skip)]
    pub status: u16,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>, hint: &'static str) -> Self {
        Self { code, message: message.into(), hint, chunk_index: None, status }
    }

    /// The same, about this chunk.
    pub fn about(self, chunk_index: Option<u64>) -> Self {
        Self { chunk_index, ..self }
    }

    /// The authorizer gave no sessionId or no role.
    pub fn unauthorized(missing: &str) -> Self {
        let message = format!("the authorizer gave no {missing} for this connection");
        Self::new(403, "UNAUTHORIZED", message, "connect with a token of this session")
    }

    /// The Connections table does not have this connection.
    pub fn not_connected() -> Self {
        Self::new(403, "NOT_CONNECTED", "this connection is not known", "connect again")
    }

    /// The role may not send.
    pub fn not_speaker(role: &str) -> Self {
        let role: String = role.chars().take(32).collect();
        let message = format!("only the role speaker may send audio; this connection's role is {role:?}");
        Self::new(403, "NOT_SPEAKER", message, "connect with a speaker's token")
    }

    /// Another connection speaks for the session now.
    pub fn replaced() -> Self {
        let message = "another connection has taken over as this session's speaker";
        Self::new(
            403,
            "REPLACED",
            message,
            "stop recording here; to speak from this page again, connect again",
        )
    }

    /// The timestamp cannot be when the chunk was captured.
    pub fn bad_timestamp(timestamp: u64, now: EpochMs) -> Self {
        let near_now = |ms: u64| ms.abs_diff(now.0) <= UNIT_WITHIN_MS;
        let hint = if near_now(timestamp.saturating_mul(1_000)) {
            "timestamp is in seconds: send milliseconds since 1970, as Date.now() gives them"
        } else if near_now(timestamp / 1_000) {
            "timestamp is in microseconds: send milliseconds since 1970, as Date.now() gives them"
        } else {
            "timestamp is in milliseconds since 1970, as Date.now() gives them (performance.now() counts from the page's load); if it \
             does come from there, set this device's clock"
        };
        let message =
            format!("the timestamp {timestamp} is more than a day off the service's time, {}", now.0);
        Self::new(400, "BAD_TIMESTAMP", message, hint)
    }

    /// The message names another session than the connection's.
    pub fn wrong_session(named: &str, own: &SessionId) -> Self {
        let named: String = named.chars().take(MAX_SESSION_ID).collect();
        let message = format!("the message names session {named:?}, this connection belongs to {own}");
        Self::new(
            403,
            "WRONG_SESSION",
            message,
            "leave sessionId out, or send on the session's own connection",
        )
    }

    /// The Sessions table does not have it.
    pub fn unknown_session(session: &SessionId) -> Self {
        let message = format!("there is no session {session}");
        Self::new(403, "SESSION_UNKNOWN", message, "start the session before connecting to it")
    }

    /// The Sessions table says it is over.
    pub fn ended_session(session: &SessionId) -> Self {
        Self::new(403, "SESSION_ENDED", format!("session {session} has ended"), "start a new session")
    }

    /// The session floods.
    pub fn too_many() -> Self {
        let message = "the session sends more messages than a speaker can";
        Self::new(429, "TOO_MANY_MESSAGES", message, "send at most 40 messages a second, each once")
    }

    /// Binary frames.
    pub fn binary() -> Self {
        Self::new(400, "BINARY_MESSAGE", "binary messages are not accepted", "send JSON as text")
    }

    /// No such action.
    pub fn unknown_action(action: &str) -> Self {
        let action: String = action.chars().take(64).collect();
        let message = format!("the action {action:?} is not one of audioChunk, endStream, status, ping");
        Self::new(
            400,
            "UNKNOWN_ACTION",
            message,
            "send audio as {\"action\":\"audioChunk\",…} and its end as {\"action\":\"endStream\"}",
        )
    }

    /// The recording that a chunk begins has another codec.
    pub fn unsupported_codec(codec: &str) -> Self {
        let message = format!("the recording has no Opus audio that can be decoded: {codec}");
        Self::new(400, "UNSUPPORTED_FORMAT", message, WHAT_TO_RECORD)
    }

    /// The event lacks what API Gateway always sends.
    pub fn not_an_event(missing: &str) -> Self {
        let message = format!("the event has no {missing}");
        Self::new(
            500,
            "INTERNAL",
            message,
            "tell the operator: the function is not invoked by a WebSocket API",
        )
    }
}

/// A timestamp in another unit is told by a time that is so near.
const UNIT_WITHIN_MS: u64 = 30 * 24 * 3_600_000;

/// Which browser records what: Safari has WebM with Opus since 18.4 (March 2025), Firefox also Ogg with Opus.
const WHAT_TO_RECORD: &str = "new MediaRecorder(stream, {mimeType: \"audio/webm;codecs=opus\"}) in Chrome, Edge, Firefox, and in Safari \
    18.4 and later; in Firefox also \"audio/ogg;codecs=opus\". Older Safari records MP4 only: ask MediaRecorder.isTypeSupported(), and \
    send an AudioWorklet's samples there, as pcm-s16le";

/// The same for pages that have samples already.
const WHAT_TO_RECORD_OR_SAMPLES: &str = "send the samples without the file's header, as pcm-s16le (16 kHz, mono, 16 bits, little-endian); or \
    record Opus: new MediaRecorder(stream, {mimeType: \"audio/webm;codecs=opus\"})";

/// What pcm-s16le is.
const WHAT_SAMPLES: &str = "pcm-s16le is samples alone, without any header: 16 kHz, mono, 16 bits, little-endian (an Int16Array's buffer)";

/// How a page sends what does not fit one message.
const IN_PIECES: &str = "cut it into pieces of about 22 kB, each with its own chunkIndex, and \"continues\": true in all but the last; \
    or call MediaRecorder.start() with a smaller timeslice, such as 250 ms";

/// What to do about a chunk that is something else.
const fn hint_for(kind: Foreign) -> &'static str {
    match kind {
        Foreign::Wav | Foreign::Aiff | Foreign::Au | Foreign::Caf => WHAT_TO_RECORD_OR_SAMPLES,
        Foreign::Compressed => "send the blob as the recorder gives it: Opus is compressed already",
        Foreign::Hex => "send the blob's own bytes in base64, not as hexadecimal digits",
        Foreign::Base64 => "base64 was applied twice: send the blob's own bytes in base64, once",
        Foreign::Url => "send the part after \"base64,\" of the data: URL; a blob: URL holds no audio",
        Foreign::BlobAsString => "read the blob first: await blob.arrayBuffer(), then base64 of those bytes",
        Foreign::ReadAsText => {
            "text loses bytes: read the blob with arrayBuffer(), not with text() or readAsText()"
        }
        Foreign::Json => "audioData must be base64 of the blob's bytes alone, not of JSON",
        Foreign::Markup | Foreign::Text => "audioData must be base64 of a MediaRecorder blob's bytes",
        _ => WHAT_TO_RECORD,
    }
}

/// The message itself is at fault.
impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let hint = match rejection {
            Rejection::BodyTooLarge { .. } | Rejection::AudioTooLarge { .. } => IN_PIECES,
            Rejection::UnsupportedFormat { .. } => WHAT_TO_RECORD,
            Rejection::ForeignAudio { kind } => hint_for(kind),
            Rejection::ForeignPcm { .. } | Rejection::HalfSample { .. } => WHAT_SAMPLES,
            Rejection::BadBase64 { .. } => "send the whole blob as standard base64, without a data: prefix",
            Rejection::BadSessionId { .. } => "session ids are 1 to 128 of a-z A-Z 0-9 _ . -",
            _ => "compare the message with the documented one",
        };
        Self::new(400, rejection.code(), rejection.to_string(), hint)
    }
}

/// The writer's state is of a newer version, or damaged. The audio is in the queue nevertheless.
impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Self {
        Self::new(500, "STATUS_UNKNOWN", unreadable.to_string(), "tell the operator; go on sending audio")
    }
}

/// A service is at fault, not the browser. The message was perhaps taken; sending it again is safe, because it
/// keeps its deduplication id.
impl From<ServiceFailure> for Refusal {
    fn from(failure: ServiceFailure) -> Self {
        match failure.class() {
            Class::Passing => {
                let message = format!("the service is busy ({})", failure.reason());
                Self::new(
                    503,
                    "RETRY",
                    message,
                    "send the same message again in a moment; it is stored only once",
                )
            }
            Class::Lasting => {
                let message = format!("the service refuses ({})", failure.reason());
                Self::new(500, "INTERNAL", message, "tell the operator; sending it again will not help")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_specification_lists_every_code() {
        let specification = include_str!("../../../../SPECIFICATION.md");
        let is_code =
            |text: &&str| text.len() > 4 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        let source = include_str!("refusal.rs").split("#[cfg(test)]").next().unwrap();
        let codes: Vec<&str> = source.split('"').filter(is_code).collect();
        assert!(codes.len() > 10, "{codes:?}");
        for code in codes {
            let listed = specification.contains(&format!("`{code}`"));
            assert!(listed, "a page may get {code}, and SPECIFICATION.md does not list it");
        }
    }
}
