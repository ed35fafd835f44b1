//! What outlives the emulator in `--data-dir`, and what a kill leaves behind.

use crate::sockets::{Program, connect_to, program};
use crate::support::http::Http;
use crate::support::{call, mkv};
use kvs_emulator::{Config, Emulator};
use serde_json::{Value, json};
use std::path::PathBuf;
use tokio::net::TcpStream;

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kvs-emulator-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn start(folder: &Folder) -> Emulator {
    let config =
        Config { data_dir: Some(folder.0.clone()), create_ms: 0, persist_ms: 0, ..Config::default() };
    kvs_emulator::start(config).await.unwrap()
}

/// Puts one connection's clusters, the last one of known size with tags behind it, and gives the numbers that were
/// acknowledged as PERSISTED.
async fn put_over<S>(http: &mut Http<S>, stream: &str, times_ms: &[u64]) -> Vec<String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    assert_eq!(http.put_media(stream).await.status, 200);
    http.send_chunk(&mkv::header()).await;
    http.send_chunk(&mkv::tags(&[("firstChunk", "7")])).await;
    let (last_ms, before_ms) = times_ms.split_last().unwrap();
    for ms in before_ms {
        http.send_chunk(&mkv::cluster(*ms, 20)).await;
    }
    http.send_chunk(&mkv::sized_cluster(*last_ms, 20)).await;
    http.send_chunk(&mkv::tags(&[("lastChunk", "9")])).await;
    http.end_body().await;
    let (acks, _) = http.acks().await;
    let persisted = acks.iter().filter(|ack| ack["EventType"] == "PERSISTED");
    persisted.map(|ack| ack["FragmentNumber"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn streams_and_fragments_outlive_a_restart_exactly_as_they_were() {
    let folder = Folder::new("restart");
    let emulator = start(&folder).await;
    let input = json!({ "StreamName": "s", "DataRetentionInHours": 1, "MediaType": "audio/l16", "Tags": { "a": "1" } });
    call(&emulator, "/createStream", input).await;
    let arn = call(&emulator, "/createStream", json!({ "StreamName": "gone" })).await["StreamARN"].clone();
    call(&emulator, "/tagStream", json!({ "StreamName": "s", "Tags": { "b": "2" } })).await;
    call(&emulator, "/deleteStream", json!({ "StreamARN": arn })).await;
    let t0_ms = emulator.now_ms() - 60_000;
    let first = put_over(&mut crate::support::connect(&emulator), "s", &[t0_ms, t0_ms + 2000]).await;
    let before =
        (emulator.fragments("s"), call(&emulator, "/describeStream", json!({ "StreamName": "s" })).await);
    emulator.shutdown().await;
    let emulator = start(&folder).await;
    assert_eq!(emulator.streams(), ["s"]);
    let after =
        (emulator.fragments("s"), call(&emulator, "/describeStream", json!({ "StreamName": "s" })).await);
    assert!(before == after, "the same fragments, byte for byte, and the same stream");
    assert_eq!(after.0[1].tag("lastChunk"), Some("9"), "with what came behind the last Cluster");
    let tags = call(&emulator, "/listTagsForStream", json!({ "StreamName": "s" })).await;
    assert_eq!(tags["Tags"], json!({ "a": "1", "b": "2" }));
    let second = put_over(&mut crate::support::connect(&emulator), "s", &[t0_ms + 4000]).await;
    assert!(second[0] > first[1], "numbers go on growing");
    emulator.shutdown().await;
}

#[tokio::test]
async fn media_that_outlived_its_retention_meanwhile_is_gone() {
    let folder = Folder::new("retention");
    let emulator = start(&folder).await;
    call(&emulator, "/createStream", json!({ "StreamName": "s", "DataRetentionInHours": 1 })).await;
    let t0_ms = emulator.now_ms() - 60_000;
    put_over(&mut crate::support::connect(&emulator), "s", &[t0_ms]).await;
    emulator.advance(3_600_000);
    assert!(emulator.fragments("s").is_empty());
    put_over(&mut crate::support::connect(&emulator), "s", &[t0_ms + 2000]).await;
    emulator.shutdown().await;
    let emulator = start(&folder).await;
    let kept: Vec<u64> =
        emulator.fragments("s").iter().map(|fragment| fragment.producer_timestamp_ms).collect();
    assert_eq!(kept, [t0_ms + 2000], "the expired one does not come back");
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_folder_that_another_emulator_uses_is_refused() {
    let folder = Folder::new("locked");
    let emulator = start(&folder).await;
    let config = Config { data_dir: Some(folder.0.clone()), ..Config::default() };
    let error = kvs_emulator::start(config).await.err().unwrap();
    assert!(error.to_string().contains("kvs-emulator.redb cannot be used"), "{error}");
    emulator.shutdown().await;
}

async fn listed(endpoint: &str) -> Vec<Value> {
    let (_, fragments) = connect_to(endpoint).await.plain("GET", "/emulator/streams/s").await;
    fragments.as_array().unwrap().clone()
}

/// Puts fragment after fragment until the program dies; what was acknowledged grows in `persisted`.
async fn put_until_killed(
    mut http: Http<TcpStream>,
    t0_ms: u64,
    persisted: tokio::sync::mpsc::UnboundedSender<String>,
) {
    use tokio::io::AsyncWriteExt;
    assert_eq!(http.put_media("s").await.status, 200);
    let mut next = Some(mkv::header());
    for i in 0.. {
        let media = [
            next.take().unwrap_or_default(),
            mkv::cluster(t0_ms + i * 2000, 20),
            mkv::tags(&[("AWS_KINESISVIDEO_END_OF_FRAGMENT", "")]),
        ]
        .concat();
        let chunk = [format!("{:x}\r\n", media.len()).as_bytes(), &media, b"\r\n"].concat();
        if http.io.write_all(&chunk).await.is_err() {
            return;
        }
        while let Ok(Some(chunk)) = http.chunk().await {
            let ack: Value = serde_json::from_slice(&chunk).unwrap();
            if ack["EventType"] == "PERSISTED" {
                let _ = persisted.send(ack["FragmentNumber"].as_str().unwrap().to_owned());
                break;
            }
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_as_persisted_survives_kill_9() {
    let folder = Folder::new("kill");
    let data_dir = folder.0.to_str().unwrap();
    let arguments = ["--create-ms", "0", "--persist-ms", "0", "--no-rates", "--data-dir", data_dir];
    let mut acknowledged: Vec<String> = Vec::new();
    let t0_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64 - 3_000_000;
    for round in 0..3 {
        let (mut killed, endpoint): (Program, String) = program(&arguments).await;
        let (http, mut control) = (connect_to(&endpoint).await, connect_to(&endpoint).await);
        if round == 0 {
            control.call("/createStream", json!({ "StreamName": "s", "DataRetentionInHours": 1 })).await;
        }
        let (sender, mut persisted) = tokio::sync::mpsc::unbounded_channel();
        let putting = tokio::spawn(put_until_killed(http, t0_ms + round * 1_000_000, sender));
        for _ in 0..10 + round * 3 {
            acknowledged.push(persisted.recv().await.unwrap());
        }
        // In the middle of whatever it is doing.
        killed.0.kill().unwrap();
        killed.0.wait().unwrap();
        putting.await.unwrap();
        while let Some(number) = persisted.recv().await {
            acknowledged.push(number);
        }
    }
    let (_program, endpoint) = program(&arguments).await;
    let fragments = listed(&endpoint).await;
    let numbers: Vec<&str> = fragments.iter().map(|fragment| fragment["number"].as_str().unwrap()).collect();
    let lost: Vec<&String> =
        acknowledged.iter().filter(|number| !numbers.contains(&number.as_str())).collect();
    assert!(lost.is_empty(), "acknowledged as persisted, and lost: {lost:?}");
    assert!(acknowledged.len() >= 39 && numbers.is_sorted());
    for fragment in &fragments {
        let bytes = mkv::header().len() + mkv::cluster(t0_ms, 20).len();
        assert_eq!(
            (&fragment["bytes"], &fragment["blocks"]),
            (&json!(bytes), &json!(20)),
            "whole or not at all"
        );
    }
}
