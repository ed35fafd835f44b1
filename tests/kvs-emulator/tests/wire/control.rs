use crate::support::{EPOCH_MS, call, create, emulator, refused, virtual_config};
use kvs_emulator::Limits;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_new_stream_is_creating_and_then_active() {
    let emulator = emulator().await;
    let input = json!({ "StreamName": "s", "DataRetentionInHours": 2, "MediaType": "audio/l16", "Tags": { "k": "v" } });
    let arn = call(&emulator, "/createStream", input).await["StreamARN"].clone();
    assert_eq!(arn, format!("arn:aws:kinesisvideo:us-east-1:000000000000:stream/s/{EPOCH_MS}"));
    let describe = || call(&emulator, "/describeStream", json!({ "StreamName": "s" }));
    let info = &describe().await["StreamInfo"];
    assert_eq!((&info["Status"], &info["StreamARN"]), (&json!("CREATING"), &arn));
    tokio::time::advance(Duration::from_millis(200)).await;
    let info = &describe().await["StreamInfo"];
    assert_eq!(info["Status"], "ACTIVE");
    assert_eq!((&info["DataRetentionInHours"], &info["MediaType"]), (&json!(2), &json!("audio/l16")));
    assert_eq!(info["CreationTime"], json!(EPOCH_MS as f64 / 1000.0));
    let own_key = "arn:aws:kms:us-east-1:000000000000:alias/aws/kinesisvideo";
    assert_eq!(info["KmsKeyId"], own_key, "the service's own key, of this Region and account");
    assert_eq!(info.get("DeviceName"), Some(&json!(null)), "what is not set is there, and null");
    let by_arn = call(&emulator, "/describeStream", json!({ "StreamARN": arn })).await;
    assert_eq!(by_arn["StreamInfo"]["StreamName"], "s");
    let tags = call(&emulator, "/listTagsForStream", json!({ "StreamName": "s" })).await;
    assert_eq!(tags["Tags"], json!({ "k": "v" }));
}

#[tokio::test(start_paused = true)]
async fn only_one_of_two_creators_wins() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let (status, kind, _) = refused(&emulator, "/createStream", json!({ "StreamName": "s" })).await;
    assert_eq!((status, kind.as_str()), (400, "ResourceInUseException"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stream_is_deleting_then_gone_and_its_name_is_free_again() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let arn =
        call(&emulator, "/describeStream", json!({ "StreamName": "s" })).await["StreamInfo"]["StreamARN"]
            .clone();
    let wrong = json!({ "StreamARN": arn, "CurrentVersion": "other" });
    assert_eq!(refused(&emulator, "/deleteStream", wrong).await.1, "VersionMismatchException");
    call(&emulator, "/deleteStream", json!({ "StreamARN": arn })).await;
    let info = call(&emulator, "/describeStream", json!({ "StreamName": "s" })).await;
    assert_eq!(info["StreamInfo"]["Status"], "DELETING");
    assert_eq!(
        refused(&emulator, "/createStream", json!({ "StreamName": "s" })).await.1,
        "ResourceInUseException"
    );
    tokio::time::advance(Duration::from_millis(200)).await;
    let gone = refused(&emulator, "/describeStream", json!({ "StreamName": "s" })).await;
    assert_eq!((gone.0, gone.1.as_str()), (404, "ResourceNotFoundException"));
    create(&emulator, "s", 1).await;
    let old_arn = refused(&emulator, "/describeStream", json!({ "StreamARN": arn })).await;
    assert_eq!(old_arn.1, "ResourceNotFoundException", "the old stream's ARN is not the new one's");
}

#[tokio::test(start_paused = true)]
async fn streams_are_listed_by_prefix_and_page_by_page() {
    let emulator = emulator().await;
    for name in ["a-1", "b-1", "b-2", "b-3", "c-1"] {
        create(&emulator, name, 0).await;
    }
    let mut input = json!({
        "MaxResults": 2, "StreamNameCondition": { "ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "b-" }
    });
    let mut names = Vec::new();
    loop {
        let page = call(&emulator, "/listStreams", input.clone()).await;
        let infos = page["StreamInfoList"].as_array().unwrap();
        assert!(infos.len() <= 2);
        names.extend(infos.iter().map(|info| info["StreamName"].as_str().unwrap().to_owned()));
        match page.get("NextToken") {
            Some(token) => input["NextToken"] = token.clone(),
            None => break,
        }
    }
    assert_eq!(names, ["b-1", "b-2", "b-3"]);
    assert_eq!(emulator.streams().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn retention_is_changed_with_the_right_version_only() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let describe = || async {
        call(&emulator, "/describeStream", json!({ "StreamName": "s" })).await["StreamInfo"].clone()
    };
    let version = describe().await["Version"].clone();
    let update = |operation: &str, hours: u64, version: &Value| json!({ "StreamName": "s", "Operation": operation, "DataRetentionChangeInHours": hours, "CurrentVersion": version });
    call(&emulator, "/updateDataRetention", update("INCREASE_DATA_RETENTION", 3, &version)).await;
    assert_eq!(describe().await["Status"], "UPDATING");
    tokio::time::advance(Duration::from_millis(200)).await;
    assert_eq!(describe().await["DataRetentionInHours"], 4);
    let stale =
        refused(&emulator, "/updateDataRetention", update("INCREASE_DATA_RETENTION", 1, &version)).await;
    assert_eq!(stale.1, "VersionMismatchException");
    let now = describe().await["Version"].clone();
    let below = refused(&emulator, "/updateDataRetention", update("DECREASE_DATA_RETENTION", 9, &now)).await;
    assert_eq!(below.1, "InvalidArgumentException");
}

#[tokio::test(start_paused = true)]
async fn tags_are_added_taken_and_limited() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    call(&emulator, "/tagStream", json!({ "StreamName": "s", "Tags": { "a": "1", "b": "2" } })).await;
    call(&emulator, "/untagStream", json!({ "StreamName": "s", "TagKeyList": ["a", "x"] })).await;
    let tags = call(&emulator, "/listTagsForStream", json!({ "StreamName": "s" })).await;
    assert_eq!(tags["Tags"], json!({ "b": "2" }));
    let many: serde_json::Map<String, Value> = (0..50).map(|i| (format!("k{i}"), json!("v"))).collect();
    let refusal = refused(&emulator, "/tagStream", json!({ "StreamName": "s", "Tags": many })).await;
    assert_eq!(refusal.1, "TagsPerResourceExceededLimitException");
    let tags = call(&emulator, "/listTagsForStream", json!({ "StreamName": "s" })).await;
    assert_eq!(tags["Tags"], json!({ "b": "2" }), "a refused call changes nothing");
}

#[tokio::test(start_paused = true)]
async fn every_wrong_input_is_refused_by_name() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let long = "x".repeat(257);
    let cases = [
        ("/createStream", json!({}), "StreamName is missing"),
        ("/createStream", json!({ "StreamName": "a b" }), "StreamName \"a b\""),
        ("/createStream", json!({ "StreamName": long }), "does not match"),
        ("/createStream", json!({ "StreamName": "t", "MediaType": "audio" }), "MediaType"),
        ("/createStream", json!({ "StreamName": "t", "DeviceName": "a/b" }), "DeviceName"),
        (
            "/createStream",
            json!({ "StreamName": "t", "DataRetentionInHours": -1 }),
            "DataRetentionInHours is -1",
        ),
        ("/createStream", json!({ "StreamName": "t", "Tags": { "aws:x": "1" } }), "Tag \"aws:x\""),
        ("/describeStream", json!({}), "Give StreamName or StreamARN"),
        ("/describeStream", json!({ "StreamName": "s", "StreamARN": "x" }), "not both"),
        ("/describeStream", json!({ "StreamARN": "arn:aws:s3:::x" }), "is not a stream's ARN"),
        ("/getDataEndpoint", json!({ "StreamName": "s" }), "APIName is missing"),
        ("/getDataEndpoint", json!({ "StreamName": "s", "APIName": "PUTMEDIA" }), "APIName \"PUTMEDIA\""),
        ("/listStreams", json!({ "MaxResults": 0 }), "MaxResults is 0"),
        ("/listStreams", json!({ "NextToken": "?" }), "NextToken"),
        ("/listFragments", json!({ "StreamName": "s", "MaxResults": 1001 }), "MaxResults is 1001"),
        ("/getMedia", json!({ "StreamName": "s" }), "StartSelector is missing"),
        (
            "/getMedia",
            json!({ "StreamName": "s", "StartSelector": { "StartSelectorType": "LATEST" } }),
            "LATEST",
        ),
        ("/getMediaForFragmentList", json!({ "StreamName": "s", "Fragments": [] }), "0 fragments"),
    ];
    for (path, input, culprit) in cases {
        let (status, kind, message) = refused(&emulator, path, input.clone()).await;
        assert_eq!((status, kind.as_str()), (400, "InvalidArgumentException"), "{path} {input}");
        assert!(message.contains(culprit), "{path} {input}: {message:?} does not name {culprit:?}");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    for path in ["/describeStream", "/getMedia", "/listFragments"] {
        let (status, kind, _) = refused(&emulator, path, json!([])).await;
        assert_eq!((status, kind.as_str()), (400, "SerializationException"), "{path} with a list");
    }
    let (status, kind, _) = refused(&emulator, "/describeStream", json!({ "StreamName": "missing" })).await;
    assert_eq!((status, kind.as_str()), (404, "ResourceNotFoundException"));
    assert_eq!(refused(&emulator, "/nonsense", json!({})).await.1, "UnknownOperationException");
}

#[tokio::test(start_paused = true)]
async fn the_data_endpoint_is_the_emulator_and_its_rate_is_five_a_second_and_stream() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    create(&emulator, "t", 1).await;
    let input = |name: &str| json!({ "StreamName": name, "APIName": "PUT_MEDIA" });
    for _ in 0..5 {
        let answer = call(&emulator, "/getDataEndpoint", input("s")).await;
        assert_eq!(answer["DataEndpoint"], emulator.endpoint());
    }
    let (status, kind, _) = refused(&emulator, "/getDataEndpoint", input("s")).await;
    assert_eq!((status, kind.as_str()), (400, "ClientLimitExceededException"));
    call(&emulator, "/getDataEndpoint", input("t")).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    call(&emulator, "/getDataEndpoint", input("s")).await;
}

#[tokio::test(start_paused = true)]
async fn the_accounts_limits_hold_over_all_streams_and_can_be_switched_off() {
    let limits = Limits { streams_max: 60, describe_per_second: 8, ..Limits::default() };
    let mut config = virtual_config();
    config.limits = limits.clone();
    let emulator = kvs_emulator::start(config.clone()).await.unwrap();
    for i in 0..50 {
        call(&emulator, "/createStream", json!({ "StreamName": format!("s{i}") })).await;
    }
    let fast = refused(&emulator, "/createStream", json!({ "StreamName": "s50" })).await;
    assert_eq!(fast.1, "ClientLimitExceededException", "CreateStream is 50 a second");
    tokio::time::advance(Duration::from_secs(1)).await;
    for i in 50..60 {
        call(&emulator, "/createStream", json!({ "StreamName": format!("s{i}") })).await;
    }
    let full = refused(&emulator, "/createStream", json!({ "StreamName": "s60" })).await;
    assert_eq!(full.1, "AccountStreamLimitExceededException");
    for i in 0..8 {
        call(&emulator, "/describeStream", json!({ "StreamName": format!("s{i}") })).await;
    }
    let input = json!({ "StreamName": "s9" });
    assert_eq!(refused(&emulator, "/describeStream", input.clone()).await.1, "ClientLimitExceededException");
    config.limits = Limits { rates: false, ..limits };
    let unlimited = kvs_emulator::start(config).await.unwrap();
    call(&unlimited, "/createStream", input.clone()).await;
    for _ in 0..100 {
        call(&unlimited, "/describeStream", input.clone()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unsigned_or_foreign_request_is_refused() {
    let emulator = emulator().await;
    let cases = [
        ("", "MissingAuthenticationTokenException"),
        ("Authorization: Bearer x\r\n", "IncompleteSignatureException"),
        (
            "Authorization: AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0\r\n",
            "InvalidSignatureException",
        ),
    ];
    for path in ["/listStreams", "/putMedia"] {
        for (authorization, expected) in cases {
            let mut http = crate::support::connect(&emulator);
            let request =
                format!("POST {path} HTTP/1.1\r\nHost: kvs\r\n{authorization}Content-Length: 2\r\n\r\n{{}}");
            http.send(request.as_bytes()).await;
            let head = http.head().await.unwrap();
            assert_eq!((head.status, head.error_type()), (403, Some(expected)), "{path} {authorization:?}");
        }
    }
}
