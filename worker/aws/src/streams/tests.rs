use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use serde_json::{Value, json};

use super::*;
use crate::credentials::CachedCredentials;
use crate::http_client::single_use_connector;
use crate::put_media::request::PayloadSigning;
use crate::test_server::{Calls, Server, json_service};

const AT: EpochMs = EpochMs(1_795_335_945_729);

fn session() -> SessionId {
    SessionId::parse("quiet-fox-1").unwrap()
}

fn streams(server: &Server) -> VideoStreams {
    streams_with(server, None)
}

fn streams_with(server: &Server, kms_key: Option<&str>) -> VideoStreams {
    let provider = SharedCredentialsProvider::new(Credentials::new("AKID", "secret", None, None, "test"));
    let credentials = CachedCredentials::new(provider);
    let media =
        PutMedia::new(single_use_connector(), credentials, "eu-central-1".into(), PayloadSigning::Unsigned);
    let config = server.config();
    let state = StateTable::new(aws_sdk_dynamodb::Client::new(&config), "state".into());
    VideoStreams::new(
        &config,
        media,
        state,
        NewStreams { retention_hours: 2, kms_key: kms_key.map(str::to_owned) },
    )
}

fn error(status: u16, code: &str) -> (u16, Value) {
    (status, json!({"__type": code, "message": "told"}))
}

/// What Kinesis Video was asked, without the state table.
fn operations(calls: &Calls) -> Vec<String> {
    let calls = calls.lock().unwrap();
    let operations = calls.iter().map(|(operation, _)| operation.clone());
    operations.filter(|operation| !operation.ends_with("Item")).collect()
}

fn asked(calls: &Calls, operation: &str) -> Value {
    calls.lock().unwrap().iter().find(|(name, _)| name == operation).unwrap().1.clone()
}

/// The state table: items by their sort key.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<BTreeMap<String, Value>>>);

impl Table {
    fn answer(&self, operation: &str, body: &Value) -> Option<(u16, Value)> {
        let mut items = self.0.lock().unwrap();
        match operation {
            "PutItem" => {
                items.insert(body["Item"]["sk"].to_string(), body["Item"].clone());
                Some((200, json!({})))
            }
            "GetItem" => Some((
                200,
                items.get(&body["Key"]["sk"].to_string()).map_or(json!({}), |i| json!({"Item": i})),
            )),
            _ => None,
        }
    }
}

/// A service with one stream that is missing until it is created and then needs `looks` more looks to be active.
/// `put` answers PutMedia.
async fn service(
    exists: bool,
    looks: u32,
    put: impl Fn(u32) -> (u16, Value) + Clone + Send + Sync + 'static,
) -> (Server, Calls) {
    let url = Arc::new(Mutex::new(String::new()));
    let state = Arc::new((Mutex::new(exists), AtomicU32::new(0), AtomicU32::new(0)));
    let endpoint = url.clone();
    let table = Table::default();
    let (server, calls) = json_service(move |operation, body| {
        let (exists, looked, puts) = &*state;
        match operation {
            "GetItem" | "PutItem" => table.answer(operation, body).unwrap(),
            "createStream" if *exists.lock().unwrap() => error(400, "ResourceInUseException"),
            "createStream" => {
                *exists.lock().unwrap() = true;
                (200, json!({"StreamARN": "arn"}))
            }
            _ if !*exists.lock().unwrap() => error(404, "ResourceNotFoundException"),
            "describeStream" => {
                let active = looked.fetch_add(1, Ordering::Relaxed) >= looks;
                (200, json!({"StreamInfo": {"Status": if active { "ACTIVE" } else { "CREATING" }}}))
            }
            "getDataEndpoint" => (200, json!({"DataEndpoint": *endpoint.lock().unwrap()})),
            "putMedia" => put(puts.fetch_add(1, Ordering::Relaxed)),
            _ => (200, json!({"Fragments": []})),
        }
    })
    .await;
    *url.lock().unwrap() = server.url.clone();
    (server, calls)
}

fn persisted(_: u32) -> (u16, Value) {
    (200, json!({"EventType": "PERSISTED", "FragmentTimecode": AT.0, "FragmentNumber": "47"}))
}

#[tokio::test]
async fn a_missing_stream_is_created_waited_for_and_written_and_then_known() {
    let (server, calls) = service(false, 1, persisted).await;
    let streams = streams_with(&server, Some("arn:aws:kms:eu-central-1:1:key/k"));
    for _ in 0..2 {
        let put = streams.put(&session(), AT, vec![0; 10], 10_000).await;
        assert_eq!(put.unwrap().fragment_number, "47");
    }
    assert_eq!(
        operations(&calls),
        [
            "getDataEndpoint",
            "createStream",
            "describeStream",
            "describeStream",
            "getDataEndpoint",
            "putMedia",
            "putMedia"
        ]
    );
    let created = asked(&calls, "createStream");
    assert_eq!(created["StreamName"], "session-quiet-fox-1");
    assert_eq!(created["KmsKeyId"], "arn:aws:kms:eu-central-1:1:key/k");
    assert_eq!(created["DataRetentionInHours"], 2, "without retention nothing is ever PERSISTED");
    assert_eq!(created["Tags"], json!({"app": "kvs-stream-writer", "sessionId": "quiet-fox-1"}));
}

#[tokio::test]
async fn a_stream_that_another_worker_creates_at_the_same_time_is_not_an_error() {
    let first = Arc::new(AtomicU32::new(0));
    let url = Arc::new(Mutex::new(String::new()));
    let endpoint = url.clone();
    let (server, _) = json_service(move |operation, _| match operation {
        "getDataEndpoint" if first.fetch_add(1, Ordering::Relaxed) == 0 => {
            error(404, "ResourceNotFoundException")
        }
        "getDataEndpoint" => (200, json!({"DataEndpoint": *endpoint.lock().unwrap()})),
        "createStream" => error(400, "ResourceInUseException"),
        "describeStream" => (200, json!({"StreamInfo": {"Status": "ACTIVE"}})),
        _ => persisted(0),
    })
    .await;
    *url.lock().unwrap() = server.url.clone();
    assert_eq!(
        streams(&server).put(&session(), AT, vec![0; 10], 10_000).await.unwrap().fragment_number,
        "47"
    );
}

#[tokio::test]
async fn a_stream_that_stays_in_creation_times_out_within_the_callers_limit() {
    let (server, _) = service(false, u32::MAX, persisted).await;
    let failure = streams(&server).put(&session(), AT, vec![0; 10], 300).await.unwrap_err();
    assert_eq!(failure.reason(), "DescribeStream-timeout");
}

#[tokio::test]
async fn permission_to_create_that_is_missing_is_told_as_such() {
    let (server, _) = json_service(|operation, _| match operation {
        "createStream" => error(403, "AccessDeniedException"),
        _ => error(404, "ResourceNotFoundException"),
    })
    .await;
    let failure = streams(&server).put(&session(), AT, vec![0; 10], 10_000).await.unwrap_err();
    assert_eq!(failure.reason(), "CreateStream-AccessDeniedException");
}

#[tokio::test]
async fn put_media_that_never_answers_times_out_within_the_callers_limit() {
    let url = Arc::new(Mutex::new(String::new()));
    let endpoint = url.clone();
    let (server, _) =
        json_service(move |_, _| (200, json!({"DataEndpoint": *endpoint.lock().unwrap()}))).await;
    let silent = Server::start(|_| std::future::pending()).await;
    *url.lock().unwrap() = silent.url.clone();
    let failure = streams(&server).put(&session(), AT, vec![0; 10], 200).await.unwrap_err();
    assert_eq!(failure.reason(), "PutMedia-timeout");
}

#[tokio::test]
async fn an_endpoint_that_went_wrong_is_asked_for_anew_by_the_next_try() {
    for code in ["InvalidEndpointException", "ResourceNotFoundException"] {
        let (server, calls) =
            service(true, 0, move |i| if i == 0 { error(400, code) } else { persisted(i) }).await;
        let streams = streams(&server);
        let failure = streams.put(&session(), AT, vec![0; 10], 10_000).await.unwrap_err();
        assert_eq!(failure.reason(), format!("PutMedia-{code}"));
        streams.put(&session(), AT, vec![0; 10], 10_000).await.unwrap();
        assert_eq!(
            operations(&calls),
            ["getDataEndpoint", "putMedia", "getDataEndpoint", "putMedia"],
            "{code}"
        );
    }
}

#[tokio::test]
async fn a_throttled_put_keeps_the_endpoint() {
    let throttle = |i| if i == 0 { error(400, "ClientLimitExceededException") } else { persisted(i) };
    let (server, calls) = service(true, 0, throttle).await;
    let streams = streams(&server);
    streams.put(&session(), AT, vec![0; 10], 10_000).await.unwrap_err();
    streams.put(&session(), AT, vec![0; 10], 10_000).await.unwrap();
    assert_eq!(operations(&calls), ["getDataEndpoint", "putMedia", "putMedia"]);
}

#[tokio::test]
async fn a_process_that_is_new_to_a_session_takes_the_endpoint_that_another_one_stored() {
    let (server, calls) = service(true, 0, persisted).await;
    for _ in 0..3 {
        streams(&server).put(&session(), AT, vec![0; 10], 10_000).await.unwrap();
    }
    assert_eq!(operations(&calls), ["getDataEndpoint", "putMedia", "putMedia", "putMedia"]);
    assert_eq!(asked(&calls, "PutItem")["Item"]["sk"], json!({"S": "snapshot#endpoint-PUT_MEDIA"}));
}

#[tokio::test]
async fn a_state_table_that_fails_does_not_keep_a_fragment_from_being_written() {
    let url = Arc::new(Mutex::new(String::new()));
    let endpoint = url.clone();
    let (server, _) = json_service(move |operation, _| match operation {
        "GetItem" | "PutItem" => error(400, "AccessDeniedException"),
        "getDataEndpoint" => (200, json!({"DataEndpoint": *endpoint.lock().unwrap()})),
        _ => persisted(0),
    })
    .await;
    *url.lock().unwrap() = server.url.clone();
    streams(&server).put(&session(), AT, vec![0; 10], 10_000).await.unwrap();
}

async fn archive(fragments: Value) -> (Server, Calls) {
    let url = Arc::new(Mutex::new(String::new()));
    let endpoint = url.clone();
    let (server, calls) = json_service(move |operation, body| match operation {
        "getDataEndpoint" => (200, json!({"DataEndpoint": *endpoint.lock().unwrap()})),
        // The first page is empty but not the last.
        "listFragments" if body["NextToken"].is_null() => {
            (200, json!({"Fragments": [], "NextToken": "more"}))
        }
        _ => (200, json!({"Fragments": fragments})),
    })
    .await;
    *url.lock().unwrap() = server.url.clone();
    (server, calls)
}

#[tokio::test]
async fn a_probe_finds_the_fragment_of_exactly_that_millisecond() {
    let fragments = json!([
        {"FragmentNumber": "46", "ProducerTimestamp": 1_795_335_945.728},
        {"FragmentNumber": "47", "ProducerTimestamp": 1_795_335_945.729},
    ]);
    let (server, calls) = archive(fragments).await;
    let streams = streams(&server);
    let found = streams.find(&session(), AT).await.unwrap().unwrap();
    assert_eq!((found.fragment_number.as_str(), found.acknowledged_after_ms), ("47", None));
    assert_eq!(streams.find(&session(), EpochMs(AT.0 + 1)).await.unwrap(), None);
    let asked = asked(&calls, "listFragments");
    assert_eq!(asked["StreamName"], "session-quiet-fox-1");
    assert_eq!(
        asked["FragmentSelector"],
        json!({
            "FragmentSelectorType": "PRODUCER_TIMESTAMP",
            "TimestampRange": {"StartTimestamp": 1_795_335_945.728, "EndTimestamp": 1_795_335_945.73},
        })
    );
}

#[tokio::test]
async fn a_stream_that_does_not_exist_holds_no_fragment() {
    let (server, _) = json_service(|_, _| error(404, "ResourceNotFoundException")).await;
    assert_eq!(streams(&server).find(&session(), AT).await, Ok(None));
}

#[tokio::test]
async fn a_probe_that_fails_is_not_a_negative_answer() {
    let (server, _) = json_service(|_, _| error(400, "ClientLimitExceededException")).await;
    assert!(streams(&server).find(&session(), AT).await.is_err());
}
