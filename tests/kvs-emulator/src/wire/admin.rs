//! `/emulator/...`: faults and counters for other processes. No signature is asked for.

use super::JSON_BYTES_MAX;
use super::body::{Body, full};
use crate::faults::Fault;
use crate::server::Server;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

const HELP: &str = "GET /emulator/streams, GET /emulator/streams/NAME, GET /emulator/stats, GET /emulator/faults, \
                    POST /emulator/faults (one fault or a list), DELETE /emulator/faults, DELETE /emulator/faults/ID, \
                    GET /emulator/requests[?stream=NAME&operation=NAME&after=ID], DELETE /emulator/requests, \
                    GET /emulator/clock, POST /emulator/clock {\"advanceMs\": N}";

#[derive(Deserialize)]
#[serde(untagged)]
enum Script {
    Many(Vec<Value>),
    One(Value),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Step {
    advance_ms: u64,
}

pub(super) async fn answer(request: Request<Incoming>, server: &Server) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path: Vec<&str> = head.uri.path().trim_matches('/').split('/').skip(1).collect();
    let outcome = match (&head.method, &path[..]) {
        (&Method::GET, ["streams"]) => Ok(streams(server)),
        (&Method::GET, ["streams", name]) => fragments(server, name),
        (&Method::GET, ["stats"]) => Ok(json!(server.store().stats)),
        (&Method::GET, ["faults"]) => Ok(json!(server.faults.list())),
        (&Method::DELETE, ["faults"]) => {
            server.faults.clear();
            Ok(json!({}))
        }
        (&Method::DELETE, ["faults", id]) => match id.parse() {
            Ok(id) if server.faults.remove(id) => Ok(json!({})),
            _ => Err((StatusCode::NOT_FOUND, format!("there is no fault {id}"))),
        },
        (&Method::GET, ["requests"]) => requests(server, head.uri.query().unwrap_or("")),
        (&Method::DELETE, ["requests"]) => {
            server.recorder.clear();
            Ok(json!({}))
        }
        (&Method::GET, ["clock"]) => Ok(json!({ "nowMs": server.now_ms() })),
        (&Method::POST, [what @ ("faults" | "clock")]) => {
            match Limited::new(body, JSON_BYTES_MAX).collect().await {
                Ok(collected) if *what == "clock" => advance(server, &collected.to_bytes()),
                Ok(collected) => arm(server, &collected.to_bytes()),
                Err(error) => Err((StatusCode::BAD_REQUEST, error.to_string())),
            }
        }
        _ => Err((StatusCode::NOT_FOUND, format!("try: {HELP}"))),
    };
    let (status, value) = match outcome {
        Ok(value) => (StatusCode::OK, value),
        Err((status, message)) => (status, json!({ "Message": message })),
    };
    let mut response = Response::new(full(value.to_string() + "\n"));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn advance(server: &Server, bytes: &[u8]) -> Result<Value, (StatusCode, String)> {
    let wrong = |error: serde_json::Error| (StatusCode::BAD_REQUEST, format!("not a step: {error}"));
    let Step { advance_ms } = serde_json::from_slice(bytes).map_err(wrong)?;
    server.now.advance(advance_ms);
    Ok(json!({ "nowMs": server.now_ms() }))
}

/// The recorded requests; of one stream, of one operation, after one id, if the query says so.
fn requests(server: &Server, query: &str) -> Result<Value, (StatusCode, String)> {
    let mut found = server.recorder.all();
    for (key, wanted) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "stream" => found.retain(|request| request.stream.as_deref() == Some(&wanted)),
            "operation" => found.retain(|request| request.operation.is_some_and(|o| o.name() == wanted)),
            "after" => match wanted.parse::<u64>() {
                Ok(after) => found.retain(|request| request.id > after),
                Err(_) => {
                    return Err((StatusCode::BAD_REQUEST, format!("after={wanted} is not a request's id")));
                }
            },
            other => {
                return Err((
                    StatusCode::BAD_REQUEST,
                    format!("{other} is none of stream, operation, after"),
                ));
            }
        }
    }
    Ok(json!(found))
}

/// All faults of the script are understood before the first is armed.
fn arm(server: &Server, bytes: &[u8]) -> Result<Value, (StatusCode, String)> {
    let wrong = |error: serde_json::Error| (StatusCode::BAD_REQUEST, format!("not a fault: {error}"));
    let script = match serde_json::from_slice(bytes).map_err(wrong)? {
        Script::Many(faults) => faults,
        Script::One(fault) => vec![fault],
    };
    let faults =
        script.into_iter().map(serde_json::from_value).collect::<Result<Vec<Fault>, _>>().map_err(wrong)?;
    let ids: Vec<u64> = faults.into_iter().map(|fault| server.faults.add(fault)).collect();
    Ok(json!({ "ids": ids }))
}

fn streams(server: &Server) -> Value {
    let now_ms = server.now_ms();
    let mut store = server.store();
    let names = store.names(now_ms);
    let describe = |name: String| {
        let stream = store.stream(&name, now_ms).ok()?;
        Some(json!({
            "name": name,
            "arn": stream.arn,
            "status": stream.life.status(now_ms),
            "retentionHours": stream.is.retention_hours,
            "tags": stream.is.tags,
            "fragments": stream.fragments.len(),
            "bytes": stream.bytes,
            "putting": !stream.putting.is_empty(),
        }))
    };
    json!(names.into_iter().filter_map(describe).collect::<Vec<_>>())
}

fn fragments(server: &Server, name: &str) -> Result<Value, (StatusCode, String)> {
    let now_ms = server.now_ms();
    let mut store = server.store();
    let stream = store.stream(name, now_ms).map_err(|error| (StatusCode::NOT_FOUND, error.message))?;
    let fragments = stream.fragments.values().map(|fragment| {
        json!({
            "number": fragment.number,
            "producerTimestampMs": fragment.producer_timestamp_ms,
            "serverTimestampMs": fragment.server_timestamp_ms,
            "lengthMs": fragment.length_ms,
            "mediaMs": fragment.media_ms,
            "bytes": fragment.size_bytes,
            "blocks": fragment.blocks.len(),
            "tags": fragment.tags.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "connection": fragment.connection,
        })
    });
    Ok(json!(fragments.collect::<Vec<_>>()))
}
