//! Signed requests to services that the doctor asks one question each: Lambda, IAM, KMS. Their SDK crates would be half of this
//! program.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorSettings};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};
use ingest::failure::ServiceFailure;
use tokio::time::timeout;
use writer::ports::Result;

/// For the whole answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// No answer is larger that is looked into.
const MAX_BODY: usize = 4 * 1_024 * 1_024;

/// One request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// For messages: the API operation.
    pub operation: &'static str,
    /// Signing name: `lambda`, `iam`.
    pub service: &'static str,
    /// Signing region.
    pub region: &'a str,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// All of it.
    pub url: String,
    /// A form or JSON, for `POST`.
    pub body: String,
    /// `X-Amz-Target` of a JSON API; `None` for a form.
    pub target: Option<&'static str>,
}

impl Request<'_> {
    /// Headers that are signed.
    fn headers(&self) -> Vec<(&'static str, &'static str)> {
        match self.target {
            Some(target) => vec![("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)],
            None => vec![("content-type", "application/x-www-form-urlencoded")],
        }
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The `Date` header.
    pub date: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Sends a request, signed with the configuration's credentials.
///
/// # Errors
/// No credentials, no connection, no answer in time. An HTTP error is an answer.
pub async fn send(config: &SdkConfig, request: Request<'_>) -> Result<Answer> {
    let operation = request.operation;
    let garbled = |detail: String| ServiceFailure::Garbled { operation: operation.into(), detail };
    let signed = signed(config, &request).await?;
    let call = async {
        let settings = HttpConnectorSettings::builder().connect_timeout(PATIENCE / 2).build();
        let builder = Connector::builder().connector_settings(settings);
        let connector = match request.url.starts_with("https:") {
            true => builder.tls_provider(tls::Provider::rustls(CryptoMode::AwsLc)).build(),
            false => builder.build_http(),
        };
        let signed = HttpRequest::try_from(signed).map_err(|e| garbled(e.to_string()))?;
        let answer = connector.call(signed).await;
        let answer = answer.map_err(|e| aws::failure::from_connector(operation, PATIENCE, &e))?;
        let answer = answer.try_into_http1x().map_err(|e| garbled(e.to_string()))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|e| garbled(e.to_string()))?;
        let date = head.headers.get("date").and_then(|date| date.to_str().ok()).map(str::to_owned);
        Ok(Answer { status: head.status.as_u16(), date, body: body.to_bytes().to_vec() })
    };
    let late =
        || ServiceFailure::TimedOut { operation: operation.into(), waited_ms: PATIENCE.as_millis() as u64 };
    timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(late()))
}

async fn signed(config: &SdkConfig, request: &Request<'_>) -> Result<http::Request<SdkBody>> {
    let operation = request.operation.to_owned();
    let garbled = |detail: String| ServiceFailure::Garbled { operation: operation.clone(), detail };
    let missing = |message: String| ServiceFailure::Service {
        operation: operation.clone(),
        status: 0,
        code: "MissingAuthenticationToken".into(),
        message,
    };
    let provider = config.credentials_provider().ok_or_else(|| missing("no credentials".into()))?;
    let credentials = provider.provide_credentials().await.map_err(|e| missing(e.to_string()))?;
    let mut built = http::Request::builder().method(request.method).uri(&request.url);
    for (name, value) in request.headers() {
        built = built.header(name, value);
    }
    let mut built = built.body(SdkBody::from(request.body.as_str())).map_err(|e| garbled(e.to_string()))?;
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(request.region)
        .name(request.service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|e| garbled(e.to_string()))?
        .into();
    let headers = request.headers().into_iter();
    let body = SignableBody::Bytes(request.body.as_bytes());
    let signable = SignableRequest::new(request.method, &request.url, headers, body)
        .map_err(|e| garbled(e.to_string()))?;
    let (instructions, _) = sign(signable, &params).map_err(|e| garbled(e.to_string()))?.into_parts();
    instructions.apply_to_request_http1x(&mut built);
    Ok(built)
}
