//! What the wire tests share: an emulator on a clock of its own, a raw HTTP client, a Matroska writer.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod http;
pub mod mkv;

use http::Http;
use kvs_emulator::{Clock, Config, Emulator};
use serde_json::{Value, json};
use tokio::io::DuplexStream;

/// 2026-01-01, when the virtual clock begins.
pub const EPOCH_MS: u64 = 1_767_225_600_000;
/// A producer timestamp in the past of the virtual clock.
pub const T0_MS: u64 = EPOCH_MS - 60_000;

pub fn virtual_config() -> Config {
    Config { clock: Clock::Virtual { epoch_ms: EPOCH_MS }, ..Config::default() }
}

pub async fn emulator() -> Emulator {
    kvs_emulator::start(virtual_config()).await.unwrap()
}

pub fn connect(emulator: &Emulator) -> Http<DuplexStream> {
    Http::new(emulator.connect())
}

/// Calls a control operation that must succeed.
pub async fn call(emulator: &Emulator, path: &str, input: Value) -> Value {
    let (head, value) = connect(emulator).call(path, input).await;
    assert_eq!(head.status, 200, "{path}: {value}");
    value
}

/// Calls an operation that must fail, and gives status, type and message.
pub async fn refused(emulator: &Emulator, path: &str, input: Value) -> (u16, String, String) {
    let (head, value) = connect(emulator).call(path, input).await;
    let kind = head.error_type().expect("an error names its type").to_owned();
    (head.status, kind, value["Message"].as_str().expect("an error has a Message").to_owned())
}

/// Creates a stream and waits, in virtual time, until it is ACTIVE.
pub async fn create(emulator: &Emulator, name: &str, retention_hours: u64) {
    call(emulator, "/createStream", json!({ "StreamName": name, "DataRetentionInHours": retention_hours }))
        .await;
    tokio::time::advance(std::time::Duration::from_millis(200)).await;
}

/// Puts a whole body and gives the acks and whether the answer ended properly.
pub async fn put(emulator: &Emulator, stream: &str, body: &[u8]) -> (Vec<Value>, bool) {
    let mut http = connect(emulator);
    let head = http.put_media(stream).await;
    assert_eq!(head.status, 200, "{}", head.text);
    http.send_chunk(body).await;
    http.end_body().await;
    http.acks().await
}

/// A header and clusters of 2 s, from `T0_MS` on.
pub fn body(clusters: u64) -> Vec<u8> {
    let mut body = mkv::header();
    (0..clusters).for_each(|i| body.extend(mkv::cluster(T0_MS + i * 2000, 20)));
    body
}

/// ListFragments over all of the producer's time.
pub fn list_all(stream: &str) -> Value {
    let range = json!({ "StartTimestamp": 0, "EndTimestamp": (EPOCH_MS * 2) as f64 / 1000.0 });
    let selector = json!({ "FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": range });
    json!({ "StreamName": stream, "FragmentSelector": selector })
}
