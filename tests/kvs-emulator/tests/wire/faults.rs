use crate::support::http::events;
use crate::support::{T0_MS, body, call, connect, create, emulator, list_all, mkv, put};
use kvs_emulator::{Fault, FaultKind, Operation, Point};
use serde_json::{Value, json};
use std::time::Duration;

fn error_ack(id: u16, at: Point) -> FaultKind {
    FaultKind::ErrorAck { id, code: None, at, bare: false, stored: false }
}

#[tokio::test(start_paused = true)]
async fn an_error_can_take_the_place_of_each_ack() {
    let cases = [
        (Point::Buffering, vec!["ERROR"]),
        (Point::Received, vec!["BUFFERING", "ERROR"]),
        (Point::Persisted, vec!["BUFFERING", "RECEIVED", "ERROR"]),
    ];
    for (at, expected) in cases {
        let emulator = emulator().await;
        create(&emulator, "s", 1).await;
        emulator.faults().add(Fault::new(error_ack(5001, at)).nth(1));
        let (acks, proper) = put(&emulator, "s", &body(1)).await;
        assert_eq!((events(&acks), proper), (expected, true), "{at:?}");
        let error = acks.last().unwrap();
        assert_eq!(
            (&error["ErrorId"], &error["ErrorCode"]),
            (&json!(5001), &json!("ARCHIVAL_ERROR")),
            "{at:?}"
        );
        assert_eq!(error["FragmentTimecode"], T0_MS);
        assert!(emulator.fragments("s").is_empty(), "{at:?}: an error means not stored");
        let (acks, _) = put(&emulator, "s", &body(1)).await;
        assert_eq!(
            events(&acks),
            ["BUFFERING", "RECEIVED", "PERSISTED"],
            "{at:?}: the second attempt is not disturbed"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn every_documented_error_can_be_answered_with_its_code() {
    let ids = (4000..=4012).chain(4500..=4507).chain([5000, 5001, 9999]);
    for id in ids {
        let emulator = emulator().await;
        create(&emulator, "s", 1).await;
        emulator.faults().add(Fault::new(error_ack(id, Point::Persisted)));
        let (acks, _) = put(&emulator, "s", &body(1)).await;
        let error = acks.last().unwrap();
        assert_eq!(error["ErrorId"], id);
        let code = error["ErrorCode"].as_str().unwrap();
        assert_eq!(code == "UNKNOWN", id == 9999, "{id} is {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_may_lack_number_and_timecode_and_may_lie_about_storing() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let code = Some("SOMETHING_NEW".to_owned());
    let kind = FaultKind::ErrorAck { id: 4999, code, at: Point::Persisted, bare: true, stored: true };
    emulator.faults().add(Fault::new(kind));
    let (acks, _) = put(&emulator, "s", &body(1)).await;
    let expected = json!({ "EventType": "ERROR", "ErrorId": 4999, "ErrorCode": "SOMETHING_NEW" });
    assert_eq!(acks.last(), Some(&expected));
    assert_eq!(emulator.fragments("s").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cut_at_each_point_ends_the_connection_without_that_ack() {
    let cases = [
        (Point::Buffering, false, vec![], 0),
        (Point::Received, false, vec!["BUFFERING"], 0),
        (Point::Received, true, vec!["BUFFERING"], 1),
        (Point::Persisted, false, vec!["BUFFERING", "RECEIVED"], 0),
        (Point::Persisted, true, vec!["BUFFERING", "RECEIVED"], 1),
    ];
    for (at, stored, expected, fragments) in cases {
        let emulator = emulator().await;
        create(&emulator, "s", 1).await;
        emulator.faults().add(Fault::new(FaultKind::Cut { at, stored }).nth(1));
        let (acks, proper) = put(&emulator, "s", &body(1)).await;
        assert_eq!((events(&acks), proper), (expected, false), "{at:?}, stored {stored}");
        assert_eq!(emulator.fragments("s").len(), fragments, "{at:?}, stored {stored}");
        assert_eq!(connect(&emulator).put_media("s").await.status, 200, "the stream can be put again");
    }
}

#[tokio::test(start_paused = true)]
async fn the_connection_is_cut_after_so_many_bytes_wherever_that_is() {
    let whole = body(2);
    for bytes in [0, 1, 30, 200, 65_000, 100_000, whole.len() as u64 - 1] {
        for stored in [false, true] {
            let emulator = emulator().await;
            create(&emulator, "s", 1).await;
            emulator.faults().add(Fault::new(FaultKind::CutAfterBytes { bytes, stored }).nth(1));
            let mut http = connect(&emulator);
            http.put_media("s").await;
            for piece in whole.chunks(10_000) {
                // The connection may be gone by now; that is what the test is about.
                let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
                if tokio::io::AsyncWriteExt::write_all(&mut http.io, &chunk).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            assert!(!http.acks().await.1, "after {bytes} bytes the answer has no proper end");
            tokio::time::sleep(Duration::from_millis(200)).await;
            let fragments = emulator.fragments("s");
            let whole_fragments = usize::from(bytes >= 65_000);
            let partial = usize::from(stored && bytes > 65_000);
            assert_eq!(fragments.len(), whole_fragments + partial, "{bytes} bytes, stored {stored}");
            if partial == 1 {
                let last = fragments.last().unwrap();
                assert!(last.blocks.len() < 20, "only whole frames of the open fragment are stored");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn silence_lasts_until_the_client_gives_up() {
    for stored in [false, true] {
        let emulator = emulator().await;
        create(&emulator, "s", 1).await;
        emulator.faults().add(Fault::new(FaultKind::NoAcks { stored }).nth(1));
        let mut http = connect(&emulator);
        http.put_media("s").await;
        http.send_chunk(&body(1)).await;
        http.end_body().await;
        let waited = tokio::time::timeout(Duration::from_secs(600), http.chunk()).await;
        assert!(waited.is_err(), "nothing is answered");
        assert_eq!(emulator.fragments("s").len(), usize::from(stored));
        drop(http);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(connect(&emulator).put_media("s").await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn acks_come_byte_by_byte_or_in_one_piece() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    emulator.faults().add(Fault::new(FaultKind::SplitAcks).nth(1));
    emulator.faults().add(Fault::new(FaultKind::MergeAcks).nth(2));
    let put = async |at: u64| {
        let mut http = connect(&emulator);
        http.put_media("s").await;
        http.send_chunk(&[mkv::header(), mkv::cluster(at, 20)].concat()).await;
        http.end_body().await;
        http.chunks().await.0
    };
    let split = put(T0_MS).await;
    assert!(split.iter().all(|chunk| chunk.len() == 1));
    let merged = put(T0_MS + 2000).await;
    assert_eq!(merged.len(), 1);
    for chunks in [split, merged] {
        let text = String::from_utf8(chunks.concat()).unwrap();
        let acks: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events(&acks), ["BUFFERING", "RECEIVED", "PERSISTED"]);
    }
}

#[tokio::test(start_paused = true)]
async fn persisting_and_listing_can_be_slow() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    emulator.faults().add(Fault::new(FaultKind::SlowPersist { ms: 5000 }));
    emulator.faults().add(Fault::new(FaultKind::ListLag { ms: 3000 }));
    let begun_ms = emulator.now_ms();
    put(&emulator, "s", &body(1)).await;
    assert_eq!(emulator.now_ms() - begun_ms, 5080);
    let listed = || async {
        call(&emulator, "/listFragments", list_all("s")).await["Fragments"].as_array().unwrap().len()
    };
    tokio::time::advance(Duration::from_millis(2999)).await;
    assert_eq!(listed().await, 0);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(listed().await, 1);
}

#[tokio::test(start_paused = true)]
async fn any_operation_can_fail_wait_be_throttled_or_stay_unanswered() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let kind = |status, error_type: &str| FaultKind::HttpError {
        status,
        error_type: error_type.to_owned(),
        message: "scripted".to_owned(),
    };
    let on = |kind, operation| Fault::new(kind).operation(operation).nth(1);
    emulator.faults().add(on(kind(401, "NotAuthorizedException"), Operation::DescribeStream));
    emulator.faults().add(on(kind(500, "InternalFailure"), Operation::PutMedia));
    emulator.faults().add(on(FaultKind::Throttle, Operation::GetDataEndpoint));
    emulator.faults().add(on(FaultKind::Delay { ms: 7000 }, Operation::ListFragments));
    emulator.faults().add(on(FaultKind::NoAnswer { done: true }, Operation::CreateStream));
    let describe = crate::support::refused(&emulator, "/describeStream", json!({ "StreamName": "s" })).await;
    assert_eq!(describe, (401, "NotAuthorizedException".to_owned(), "scripted".to_owned()));
    call(&emulator, "/describeStream", json!({ "StreamName": "s" })).await;
    let refusal = connect(&emulator).put_media("s").await;
    assert_eq!((refusal.status, refusal.error_type()), (500, Some("InternalFailure")));
    let input = json!({ "StreamName": "s", "APIName": "PUT_MEDIA" });
    let throttled = crate::support::refused(&emulator, "/getDataEndpoint", input).await;
    assert_eq!((throttled.0, throttled.1.as_str()), (400, "ClientLimitExceededException"));
    let begun_ms = emulator.now_ms();
    call(&emulator, "/listFragments", list_all("s")).await;
    assert_eq!(emulator.now_ms() - begun_ms, 7000);
    let unanswered = connect(&emulator).call_bytes("/createStream", json!({ "StreamName": "t" })).await;
    assert!(unanswered.is_none());
    assert_eq!(emulator.streams(), ["s", "t"], "done, though nobody was told");
}

#[tokio::test(start_paused = true)]
async fn a_reader_can_be_cut_in_the_middle() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    put(&emulator, "s", &body(2)).await;
    emulator.faults().add(
        Fault::new(FaultKind::CutAfterBytes { bytes: 1000, stored: false }).operation(Operation::GetMedia),
    );
    let text = json!({ "StreamName": "s", "StartSelector": { "StartSelectorType": "EARLIEST" } }).to_string();
    let signed = crate::support::http::SIGNED;
    let mut http = connect(&emulator);
    let request =
        format!("POST /getMedia HTTP/1.1\r\nHost: k\r\n{signed}Content-Length: {}\r\n\r\n{text}", text.len());
    http.send(request.as_bytes()).await;
    http.head().await.unwrap();
    let (chunks, proper) = http.chunks().await;
    assert_eq!((chunks.concat().len(), proper), (1000, false));
}

#[tokio::test(start_paused = true)]
async fn another_process_scripts_faults_and_looks_at_what_was_stored() {
    let emulator = emulator().await;
    create(&emulator, "session-1", 1).await;
    let mut http = connect(&emulator);
    let script = json!([
        { "stream": "session-*", "nth": 1, "kind": { "type": "errorAck", "id": 4006, "at": "received" } },
        { "stream": "other", "kind": { "type": "throttle" } },
    ]);
    let (head, answer) = http.call("/emulator/faults", script).await;
    assert_eq!((head.status, &answer), (200, &json!({ "ids": [1, 2] })));
    let (acks, _) = put(&emulator, "session-1", &body(1)).await;
    assert_eq!(events(&acks), ["BUFFERING", "ERROR"]);
    put(&emulator, "session-1", &body(2)).await;
    let (_, nonsense) =
        http.call("/emulator/faults", json!([{ "kind": { "type": "throttle" } }, { "kind": 1 }])).await;
    assert!(nonsense["Message"].as_str().unwrap().contains("not a fault"), "{nonsense}");
    let (_, armed) = http.plain("GET", "/emulator/faults").await;
    assert_eq!(armed.as_array().unwrap().len(), 2, "a script with a mistake arms nothing");
    assert_eq!(armed[0]["fired"], 1);
    let (_, streams) = http.plain("GET", "/emulator/streams").await;
    assert_eq!((&streams[0]["name"], &streams[0]["fragments"]), (&json!("session-1"), &json!(2)));
    let (_, fragments) = http.plain("GET", "/emulator/streams/session-1").await;
    assert_eq!(fragments[1]["producerTimestampMs"], T0_MS + 2000);
    let (_, stats) = http.plain("GET", "/emulator/stats").await;
    assert_eq!((&stats["fragmentsStored"], &stats["errorAcks"]["INVALID_MKV_DATA"]), (&json!(2), &json!(1)));
    assert_eq!(http.plain("DELETE", "/emulator/faults/1").await.0, 200);
    assert_eq!(http.plain("DELETE", "/emulator/faults/1").await.0, 404);
    assert_eq!(http.plain("DELETE", "/emulator/faults").await.0, 200);
    assert!(emulator.faults().list().is_empty());
    assert_eq!(http.plain("GET", "/emulator/streams/none").await.0, 404);
}
