//! Kinesis Video Streams behind [`writer::ports::Streams`]: a stream per session, created on demand.

use std::future::Future;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_kinesisvideo::types::{ApiName, Status};
use aws_sdk_kinesisvideoarchivedmedia as archive;
use ingest::failure::ServiceFailure;
use ingest::message::SessionId;
use media::time::EpochMs;
use tokio::time::{Instant, timeout};
use writer::ports::{Persisted, Result, Streams};

use crate::endpoints::Endpoints;
use crate::failure::{call, has_code};
use crate::fragments;
use crate::put_media::{PUT_MEDIA, PutMedia};
use crate::retry::{Outcome, Policy, repeat};
use crate::settings::Settings;
use crate::store::StateTable;

/// Optional and not validated by the service, which has no name for PCM; this is the official producer's content
/// type for audio in Matroska (aws-facts 2.3).
const MEDIA_TYPE: &str = "audio/x-matroska";

/// Pauses between two looks at a stream that is being created. DescribeStream allows 5 calls a second and stream.
const UNTIL_ACTIVE: Policy =
    Policy { first: Duration::from_millis(250), longest: Duration::from_secs(1), growth: 1.5, jitter: 0.2 };

/// Fragments on a page of ListFragments.
const PAGE_FRAGMENTS: i64 = 10;

/// Pages of ListFragments that a probe reads; its window of 2 ms hardly fills one.
const MAX_PAGES: usize = 4;

/// The streams of one account and Region.
#[derive(Debug)]
pub struct VideoStreams {
    control: aws_sdk_kinesisvideo::Client,
    archive: archive::config::Builder,
    media: PutMedia,
    new: NewStreams,
    endpoints: Endpoints,
}

/// What streams are given when they are created.
#[derive(Clone, Debug)]
pub struct NewStreams {
    /// How long they keep what is written; at least 1, since nothing is persisted without.
    pub retention_hours: i32,
    /// ARN of the KMS key that encrypts them; Kinesis Video's own where there is none.
    pub kms_key: Option<String>,
}

impl NewStreams {
    /// As the environment says.
    pub fn of(settings: &Settings) -> Self {
        Self { retention_hours: settings.retention_hours, kms_key: settings.stream_key.clone() }
    }
}

impl VideoStreams {
    /// `state` remembers endpoints for other processes.
    pub fn new(config: &SdkConfig, media: PutMedia, state: StateTable, new: NewStreams) -> Self {
        let control = aws_sdk_kinesisvideo::Client::new(config);
        Self {
            endpoints: Endpoints::new(control.clone(), state),
            control,
            archive: archive::config::Builder::from(config),
            media,
            new,
        }
    }

    /// The endpoint for PutMedia; creates the stream where it is missing.
    async fn endpoint_for_put(&self, session: &SessionId, limit: Limit) -> Result<String> {
        let endpoint = || limit.on("GetDataEndpoint", self.endpoints.get(session, &ApiName::PutMedia));
        match endpoint().await {
            Err(failure) if is_missing(&failure) => {
                limit.on("CreateStream", self.create(session)).await?;
                limit.on("DescribeStream", self.until_active(session, limit)).await?;
                endpoint().await
            }
            known => known,
        }
    }

    /// Creates the session's stream. That it exists already, or that another worker is creating it, is success.
    async fn create(&self, session: &SessionId) -> Result<()> {
        let created = self
            .control
            .create_stream()
            .stream_name(session.stream_name())
            .media_type(MEDIA_TYPE)
            .data_retention_in_hours(self.new.retention_hours)
            .set_kms_key_id(self.new.kms_key.clone())
            .tags("app", "kvs-stream-writer")
            .tags("sessionId", session.as_str());
        match call("CreateStream", created.send()).await {
            Err(failure) if has_code(&failure, "ResourceInUseException") => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    async fn until_active(&self, session: &SessionId, limit: Limit) -> Result<()> {
        let describe = || self.control.describe_stream().stream_name(session.stream_name()).send();
        repeat(UNTIL_ACTIVE, limit.remaining(), || async move {
            let described = call("DescribeStream", describe()).await;
            let status = match described {
                Ok(answer) => answer.stream_info.and_then(|info| info.status),
                Err(failure) if is_missing(&failure) => None, // not yet visible everywhere
                Err(failure) => return Err(Outcome::permanent(failure)),
            };
            match status {
                Some(Status::Active | Status::Updating) => Ok(()),
                _ => Err(Outcome::transient(limit.passed("DescribeStream"))),
            }
        })
        .await
    }

    async fn list(&self, stream: &str, at: EpochMs, endpoint: String) -> Result<Option<Persisted>> {
        let client = archive::Client::from_conf(self.archive.clone().endpoint_url(endpoint).build());
        // A millisecond to either side: whether the ends belong to the range is not documented.
        let around = (EpochMs(at.0.saturating_sub(1)), EpochMs(at.0.saturating_add(1)));
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let (listed, next) = fragments::page(&client, stream, around, PAGE_FRAGMENTS, token).await?;
            if let Some(found) = listed.into_iter().find(|fragment| fragment.at == at) {
                return Ok(Some(Persisted { fragment_number: found.number, acknowledged_after_ms: None }));
            }
            token = next;
            if token.is_none() {
                break;
            }
        }
        Ok(None)
    }
}

impl Streams for VideoStreams {
    async fn put(
        &self,
        session: &SessionId,
        at: EpochMs,
        fragment: Vec<u8>,
        within_ms: u64,
    ) -> Result<Persisted> {
        let limit = Limit { started: Instant::now(), within: Duration::from_millis(within_ms) };
        let endpoint = self.endpoint_for_put(session, limit).await?;
        let stream = session.stream_name();
        let put = limit.on(PUT_MEDIA, self.media.put(&endpoint, &stream, at, fragment)).await;
        put.inspect_err(|failure| self.endpoints.suspect(session, &ApiName::PutMedia, failure))
    }

    async fn find(&self, session: &SessionId, at: EpochMs) -> Result<Option<Persisted>> {
        let found = match self.endpoints.get(session, &ApiName::ListFragments).await {
            Ok(endpoint) => self.list(&session.stream_name(), at, endpoint).await,
            Err(failure) => Err(failure),
        };
        match found.inspect_err(|failure| self.endpoints.suspect(session, &ApiName::ListFragments, failure)) {
            Err(failure) if is_missing(&failure) => Ok(None),
            found => found,
        }
    }
}

/// The caller's time limit over all steps of a call.
#[derive(Clone, Copy)]
struct Limit {
    started: Instant,
    within: Duration,
}

impl Limit {
    async fn on<T>(self, operation: &str, step: impl Future<Output = Result<T>>) -> Result<T> {
        timeout(self.remaining(), step).await.unwrap_or_else(|_| Err(self.passed(operation)))
    }

    fn remaining(self) -> Duration {
        self.within.saturating_sub(self.started.elapsed())
    }

    /// The failure of the operation during which it passed.
    fn passed(self, operation: &str) -> ServiceFailure {
        ServiceFailure::TimedOut {
            operation: operation.into(),
            waited_ms: self.started.elapsed().as_millis() as u64,
        }
    }
}

fn is_missing(failure: &ServiceFailure) -> bool {
    has_code(failure, "ResourceNotFoundException")
}

#[cfg(test)]
mod tests;
