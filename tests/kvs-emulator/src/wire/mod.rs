//! HTTP/1.1: requests in, answers out.

mod admin;
mod archive;
mod body;
mod control;
mod get_media;
mod json;
mod media;
mod put_media;
mod signature;

use crate::error::ApiError;
use crate::faults::FaultKind;
use crate::operation::Operation;
use crate::server::Server;
use body::{Body, full};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// JSON bodies beyond this are refused.
const JSON_BYTES_MAX: usize = 1 << 20;
/// A client that does not send its request's head loses the connection after this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed by a fault")]
pub(crate) struct Hangup;

/// Serves one connection until either side closes it.
pub(crate) async fn serve<I>(io: I, server: Arc<Server>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(request, server.clone()));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(io), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(request: Request<Incoming>, server: Arc<Server>) -> Result<Response<Body>, Hangup> {
    let path = request.uri().path().to_owned();
    if path.starts_with("/emulator") {
        return Ok(admin::answer(request, &server).await);
    }
    let Some(operation) = Operation::from_path(&path) else {
        let message = format!("{} {path} is no operation of this emulator.", request.method());
        return Ok(error(
            &server,
            ApiError::new(StatusCode::NOT_FOUND, "UnknownOperationException", message),
        ));
    };
    *server.store().stats.requests.entry(operation.name().to_owned()).or_default() += 1;
    if request.method() != Method::POST {
        let message = format!("{path} wants POST.");
        let refusal = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "UnknownOperationException", message);
        return Ok(error(&server, refusal));
    }
    let outcome = match operation {
        Operation::PutMedia => put_media::answer(request, &server).await,
        _ => json_answer(operation, request, &server).await,
    };
    match outcome {
        Ok(response) => Ok(response),
        Err(Failure::Api(refusal)) => Ok(error(&server, refusal)),
        Err(Failure::Hangup(hangup)) => Err(hangup),
    }
}

/// Why there is no ordinary answer.
pub(crate) enum Failure {
    Api(ApiError),
    Hangup(Hangup),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Failure::Api(error)
    }
}

async fn json_answer(
    operation: Operation,
    request: Request<Incoming>,
    server: &Arc<Server>,
) -> Result<Response<Body>, Failure> {
    let (head, body) = request.into_parts();
    let bytes = match Limited::new(body, JSON_BYTES_MAX).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => {
            return Err(ApiError::invalid(format!("The body has more than {JSON_BYTES_MAX} bytes.")).into());
        }
    };
    signature::check(&server.config, &head, &signature::Payload::Whole(&bytes), server.now_ms())?;
    let input = json::Input::parse(&bytes)?;
    let name = input.any_stream_name();
    let faults = server.faults.at_request(name.as_deref().unwrap_or(""), operation);
    let answer_after = before(operation, name.as_deref(), &faults).await?;
    server.store().spend(operation, name.as_deref(), server.now_ms())?;
    let response = match operation {
        Operation::GetMedia => get_media::answer(&input, server, &faults)?,
        Operation::GetMediaForFragmentList => archive::media(&input, server)?,
        Operation::ListFragments => ok_json(&archive::list(&input, server)?),
        _ => ok_json(&control::answer(operation, &input, server)?),
    };
    answer_after.map_or(Ok(response), |hangup| Err(Failure::Hangup(hangup)))
}

/// Lets the faults of a request happen that come before its work; gives the one that comes after it.
pub(crate) async fn before(
    operation: Operation,
    stream: Option<&str>,
    faults: &[FaultKind],
) -> Result<Option<Hangup>, Failure> {
    for fault in faults {
        match fault {
            FaultKind::Delay { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            FaultKind::Throttle => return Err(ApiError::throttled(operation, stream, 0).into()),
            FaultKind::HttpError { status, error_type, message } => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Err(ApiError::new(status, error_type, message.clone()).into());
            }
            FaultKind::NoAnswer { done: false } => return Err(Failure::Hangup(Hangup)),
            FaultKind::NoAnswer { done: true } => return Ok(Some(Hangup)),
            _ => {}
        }
    }
    Ok(None)
}

fn ok_json(value: &Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn error(server: &Server, refusal: ApiError) -> Response<Body> {
    let mut store = server.store();
    *store.stats.errors.entry(refusal.kind.clone()).or_default() += 1;
    let request_id = format!("00000000-0000-0000-0000-{:012}", store.stats.errors.values().sum::<u64>());
    drop(store);
    tracing::debug!(error = %refusal, "refused");
    let body = serde_json::json!({ "Message": refusal.message }).to_string();
    let mut response = Response::new(full(Bytes::from(body)));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let kind = HeaderValue::from_str(&refusal.kind).unwrap_or(HeaderValue::from_static("InternalFailure"));
    headers.insert("x-amzn-errortype", kind);
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    // The rest of a body that was not read must not be taken for the next request.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
