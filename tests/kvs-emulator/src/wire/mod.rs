//! HTTP/1.1: requests in, answers out.

mod admin;
mod archive;
mod body;
mod control;
mod flow;
mod get_media;
mod json;
mod line;
mod media;
mod playback;
mod put_media;
mod signature;
mod slot;

use crate::error::ApiError;
use crate::faults::FaultKind;
use crate::operation::Operation;
use crate::recorder::Recording;
use crate::server::Server;
use body::{Body, full};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Collected, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use line::{Line, Peer};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// JSON bodies beyond this are refused; a thousand fragment numbers of full length need half of it.
const JSON_BYTES_MAX: usize = 256 * 1024;
/// A client that does not send its request's head loses the connection after this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that does not send its JSON in this time is refused.
const JSON_TIMEOUT_MS: u64 = 60_000;
/// What hyper may buffer of a connection, head included.
const BUFFER_BYTES: usize = 64 * 1024;

/// What follows an exception's name in the service's answers.
const MODEL: &str = ":https://kinesisvideo.amazonaws.com/doc/2017-09-30/";

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed by a fault")]
pub(crate) struct Hangup;

/// Serves one connection until either side closes it.
pub(crate) async fn serve<I>(io: I, server: Arc<Server>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (line, peer) = Line::new(io, server.open.hold());
    let service = service_fn(move |request| answer(request, server.clone(), peer.clone()));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        // A client that sends nothing more may still wait for its answer.
        .half_close(true)
        .serve_connection(TokioIo::new(line.clone()), service);
    if let Err(error) = line.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(
    request: Request<Incoming>,
    server: Arc<Server>,
    peer: Peer,
) -> Result<Response<Body>, Hangup> {
    if request.uri().path().starts_with("/emulator") {
        return Ok(admin::answer(request, &server).await);
    }
    let (head, body) = request.into_parts();
    let operation = Operation::from_path(head.uri.path());
    let recording = server.recorder.begin(&head, operation, server.now_ms());
    let outcome = match operation {
        None => Err(Failure::Api(unknown(&head))),
        Some(operation) => {
            *server.store().stats.requests.entry(operation.name().to_owned()).or_default() += 1;
            let caller = Caller { server: &server, recording: &recording, peer: &peer };
            operate(operation, head, body, caller).await
        }
    };
    let mut response = match outcome {
        Ok(response) => response,
        Err(Failure::Api(refusal)) => {
            recording.edit().error_type = Some(refusal.kind.clone());
            error(&server, &refusal)
        }
        Err(Failure::Hangup(hangup)) => return Err(hangup),
    };
    recording.edit().status = Some(response.status().as_u16());
    let number = server.answers.fetch_add(1, Ordering::Relaxed) + 1;
    if let Ok(id) = HeaderValue::from_str(&format!("00000000-0000-0000-0000-{number:012}")) {
        response.headers_mut().insert("x-amz-requestid", id.clone());
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    Ok(response)
}

async fn operate(
    operation: Operation,
    head: Parts,
    body: Incoming,
    caller: Caller<'_>,
) -> Result<Response<Body>, Failure> {
    if head.method != Method::POST {
        let message = format!("{} wants POST.", head.uri.path());
        return Err(
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "UnknownOperationException", message).into()
        );
    }
    match operation {
        Operation::PutMedia => put_media::answer(head, body, caller).await,
        _ => json_answer(operation, head, body, caller).await,
    }
}

fn unknown(head: &Parts) -> ApiError {
    let message = format!("{} {} is not an operation of this emulator.", head.method, head.uri.path());
    ApiError::new(StatusCode::NOT_FOUND, "UnknownOperationException", message)
}

/// Where a request comes from.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) server: &'a Arc<Server>,
    pub(crate) recording: &'a Recording,
    pub(crate) peer: &'a Peer,
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
    head: Parts,
    body: Incoming,
    Caller { server, recording, peer }: Caller<'_>,
) -> Result<Response<Body>, Failure> {
    let bytes = json_body(body, server).await?;
    recording.input(&bytes);
    signature::check(&server.config, &head, &signature::Payload::Whole(&bytes), server.now.client_ms())?;
    let input = json::Input::parse(&bytes)?;
    let name = input.any_stream_name();
    recording.edit().stream = name.clone();
    let faults = server.faults.at_request(name.as_deref().unwrap_or(""), operation);
    let answer_after = before(server, operation, name.as_deref(), &faults).await?;
    server.store().spend(operation, name.as_deref(), server.now_ms())?;
    let response = match operation {
        Operation::GetMedia => {
            slot::take(server, || get_media::answer(&input, server, &faults, peer)).await?
        }
        Operation::GetMediaForFragmentList => {
            slot::take(server, || archive::media(&input, server, &faults, peer)).await?
        }
        Operation::ListFragments => ok_json(&archive::list(&input, server)?),
        operation if operation.is_playback() => {
            return Err(playback::answer(operation, &input, server).into());
        }
        _ => {
            let value = control::answer(operation, &input, server)?;
            // What was answered is not forgotten.
            if !server.disk.flush().wait().await {
                return Err(ApiError::internal("The change could not be written to disk.").into());
            }
            ok_json(&value)
        }
    };
    answer_after.map_or(Ok(response), |hangup| Err(Failure::Hangup(hangup)))
}

async fn json_body(mut body: Incoming, server: &Server) -> Result<Bytes, ApiError> {
    let collected = tokio::select! {
        collected = Limited::new(&mut body, JSON_BYTES_MAX).collect() => collected,
        () = server.now.sleep(JSON_TIMEOUT_MS) => {
            let message = format!("The body did not come within {} s.", JSON_TIMEOUT_MS / 1000);
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeoutException", message));
        }
    };
    collected.map(Collected::to_bytes).map_err(|_| {
        tokio::spawn(body::drain(body));
        ApiError::invalid(format!("The body has more than {JSON_BYTES_MAX} bytes."))
    })
}

/// Lets the faults of a request happen that come before its work; gives the one that comes after it.
pub(crate) async fn before(
    server: &Server,
    operation: Operation,
    stream: Option<&str>,
    faults: &[FaultKind],
) -> Result<Option<Hangup>, Failure> {
    for fault in faults {
        match fault {
            FaultKind::Delay { ms } => server.now.sleep(*ms).await,
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

fn error(server: &Server, refusal: &ApiError) -> Response<Body> {
    *server.store().stats.errors.entry(refusal.kind.clone()).or_default() += 1;
    tracing::debug!(error = %refusal, "refused");
    let member = if refusal.is_of_the_front_door() { "message" } else { "Message" };
    let body = serde_json::json!({ (member): refusal.message }).to_string();
    let mut response = Response::new(full(Bytes::from(body)));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let value =
        |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("InternalFailure"));
    // The SDKs read the first, up to the colon; the media APIs' documents name the second.
    let model = if refusal.is_of_the_front_door() { "" } else { MODEL };
    headers.insert("x-amzn-errortype", value(&format!("{}{model}", refusal.kind)));
    headers.insert("x-amz-errortype", value(&refusal.kind));
    // The rest of a body that was not read must not be taken for the next request.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
