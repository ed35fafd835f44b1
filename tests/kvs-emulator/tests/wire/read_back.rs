use crate::support::{
    T0_MS, body, call, connect, create, emulator, list_all, mkv, put, refused, virtual_config,
};
use kvs_emulator::rules::document::{Document, Part};
use kvs_emulator::{Elements, Emulator};
use serde_json::{Value, json};
use std::time::Duration;

/// Documents as they come one after the other, each as (tags, PCM).
pub fn read(bytes: &[u8]) -> Vec<Vec<(String, String)>> {
    let mut fragments: Vec<Vec<(String, String)>> = vec![vec![]];
    for part in parts(bytes) {
        match part {
            Part::Tags(tags) => fragments.last_mut().unwrap().extend(tags.pairs),
            Part::ClusterEnd { .. } => fragments.push(vec![]),
            _ => {}
        }
    }
    fragments
}

fn parts(bytes: &[u8]) -> Vec<Part> {
    const EBML_ID: [u8; 4] = [0x1A, 0x45, 0xDF, 0xA3];
    let mut starts: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&EBML_ID)).collect();
    starts.push(bytes.len());
    let mut parts = Vec::new();
    for pair in starts.windows(2) {
        let mut document = Document::new(Elements::Generator, 3, u64::MAX);
        document.push(&bytes[pair[0]..pair[1]]);
        while let Some(part) = document.next().unwrap() {
            parts.push(part);
        }
        while let Some(part) = document.finish().unwrap() {
            parts.push(part);
        }
    }
    parts
}

fn pcm(bytes: &[u8]) -> Vec<u8> {
    let (mut pcm, mut frames) = (Vec::new(), Vec::new());
    for part in parts(bytes) {
        match part {
            Part::Frame(frame) => frames.push(frame),
            Part::ClusterEnd { media, .. } => {
                frames.drain(..).for_each(|frame| pcm.extend_from_slice(&media[frame.place]));
            }
            _ => {}
        }
    }
    pcm
}

pub fn values<'a>(fragments: &'a [Vec<(String, String)>], name: &str) -> Vec<&'a str> {
    fragments.iter().flatten().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
}

async fn get_media(emulator: &Emulator, selector: Value) -> Vec<u8> {
    let input = json!({ "StreamName": "s", "StartSelector": selector });
    let (head, bytes) = connect(emulator).call_bytes("/getMedia", input).await.unwrap();
    assert_eq!(head.status, 200, "{}", String::from_utf8_lossy(&bytes));
    tokio::time::advance(Duration::from_secs(1)).await;
    bytes
}

/// Three fragments of one connection, then one of another that is earlier in the producer's time.
async fn filled() -> Emulator {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    put(&emulator, "s", &body(3)).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    let mut backfill = mkv::header();
    backfill.extend(mkv::tags(&[("backfill", "1")]));
    backfill.extend(mkv::cluster(T0_MS - 10_000, 20));
    put(&emulator, "s", &backfill).await;
    emulator
}

#[tokio::test(start_paused = true)]
async fn get_media_gives_all_frames_in_the_order_they_arrived_with_the_services_tags() {
    let emulator = filled().await;
    let bytes = get_media(&emulator, json!({ "StartSelectorType": "EARLIEST" })).await;
    let times = [T0_MS, T0_MS + 2000, T0_MS + 4000, T0_MS - 10_000];
    let expected: Vec<u8> = times.iter().flat_map(|ms| mkv::pcm(*ms, 20)).collect();
    assert!(pcm(&bytes) == expected, "sample for sample, the backfill last");
    let fragments = read(&bytes);
    let numbers: Vec<String> = emulator.fragments("s").into_iter().map(|f| f.number).collect();
    assert_eq!(values(&fragments, "AWS_KINESISVIDEO_FRAGMENT_NUMBER"), numbers);
    assert_eq!(values(&fragments, "AWS_KINESISVIDEO_CONTINUATION_TOKEN"), numbers);
    let seconds: Vec<String> = times.iter().map(|ms| format!("{}.{:03}", ms / 1000, ms % 1000)).collect();
    assert_eq!(values(&fragments, "AWS_KINESISVIDEO_PRODUCER_TIMESTAMP"), seconds);
    assert_eq!(values(&fragments, "backfill"), ["1"]);
    let headers = bytes.windows(4).filter(|window| window == b"\x1A\x45\xDF\xA3").count();
    assert_eq!(headers, 4, "a document of its own for each fragment");
}

#[tokio::test(start_paused = true)]
async fn get_media_begins_where_the_selector_says() {
    let emulator = filled().await;
    let stored = emulator.fragments("s");
    let number = |i: usize| stored[i].number.as_str();
    let second = |ms: u64| ms as f64 / 1000.0;
    let cases = [
        (json!({ "StartSelectorType": "EARLIEST" }), 0),
        (json!({ "StartSelectorType": "NOW" }), 3),
        (json!({ "StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": number(1) }), 2),
        (json!({ "StartSelectorType": "CONTINUATION_TOKEN", "ContinuationToken": number(0) }), 1),
        (json!({ "StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": second(T0_MS + 2500) }), 1),
        (json!({ "StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": second(T0_MS - 5000) }), 0),
        (json!({ "StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": second(T0_MS + 99_000) }), 4),
        (
            json!({ "StartSelectorType": "SERVER_TIMESTAMP", "StartTimestamp": second(stored[3].server_timestamp_ms) }),
            3,
        ),
        (json!({ "StartSelectorType": "SERVER_TIMESTAMP", "StartTimestamp": 0 }), 0),
    ];
    for (selector, first) in cases {
        let bytes = get_media(&emulator, selector.clone()).await;
        let expected: Vec<&str> = (first..4).map(number).collect();
        assert_eq!(values(&read(&bytes), "AWS_KINESISVIDEO_FRAGMENT_NUMBER"), expected, "{selector}");
    }
    let bytes =
        get_media(&emulator, json!({ "StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": "5" }))
            .await;
    assert_eq!(values(&read(&bytes), "AWS_KINESISVIDEO_ERROR_ID"), ["4000"], "a number that does not exist");
}

#[tokio::test(start_paused = true)]
async fn get_media_follows_a_live_stream() {
    let emulator = filled().await;
    let mut reader = connect(&emulator);
    let input = json!({ "StreamName": "s", "StartSelector": { "StartSelectorType": "NOW" } });
    let text = input.to_string();
    let signed = crate::support::http::SIGNED;
    let request =
        format!("POST /getMedia HTTP/1.1\r\nHost: k\r\n{signed}Content-Length: {}\r\n\r\n{text}", text.len());
    reader.send(request.as_bytes()).await;
    assert_eq!(reader.head().await.unwrap().status, 200);
    assert!(
        pcm(&reader.chunk().await.unwrap().unwrap()) == mkv::pcm(T0_MS - 10_000, 20),
        "the newest fragment first"
    );
    let mut live = mkv::header();
    live.extend(mkv::cluster(T0_MS + 6000, 20));
    put(&emulator, "s", &live).await;
    assert!(pcm(&reader.chunk().await.unwrap().unwrap()) == mkv::pcm(T0_MS + 6000, 20), "then what arrives");
    assert_eq!(reader.chunk().await, Ok(None), "and the end after a while without fragments");
}

#[tokio::test(start_paused = true)]
async fn fragments_are_listed_by_producer_and_by_server_time_and_page_by_page() {
    let emulator = filled().await;
    let stored = emulator.fragments("s");
    let list = |kind: &str, from_ms: u64, to_ms: u64| {
        let range =
            json!({ "StartTimestamp": from_ms as f64 / 1000.0, "EndTimestamp": to_ms as f64 / 1000.0 });
        json!({ "StreamName": "s", "FragmentSelector": { "FragmentSelectorType": kind, "TimestampRange": range } })
    };
    let numbers = |answer: &Value| -> Vec<String> {
        let fragments = answer["Fragments"].as_array().unwrap().iter();
        fragments.map(|fragment| fragment["FragmentNumber"].as_str().unwrap().to_owned()).collect()
    };
    let exact =
        call(&emulator, "/listFragments", list("PRODUCER_TIMESTAMP", T0_MS + 2000, T0_MS + 2000)).await;
    assert_eq!(numbers(&exact), [stored[1].number.as_str()], "both ends of the range are included");
    assert_eq!(
        exact["Fragments"][0],
        json!({
            "FragmentNumber": stored[1].number, "FragmentLengthInMilliseconds": 1900,
            "FragmentSizeInBytes": mkv::header().len() + mkv::cluster(T0_MS + 2000, 20).len(),
            "ProducerTimestamp": (T0_MS + 2000) as f64 / 1000.0,
            "ServerTimestamp": stored[1].server_timestamp_ms as f64 / 1000.0,
        })
    );
    let none = call(&emulator, "/listFragments", list("PRODUCER_TIMESTAMP", T0_MS + 1, T0_MS + 1999)).await;
    assert_eq!(numbers(&none), Vec::<String>::new());
    let newest = stored[3].server_timestamp_ms;
    let by_server = call(&emulator, "/listFragments", list("SERVER_TIMESTAMP", newest, newest)).await;
    assert_eq!(numbers(&by_server), [stored[3].number.as_str()]);
    let mut input = list("PRODUCER_TIMESTAMP", 0, T0_MS + 60_000);
    input["MaxResults"] = json!(3);
    let first = call(&emulator, "/listFragments", input.clone()).await;
    let next = json!({ "StreamName": "s", "MaxResults": 3, "NextToken": first["NextToken"] });
    let second = call(&emulator, "/listFragments", next).await;
    let all: Vec<String> = [numbers(&first), numbers(&second)].concat();
    assert_eq!(all, stored.iter().map(|f| f.number.clone()).collect::<Vec<_>>());
    assert_eq!(second.get("NextToken"), None);
}

#[tokio::test(start_paused = true)]
async fn a_persisted_fragment_is_listed_only_after_the_lag() {
    let mut config = virtual_config();
    config.list_lag_ms = 700;
    let emulator = kvs_emulator::start(config).await.unwrap();
    create(&emulator, "s", 1).await;
    put(&emulator, "s", &body(1)).await;
    let count = || async {
        let answer = call(&emulator, "/listFragments", list_all("s")).await;
        answer["Fragments"].as_array().unwrap().len()
    };
    assert_eq!(count().await, 0);
    tokio::time::advance(Duration::from_millis(699)).await;
    assert_eq!(count().await, 0);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(count().await, 1);
}

#[tokio::test(start_paused = true)]
async fn media_is_given_by_fragment_number_and_missing_ones_are_told_inside() {
    let emulator = filled().await;
    let stored = emulator.fragments("s");
    let wanted = [stored[2].number.as_str(), "123", stored[3].number.as_str()];
    let input = json!({ "StreamName": "s", "Fragments": wanted });
    let (head, bytes) = connect(&emulator).call_bytes("/getMediaForFragmentList", input).await.unwrap();
    assert_eq!(head.status, 200);
    let expected = [mkv::pcm(T0_MS + 4000, 20), mkv::pcm(T0_MS - 10_000, 20)].concat();
    assert!(pcm(&bytes) == expected);
    let fragments = read(&bytes);
    assert_eq!(values(&fragments, "AWS_KINESISVIDEO_FRAGMENT_NUMBER"), wanted);
    assert_eq!(values(&fragments, "AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE"), ["3000"]);
    assert_eq!(values(&fragments, "AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP").len(), 2);
    assert_eq!(values(&fragments, "backfill"), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn media_outlives_neither_its_retention_nor_its_stream() {
    let emulator = filled().await;
    let fragments = |emulator: &Emulator| emulator.fragments("s").len();
    tokio::time::advance(Duration::from_millis(3_600_000 - 6000)).await;
    assert_eq!(fragments(&emulator), 4);
    tokio::time::advance(Duration::from_millis(2000)).await;
    assert_eq!(fragments(&emulator), 1, "an hour after they arrived the first three are gone");
    assert_eq!(emulator.stats().fragments_expired, 3);
    let info = call(&emulator, "/describeStream", json!({ "StreamName": "s" })).await;
    call(&emulator, "/deleteStream", json!({ "StreamARN": info["StreamInfo"]["StreamARN"] })).await;
    assert_eq!(fragments(&emulator), 0);
    assert_eq!(emulator.stats().stored_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn three_readers_are_taken_and_the_fourth_is_refused_until_one_is_gone() {
    let mut config = virtual_config();
    config.limits.rates = false;
    config.get_media_linger_ms = 60_000;
    let emulator = kvs_emulator::start(config).await.unwrap();
    create(&emulator, "s", 1).await;
    put(&emulator, "s", &body(1)).await;
    let input = json!({ "StreamName": "s", "StartSelector": { "StartSelectorType": "EARLIEST" } });
    let text = input.to_string();
    let signed = crate::support::http::SIGNED;
    let request =
        format!("POST /getMedia HTTP/1.1\r\nHost: k\r\n{signed}Content-Length: {}\r\n\r\n{text}", text.len());
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut reader = connect(&emulator);
        reader.send(request.as_bytes()).await;
        assert_eq!(reader.head().await.unwrap().status, 200);
        reader.chunk().await.unwrap();
        readers.push(reader);
    }
    assert_eq!(refused(&emulator, "/getMedia", input.clone()).await.1, "ConnectionLimitExceededException");
    readers.pop();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut reader = connect(&emulator);
    reader.send(request.as_bytes()).await;
    assert_eq!(reader.head().await.unwrap().status, 200);
}
