//! HLS, DASH, clips and images: what is refused, and in which words.

use crate::support::{EPOCH_MS, T0_MS, create, emulator, mkv, put, refused, virtual_config};
use kvs_emulator::rules::schema::CODEC_ID;
use serde_json::{Value, json};
use std::time::Duration;

/// A body whose one track has this codec.
fn body_of(codec: &str) -> Vec<u8> {
    let track = mkv::with(mkv::track(1), mkv::text(CODEC_ID, codec));
    [mkv::tracks(vec![track]), mkv::cluster(T0_MS, 20)].concat()
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn selector(kind: &str, from_ms: u64, to_ms: u64) -> Value {
    let range = json!({ "StartTimestamp": seconds(from_ms), "EndTimestamp": seconds(to_ms) });
    json!({ "FragmentSelectorType": kind, "TimestampRange": range })
}

const HLS: &str = "/getHLSStreamingSessionURL";
const DASH: &str = "/getDASHStreamingSessionURL";

/// Path, stream, what else is asked, and the exception.
fn cases() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let selector = selector("PRODUCER_TIMESTAMP", T0_MS, T0_MS + 60_000);
    let clip = json!({ "ClipFragmentSelector": selector });
    let hls = json!({ "PlaybackMode": "ON_DEMAND", "HLSFragmentSelector": selector });
    let dash = json!({ "PlaybackMode": "LIVE_REPLAY", "DASHFragmentSelector": selector });
    let images = json!({
        "ImageSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": seconds(T0_MS), "EndTimestamp": seconds(T0_MS + 9000), "Format": "PNG"
    });
    let (no_retention, unsupported) = ("NoDataRetentionException", "UnsupportedStreamMediaTypeException");
    let (not_found, invalid, rendered) =
        ("ResourceNotFoundException", "InvalidArgumentException", "NotImplementedException");
    vec![
        ("/getClip", "pcm", clip.clone(), unsupported),
        ("/getClip", "aac", clip.clone(), unsupported),
        ("/getClip", "none", clip.clone(), no_retention),
        ("/getClip", "empty", clip.clone(), not_found),
        ("/getClip", "avc", clip, rendered),
        (HLS, "pcm", hls.clone(), unsupported),
        (HLS, "pcm", json!({}), unsupported),
        (HLS, "aac", hls, rendered),
        (HLS, "none", json!({}), no_retention),
        (HLS, "empty", json!({}), not_found),
        (DASH, "pcm", dash.clone(), unsupported),
        (DASH, "aac", dash.clone(), unsupported),
        (DASH, "none", dash, no_retention),
        ("/getImages", "pcm", images.clone(), invalid),
        ("/getImages", "none", images, no_retention),
        ("/getClip", "pcm", json!({}), invalid),
        ("/getImages", "pcm", json!({}), invalid),
        (HLS, "pcm", json!({ "PlaybackMode": "ON_DEMAND" }), invalid),
        (HLS, "pcm", json!({ "Expires": 299 }), invalid),
        (HLS, "pcm", json!({ "PlaybackMode": "REWIND" }), invalid),
        (HLS, "pcm", json!({ "HLSFragmentSelector": selector }), invalid),
    ]
}

#[tokio::test(start_paused = true)]
async fn pcm_is_played_by_none_and_the_refusal_names_the_reason() {
    let mut config = virtual_config();
    config.limits.rates = false;
    let emulator = kvs_emulator::start(config).await.unwrap();
    for (name, hours, codec) in [
        ("pcm", 1, "A_PCM/INT/LIT"),
        ("none", 0, "A_PCM/INT/LIT"),
        ("aac", 1, "A_AAC"),
        ("avc", 1, "V_MPEG/ISO/AVC"),
    ] {
        create(&emulator, name, hours).await;
        put(&emulator, name, &body_of(codec)).await;
    }
    create(&emulator, "empty", 1).await;
    for (path, stream, more, expected) in cases() {
        let mut input = more.clone();
        input["StreamName"] = json!(stream);
        let (_, kind, message) = refused(&emulator, path, input).await;
        assert_eq!(kind, expected, "{path} of {stream} with {more}: {message}");
    }
    tokio::time::advance(Duration::from_secs(31)).await;
    let late = refused(&emulator, HLS, json!({ "StreamName": "pcm" })).await;
    assert_eq!(late.1, "ResourceNotFoundException", "LIVE wants a fragment of the last 30 s");
}

#[tokio::test(start_paused = true)]
async fn a_time_that_has_outlived_the_retention_is_refused_in_the_services_words() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    put(&emulator, "s", &body_of("A_PCM/INT/LIT")).await;
    tokio::time::advance(Duration::from_secs(2 * 3600)).await;
    let hour_ago = EPOCH_MS + 3_600_000 - 5000;
    let by = |kind: &str| selector(kind, T0_MS, hour_ago);
    let clip = |selector: Value| json!({ "StreamName": "s", "ClipFragmentSelector": selector });
    let list = |selector: Value| json!({ "StreamName": "s", "FragmentSelector": selector });
    let outside = format!("End timestamp {hour_ago} is outside of the stream retention period.");
    for (path, input) in
        [("/getClip", clip(by("SERVER_TIMESTAMP"))), ("/listFragments", list(by("SERVER_TIMESTAMP")))]
    {
        let (status, kind, message) = refused(&emulator, path, input).await;
        assert_eq!((status, kind.as_str(), &message), (400, "InvalidArgumentException", &outside), "{path}");
    }
    let (status, kind, message) = refused(&emulator, "/getClip", clip(by("PRODUCER_TIMESTAMP"))).await;
    assert_eq!((status, kind.as_str()), (404, "ResourceNotFoundException"));
    assert_eq!(message, "No fragments found in the stream for the clip request.");
    let input = list(by("PRODUCER_TIMESTAMP"));
    assert_eq!(crate::support::call(&emulator, "/listFragments", input).await["Fragments"], json!([]));
    let late = list(selector("SERVER_TIMESTAMP", 0, EPOCH_MS + 7_200_000));
    crate::support::call(&emulator, "/listFragments", late).await;
}
