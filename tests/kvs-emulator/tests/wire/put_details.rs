//! PutMedia's finer points: delays, paces, quotas, what a body that is no HTTP is answered.

use crate::support::http::events;
use crate::support::{EPOCH_MS, T0_MS, body, call, connect, create, emulator, mkv, put, virtual_config};
use kvs_emulator::{Config, Emulator, Fault, FaultKind};
use serde_json::{Value, json};
use std::time::Duration;

async fn started(config: Config) -> Emulator {
    let emulator = kvs_emulator::start(config).await.unwrap();
    create(&emulator, "s", 1).await;
    emulator
}

#[tokio::test(start_paused = true)]
async fn acks_come_when_they_are_due_and_in_their_order() {
    let mut config = virtual_config();
    (config.buffering_ms, config.received_ms, config.persist_ms) = (300, 50, 100);
    let emulator = started(config).await;
    let begun_ms = emulator.now_ms();
    let mut http = connect(&emulator);
    http.put_media("s").await;
    http.send_chunk(&body(2)).await;
    http.end_body().await;
    let mut seen = Vec::new();
    while let Ok(Some(chunk)) = http.chunk().await {
        let ack: Value = serde_json::from_slice(&chunk).unwrap();
        let fragment = (ack["FragmentTimecode"].as_u64().unwrap() - T0_MS) / 2000;
        seen.push((ack["EventType"].as_str().unwrap().to_owned(), fragment, emulator.now_ms() - begun_ms));
    }
    let expected = [
        ("BUFFERING", 0, 300),
        ("RECEIVED", 0, 300),
        ("BUFFERING", 1, 300),
        ("RECEIVED", 1, 300),
        ("PERSISTED", 0, 400),
        ("PERSISTED", 1, 400),
    ];
    let expected = expected.map(|(event, fragment, ms)| (event.to_owned(), fragment, ms));
    assert_eq!(seen, expected, "RECEIVED waits for BUFFERING, PERSISTED comes 100 ms after RECEIVED");
}

#[tokio::test(start_paused = true)]
async fn held_back_acks_come_late_and_block_the_stream_until_the_last() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    emulator.faults().add(Fault::new(FaultKind::HoldAcks { ms: 5000 }).nth(1));
    let mut http = connect(&emulator);
    http.put_media("s").await;
    http.send_chunk(&body(1)).await;
    http.end_body().await;
    tokio::time::sleep(Duration::from_millis(3000)).await;
    assert_eq!(emulator.fragments("s").len(), 1, "it is persisted long before anybody hears of it");
    assert_eq!(connect(&emulator).put_media("s").await.status, 400, "the connection is still open");
    let (acks, proper) = http.acks().await;
    assert_eq!((events(&acks), proper), (vec!["BUFFERING", "RECEIVED", "PERSISTED"], true));
    assert_eq!(connect(&emulator).put_media("s").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_error_comes_after_the_acks_before_it_even_if_these_are_late() {
    let mut config = virtual_config();
    config.buffering_ms = 400;
    let emulator = started(config).await;
    let broken = [body(1), b"nonsense".to_vec()].concat();
    let (acks, _) = put(&emulator, "s", &broken).await;
    assert_eq!(events(&acks)[0], "BUFFERING");
    assert_eq!(acks.iter().find(|ack| ack["EventType"] == "ERROR").unwrap()["ErrorId"], 4006);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_is_too_fast_waits() {
    let mut config = virtual_config();
    config.set_quota("putBytesPerSecond", Some(64_000)).unwrap();
    let cases = [(virtual_config(), 20, 3000..3300), (config, 4, 2700..3200)];
    for (config, clusters, expected_ms) in cases {
        let emulator = started(config).await;
        let begun_ms = emulator.now_ms();
        let mut http = connect(&emulator);
        http.put_media("s").await;
        http.send_chunk(&mkv::header()).await;
        let send = async |http: &mut crate::support::http::Http<tokio::io::DuplexStream>| {
            for i in 0..clusters {
                http.send_chunk(&mkv::cluster(T0_MS - 60_000 + i * 2000, 20)).await;
            }
            http.end_body().await;
        };
        send(&mut http).await;
        let (acks, proper) = http.acks().await;
        assert!(proper && acks.len() as u64 == clusters * 3, "nothing is refused: {}", acks.len());
        let took_ms = emulator.now_ms() - begun_ms;
        assert!(
            expected_ms.contains(&took_ms),
            "{clusters} fragments took {took_ms} ms, not {expected_ms:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_connection_takes_its_time() {
    let emulator = started(virtual_config()).await;
    emulator.faults().add(Fault::new(FaultKind::Slow { bytes_per_second: 16_000 }).nth(1));
    let begun_ms = emulator.now_ms();
    let (acks, _) = put(&emulator, "s", &body(1)).await;
    assert!(acks.iter().any(|ack| ack["EventType"] == "PERSISTED"), "{acks:?}");
    let took_ms = emulator.now_ms() - begun_ms;
    assert!((2500..4500).contains(&took_ms), "64 kB at 16 kB/s, a second of it at once: {took_ms} ms");
}

#[tokio::test(start_paused = true)]
async fn quotas_can_be_switched_off_one_by_one() {
    let off = |name: &str| {
        let mut config = virtual_config();
        config.set_quota(name, None).unwrap();
        config
    };
    let long = [
        mkv::header(),
        mkv::cluster(T0_MS - 60_000, 10),
        mkv::tags(&[("x", &"v".repeat(300))]),
        mkv::cluster(T0_MS, 10),
    ];
    for (quota, fine) in [("tagValueBytesMax", true), ("tagNameBytesMax", false)] {
        let emulator = started(off(quota)).await;
        let (acks, _) = put(&emulator, "s", &long.concat()).await;
        assert_eq!(!events(&acks).contains(&"ERROR"), fine, "without {quota}");
    }
    let emulator = started(off("putMediaConnections")).await;
    let (mut first, mut second) = (connect(&emulator), connect(&emulator));
    assert_eq!(first.put_media("s").await.status, 200);
    assert_eq!(second.put_media("s").await.status, 200, "two connections at once");
    let emulator = started(off("streamPerSecond")).await;
    for _ in 0..20 {
        call(&emulator, "/describeStream", json!({ "StreamName": "s" })).await;
    }
    let emulator = started(off("futureToleranceMs")).await;
    let (acks, _) =
        put(&emulator, "s", &[mkv::header(), mkv::cluster(EPOCH_MS + 3_600_000, 20)].concat()).await;
    assert_eq!(events(&acks), ["BUFFERING", "RECEIVED", "PERSISTED"], "an hour ahead");
}

#[tokio::test(start_paused = true)]
async fn headers_of_every_official_client_are_taken() {
    let emulator = started(virtual_config()).await;
    let arn =
        call(&emulator, "/describeStream", json!({ "StreamName": "s" })).await["StreamInfo"]["StreamARN"]
            .clone();
    let arn = arn.as_str().unwrap();
    let time = "x-amzn-producer-start-timestamp: ";
    let absolute = "x-amzn-fragment-timecode-type: ABSOLUTE\r\n";
    let cases = [
        ("Java", format!("x-amzn-stream-name: s\r\n{absolute}{time}1767225540.040\r\n")),
        (
            "C, 40 ms",
            format!(
                "x-amzn-stream-name: s\r\n{absolute}{time}1767225540.40\r\nuser-agent: AWS-SDK-KVS/1.6.4\r\nx-amzn-fragment-acknowledgment-required: 1\r\nconnection: keep-alive\r\n"
            ),
        ),
        (
            "Go",
            "X-Amzn-Stream-Name: s\r\nX-Amzn-Fragment-Timecode-Type: ABSOLUTE\r\nX-Amzn-Producer-Start-Timestamp: 0\r\n".to_owned(),
        ),
        ("Rust", format!("x-amzn-stream-name: s\r\n{absolute}{time}1767225540040\r\n")),
        (
            "by ARN, without acks asked for",
            format!(
                "x-amzn-stream-arn: {arn}\r\n{absolute}{time}1767225540.040\r\nx-amzn-fragment-acknowledgment-required: 0\r\n"
            ),
        ),
    ];
    for (index, (what, headers)) in cases.iter().enumerate() {
        let mut http = connect(&emulator);
        let signed = crate::support::http::SIGNED;
        let request = format!(
            "POST /putMedia HTTP/1.1\r\nHost: kvs\r\n{signed}{headers}transfer-encoding: chunked\r\n\r\n"
        );
        http.send(request.as_bytes()).await;
        assert_eq!(http.head().await.unwrap().status, 200, "{what}");
        http.send_chunk(&[mkv::header(), mkv::cluster(T0_MS - 60_000 + index as u64 * 2000, 20)].concat())
            .await;
        http.end_body().await;
        assert_eq!(events(&http.acks().await.0), ["BUFFERING", "RECEIVED", "PERSISTED"], "{what}");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stream_ends_the_call_with_4008() {
    let emulator = started(virtual_config()).await;
    let info = call(&emulator, "/describeStream", json!({ "StreamName": "s" })).await;
    let mut http = connect(&emulator);
    http.put_media("s").await;
    http.send_chunk(&body(1)).await;
    assert_eq!(http.ack().await["EventType"], "BUFFERING");
    call(&emulator, "/deleteStream", json!({ "StreamARN": info["StreamInfo"]["StreamARN"] })).await;
    http.send_chunk(&mkv::cluster(T0_MS + 2000, 20)).await;
    let (acks, _) = http.acks().await;
    let error = acks.iter().find(|ack| ack["EventType"] == "ERROR").unwrap();
    assert_eq!((&error["ErrorId"], &error["ErrorCode"]), (&json!(4008), &json!("STREAM_NOT_ACTIVE")));
    assert!(!events(&acks).contains(&"PERSISTED"), "nothing of a deleted stream is stored: {acks:?}");
}

#[tokio::test(start_paused = true)]
async fn full_memory_is_told_and_drops_nothing() {
    let mut config = virtual_config();
    config.limits.stored_bytes_max = 100_000;
    let emulator = started(config).await;
    let (acks, _) = put(&emulator, "s", &body(2)).await;
    let error = acks.last().unwrap();
    assert_eq!((&error["ErrorId"], &error["ErrorCode"]), (&json!(5001), &json!("ARCHIVAL_ERROR")));
    assert_eq!(emulator.fragments("s").len(), 1, "the first fragment stays");
    let mut config = virtual_config();
    config.limits.open_bytes_max = 300_000;
    let emulator = started(config).await;
    create(&emulator, "t", 1).await;
    let big = [mkv::simple_block(1, 0, &[1; 400_000]), vec![0; 10]].concat();
    let mut cluster = mkv::cluster(T0_MS, 1);
    cluster.extend(big);
    let (acks, _) = put(&emulator, "s", &[mkv::header(), cluster].concat()).await;
    assert_eq!(acks.last().unwrap()["ErrorId"], 5000, "{acks:?}");
    assert_eq!(events(&put(&emulator, "t", &body(1)).await.0).last(), Some(&"PERSISTED"), "others have room");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_http_is_answered_with_4000() {
    let emulator = started(virtual_config()).await;
    let mut http = connect(&emulator);
    http.put_media("s").await;
    http.send_chunk(&body(1)).await;
    http.send(b"this is no chunk size\r\n").await;
    let (acks, proper) = http.acks().await;
    let error = acks.iter().find(|ack| ack["EventType"] == "ERROR");
    assert_eq!(error.map(|ack| &ack["ErrorId"]), Some(&json!(4000)), "{acks:?}");
    assert!(!proper, "and the connection is cut");
}

#[tokio::test(start_paused = true)]
async fn without_retention_readers_have_a_buffer_of_five_minutes_and_200_mb() {
    let mut config = virtual_config();
    config.limits.buffer_bytes_max = 150_000;
    let emulator = kvs_emulator::start(config).await.unwrap();
    create(&emulator, "s", 0).await;
    put(&emulator, "s", &body(3)).await;
    let times: Vec<u64> = emulator.fragments("s").iter().map(|f| f.producer_timestamp_ms).collect();
    assert_eq!(times, [T0_MS + 2000, T0_MS + 4000], "the oldest made room");
    tokio::time::advance(Duration::from_secs(300)).await;
    assert!(emulator.fragments("s").is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_limit_of_a_fragment_holds_at_its_value() {
    let now = EPOCH_MS as i64;
    let two = [mkv::header(), mkv::tags(&[("ab", "cd"), ("e", "f")]), mkv::cluster(T0_MS, 20)].concat();
    let cases = [
        ("tracksMax", 0, 4012),
        ("durationMsMax", 1999, 4002),
        ("bytesMax", mkv::cluster(T0_MS, 20).len() as u64 - 1, 4001),
        ("tagsMax", 1, 4009),
        ("tagNameBytesMax", 1, 4009),
        ("tagValueBytesMax", 1, 4009),
        ("earliestTimestampMs", T0_MS + 1, 4007),
        ("durationMsMin", 2001, 4013),
    ];
    for (quota, below, id) in cases {
        let mut config = virtual_config();
        config.rules.enforce_min_duration = true;
        config.set_quota(quota, Some(below)).unwrap();
        let (acks, _) = put(&started(config.clone()).await, "s", &two).await;
        assert_eq!(acks.last().unwrap()["ErrorId"], id, "{quota} of {below}");
        let enough =
            if matches!(quota, "earliestTimestampMs" | "durationMsMin") { below - 1 } else { below + 1 };
        config.set_quota(quota, Some(enough)).unwrap();
        let (acks, _) = put(&started(config).await, "s", &two).await;
        assert_eq!(acks.last().unwrap()["EventType"], "PERSISTED", "{quota} of {enough}");
    }
    let mut config = virtual_config();
    config.rules.future_tolerance_ms = 500;
    for (ahead_ms, event) in [(500, "PERSISTED"), (501, "ERROR")] {
        let emulator = started(config.clone()).await;
        let skew = (emulator.now_ms() as i64 - now) as u64;
        let body = [mkv::header(), mkv::cluster(EPOCH_MS + skew + ahead_ms, 20)].concat();
        assert_eq!(
            put(&emulator, "s", &body).await.0.last().unwrap()["EventType"],
            event,
            "{ahead_ms} ms ahead"
        );
    }
}
