//! What the worker's process holds after many batches.

use serde_json::{Value, json};

use crate::resources::SessionStatus;
use crate::stack::Stack;
use path_bench::batches::{Batch, BenchError};

/// Sessions that the batches are spread over.
const SESSIONS: usize = 10;
/// The batches lie this far back in time, so that none is in the future.
const PAST_MS: u64 = 1_800_000;

/// Resident memory of the worker's process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// Now, MB (10^6 bytes).
    pub rss_mb: f64,
    /// At its highest, MB.
    pub peak_mb: f64,
}

/// Sends `count` batches to the stack's real worker, one after the other, and looks at its process.
///
/// # Errors
/// [`BenchError::Program`] if an invocation fails or a batch is not written, or more than one process was needed.
pub async fn after_batches(
    stack: &Stack,
    batches: &[Batch],
    count: usize,
    on_batch: &(dyn Fn() + Sync),
) -> Result<Memory, BenchError> {
    let failed = |reason: String| BenchError::Program { program: "kvs-stream-writer".into(), reason };
    let mut sessions = Vec::new();
    for n in 0..SESSIONS {
        let id = format!("bench-{n}");
        let put = stack.put_session(&id, SessionStatus::Active).await;
        put.map_err(|error| failed(error.to_string()))?;
        sessions.push(Endless::new(id, batches));
    }
    for n in 0..count {
        let event = sessions[n % SESSIONS].next_event();
        let answer = stack.writer().invoke(event.to_string().into()).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|error| failed(error.to_string()))?;
        if answer["batchItemFailures"].as_array().is_none_or(|failures| !failures.is_empty()) {
            return Err(failed(format!("batch {n} was not written: {answer}")));
        }
        on_batch();
    }
    match stack.writer().environments().as_slice() {
        [(_, pid)] => memory_of(*pid).ok_or_else(|| failed("its memory cannot be read from /proc".into())),
        others => Err(failed(format!("{} processes ran, one was expected", others.len()))),
    }
}

/// A session that says the same over and over, each time as a new recording with its chunks numbered on.
struct Endless<'a> {
    id: String,
    batches: &'a [Batch],
    batch: usize,
    chunk: u64,
    shift_ms: u64,
}

impl<'a> Endless<'a> {
    fn new(id: String, batches: &'a [Batch]) -> Self {
        let now_ms = crate::replay::speaker::now_ms();
        let first = batches.first().and_then(|batch| batch.records.first());
        let shift_ms = (now_ms - PAST_MS).saturating_sub(first.map_or(0, |record| record.sent_at.0));
        Self { id, batches, batch: 0, chunk: 0, shift_ms }
    }

    /// The next batch as the mapping would hand it over.
    fn next_event(&mut self) -> Value {
        if self.batch == self.batches.len() {
            let sent = |batch: Option<&Batch>| Some(batch?.records.last()?.sent_at.0);
            let length = sent(self.batches.last()).unwrap_or_default()
                - sent(self.batches.first()).unwrap_or_default();
            self.shift_ms += length + 5_000;
            self.batch = 0;
        }
        let batch = &self.batches[self.batch];
        self.batch += 1;
        let records: Vec<Value> = batch.records.iter().map(|record| self.record(&record.body)).collect();
        json!({ "Records": records })
    }

    fn record(&mut self, body: &str) -> Value {
        let mut message: Value = serde_json::from_str(body).unwrap_or_default();
        let captured_ms = message["timestamp"].as_u64().unwrap_or_default() + self.shift_ms;
        let chunk = self.chunk;
        self.chunk += 1;
        message["sessionId"] = json!(self.id);
        message["timestamp"] = json!(captured_ms);
        message["chunkIndex"] = json!(chunk);
        json!({
            "messageId": format!("{}-{chunk}", self.id),
            "receiptHandle": format!("{}-{chunk}", self.id),
            "body": message.to_string(),
            "attributes": {
                "ApproximateReceiveCount": "1",
                "ApproximateFirstReceiveTimestamp": captured_ms.to_string(),
                "SentTimestamp": (captured_ms + 40).to_string(),
                "SequenceNumber": format!("{:020}", chunk + 1),
                "MessageGroupId": self.id,
                "MessageDeduplicationId": chunk.to_string(),
                "SenderId": "000000000000",
            },
            "messageAttributes": {},
            "md5OfBody": "",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:audio-chunks.fifo",
            "awsRegion": "us-east-1",
        })
    }
}

fn memory_of(pid: u32) -> Option<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let megabytes = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kib: f64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024.0 / 1e6)
    };
    Some(Memory { rss_mb: megabytes("VmRSS:")?, peak_mb: megabytes("VmHWM:")? })
}
