//! Recorded exchanges, byte for byte: what the emulator has once answered it goes on answering. The files in `golden/`
//! are for reading too. After a change that is meant, `KVS_EMULATOR_GOLDEN=write cargo test --test golden` records them again.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/mod.rs"]
mod support;

use kvs_emulator::{Emulator, Fault, FaultKind};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use support::http::SIGNED;
use support::{EPOCH_MS, T0_MS, list_all, mkv};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A dialogue with one emulator.
struct Transcript {
    emulator: Emulator,
    text: String,
}

impl Transcript {
    async fn new() -> Self {
        let mut config = support::virtual_config();
        config.advertised_endpoint = Some("http://kvs.local".to_owned());
        Self { emulator: kvs_emulator::start(config).await.unwrap(), text: String::new() }
    }

    /// Sends a request on a connection of its own, and writes down both sides.
    async fn exchange(&mut self, head: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("{head}Connection: close\r\n\r\n");
        let mut io = self.emulator.connect();
        io.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut answer = Vec::new();
        io.read_to_end(&mut answer).await.unwrap();
        self.write("client", &[head.as_bytes(), body].concat());
        self.write("emulator", &answer);
        answer
    }

    fn write(&mut self, who: &str, bytes: &[u8]) {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let (head, body) = bytes.split_at(end);
        writeln!(self.text, "=== {who}").unwrap();
        for line in String::from_utf8_lossy(head).lines() {
            let is_date = line.starts_with("date: ");
            writeln!(self.text, "{}", if is_date { "date: (now)" } else { line }.trim_end()).unwrap();
        }
        match std::str::from_utf8(body) {
            Ok(text) => writeln!(self.text, "{}", text.replace('\r', "").trim_end()).unwrap(),
            Err(_) => dump(body, &mut self.text),
        }
    }

    async fn call(&mut self, path: &str, input: Value) -> Value {
        let body = input.to_string();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: kvs.local\r\n{SIGNED}Content-Length: {}\r\n", body.len());
        let answer = self.exchange(&head, body.as_bytes()).await;
        let start = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        serde_json::from_slice(&answer[start..]).unwrap_or(Value::Null)
    }

    async fn create(&mut self) {
        self.call("/createStream", json!({ "StreamName": "s", "DataRetentionInHours": 1 })).await;
        tokio::time::advance(std::time::Duration::from_millis(200)).await;
    }

    async fn put(&mut self, timecodes: &str, media: &[u8]) {
        let head = format!(
            "POST /putMedia HTTP/1.1\r\nHost: kvs.local\r\n{SIGNED}Transfer-Encoding: chunked\r\n\
             x-amzn-stream-name: s\r\nx-amzn-fragment-timecode-type: {timecodes}\r\n\
             x-amzn-producer-start-timestamp: {}.000\r\n",
            T0_MS / 1000
        );
        let chunk = [format!("{:x}\r\n", media.len()).as_bytes(), media, b"\r\n0\r\n\r\n"].concat();
        self.exchange(&head, &chunk).await;
    }

    fn compare(self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
        if std::env::var("KVS_EMULATOR_GOLDEN").is_ok_and(|mode| mode == "write") {
            std::fs::write(&path, &self.text).unwrap();
        }
        let recorded = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = recorded.lines().zip(self.text.lines()).find(|(recorded, now)| recorded != now);
        assert!(recorded == self.text, "{name} is answered otherwise than recorded, first here: {differs:?}");
    }
}

/// Sixteen bytes a line, in hex and as text.
fn dump(bytes: &[u8], out: &mut String) {
    for (index, line) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String =
            line.iter().map(|byte| if byte.is_ascii_graphic() { *byte as char } else { '.' }).collect();
        writeln!(out, "{:06x}  {:<47}  {text}", index * 16, hex.join(" ")).unwrap();
    }
}

/// A Cluster with one frame of eight samples.
fn small(timestamp_ms: u64) -> Vec<u8> {
    [mkv::cluster(timestamp_ms, 0), mkv::simple_block(1, 0, &[7; 16])].concat()
}

#[tokio::test(start_paused = true)]
async fn the_control_plane_answers_as_recorded() {
    let mut transcript = Transcript::new().await;
    let input = json!({ "StreamName": "s", "DataRetentionInHours": 1, "MediaType": "audio/l16", "Tags": { "team": "audio" } });
    transcript.call("/createStream", input).await;
    tokio::time::advance(std::time::Duration::from_millis(200)).await;
    let info = transcript.call("/describeStream", json!({ "StreamName": "s" })).await["StreamInfo"].clone();
    transcript.call("/listStreams", json!({ "MaxResults": 1 })).await;
    transcript.call("/getDataEndpoint", json!({ "StreamName": "s", "APIName": "PUT_MEDIA" })).await;
    transcript.call("/listTagsForStream", json!({ "StreamName": "s" })).await;
    transcript.call("/describeStreamStorageConfiguration", json!({ "StreamName": "s" })).await;
    let update = json!({ "StreamName": "s", "CurrentVersion": info["Version"], "DeviceName": "phone" });
    transcript.call("/updateStream", update).await;
    tokio::time::advance(std::time::Duration::from_millis(200)).await;
    transcript.call("/deleteStream", json!({ "StreamARN": info["StreamARN"] })).await;
    transcript.compare("control-plane");
}

#[tokio::test(start_paused = true)]
async fn refusals_are_worded_as_recorded() {
    let mut transcript = Transcript::new().await;
    transcript.create().await;
    transcript.call("/describeStream", json!({ "StreamName": "none" })).await;
    transcript.call("/createStream", json!({ "StreamName": "s" })).await;
    transcript.call("/createStream", json!({ "StreamName": "not a name" })).await;
    transcript.call("/describeStream", json!([])).await;
    transcript.call("/nonsense", json!({})).await;
    transcript.emulator.faults().add(Fault::new(FaultKind::Throttle).nth(1));
    transcript.call("/describeStream", json!({ "StreamName": "s" })).await;
    transcript
        .exchange("POST /listStreams HTTP/1.1\r\nHost: kvs.local\r\nContent-Length: 2\r\n", b"{}")
        .await;
    transcript.compare("refusals");
}

#[tokio::test(start_paused = true)]
async fn put_media_acknowledges_as_recorded() {
    let mut transcript = Transcript::new().await;
    transcript.create().await;
    let media =
        [mkv::header(), mkv::tags(&[("firstChunk", "0")]), small(T0_MS), small(T0_MS + 2000)].concat();
    transcript.put("ABSOLUTE", &media).await;
    transcript.put("RELATIVE", &[mkv::header(), small(4000)].concat()).await;
    transcript.put("ABSOLUTE", &[mkv::header(), small(EPOCH_MS + 60_000)].concat()).await;
    transcript.put("ABSOLUTE", b"RIFF, not Matroska").await;
    transcript.compare("put-media");
}

#[tokio::test(start_paused = true)]
async fn media_is_read_as_recorded() {
    let mut transcript = Transcript::new().await;
    transcript.create().await;
    let media =
        [mkv::header(), mkv::tags(&[("firstChunk", "0")]), small(T0_MS), small(T0_MS + 2000)].concat();
    transcript.put("ABSOLUTE", &media).await;
    let listed = transcript.call("/listFragments", list_all("s")).await;
    let start = json!({ "StreamName": "s", "StartSelector": { "StartSelectorType": "EARLIEST" } });
    transcript.call("/getMedia", start).await;
    let numbers = json!([listed["Fragments"][1]["FragmentNumber"], "123"]);
    transcript.call("/getMediaForFragmentList", json!({ "StreamName": "s", "Fragments": numbers })).await;
    transcript.call("/getHLSStreamingSessionURL", json!({ "StreamName": "s" })).await;
    transcript.compare("reading");
}
