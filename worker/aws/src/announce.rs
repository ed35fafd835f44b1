//! Tells readers of each fragment: one EventBridge event, after the commit.
//!
//! An event is a hint, not a promise: where the worker dies between commit and announcement, or the bus refuses, the
//! fragment is in the stream all the same. Readers that must miss nothing also look with ListFragments.

use std::sync::OnceLock;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use ingest::failure::ServiceFailure;
use ingest::message::SessionId;
use media::time::Samples;
use serde_json::json;
use tokio::time::timeout;
use writer::event::Event;
use writer::ports::{Result, Store as _};

use crate::cache::Cache;
use crate::failure::call;
use crate::store::StateTable;
use crate::telemetry;

/// `source` of the events.
pub const SOURCE: &str = "kvs-stream-writer";
/// `detail-type` of the events.
pub const DETAIL_TYPE: &str = "Fragment Persisted";

/// Entries of one PutEvents call.
const MAX_ENTRIES: usize = 10;
/// Streams whose ARN a process remembers.
const ARNS: usize = 1_024;
/// A stream that is deleted and created again gets another ARN; an hour bounds how long the old one is announced.
const KEEP_ARN: Duration = Duration::from_secs(3_600);

const PUT_EVENTS: &str = "PutEvents";
const DESCRIBE_STREAM: &str = "DescribeStream";
const ARN_ITEM: &str = "stream-arn";

/// The way to one event bus.
#[derive(Debug)]
pub struct Announcer {
    bus: String,
    config: SdkConfig,
    /// Built when the first fragment is announced: it is not part of a cold start.
    client: OnceLock<Client>,
    control: aws_sdk_kinesisvideo::Client,
    table: StateTable,
    arns: Cache<String>,
}

impl Announcer {
    /// To the bus of this name or ARN.
    pub fn new(config: &SdkConfig, bus: String, table: StateTable) -> Self {
        let control = aws_sdk_kinesisvideo::Client::new(config);
        let (client, config) = (OnceLock::new(), config.clone());
        Self { bus, config, client, control, table, arns: Cache::new(ARNS, KEEP_ARN) }
    }

    /// Announces the fragments among `events` within a time. What fails is reported and forgotten.
    pub async fn announce(&self, events: &[Event], within: Duration) {
        for some in events.chunks(MAX_ENTRIES) {
            let put = timeout(within, self.put(some)).await;
            let failure = match put {
                Ok(Ok(())) => continue,
                Ok(Err(failure)) => failure.to_string(),
                Err(_) => format!("{PUT_EVENTS} did not answer within {} ms", within.as_millis()),
            };
            let fields = json!({"event": "announcementFailed", "message": failure});
            telemetry::count(fields, ("announcementsFailed", some.len() as u64), &[]);
        }
    }

    async fn put(&self, events: &[Event]) -> Result<()> {
        let entries = futures::future::join_all(events.iter().map(|event| self.entry(event))).await;
        let entries: Vec<_> = entries.into_iter().flatten().collect();
        let client = self.client.get_or_init(|| Client::new(&self.config));
        let answer = call(PUT_EVENTS, client.put_events().set_entries(Some(entries)).send()).await?;
        match answer.entries.unwrap_or_default().iter().find(|entry| entry.error_code.is_some()) {
            None => Ok(()),
            Some(refused) => Err(ServiceFailure::Service {
                operation: PUT_EVENTS.into(),
                status: 200,
                code: refused.error_code.clone().unwrap_or_default(),
                message: refused.error_message.clone().unwrap_or_default(),
            }),
        }
    }

    async fn entry(&self, event: &Event) -> Option<PutEventsRequestEntry> {
        let Event::FragmentWritten {
            session_id,
            fragment_number,
            producer_timestamp_ms,
            samples,
            chunk_first,
            chunk_last,
            backfill,
            traceparent,
            ..
        } = event
        else {
            return None;
        };
        let session = SessionId::parse(session_id).ok()?;
        let arn = self.arn(&session).await;
        let detail = json!({
            "sessionId": session_id,
            "streamName": session.stream_name(),
            "streamArn": arn,
            "fragmentNumber": fragment_number,
            "producerTimestampMs": producer_timestamp_ms,
            "durationMs": samples.saturating_mul(1_000) / u64::from(Samples::RATE_HZ),
            "chunkFirst": chunk_first,
            "chunkLast": chunk_last,
            "backfill": backfill,
            "traceparent": traceparent,
        });
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(SOURCE)
            .detail_type(DETAIL_TYPE)
            .set_resources(arn.map(|arn| vec![arn]))
            .time(DateTime::from_millis(i64::try_from(*producer_timestamp_ms).unwrap_or(i64::MAX)))
            .detail(detail.to_string());
        Some(entry.build())
    }

    /// The stream's ARN: remembered in the process, then in the state table, asked for last, as DescribeStream allows
    /// 300 calls a second in an account. If it cannot be found out, the event goes without it: the name is enough to read the stream.
    async fn arn(&self, session: &SessionId) -> Option<String> {
        if let Some(known) = self.arns.get(session.as_str()) {
            return Some(known);
        }
        let stored = self.table.load_snapshot(session, ARN_ITEM).await.ok().flatten();
        let arn = match stored.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(arn) => arn,
            None => self.describe(session).await?,
        };
        self.arns.put(session.as_str(), arn.clone());
        Some(arn)
    }

    async fn describe(&self, session: &SessionId) -> Option<String> {
        let asked = self.control.describe_stream().stream_name(session.stream_name());
        let arn = call(DESCRIBE_STREAM, asked.send()).await.ok()?.stream_info?.stream_arn?;
        let saved = self.table.save_snapshot(session, ARN_ITEM, arn.as_bytes(), KEEP_ARN.as_secs()).await;
        if let Err(failure) = saved {
            tracing::debug!(%failure, "the stream's ARN is not stored");
        }
        Some(arn)
    }
}
