//! What readers get has the very form of the service's recorded answers: the same elements in the same order, with the
//! same sizes written in the same way. The recordings themselves are AWS's; here two producers like those behind them put
//! their bodies, and what must come back is written down by hand.

use crate::support::{EPOCH_MS, T0_MS, create, emulator, mkv, put, virtual_config};
use kvs_emulator::rules::ebml::{Node, write_element};
use kvs_emulator::rules::schema::*;
use kvs_emulator::{Emulator, StoredFragment};
use serde_json::{Value, json};
use std::time::Duration;

/// An element of the service's own, whose sizes have four bytes.
fn own(id: &[u8], payload: &[u8]) -> Vec<u8> {
    [id, &(0x1000_0000 | payload.len() as u32).to_be_bytes(), payload].concat()
}

/// A Tags element of the service's own: one Tag with all SimpleTags in it.
fn own_tags(pairs: &[(&str, &str)]) -> Vec<u8> {
    let simple = |(name, value): &(&str, &str)| {
        let inner = [own(&[0x45, 0xA3], name.as_bytes()), own(&[0x44, 0x87], value.as_bytes())];
        own(&[0x67, 0xC8], &inner.concat())
    };
    let tag = own(&[0x73, 0x73], &pairs.iter().flat_map(simple).collect::<Vec<u8>>());
    own(&[0x12, 0x54, 0xC3, 0x67], &tag)
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// A whole document of GetMedia, read at `now_ms`.
fn document(
    fragment: &StoredFragment,
    opening: &[u8],
    cluster: &[u8],
    behind: &[u8],
    now_ms: u64,
) -> Vec<u8> {
    let (server, producer) = (fragment.server_timestamp_ms, fragment.producer_timestamp_ms);
    let before = own_tags(&[
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", &fragment.number),
        ("AWS_KINESISVIDEO_SERVER_TIMESTAMP", &seconds(server)),
        ("AWS_KINESISVIDEO_PRODUCER_TIMESTAMP", &seconds(producer)),
    ]);
    let after = own_tags(&[
        ("AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", &(now_ms - server).to_string()),
        ("AWS_KINESISVIDEO_CONTINUATION_TOKEN", &fragment.number),
    ]);
    [opening, &before, cluster, behind, &after].concat()
}

async fn read(emulator: &Emulator, path: &str, input: Value) -> Vec<u8> {
    let (head, bytes) = crate::support::connect(emulator).call_bytes(path, input).await.unwrap();
    assert_eq!(head.status, 200);
    bytes
}

fn earliest() -> Value {
    json!({ "StreamName": "s", "StartSelector": { "StartSelectorType": "EARLIEST" } })
}

/// Where two byte strings begin to differ, if they do.
fn first_difference(found: &[u8], expected: &[u8]) -> Option<usize> {
    let at = found.iter().zip(expected).position(|(a, b)| a != b);
    at.or((found.len() != expected.len()).then_some(found.len().min(expected.len())))
}

/// EBML header, an open Segment, these elements, Info, Tracks.
fn opening(before_info: &[u8]) -> Vec<u8> {
    let plain = mkv::header_of(&[]);
    let whole = mkv::header();
    [&plain[..], before_info, &whole[plain.len()..]].concat()
}

/// One tag in its own Tags element, with sizes of eight bytes, as the official producers write it.
fn producers_tag(name: &str) -> Vec<u8> {
    let long = |id: &[u8], payload: &[u8]| {
        [id, &(1u64 << 56 | payload.len() as u64).to_be_bytes(), payload].concat()
    };
    let simple = [long(&[0x45, 0xA3], name.as_bytes()), long(&[0x44, 0x87], b"value")].concat();
    long(&[0x12, 0x54, 0xC3, 0x67], &long(&[0x73, 0x73], &long(&[0x67, 0xC8], &simple)))
}

fn five_tags() -> Vec<u8> {
    (0..5).flat_map(|i| producers_tag(&format!("place_{i}"))).collect()
}

#[tokio::test(start_paused = true)]
async fn the_official_producers_fragments_come_back_in_the_form_that_was_recorded() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    // Tags before Info for the first fragment, and behind each Cluster of unknown size.
    let clusters: Vec<Vec<u8>> = (0..10).map(|i| mkv::cluster(T0_MS + i * 5000, 10)).collect();
    let mut body = opening(&five_tags());
    clusters.iter().for_each(|cluster| body.extend([&cluster[..], &five_tags()].concat()));
    let (acks, _) = put(&emulator, "s", &body).await;
    assert_eq!(acks.len(), 30, "{acks:?}");
    let now_ms = emulator.now_ms();
    let found = read(&emulator, "/getMedia", earliest()).await;
    let stored = emulator.fragments("s");
    let expected: Vec<u8> = (0..10)
        .flat_map(|i| {
            let opening = opening(if i == 0 { five_tags() } else { vec![] }.as_slice());
            document(&stored[i], &opening, &clusters[i], &five_tags(), now_ms)
        })
        .collect();
    assert_eq!(first_difference(&found, &expected), None);
    let tags: Vec<usize> = stored.iter().map(|fragment| fragment.tags.len()).collect();
    assert_eq!(tags, [10, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
}

/// What a file muxer writes before its Clusters.
fn muxers_opening() -> Vec<u8> {
    let crc = || Node::leaf(0xBF, vec![1, 2, 3, 4]);
    let seek_head = Node::master(0x114D_9B74, vec![crc(), Node::leaf(0x4DBB, vec![0x53, 0xAB, 0x80])]);
    let mut info = mkv::info();
    info.children.insert(0, crc());
    info.children.push(Node::leaf(0x4489, 4000f64.to_be_bytes().to_vec()));
    let mut track = mkv::track(1);
    track.children.extend([
        mkv::uint(0x9C, 0),
        mkv::text(0x22_B59C, "und"),
        mkv::uint(0x23_E383, 33_333_333),
    ]);
    let simple =
        Node::master(SIMPLE_TAG, vec![mkv::text(TAG_NAME, "ENCODER"), mkv::text(TAG_STRING, "muxer")]);
    let tag = Node::master(TAG, vec![Node::leaf(TARGETS, vec![]), simple]);
    mkv::header_of(&[
        seek_head,
        Node::leaf(0xEC, vec![0; 148]),
        info,
        Node::master(TRACKS, vec![crc(), track]),
        Node::master(TAGS, vec![crc(), tag]),
    ])
}

#[tokio::test(start_paused = true)]
async fn a_muxers_file_comes_back_in_the_form_that_was_recorded() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    // Clusters of known size with a checksum; Cues behind the last of them.
    let clusters: Vec<Vec<u8>> = (0..5)
        .map(|i| {
            let mut crc = Vec::new();
            write_element(0xBF, &[9, 9, 9, i], &mut crc);
            let mut cluster = Vec::new();
            let inner = [crc, mkv::cluster_inner(T0_MS + u64::from(i) * 2000, 10)].concat();
            write_element(CLUSTER, &inner, &mut cluster);
            cluster
        })
        .collect();
    let cues = mkv::written(Node::leaf(0x1C53_BB6B, vec![0xBB, 0x80]));
    put(&emulator, "s", &[muxers_opening(), clusters.concat(), cues.clone()].concat()).await;
    let now_ms = emulator.now_ms();
    let found = read(&emulator, "/getMedia", earliest()).await;
    let stored = emulator.fragments("s");
    let behind = |i: usize| if i == 4 { cues.clone() } else { vec![] };
    let expected: Vec<u8> = (0..5)
        .flat_map(|i| document(&stored[i], &muxers_opening(), &clusters[i], &behind(i), now_ms))
        .collect();
    assert_eq!(first_difference(&found, &expected), None);
    assert!(stored.iter().all(|fragment| fragment.tags.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn the_archive_gives_documents_of_the_same_form_with_the_tags_of_its_own_documentation() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let cluster = mkv::cluster(T0_MS, 10);
    put(&emulator, "s", &[opening(&[]), cluster.clone(), five_tags()].concat()).await;
    let stored = emulator.fragments("s");
    let numbers = [stored[0].number.as_str(), "7", stored[0].number.as_str()];
    let found =
        read(&emulator, "/getMediaForFragmentList", json!({ "StreamName": "s", "Fragments": numbers })).await;
    let before = own_tags(&[
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", &stored[0].number),
        ("AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP", &seconds(stored[0].server_timestamp_ms)),
        ("AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP", &seconds(T0_MS)),
    ]);
    let document = [opening(&[]), before, cluster, five_tags()].concat();
    let exception = own_tags(&[
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "7"),
        ("AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE", "3000"),
        ("AWS_KINESISVIDEO_EXCEPTION_MESSAGE", "FRAGMENT_NOT_FOUND"),
    ]);
    let rest = found.strip_prefix(&document[..]).expect("the first fragment").strip_suffix(&document[..]);
    let missing = rest.expect("the last fragment");
    assert!(missing.starts_with(&[0x1A, 0x45, 0xDF, 0xA3]), "a document of its own for what is missing");
    assert!(missing.ends_with(&exception));
}

#[tokio::test(start_paused = true)]
async fn one_document_for_each_connection_is_an_option() {
    let mut config = virtual_config();
    config.document_per_fragment = false;
    let emulator = kvs_emulator::start(config).await.unwrap();
    create(&emulator, "s", 1).await;
    for at in [T0_MS, T0_MS + 10_000] {
        let clusters = [mkv::cluster(at, 10), five_tags(), mkv::cluster(at + 2000, 10), five_tags()].concat();
        put(&emulator, "s", &[opening(&[]), clusters].concat()).await;
    }
    let headers = |bytes: &[u8]| bytes.windows(4).filter(|four| *four == [0x1A, 0x45, 0xDF, 0xA3]).count();
    let found = read(&emulator, "/getMedia", earliest()).await;
    assert_eq!(headers(&found), 2);
    let numbers: Vec<String> = emulator.fragments("s").into_iter().map(|f| f.number).collect();
    let input = json!({ "StreamName": "s", "Fragments": numbers });
    assert_eq!(headers(&read(&emulator, "/getMediaForFragmentList", input).await), 2);
}

#[tokio::test(start_paused = true)]
async fn tags_that_come_after_persisted_are_added_to_the_fragment() {
    let emulator = emulator().await;
    create(&emulator, "s", 1).await;
    let mut http = crate::support::connect(&emulator);
    http.put_media("s").await;
    let cluster = mkv::sized_cluster(EPOCH_MS - 60_000, 10);
    http.send_chunk(&[opening(&[]), cluster.clone()].concat()).await;
    while http.ack().await["EventType"] != "PERSISTED" {}
    let before = emulator.fragments("s")[0].clone();
    assert!(before.tags.is_empty() && before.behind.is_empty());
    http.send_chunk(&producers_tag("late")).await;
    http.end_body().await;
    assert_eq!(http.acks().await, (vec![], true));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let after = &emulator.fragments("s")[0];
    assert_eq!((after.tag("late"), &after.behind[..]), (Some("value"), &producers_tag("late")[..]));
    assert_eq!(after.size_bytes, before.size_bytes + producers_tag("late").len() as u64);
    assert_eq!(emulator.stats().stored_bytes, after.size_bytes);
}
