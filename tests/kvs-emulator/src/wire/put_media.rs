//! PutMedia: 200 at once, then acknowledgements while the body is still open.

mod acks;
mod call;
mod late;
mod persist;
mod steps;

use super::body::{self, Body};
use super::json::StreamRef;
use super::slot::{self, PutSlot};
use super::{Caller, Failure, before, signature};
use crate::error::ApiError;
use crate::faults::FaultKind;
use crate::operation::Operation;
use crate::recorder::Recording;
use crate::rules::fragment::Timecodes;
use crate::rules::stream;
use crate::server::Server;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Body as _;
use hyper::body::Incoming;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

pub(crate) async fn answer(
    head: Parts,
    mut incoming: Incoming,
    Caller { server, recording, peer }: Caller<'_>,
) -> Result<Response<Body>, Failure> {
    let expects = head.headers.contains_key(header::EXPECT);
    let (slot, timecodes, faults) = match accept(&head, server, recording).await {
        Ok(accepted) => accepted,
        Err(failure) => {
            // A client that waits for 100 sends no body, and asking for it would send the 100.
            if !expects && matches!(failure, Failure::Api(_)) {
                tokio::spawn(body::drain(incoming));
            }
            return Err(failure);
        }
    };
    let (writer, body) = body::channel();
    let first = if expects { ask_for_body(&mut incoming).await } else { None };
    let line = call::Line { writer, recording: recording.clone(), peer: peer.clone() };
    let call = call::Call::new(slot, timecodes, &faults, line);
    tokio::spawn(async move {
        if call.run(first, &mut incoming).await {
            body::drain(incoming).await;
        }
    });
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Checks all that can be checked before the body, and takes the stream's connection.
async fn accept(
    head: &Parts,
    server: &Arc<Server>,
    recording: &Recording,
) -> Result<(PutSlot, Timecodes, Vec<FaultKind>), Failure> {
    signature::check(&server.config, head, &signature::Payload::Streamed, server.now.client_ms())?;
    let wanted = StreamRef::new(
        text(&head.headers, "x-amzn-stream-name")?,
        text(&head.headers, "x-amzn-stream-arn")?,
    )?;
    recording.edit().stream = Some(wanted.name.clone());
    let faults = server.faults.at_request(&wanted.name, Operation::PutMedia);
    if let Some(hangup) = before(server, Operation::PutMedia, Some(&wanted.name), &faults).await? {
        return Err(Failure::Hangup(hangup));
    }
    let timecodes = timecodes(&head.headers)?;
    let arn = {
        let (now_ms, mut store) = (server.now_ms(), server.store());
        let arn = super::control::find(&mut store, &wanted, now_ms)?.arn.clone();
        store.spend(Operation::PutMedia, Some(&wanted.name), now_ms)?;
        arn
    };
    let stream = wanted.name;
    let connection = slot::take(server, || server.store().begin_put(&stream, server.now_ms())).await?;
    Ok((PutSlot::new(server.clone(), stream, arn, connection), timecodes, faults))
}

/// Makes hyper send `100 Continue` before the answer: it does so when the body is first asked for.
async fn ask_for_body(incoming: &mut Incoming) -> Option<call::Received> {
    let polled = poll_fn(|cx| match Pin::new(&mut *incoming).poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(frame),
        Poll::Pending => Poll::Ready(None),
    })
    .await;
    tokio::task::yield_now().await;
    polled
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ApiError> {
    let value = headers.get(name).map(HeaderValue::to_str).transpose();
    value.map_err(|_| ApiError::invalid(format!("{name} is not readable text.")))
}

fn timecodes(headers: &HeaderMap) -> Result<Timecodes, ApiError> {
    const TYPE: &str = "x-amzn-fragment-timecode-type";
    const START: &str = "x-amzn-producer-start-timestamp";
    const ACKS: &str = "x-amzn-fragment-acknowledgment-required";
    let start = text(headers, START)?.ok_or_else(|| ApiError::invalid(format!("{START} is missing.")))?;
    let start_ms = stream::start_timestamp_ms(start).ok_or_else(|| {
        ApiError::invalid(format!("{START} {start:?} is not seconds since 1970 with three decimals."))
    })?;
    if let Some(bad) = text(headers, ACKS)?.filter(|acks| !matches!(*acks, "0" | "1")) {
        return Err(ApiError::invalid(format!("{ACKS} {bad:?} is not 0 or 1.")));
    }
    match text(headers, TYPE)? {
        Some("ABSOLUTE") => Ok(Timecodes::Absolute),
        Some("RELATIVE") => Ok(Timecodes::Relative { start_ms }),
        Some(other) => Err(ApiError::invalid(format!("{TYPE} {other:?} is not ABSOLUTE or RELATIVE."))),
        None => Err(ApiError::invalid(format!("{TYPE} is missing."))),
    }
}
