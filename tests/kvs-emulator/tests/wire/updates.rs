//! What of a stream can be changed, and what its tags and tokens may be.

use crate::support::{call, create, emulator, refused, virtual_config};
use kvs_emulator::Emulator;
use serde_json::{Value, json};
use std::time::Duration;

async fn describe(emulator: &Emulator) -> Value {
    call(emulator, "/describeStream", json!({ "StreamName": "s" })).await["StreamInfo"].clone()
}

/// Lets every rate and every state settle.
async fn settle() {
    tokio::time::advance(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn update_stream_changes_what_it_names_and_the_version() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let before = describe(&emulator).await;
    let input = json!({ "StreamName": "s", "CurrentVersion": before["Version"], "MediaType": "audio/l16" });
    assert_eq!(call(&emulator, "/updateStream", input.clone()).await, json!({}));
    let updating = describe(&emulator).await;
    assert_eq!((&updating["Status"], &updating["MediaType"]), (&json!("UPDATING"), &json!("audio/l16")));
    assert_ne!(updating["Version"], before["Version"]);
    let busy = refused(&emulator, "/updateStream", input.clone()).await;
    assert_eq!(busy.1, "ResourceInUseException", "one change after the other");
    settle().await;
    assert_eq!(refused(&emulator, "/updateStream", input).await.1, "VersionMismatchException");
    let arn = updating["StreamARN"].clone();
    let input = json!({ "StreamARN": arn, "CurrentVersion": updating["Version"], "DeviceName": "phone" });
    call(&emulator, "/updateStream", input).await;
    let both = describe(&emulator).await;
    assert_eq!((&both["DeviceName"], &both["MediaType"]), (&json!("phone"), &json!("audio/l16")));
}

#[tokio::test(start_paused = true)]
async fn the_storage_tier_is_told_and_changed() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let tier = || async {
        let path = "/describeStreamStorageConfiguration";
        call(&emulator, path, json!({ "StreamName": "s" })).await["StreamStorageConfiguration"].clone()
    };
    assert_eq!(tier().await, json!({ "DefaultStorageTier": "HOT" }));
    let version = describe(&emulator).await["Version"].clone();
    let input = |tier: &str| json!({ "StreamName": "s", "CurrentVersion": version, "StreamStorageConfiguration": { "DefaultStorageTier": tier } });
    call(&emulator, "/updateStreamStorageConfiguration", input("WARM")).await;
    assert_eq!(tier().await, json!({ "DefaultStorageTier": "WARM" }));
    settle().await;
    let path = "/updateStreamStorageConfiguration";
    assert_eq!(refused(&emulator, path, input("HOT")).await.1, "VersionMismatchException");
    assert_eq!(refused(&emulator, path, input("COLD")).await.1, "InvalidArgumentException");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_active_can_be_neither_changed_nor_deleted() {
    let emulator = emulator().await;
    let input = json!({ "StreamName": "s", "DataRetentionInHours": 1 });
    let arn = call(&emulator, "/createStream", input).await["StreamARN"].clone();
    let change = json!({
        "StreamName": "s", "CurrentVersion": "00000000000000000001",
        "Operation": "INCREASE_DATA_RETENTION", "DataRetentionChangeInHours": 1
    });
    let creating = [
        refused(&emulator, "/updateDataRetention", change.clone()).await.1,
        refused(&emulator, "/updateStream", change.clone()).await.1,
        refused(&emulator, "/deleteStream", json!({ "StreamARN": arn })).await.1,
    ];
    assert_eq!(creating, ["ResourceInUseException"; 3]);
    settle().await;
    call(&emulator, "/deleteStream", json!({ "StreamARN": arn })).await;
    let deleting = refused(&emulator, "/deleteStream", json!({ "StreamARN": arn })).await;
    assert_eq!(deleting.1, "ResourceInUseException");
    assert_eq!(refused(&emulator, "/updateDataRetention", change).await.1, "ResourceInUseException");
}

/// An input of a change to stream "s" in its first version.
fn change(more: Value) -> Value {
    let mut input = json!({ "StreamName": "s", "CurrentVersion": "00000000000000000001" });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    input
}

fn retention(operation: &str, hours: u64) -> Value {
    change(json!({ "Operation": operation, "DataRetentionChangeInHours": hours }))
}

/// Path, input, and what the refusal must name.
type Wrong = (&'static str, Value, &'static str);

fn wrong_streams() -> Vec<Wrong> {
    let new = |more: Value| {
        let mut input = json!({ "StreamName": "t" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let unknown = json!({ "StreamNameCondition": { "ComparisonOperator": "ENDS_WITH" } });
    let prefix = json!({ "StreamNameCondition": { "ComparisonValue": "a b" } });
    vec![
        ("/createStream", new(json!({ "KmsKeyId": "" })), "KmsKeyId"),
        ("/createStream", new(json!({ "KmsKeyId": "x".repeat(2049) })), "KmsKeyId"),
        ("/createStream", new(json!({ "DataRetentionInHours": 87_601 })), "87601"),
        ("/createStream", new(json!({ "StreamStorageConfiguration": {} })), "DefaultStorageTier"),
        ("/createStream", new(json!({ "Tags": { "k": "?" } })), "Tag \"k\""),
        ("/deleteStream", json!({ "StreamName": "s" }), "StreamARN is missing"),
        ("/listStreams", json!({ "NextToken": "x".repeat(1025) }), "more than 1024"),
        ("/listStreams", json!({ "MaxResults": 10_001 }), "MaxResults is 10001"),
        ("/listStreams", unknown, "ENDS_WITH"),
        ("/listStreams", prefix, "ComparisonValue"),
    ]
}

fn wrong_updates() -> Vec<Wrong> {
    let (more, less) = ("INCREASE_DATA_RETENTION", "DECREASE_DATA_RETENTION");
    let no_operation = change(json!({ "DataRetentionChangeInHours": 1 }));
    let bad_version = json!({ "StreamName": "s", "CurrentVersion": "a-b" });
    vec![
        ("/updateStream", json!({ "StreamName": "s" }), "CurrentVersion is missing"),
        ("/updateStream", bad_version, "CurrentVersion \"a-b\""),
        ("/updateStream", change(json!({ "MediaType": "x" })), "MediaType"),
        ("/updateStream", change(json!({ "DeviceName": "" })), "DeviceName"),
        ("/updateDataRetention", no_operation, "Operation is missing"),
        ("/updateDataRetention", retention("DOUBLE", 1), "DOUBLE"),
        ("/updateDataRetention", retention(more, 0), "DataRetentionChangeInHours is 0"),
        ("/updateDataRetention", retention(more, 87_600), "cannot be changed by 87600"),
        ("/updateDataRetention", retention(less, 2), "cannot be changed by 2"),
        ("/updateStreamStorageConfiguration", change(json!({})), "StreamStorageConfiguration is missing"),
    ]
}

fn wrong_tags() -> Vec<Wrong> {
    let keys: Vec<String> = (0..51).map(|i| format!("k{i}")).collect();
    let untag = |keys: Value| json!({ "StreamName": "s", "TagKeyList": keys });
    vec![
        ("/tagStream", json!({ "StreamName": "s" }), "Tags is missing"),
        ("/untagStream", json!({ "StreamName": "s" }), "TagKeyList is missing"),
        ("/untagStream", untag(json!([])), "0 keys"),
        ("/untagStream", untag(json!(keys)), "51 keys"),
        ("/untagStream", untag(json!(["?"])), "\"?\""),
        ("/listTagsForStream", json!({ "StreamName": "s", "NextToken": "x" }), "NextToken"),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_wrong_change_is_refused_by_name() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    for (path, input, culprit) in [wrong_streams(), wrong_updates(), wrong_tags()].concat() {
        let (status, kind, message) = refused(&emulator, path, input.clone()).await;
        assert_eq!((status, kind.as_str()), (400, "InvalidArgumentException"), "{path} {input}");
        assert!(message.contains(culprit), "{path} {input}: {message:?} does not name {culprit:?}");
        settle().await;
    }
    let types = [
        ("/createStream", json!({ "StreamName": 1 })),
        ("/createStream", json!({ "StreamName": "t", "DataRetentionInHours": "1" })),
        ("/tagStream", json!({ "StreamName": "s", "Tags": [] })),
        ("/untagStream", json!({ "StreamName": "s", "TagKeyList": "k" })),
    ];
    for (path, input) in types {
        let kind = refused(&emulator, path, input.clone()).await.1;
        assert_eq!(kind, "SerializationException", "{path} {input}");
    }
    for (path, more) in [
        ("/tagStream", json!({ "Tags": { "a": "1" } })),
        ("/untagStream", json!({ "TagKeyList": ["a"] })),
        ("/listTagsForStream", json!({})),
    ] {
        let mut input = more;
        input["StreamARN"] = json!("arn:aws:kinesisvideo:us-east-1:1:channel/x/1");
        assert_eq!(refused(&emulator, path, input).await.1, "InvalidResourceFormatException", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_operation_on_a_missing_stream_says_so() {
    let emulator = emulator().await;
    let arn = "arn:aws:kinesisvideo:us-east-1:000000000000:stream/none/1";
    let times = json!({ "StartTimestamp": 1, "EndTimestamp": 2 });
    let selector = json!({ "FragmentSelectorType": "SERVER_TIMESTAMP", "TimestampRange": times });
    let all = json!({
        "CurrentVersion": "1", "Operation": "INCREASE_DATA_RETENTION", "DataRetentionChangeInHours": 1,
        "StreamStorageConfiguration": { "DefaultStorageTier": "HOT" }, "Tags": { "a": "1" }, "TagKeyList": ["a"],
        "APIName": "PUT_MEDIA", "StartSelector": { "StartSelectorType": "NOW" }, "Fragments": ["1"],
        "FragmentSelector": selector, "ClipFragmentSelector": selector, "ImageSelectorType": "SERVER_TIMESTAMP",
        "StartTimestamp": 1, "EndTimestamp": 2, "Format": "PNG",
    });
    use kvs_emulator::Operation::*;
    for operation in kvs_emulator::Operation::ALL {
        if matches!(operation, CreateStream | ListStreams | PutMedia) {
            continue;
        }
        for (member, value) in [("StreamName", "none"), ("StreamARN", arn)] {
            if *operation == DeleteStream && member == "StreamName" {
                continue;
            }
            let mut input = all.clone();
            input[member] = json!(value);
            let (status, kind, _) = refused(&emulator, operation.path(), input).await;
            assert_eq!(
                (status, kind.as_str()),
                (404, "ResourceNotFoundException"),
                "{operation:?} by {member}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_data_endpoint_is_given_for_every_api_and_can_be_another_address() {
    let mut config = virtual_config();
    config.limits.rates = false;
    config.advertised_endpoint = Some("https://kvs.example".to_owned());
    let emulator = kvs_emulator::start(config).await.unwrap();
    create(&emulator, "s", 0).await;
    let apis = [
        "PUT_MEDIA",
        "GET_MEDIA",
        "LIST_FRAGMENTS",
        "GET_MEDIA_FOR_FRAGMENT_LIST",
        "GET_HLS_STREAMING_SESSION_URL",
        "GET_DASH_STREAMING_SESSION_URL",
        "GET_CLIP",
        "GET_IMAGES",
    ];
    for api in apis {
        let answer = call(&emulator, "/getDataEndpoint", json!({ "StreamName": "s", "APIName": api })).await;
        assert_eq!(answer, json!({ "DataEndpoint": "https://kvs.example" }), "{api}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_retention_takes_hold_at_once() {
    let emulator = emulator().await;
    create(&emulator, "s", 3).await;
    crate::support::put(&emulator, "s", &crate::support::body(1)).await;
    tokio::time::advance(Duration::from_secs(2 * 3600)).await;
    assert_eq!(emulator.fragments("s").len(), 1);
    let version = describe(&emulator).await["Version"].clone();
    let input = json!({ "StreamName": "s", "CurrentVersion": version, "Operation": "DECREASE_DATA_RETENTION", "DataRetentionChangeInHours": 2 });
    call(&emulator, "/updateDataRetention", input).await;
    assert_eq!(emulator.fragments("s").len(), 0, "what is older than an hour is gone");
}

#[tokio::test(start_paused = true)]
async fn the_sixth_call_of_any_operation_on_a_stream_is_throttled() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    use kvs_emulator::Operation::*;
    let others = [CreateStream, ListStreams, PutMedia, ListFragments, GetMediaForFragmentList];
    for operation in kvs_emulator::Operation::ALL.iter().filter(|operation| !others.contains(operation)) {
        let mut last = String::new();
        for _ in 0..6 {
            let arn =
                format!("arn:aws:kinesisvideo:us-east-1:000000000000:stream/s/{}", crate::support::EPOCH_MS);
            let input = if *operation == DeleteStream {
                json!({ "StreamARN": arn, "CurrentVersion": "9" })
            } else {
                json!({ "StreamName": "s" })
            };
            let (head, _) = crate::support::connect(&emulator).call(operation.path(), input).await;
            last = head.error_type().unwrap_or("").to_owned();
        }
        assert_eq!(last, "ClientLimitExceededException", "{operation:?}");
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_accounts_quotas_hold_at_their_value() {
    let mut config = virtual_config();
    for (quota, value) in
        [("streamsMax", 1), ("streamTagsMax", 2), ("describePerSecond", 3), ("changePerSecond", 4)]
    {
        config.set_quota(quota, Some(value)).unwrap();
    }
    let emulator = kvs_emulator::start(config).await.unwrap();
    create(&emulator, "s", 0).await;
    let second = refused(&emulator, "/createStream", json!({ "StreamName": "t" })).await;
    assert_eq!(second.1, "AccountStreamLimitExceededException");
    let three = json!({ "StreamName": "s", "Tags": { "a": "1", "b": "2", "c": "3" } });
    assert_eq!(refused(&emulator, "/tagStream", three).await.1, "TagsPerResourceExceededLimitException");
    for (path, calls) in [("/describeStream", 3), ("/listStreams", 4)] {
        for _ in 0..calls {
            call(&emulator, path, json!({ "StreamName": "s" })).await;
        }
        let one_more = refused(&emulator, path, json!({ "StreamName": "s" })).await;
        assert_eq!(one_more.1, "ClientLimitExceededException", "{path}");
    }
}
