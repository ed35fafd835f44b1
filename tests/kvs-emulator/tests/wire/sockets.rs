//! Over real sockets, where a closed connection can swallow what was sent before.

use crate::support::http::{Http, events};
use crate::support::mkv;
use kvs_emulator::{Config, Emulator, Fault, FaultKind, Point};
use serde_json::json;
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

pub async fn connect_to(endpoint: &str) -> Http<TcpStream> {
    Http::new(TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).await.unwrap())
}

async fn emulator_with_stream() -> Emulator {
    let mut config = Config { create_ms: 0, persist_ms: 1, ..Config::default() };
    config.limits.rates = false;
    let emulator = kvs_emulator::start(config).await.unwrap();
    let input = json!({ "StreamName": "s", "DataRetentionInHours": 1 });
    let (head, _) = connect_to(&emulator.endpoint()).await.call("/createStream", input).await;
    assert_eq!(head.status, 200);
    emulator
}

fn past_ms(emulator: &Emulator) -> u64 {
    emulator.now_ms() - 60_000
}

#[tokio::test]
async fn a_hundred_fragments_on_one_connection_are_all_persisted() {
    let emulator = emulator_with_stream().await;
    let begin_ms = emulator.now_ms() - 300_000;
    let mut http = connect_to(&emulator.endpoint()).await;
    http.put_media("s").await;
    http.send_chunk(&mkv::header()).await;
    for i in 0..100 {
        http.send_chunk(&mkv::cluster(begin_ms + i * 2000, 20)).await;
    }
    http.end_body().await;
    let (acks, proper) = http.acks().await;
    let count = |event| events(&acks).into_iter().filter(|found| *found == event).count();
    assert_eq!((count("BUFFERING"), count("RECEIVED"), count("PERSISTED"), proper), (100, 100, 100, true));
    let stored = emulator.fragments("s");
    let whole = |(i, fragment): (u64, &kvs_emulator::StoredFragment)| {
        fragment.payload(1) == mkv::pcm(begin_ms + i * 2000, 20)
    };
    assert!((0u64..).zip(&stored).all(whole) && stored.len() == 100);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_refusal_reaches_a_producer_that_is_still_sending() {
    let emulator = emulator_with_stream().await;
    let mut http = connect_to(&emulator.endpoint()).await;
    http.put_media("s").await;
    http.send_chunk(b"this is no Matroska at all").await;
    for _ in 0..200 {
        http.send_chunk(&[0; 10_000]).await;
    }
    http.end_body().await;
    let (acks, proper) = http.acks().await;
    assert_eq!((events(&acks), proper), (vec!["ERROR"], true));
    assert_eq!(acks[0]["ErrorCode"], "INVALID_MKV_DATA");
    let refusal = &emulator.stats().refusals[0];
    assert!(refusal.why.contains("byte 0"), "the reason can be looked up: {refusal:?}");
    let mut http = connect_to(&emulator.endpoint()).await;
    let head = http.put_media("none").await;
    assert_eq!(head.status, 404);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_cut_connection_is_really_closed() {
    let emulator = emulator_with_stream().await;
    emulator.faults().add(Fault::new(FaultKind::Cut { at: Point::Persisted, stored: true }).nth(1));
    let mut http = connect_to(&emulator.endpoint()).await;
    http.put_media("s").await;
    http.send_chunk(&[mkv::header(), mkv::cluster(past_ms(&emulator), 20)].concat()).await;
    http.end_body().await;
    let (acks, proper) = http.acks().await;
    assert_eq!((events(&acks), proper), (vec!["BUFFERING", "RECEIVED"], false));
    assert_eq!(emulator.fragments("s").len(), 1);
    emulator.shutdown().await;
}

#[tokio::test]
async fn nothing_listens_after_shutdown() {
    let emulator = emulator_with_stream().await;
    let endpoint = emulator.endpoint();
    let mut http = connect_to(&endpoint).await;
    http.put_media("s").await;
    emulator.shutdown().await;
    assert!(TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).await.is_err());
    assert_eq!(http.acks().await, (vec![], false), "open connections are closed");
}

/// Ends the program even if the test fails.
pub struct Program(pub Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program, and gives its endpoint.
pub async fn program(arguments: &[&str]) -> (Program, String) {
    let path = env!("CARGO_BIN_EXE_kvs-emulator");
    let child = Command::new(path).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut program = Program(child);
    let stdout = tokio::process::ChildStdout::from_std(program.0.stdout.take().unwrap()).unwrap();
    let endpoint = BufReader::new(stdout).lines().next_line().await.unwrap().unwrap();
    (program, endpoint)
}

#[tokio::test]
async fn the_program_prints_its_endpoint_serves_and_ends_cleanly() {
    let (mut program, endpoint) = program(&["--create-ms", "0"]).await;
    let (head, _) = connect_to(&endpoint).await.call("/createStream", json!({ "StreamName": "s" })).await;
    assert_eq!(head.status, 200);
    let (status, streams) = connect_to(&endpoint).await.plain("GET", "/emulator/streams").await;
    assert_eq!((status, &streams[0]["status"]), (200, &json!("ACTIVE")));
    let id = program.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(program.0.wait().unwrap().code(), Some(0));
}

#[test]
fn the_program_teaches_its_use_and_names_what_is_wrong() {
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_kvs-emulator")).args(arguments).output().unwrap()
    };
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for taught in [
        "AWS_ENDPOINT_URL_KINESIS_VIDEO",
        "/emulator/faults",
        "errorAck",
        "--strict-elements",
        "--future-tolerance-ms",
        "--document-per-connection",
        "--data-dir",
        "--quota",
    ] {
        assert!(help.contains(taught), "--help does not tell about {taught}");
    }
    for (arguments, named) in [
        (vec!["--account", "12"], "twelve digits"),
        (vec!["--access-key", "AK"], "--secret-key"),
        (vec!["--faults", "/nonexistent"], "/nonexistent cannot be read"),
        (vec!["--quota", "getMedia=1"], "getMediaConnections"),
        (vec!["--quota", "getMediaConnections=many"], "neither a number nor off"),
        (vec!["--data-dir", "/proc/nonexistent"], "/proc/nonexistent"),
        (vec!["--no-auth", "--access-key", "AK", "--secret-key", "s"], "--access-key"),
    ] {
        let output = run(&arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(named), "{arguments:?}: {text}");
    }
}

#[tokio::test]
async fn a_file_of_faults_is_armed_from_the_start() {
    let file = std::env::temp_dir().join(format!("kvs-emulator-faults-{}.json", std::process::id()));
    std::fs::write(&file, r#"[{ "operation": "CreateStream", "kind": { "type": "throttle" } }]"#).unwrap();
    let (_program, endpoint) = program(&["--faults", file.to_str().unwrap()]).await;
    let (head, _) = connect_to(&endpoint).await.call("/createStream", json!({ "StreamName": "s" })).await;
    std::fs::remove_file(file).unwrap();
    assert_eq!(head.error_type(), Some("ClientLimitExceededException"));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_one_to_end() {
    let mut config = Config::default();
    config.set_quota("connectionsMax", Some(2)).unwrap();
    let emulator = kvs_emulator::start(config).await.unwrap();
    let mut first = connect_to(&emulator.endpoint()).await;
    let mut second = connect_to(&emulator.endpoint()).await;
    assert_eq!(first.plain("GET", "/emulator/stats").await.0, 200);
    assert_eq!(second.plain("GET", "/emulator/stats").await.0, 200);
    let mut third = connect_to(&emulator.endpoint()).await;
    let waiting = third.plain("GET", "/emulator/stats");
    tokio::pin!(waiting);
    let early = tokio::time::timeout(std::time::Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err(), "two are open already");
    drop(first);
    assert_eq!(waiting.await.0, 200);
    emulator.shutdown().await;
}
