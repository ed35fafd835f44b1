//! PutMedia: one fragment, one connection, done at PERSISTED.
//!
//! No SDK has this operation. The request is signed with the SDK's signer and sent with the SDK's HTTP
//! connector, so TLS, roots, DNS and proxies are those of every other call. The service answers 200 at once and
//! acknowledges while the body is still under way; the response is therefore read from its first byte on, and an
//! ERROR ends the call even if the body has not been sent.

pub mod acks;
pub mod request;

use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, Limited};
use ingest::failure::ServiceFailure;
use media::time::EpochMs;
use serde_json::Value;
use tokio::time::{Instant, timeout};
use writer::ports::{Persisted, Result};

use self::acks::{Ack, AckEvent, AckParser};
use self::request::{PayloadSigning, Pieces, Target};
use crate::credentials::CachedCredentials;
use crate::failure;

/// The operation's name in failures.
pub const PUT_MEDIA: &str = "PutMedia";

/// How long the service may take, after the last acknowledgement, to end the response by itself. A stream has one
/// PutMedia connection; letting it end before the next one begins avoids ConnectionLimitExceeded.
const CLOSE_GRACE: Duration = Duration::from_millis(200);

/// The largest error body that is read.
const MAX_ERROR_BODY: usize = 64 * 1_024;

/// Sends fragments.
#[derive(Clone, Debug)]
pub struct PutMedia {
    connector: SharedHttpConnector,
    credentials: CachedCredentials,
    region: String,
    payload: PayloadSigning,
}

impl PutMedia {
    /// `connector` must not keep idle connections and must have no read timeout.
    pub fn new(
        connector: SharedHttpConnector,
        credentials: CachedCredentials,
        region: String,
        payload: PayloadSigning,
    ) -> Self {
        Self { connector, credentials, region, payload }
    }

    /// Sends one fragment, whose Cluster begins at `at`, and returns at its PERSISTED acknowledgement. Has no time
    /// limit of its own: dropping the future closes the connection.
    ///
    /// # Errors
    /// [`ServiceFailure::Ack`] for an ERROR acknowledgement, `Service` for an HTTP error, `Disconnected` where the
    /// connection or the response ended too early, `Garbled` where the response is not a sequence of acknowledgements.
    pub async fn put(
        &self,
        endpoint: &str,
        stream: &str,
        at: EpochMs,
        fragment: Vec<u8>,
    ) -> Result<Persisted> {
        self.send(endpoint, stream, at, Pieces::body(fragment)).await
    }

    async fn send(&self, endpoint: &str, stream: &str, at: EpochMs, body: SdkBody) -> Result<Persisted> {
        let started = Instant::now();
        let credentials = self.credentials.get().await?;
        let (region, payload) = (self.region.as_str(), self.payload);
        let target = Target { endpoint, stream, region, credentials: &credentials, payload };
        let request = request::signed(target, at, SystemTime::now(), body).map_err(garbled)?;
        let request = HttpRequest::try_from(request).map_err(garbled)?;
        let answer = self.connector.call(request).await;
        let answer = answer.map_err(|e| failure::from_connector(PUT_MEDIA, started.elapsed(), &e))?;
        let answer = answer.try_into_http1x().map_err(garbled)?;
        if answer.status() != http::StatusCode::OK {
            return Err(refusal(answer).await);
        }
        let mut answer = Answer { body: answer.into_body(), parser: AckParser::default(), at };
        let fragment_number = answer.until_persisted().await;
        let acknowledged_after_ms = Some(started.elapsed().as_millis() as u64);
        answer.close().await;
        Ok(Persisted { fragment_number: fragment_number?, acknowledged_after_ms })
    }
}

/// The response while it is being read.
struct Answer {
    body: SdkBody,
    parser: AckParser,
    at: EpochMs,
}

impl Answer {
    /// Reads acknowledgements until the fragment is stored, and gives its number.
    async fn until_persisted(&mut self) -> Result<String> {
        let mut last = None;
        let mut acks = Vec::new();
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|e| broken(&last, &failure::chain(e.as_ref())))?;
            let Ok(bytes) = frame.into_data() else { continue };
            let parsed = self.parser.feed(&bytes, &mut acks);
            for ack in acks.drain(..) {
                if let Some(fragment_number) = self.verdict(&ack)? {
                    return Ok(fragment_number);
                }
                last = Some(ack.event);
            }
            parsed.map_err(garbled)?;
        }
        Err(broken(&last, "the response ended"))
    }

    /// The fragment's number once it is stored, an error once it failed, nothing before.
    fn verdict(&self, ack: &Ack) -> Result<Option<String>> {
        match &ack.event {
            AckEvent::Persisted if ack.timecode.is_some_and(|timecode| timecode != self.at) => {
                let timecode = ack.timecode.unwrap_or_default();
                Err(garbled(format!(
                    "PERSISTED names the fragment at {timecode}, sent was the one at {}",
                    self.at
                )))
            }
            AckEvent::Persisted => Ok(Some(ack.fragment_number.clone().unwrap_or_default())),
            AckEvent::Error { id, code } => Err(ServiceFailure::Ack { id: *id, code: code.clone() }),
            AckEvent::Buffering | AckEvent::Received | AckEvent::Idle | AckEvent::Unknown(_) => Ok(None),
        }
    }

    /// Lets the service end the response, for a moment; then the connection is dropped.
    async fn close(mut self) {
        let end = async { while let Some(Ok(_)) = self.body.frame().await {} };
        let _ = timeout(CLOSE_GRACE, end).await;
    }
}

/// Reads an HTTP error: the type from either header or the body, the text from the body (aws-facts 1.5).
async fn refusal(answer: http::Response<SdkBody>) -> ServiceFailure {
    let (head, body) = answer.into_parts();
    let header = ["x-amzn-errortype", "x-amz-errortype"]
        .iter()
        .find_map(|name| head.headers.get(*name)?.to_str().ok());
    let header = header.map(str::to_owned);
    let bytes =
        Limited::new(body, MAX_ERROR_BODY).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let fields: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let field =
        |names: [&str; 2]| names.iter().find_map(|name| fields.get(*name)?.as_str()).map(str::to_owned);
    ServiceFailure::Service {
        operation: PUT_MEDIA.into(),
        status: head.status.as_u16(),
        code: failure::bare_code(&header.or_else(|| field(["__type", "code"])).unwrap_or_default())
            .to_owned(),
        message: field(["message", "Message"])
            .unwrap_or_else(|| String::from_utf8_lossy(&bytes).chars().take(256).collect()),
    }
}

fn broken(last: &Option<AckEvent>, how: &str) -> ServiceFailure {
    let detail = match last {
        Some(event) => format!("{how} after {event:?}, before PERSISTED"),
        None => format!("{how} before any acknowledgement"),
    };
    ServiceFailure::Disconnected { operation: PUT_MEDIA.into(), detail }
}

fn garbled(error: impl std::fmt::Display) -> ServiceFailure {
    ServiceFailure::Garbled { operation: PUT_MEDIA.into(), detail: error.to_string() }
}

#[cfg(test)]
mod http_versions;
#[cfg(test)]
mod tests;
