//! Reading's finer points: what lives, what ends, what is refused, and what faults tell inside the media.

use crate::read_back::{read, values};
use crate::support::http::{Http, SIGNED};
use crate::support::{
    T0_MS, body, call, connect, create, emulator, list_all, mkv, put, refused, virtual_config,
};
use kvs_emulator::{Emulator, Fault, FaultKind};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::DuplexStream;

async fn open(emulator: &Emulator, path: &str, input: Value) -> Http<DuplexStream> {
    let (mut http, text) = (connect(emulator), input.to_string());
    let length = text.len();
    let request =
        format!("POST {path} HTTP/1.1\r\nHost: k\r\n{SIGNED}Content-Length: {length}\r\n\r\n{text}");
    http.send(request.as_bytes()).await;
    assert_eq!(http.head().await.unwrap().status, 200);
    http
}

fn from(selector: &str) -> Value {
    json!({ "StreamName": "s", "StartSelector": { "StartSelectorType": selector } })
}

#[tokio::test(start_paused = true)]
async fn get_media_stays_open_until_its_stream_is_deleted() {
    let mut config = virtual_config();
    config.get_media_linger_ms = u64::MAX;
    let emulator = kvs_emulator::start(config).await.unwrap();
    create(&emulator, "s", 1).await;
    let mut reader = open(&emulator, "/getMedia", from("NOW")).await;
    let silent = tokio::time::timeout(Duration::from_secs(1800), reader.chunk()).await;
    assert!(silent.is_err(), "an empty stream is waited for");
    put(&emulator, "s", &body(1)).await;
    assert!(reader.chunk().await.unwrap().is_some());
    let info = call(&emulator, "/describeStream", json!({ "StreamName": "s" })).await;
    call(&emulator, "/deleteStream", json!({ "StreamARN": info["StreamInfo"]["StreamARN"] })).await;
    assert_eq!(reader.chunk().await, Ok(None));
    assert_eq!(refused(&emulator, "/getMedia", from("NOW")).await.1, "ResourceNotFoundException");
    assert_eq!(refused(&emulator, "/listFragments", list_all("s")).await.1, "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_reader_goes_on_with_its_token_without_loss_or_repetition() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    put(&emulator, "s", &body(5)).await;
    let cut = FaultKind::CutAfterBytes { bytes: 150_000, stored: false };
    emulator.faults().add(Fault::new(cut).operation(kvs_emulator::Operation::GetMedia).nth(1));
    let mut reader = open(&emulator, "/getMedia", from("EARLIEST")).await;
    let mut whole = Vec::new();
    while let Ok(Some(chunk)) = reader.chunk().await {
        whole.push(chunk);
    }
    whole.pop();
    let first = read(&whole.concat());
    let token = values(&first, "AWS_KINESISVIDEO_CONTINUATION_TOKEN").pop().unwrap().to_owned();
    let mut input = from("CONTINUATION_TOKEN");
    input["StartSelector"]["ContinuationToken"] = json!(token);
    let mut reader = open(&emulator, "/getMedia", input).await;
    let second = read(&reader.chunks().await.0.concat());
    let mut numbers = values(&first, "AWS_KINESISVIDEO_FRAGMENT_NUMBER");
    numbers.extend(values(&second, "AWS_KINESISVIDEO_FRAGMENT_NUMBER"));
    let stored: Vec<String> = emulator.fragments("s").into_iter().map(|f| f.number).collect();
    assert_eq!(numbers, stored);
}

#[tokio::test(start_paused = true)]
async fn how_far_behind_a_chunk_is_is_told() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    put(&emulator, "s", &body(1)).await;
    tokio::time::advance(Duration::from_millis(7000)).await;
    put(&emulator, "s", &[mkv::header(), mkv::cluster(T0_MS + 2000, 20)].concat()).await;
    let bytes = open(&emulator, "/getMedia", from("EARLIEST")).await.chunks().await.0.concat();
    let behind: Vec<u64> = values(&read(&bytes), "AWS_KINESISVIDEO_MILLIS_BEHIND_NOW")
        .iter()
        .map(|ms| ms.parse().unwrap())
        .collect();
    assert_eq!(behind, [7160, 80], "from its arrival to now: 7 s and two times of persisting, and one");
}

#[tokio::test(start_paused = true)]
async fn errors_are_told_inside_the_media_where_the_service_does_so() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    put(&emulator, "s", &body(3)).await;
    let numbers: Vec<String> = emulator.fragments("s").into_iter().map(|f| f.number).collect();
    for id in [3002, 4000, 4500, 4501, 4502, 4503, 4504, 4505, 4506, 5000] {
        let fault = FaultKind::ReadError { id, code: None, after: 2 };
        emulator.faults().add(Fault::new(fault).operation(kvs_emulator::Operation::GetMedia).nth(1));
        let bytes = open(&emulator, "/getMedia", from("EARLIEST")).await.chunks().await.0.concat();
        let fragments = read(&bytes);
        assert_eq!(values(&fragments, "AWS_KINESISVIDEO_FRAGMENT_NUMBER"), numbers[..2]);
        assert_eq!(values(&fragments, "AWS_KINESISVIDEO_ERROR_ID"), [id.to_string()]);
        assert!(!values(&fragments, "AWS_KINESISVIDEO_ERROR_CODE")[0].is_empty());
        emulator.faults().clear();
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let fault = FaultKind::ReadError { id: 5000, code: Some("INTERNAL".to_owned()), after: 1 };
    emulator.faults().add(Fault::new(fault));
    let input = json!({ "StreamName": "s", "Fragments": numbers });
    let bytes = open(&emulator, "/getMediaForFragmentList", input).await.chunks().await.0.concat();
    let fragments = read(&bytes);
    assert_eq!(values(&fragments, "AWS_KINESISVIDEO_FRAGMENT_NUMBER"), numbers, "the rest goes on");
    assert_eq!(values(&fragments, "AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE"), ["5000", "5000"]);
    assert_eq!(values(&fragments, "AWS_KINESISVIDEO_EXCEPTION_MESSAGE"), ["INTERNAL", "INTERNAL"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_takes_its_time_and_the_service_has_a_pace_too() {
    let slow = Fault::new(FaultKind::Slow { bytes_per_second: 32_000 });
    for (quota, fault) in
        [(25_000_000, Some(slow.operation(kvs_emulator::Operation::GetMedia))), (32_000, None)]
    {
        let mut config = virtual_config();
        config.set_quota("getBytesPerSecond", Some(quota)).unwrap();
        let emulator = kvs_emulator::start(config).await.unwrap();
        create(&emulator, "s", 1).await;
        put(&emulator, "s", &body(3)).await;
        fault.map(|fault| emulator.faults().add(fault));
        let begun_ms = emulator.now_ms();
        open(&emulator, "/getMedia", from("EARLIEST")).await.chunks().await;
        let took_ms = emulator.now_ms() - begun_ms;
        assert!(
            (5900..6300).contains(&took_ms),
            "192 kB at 32 kB/s with a second of it at once, and the linger: {took_ms} ms"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn list_fragments_wants_a_range_or_a_token_of_this_stream() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    create(&emulator, "t", 1).await;
    put(&emulator, "s", &body(2)).await;
    let mut input = list_all("s");
    input["MaxResults"] = json!(1);
    let token = call(&emulator, "/listFragments", input).await["NextToken"].clone();
    let backward = json!({ "StartTimestamp": 2, "EndTimestamp": 1 });
    let cases = [
        (json!({ "StreamName": "s" }), "FragmentSelector is missing"),
        (json!({ "StreamName": "s", "FragmentSelector": {} }), "FragmentSelectorType is missing"),
        (json!({ "StreamName": "s", "FragmentSelector": { "FragmentSelectorType": "X" } }), "\"X\""),
        (
            json!({ "StreamName": "s", "FragmentSelector": { "FragmentSelectorType": "SERVER_TIMESTAMP" } }),
            "TimestampRange",
        ),
        (
            json!({ "StreamName": "s", "FragmentSelector": { "FragmentSelectorType": "SERVER_TIMESTAMP", "TimestampRange": backward } }),
            "after EndTimestamp",
        ),
        (json!({ "StreamName": "t", "NextToken": token }), "NextToken"),
        (json!({ "StreamName": "s", "NextToken": "AAAA" }), "NextToken"),
    ];
    for (input, culprit) in cases {
        let (_, kind, message) = refused(&emulator, "/listFragments", input.clone()).await;
        assert_eq!(kind, "InvalidArgumentException", "{input}");
        assert!(message.contains(culprit), "{input}: {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_retention_has_no_archive() {
    let emulator = emulator().await;
    create(&emulator, "s", 0).await;
    put(&emulator, "s", &body(1)).await;
    assert_eq!(call(&emulator, "/listFragments", list_all("s")).await["Fragments"], json!([]));
    let number = emulator.fragments("s")[0].number.clone();
    let input = json!({ "StreamName": "s", "Fragments": [number] });
    let bytes = open(&emulator, "/getMediaForFragmentList", input).await.chunks().await.0.concat();
    assert_eq!(values(&read(&bytes), "AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE"), ["3000"]);
    let bytes = open(&emulator, "/getMedia", from("EARLIEST")).await.chunks().await.0.concat();
    assert_eq!(
        values(&read(&bytes), "AWS_KINESISVIDEO_FRAGMENT_NUMBER"),
        [number],
        "readers of the buffer have it"
    );
}

#[tokio::test(start_paused = true)]
async fn archive_quotas_count_fragments_and_connections() {
    let mut config = virtual_config();
    (config.limits.metadata_per_second, config.limits.media_per_second) = (1000, 30);
    config.limits.fragment_list_connections = 2;
    let emulator = kvs_emulator::start(config).await.unwrap();
    create(&emulator, "s", 1).await;
    put(&emulator, "s", &body(3)).await;
    let mut list = list_all("s");
    list["MaxResults"] = json!(600);
    call(&emulator, "/listFragments", list.clone()).await;
    let spent = refused(&emulator, "/listFragments", list).await;
    assert_eq!(spent.1, "ClientLimitExceededException", "MaxResults is what it costs");
    let number = emulator.fragments("s")[0].number.clone();
    let many = json!({ "StreamName": "s", "Fragments": vec![number.as_str(); 16] });
    let _first = open(&emulator, "/getMediaForFragmentList", many.clone()).await;
    let points = refused(&emulator, "/getMediaForFragmentList", many).await;
    assert_eq!(points.1, "ClientLimitExceededException", "each fragment costs one");
    let one = json!({ "StreamName": "s", "Fragments": vec![number.as_str(); 7] });
    let _second = open(&emulator, "/getMediaForFragmentList", one.clone()).await;
    assert_eq!(
        refused(&emulator, "/getMediaForFragmentList", one).await.1,
        "ConnectionLimitExceededException"
    );
}
