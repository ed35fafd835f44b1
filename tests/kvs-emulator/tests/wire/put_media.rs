use crate::support::http::events;
use crate::support::{EPOCH_MS, T0_MS, body, connect, create, emulator, mkv, put, virtual_config};
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn one_fragment_is_buffered_received_persisted_and_stored_as_sent() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let mut http = connect(&emulator);
    assert_eq!(http.put_media("s").await.status, 200, "the answer comes before the body");
    http.send_chunk(&mkv::header()).await;
    http.send_chunk(&mkv::tags(&[("firstChunk", "0"), ("lastChunk", "7")])).await;
    http.send_chunk(&mkv::cluster(T0_MS, 20)).await;
    let buffering = http.ack().await;
    let number = buffering["FragmentNumber"].as_str().unwrap().to_owned();
    assert_eq!(number.len(), 47);
    let ack =
        |event: &str| json!({ "EventType": event, "FragmentTimecode": T0_MS, "FragmentNumber": number });
    assert_eq!(buffering, ack("BUFFERING"));
    assert!(emulator.fragments("s").is_empty(), "nothing is stored before it is whole");
    http.end_body().await;
    assert_eq!(http.ack().await, ack("RECEIVED"));
    let received_ms = emulator.now_ms();
    assert_eq!(http.ack().await, ack("PERSISTED"));
    assert_eq!(emulator.now_ms() - received_ms, 80, "persisting takes its time");
    assert_eq!(http.acks().await, (vec![], true), "then the answer ends");
    let stored = &emulator.fragments("s")[0];
    assert_eq!((stored.number.as_str(), stored.producer_timestamp_ms), (number.as_str(), T0_MS));
    assert_eq!((stored.length_ms, stored.media_ms, stored.blocks.len()), (1900, 2000, 20));
    let tags = mkv::tags(&[("firstChunk", "0"), ("lastChunk", "7")]);
    assert!(stored.opening == [mkv::header(), tags].concat() && stored.media == mkv::cluster(T0_MS, 20));
    assert_eq!((stored.tag("firstChunk"), stored.tag("lastChunk")), (Some("0"), Some("7")));
    assert!(stored.payload(1) == mkv::pcm(T0_MS, 20), "the PCM is stored sample for sample");
}

#[tokio::test(start_paused = true)]
async fn acks_come_while_the_body_is_open_and_interleave() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let mut http = connect(&emulator);
    http.put_media("s").await;
    http.send_chunk(&body(1)).await;
    assert_eq!(http.ack().await["EventType"], "BUFFERING");
    http.send_chunk(&mkv::cluster(T0_MS + 2000, 20)).await;
    let acks = [http.ack().await, http.ack().await, http.ack().await];
    assert_eq!(
        events(&acks),
        ["RECEIVED", "BUFFERING", "PERSISTED"],
        "of the first, the second, the first fragment"
    );
    assert_eq!(acks[2]["FragmentTimecode"], T0_MS);
    http.end_body().await;
    let (acks, proper) = http.acks().await;
    assert_eq!((events(&acks), proper), (vec!["RECEIVED", "PERSISTED"], true));
    let numbers: Vec<String> = emulator.fragments("s").into_iter().map(|f| f.number).collect();
    assert!(numbers.len() == 2 && numbers[0] < numbers[1]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_can_be_put_again_as_soon_as_persisted_was_read() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    for i in 0..5 {
        let mut http = connect(&emulator);
        assert_eq!(http.put_media("s").await.status, 200, "connection {i}");
        http.send_chunk(&mkv::header()).await;
        http.send_chunk(&mkv::cluster(T0_MS + i * 2000, 20)).await;
        http.end_body().await;
        while http.ack().await["EventType"] != "PERSISTED" {}
        drop(http);
        tokio::time::advance(Duration::from_millis(200)).await;
    }
    assert_eq!(emulator.fragments("s").len(), 5);
    assert_eq!(emulator.stats().put_connections, 5);
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_is_refused_while_the_first_is_open() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let mut first = connect(&emulator);
    first.put_media("s").await;
    first.send_chunk(&body(1)).await;
    let refusal = connect(&emulator).put_media("s").await;
    assert_eq!((refusal.status, refusal.error_type()), (400, Some("ConnectionLimitExceededException")));
    first.end_body().await;
    assert_eq!(
        events(&first.acks().await.0),
        ["BUFFERING", "RECEIVED", "PERSISTED"],
        "the first is not disturbed"
    );
    assert_eq!(connect(&emulator).put_media("s").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_sixth_call_in_a_second_is_throttled() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    for i in 0..5 {
        let mut body = mkv::header();
        body.extend(mkv::cluster(T0_MS + i * 2000, 20));
        assert_eq!(put(&emulator, "s", &body).await.0.len(), 3);
    }
    let refusal = connect(&emulator).put_media("s").await;
    assert_eq!((refusal.status, refusal.error_type()), (400, Some("ClientLimitExceededException")));
}

#[tokio::test(start_paused = true)]
async fn without_retention_received_is_the_last_ack() {
    let emulator = emulator().await;
    create(&emulator, "s", 0).await;
    let (acks, proper) = put(&emulator, "s", &body(1)).await;
    assert_eq!((events(&acks), proper), (vec!["BUFFERING", "RECEIVED"], true));
}

#[tokio::test(start_paused = true)]
async fn a_fragment_ends_at_its_own_size_and_at_the_end_of_fragment_tag_while_the_body_stays_open() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let mut http = connect(&emulator);
    http.put_media("s").await;
    http.send_chunk(&mkv::header()).await;
    http.send_chunk(&mkv::sized_cluster(T0_MS, 20)).await;
    let acks = [http.ack().await, http.ack().await, http.ack().await];
    assert_eq!(events(&acks), ["BUFFERING", "RECEIVED", "PERSISTED"], "a Cluster of known size");
    http.send_chunk(&mkv::cluster(T0_MS + 2000, 20)).await;
    assert_eq!(http.ack().await["EventType"], "BUFFERING");
    http.send_chunk(&mkv::tags(&[("last", "1")])).await;
    http.send_chunk(&mkv::tags(&[("AWS_KINESISVIDEO_END_OF_FRAGMENT", "")])).await;
    let acks = [http.ack().await, http.ack().await];
    assert_eq!(events(&acks), ["RECEIVED", "PERSISTED"], "the official producer's tag");
    http.end_body().await;
    assert_eq!(http.acks().await, (vec![], true));
    let stored = emulator.fragments("s");
    assert_eq!(
        stored[1].tags,
        [("last".to_owned(), "1".to_owned())],
        "readers never see the end-of-fragment tag"
    );
}

#[tokio::test(start_paused = true)]
async fn expect_continue_is_answered_before_the_answer() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let mut http = connect(&emulator);
    let first = http.put_media_with("s", "ABSOLUTE", "1700000000.000", "Expect: 100-continue\r\n").await;
    assert_eq!(first.status, 100);
    assert_eq!(http.head().await.unwrap().status, 200);
    http.send_chunk(&body(1)).await;
    http.end_body().await;
    assert_eq!(events(&http.acks().await.0), ["BUFFERING", "RECEIVED", "PERSISTED"]);
    let refusal =
        connect(&emulator).put_media_with("none", "ABSOLUTE", "1.0", "Expect: 100-continue\r\n").await;
    assert_eq!(refusal.status, 404, "a refused call never asks for the body");
}

#[tokio::test(start_paused = true)]
async fn relative_timecodes_count_from_the_start_header() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let start = format!("{}.40", T0_MS / 1000);
    let mut http = connect(&emulator);
    http.put_media_with("s", "RELATIVE", &start, "").await;
    http.send_chunk(&mkv::header()).await;
    http.send_chunk(&mkv::cluster(500, 20)).await;
    http.end_body().await;
    let (acks, _) = http.acks().await;
    assert_eq!(acks[0]["FragmentTimecode"], 500, "acks repeat what was sent");
    assert_eq!(emulator.fragments("s")[0].producer_timestamp_ms, T0_MS / 1000 * 1000 + 400 + 500);
}

#[tokio::test(start_paused = true)]
async fn wrong_headers_are_refused_by_name() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let cases = [
        ("s", "absolute", "1.0", "", 400, "InvalidArgumentException"),
        ("s", "ABSOLUTE", "2026-01-01T00:00:00Z", "", 400, "InvalidArgumentException"),
        ("s", "ABSOLUTE", "1.0", "x-amzn-stream-arn: arn:x\r\n", 400, "InvalidArgumentException"),
        (
            "s",
            "ABSOLUTE",
            "1.0",
            "x-amzn-fragment-acknowledgment-required: yes\r\n",
            400,
            "InvalidArgumentException",
        ),
        ("a b", "ABSOLUTE", "1.0", "", 400, "InvalidArgumentException"),
        ("none", "ABSOLUTE", "1.0", "", 404, "ResourceNotFoundException"),
    ];
    for (stream, timecodes, start, more, status, kind) in cases {
        let head = connect(&emulator).put_media_with(stream, timecodes, start, more).await;
        let got = (head.status, head.error_type());
        assert_eq!(got, (status, Some(kind)), "{stream} {timecodes} {start} {more}");
    }
    assert_eq!(emulator.stats().put_connections, 0, "none of them took the stream's connection");
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_in_a_fragment_stores_only_what_was_whole() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let mut http = connect(&emulator);
    http.put_media("s").await;
    let whole = body(2);
    http.send_chunk(&whole[..whole.len() - 10]).await;
    while http.ack().await["FragmentTimecode"] != T0_MS + 2000 {}
    drop(http);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stored = emulator.fragments("s");
    assert_eq!(stored.len(), 1, "the first fragment had been received, so it is persisted all the same");
    assert_eq!(stored[0].producer_timestamp_ms, T0_MS);
    assert_eq!(connect(&emulator).put_media("s").await.status, 200, "the connection is free again");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_hears_so_and_is_closed_after_half_a_minute() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let mut http = connect(&emulator);
    http.put_media("s").await;
    let begun_ms = emulator.now_ms();
    let (acks, proper) = http.acks().await;
    assert_eq!(events(&acks), ["IDLE"; 5]);
    assert!(proper);
    assert_eq!(emulator.now_ms() - begun_ms, 30_000);
}

#[tokio::test(start_paused = true)]
async fn a_connection_older_than_45_minutes_is_ended_with_4003() {
    let mut config = virtual_config();
    config.connection_ms_max = 7_000;
    let emulator = kvs_emulator::start(config).await.unwrap();
    create(&emulator, "s", 1).await;
    let mut http = connect(&emulator);
    http.put_media("s").await;
    http.send_chunk(&body(1)).await;
    let (acks, proper) = http.acks().await;
    assert_eq!((events(&acks), proper), (vec!["BUFFERING", "IDLE", "ERROR"], true));
    assert_eq!(acks[2]["ErrorCode"], "MAX_CONNECTION_DURATION_REACHED");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_still_creating_answers_4008() {
    let emulator = emulator().await;
    crate::support::call(&emulator, "/createStream", json!({ "StreamName": "s" })).await;
    let (acks, proper) = put(&emulator, "s", &body(1)).await;
    assert_eq!(
        (acks, proper),
        (vec![json!({ "EventType": "ERROR", "ErrorId": 4008, "ErrorCode": "STREAM_NOT_ACTIVE" })], true)
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_fragment_ends_the_call_and_the_one_before_it_is_still_persisted() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let mut body = body(1);
    body.extend(mkv::cluster(EPOCH_MS + 60_000, 20));
    let (acks, proper) = put(&emulator, "s", &body).await;
    assert_eq!((events(&acks), proper), (vec!["BUFFERING", "RECEIVED", "ERROR", "PERSISTED"], true));
    assert_eq!(
        (&acks[2]["ErrorId"], &acks[2]["FragmentTimecode"]),
        (&json!(4007), &json!(EPOCH_MS + 60_000))
    );
    assert_eq!(emulator.fragments("s").len(), 1);
    assert_eq!(emulator.stats().error_acks["INVALID_PRODUCER_TIMESTAMP"], 1);
}
