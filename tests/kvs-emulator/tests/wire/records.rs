//! What another process can ask the emulator itself: requests, clock.

use crate::support::{body, call, connect, create, emulator, put, refused};
use kvs_emulator::{Clock, Config};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn every_request_is_recorded_without_credentials_and_media() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    put(&emulator, "s", &body(2)).await;
    refused(&emulator, "/describeStream", json!({ "StreamName": "none" })).await;
    refused(&emulator, "/nonsense", json!({})).await;
    let mut http = connect(&emulator);
    let (status, all) = http.plain("GET", "/emulator/requests").await;
    assert_eq!(status, 200);
    let paths: Vec<&str> = all.as_array().unwrap().iter().map(|r| r["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/createStream", "/putMedia", "/describeStream", "/nonsense"]);
    assert_eq!(all[0]["input"], json!({ "StreamName": "s", "DataRetentionInHours": 1 }));
    assert_eq!((&all[2]["status"], &all[2]["errorType"]), (&json!(404), &json!("ResourceNotFoundException")));
    assert_eq!(all[3]["operation"], Value::Null);
    let (_, puts) = http.plain("GET", "/emulator/requests?stream=s&operation=PutMedia").await;
    assert_eq!(puts.as_array().unwrap().len(), 1);
    assert_eq!((&puts[0]["mediaBytes"], &puts[0]["ended"]), (&json!(body(2).len()), &json!(true)));
    assert_eq!(puts[0]["acks"].as_array().unwrap().len(), 6);
    assert!(
        puts[0]["headers"]["authorization"].as_str().unwrap().ends_with("Signature=..."),
        "no signature is kept"
    );
    let (_, later) = http.plain("GET", "/emulator/requests?after=3").await;
    assert_eq!(later.as_array().unwrap().len(), 1);
    assert_eq!(http.plain("GET", "/emulator/requests?colour=red").await.0, 400);
    assert_eq!(http.plain("DELETE", "/emulator/requests").await.0, 200);
    assert!(emulator.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_the_latest_requests_are_kept() {
    let mut config = crate::support::virtual_config();
    config.recorded_requests_max = 3;
    let emulator = kvs_emulator::start(config).await.unwrap();
    for i in 0..5 {
        create(&emulator, &format!("s{i}"), 0).await;
    }
    let ids: Vec<u64> = emulator.requests().iter().map(|request| request.id).collect();
    assert_eq!(ids, [3, 4, 5]);
    emulator.clear_requests();
    assert!(emulator.requests().is_empty());
}

#[tokio::test]
async fn a_clock_that_stands_still_is_put_forward_by_another_process() {
    let epoch_ms = 1_767_225_600_000;
    let config = Config { clock: Clock::Manual { epoch_ms }, ..Config::default() };
    let emulator = kvs_emulator::start(config).await.unwrap();
    call(&emulator, "/createStream", json!({ "StreamName": "s", "DataRetentionInHours": 1 })).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    let status = || async {
        call(&emulator, "/describeStream", json!({ "StreamName": "s" })).await["StreamInfo"]["Status"].clone()
    };
    assert_eq!(status().await, "CREATING", "real time does not count");
    let mut http = connect(&emulator);
    let (_, now) = http.call("/emulator/clock", json!({ "advanceMs": 200 })).await;
    assert_eq!(now, json!({ "nowMs": epoch_ms + 200 }));
    assert_eq!(status().await, "ACTIVE");
    let mut producer = connect(&emulator);
    producer.put_media("s").await;
    producer.send_chunk(&body(1)).await;
    producer.end_body().await;
    assert_eq!(
        [producer.ack().await["EventType"].clone(), producer.ack().await["EventType"].clone()],
        ["BUFFERING", "RECEIVED"]
    );
    emulator.advance(80);
    assert_eq!(producer.ack().await["EventType"], "PERSISTED", "80 ms later by the emulator's clock");
    emulator.advance(3_600_000);
    assert!(emulator.fragments("s").is_empty(), "an hour passed in no time");
    assert_eq!(http.plain("GET", "/emulator/clock").await.1, json!({ "nowMs": epoch_ms + 3_600_280 }));
    assert_eq!(http.call("/emulator/clock", json!({ "advance": 1 })).await.0.status, 400);
}

#[tokio::test(start_paused = true)]
async fn every_answer_has_a_request_id_and_errors_name_their_type_twice() {
    let emulator = emulator().await;
    let (good, _) = connect(&emulator).call("/listStreams", json!({})).await;
    let (bad, _) = connect(&emulator).call("/describeStream", json!({ "StreamName": "none" })).await;
    assert_ne!(good.header("x-amzn-requestid").unwrap(), bad.header("x-amzn-requestid").unwrap());
    assert_eq!(bad.header("x-amz-requestid"), bad.header("x-amzn-requestid"));
    assert_eq!(bad.error_type(), Some("ResourceNotFoundException"));
    assert_eq!(bad.header("x-amz-errortype"), Some("ResourceNotFoundException"));
    let recorded = "ResourceNotFoundException:https://kinesisvideo.amazonaws.com/doc/2017-09-30/";
    assert_eq!(
        bad.header("x-amzn-errortype"),
        Some(recorded),
        "with the model's address, which SDKs take off"
    );
}
