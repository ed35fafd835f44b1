//! What was asked and how it was answered, for assertions. Credentials and media are left out.

use crate::operation::Operation;
use http::request::Parts;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One request, as far as it has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedRequest {
    /// Counts from 1.
    pub id: u64,
    /// When its head had arrived, in milliseconds since 1970.
    pub at_ms: u64,
    /// HTTP method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// The operation, if the path names one.
    pub operation: Option<Operation>,
    /// The stream that it names.
    pub stream: Option<String>,
    /// Header fields; of Authorization only scope and names of signed headers, of tokens nothing.
    pub headers: BTreeMap<String, String>,
    /// The JSON body, if it is not too long.
    pub input: Option<Value>,
    /// Status of the answer; none while there is none, or if the connection was closed without one.
    pub status: Option<u16>,
    /// `x-amzn-ErrorType` of the answer.
    pub error_type: Option<String>,
    /// PutMedia: bytes of the body.
    pub media_bytes: u64,
    /// PutMedia: acknowledgements, the latest if there are many.
    pub acks: VecDeque<String>,
    /// PutMedia: true once the answer has ended as it should, false once the connection was lost or cut.
    pub ended: Option<bool>,
}

// Together they bound what thousands of hostile requests can fill.
const INPUT_BYTES_MAX: usize = 8 * 1024;
const ACKS_MAX: usize = 100;
const HEADERS_MAX: usize = 40;
const HEADER_CHARS_MAX: usize = 512;

/// The latest requests.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    max: usize,
    kept: Mutex<(u64, VecDeque<Recording>)>,
}

/// One request that is still being answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording(Arc<Mutex<RecordedRequest>>);

impl Recorder {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, kept: Mutex::default() }
    }

    /// Begins a record; forgets the oldest beyond the maximum.
    pub(crate) fn begin(&self, head: &Parts, operation: Option<Operation>, now_ms: u64) -> Recording {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 += 1;
        let recording = Recording(Arc::new(Mutex::new(RecordedRequest {
            id: kept.0,
            at_ms: now_ms,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            operation,
            headers: headers(head),
            ..RecordedRequest::default()
        })));
        kept.1.push_back(recording.clone());
        while kept.1.len() > self.max {
            kept.1.pop_front();
        }
        recording
    }

    pub(crate) fn all(&self) -> Vec<RecordedRequest> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.1.iter().map(|recording| recording.edit().clone()).collect()
    }

    pub(crate) fn clear(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
    }
}

fn headers(head: &Parts) -> BTreeMap<String, String> {
    let text = |name: &str, value: &http::HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes());
        let short = |text: &str| text.chars().take(HEADER_CHARS_MAX).collect::<String>();
        match name {
            "authorization" => short(text.split("Signature=").next().unwrap_or("")) + "Signature=...",
            "x-amz-security-token" => "...".to_owned(),
            _ => short(&text),
        }
    };
    head.headers
        .iter()
        .take(HEADERS_MAX)
        .map(|(name, value)| (name.to_string(), text(name.as_str(), value)))
        .collect()
}

impl Recording {
    pub(crate) fn edit(&self) -> MutexGuard<'_, RecordedRequest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn input(&self, bytes: &[u8]) {
        if bytes.len() <= INPUT_BYTES_MAX {
            self.edit().input = serde_json::from_slice(bytes).ok();
        }
    }

    pub(crate) fn ack(&self, line: &str) {
        let mut record = self.edit();
        record.acks.push_back(line.trim_end().to_owned());
        if record.acks.len() > ACKS_MAX {
            record.acks.pop_front();
        }
    }
}
