//! Clients that mean harm: they get a typed answer, the memory stays bounded, and others do not notice.

use crate::sockets::{Program, connect_to, program};
use crate::support::http::{Http, events};
use crate::support::mkv;
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// The most memory the program ever had, in MiB.
fn peak_mib(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

async fn create(endpoint: &str, names: impl Iterator<Item = String>) {
    let mut http = connect_to(endpoint).await;
    for name in names {
        let (head, _) =
            http.call("/createStream", json!({ "StreamName": name, "DataRetentionInHours": 1 })).await;
        assert_eq!(head.status, 200);
    }
}

fn past_ms() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64 - 60_000
}

async fn honest(endpoint: &str, at_ms: u64) {
    let mut http = connect_to(endpoint).await;
    assert_eq!(http.put_media("honest").await.status, 200);
    http.send_chunk(&[mkv::header(), mkv::cluster(at_ms, 20)].concat()).await;
    http.end_body().await;
    let acks = tokio::time::timeout(Duration::from_secs(5), http.acks()).await.expect("others are held up");
    assert_eq!(events(&acks.0), ["BUFFERING", "RECEIVED", "PERSISTED"]);
}

/// A cluster whose one block says that it has 50 million bytes, and the first `sent` of them.
fn gigantic(at_ms: u64, sent: usize) -> Vec<u8> {
    let mut media = [mkv::header(), mkv::cluster(at_ms, 1)].concat();
    media.extend([0xA3, 0x12, 0xFA, 0xF0, 0x80, 0x81, 0, 100, 0x80]);
    media.resize(media.len() + sent, 1);
    media
}

#[tokio::test]
async fn a_thousand_connections_that_never_finish_harm_nobody() {
    let arguments =
        ["--create-ms", "0", "--persist-ms", "0", "--no-rates", "--quota", "openBytesMax=33554432"];
    let (program, endpoint) = program(&arguments).await;
    let begin_ms = past_ms();
    create(&endpoint, (0..1000).map(|i| format!("s{i}")).chain(["honest".to_owned()])).await;
    honest(&endpoint, begin_ms).await;
    let before_mib = peak_mib(&program);
    let mut open: Vec<Http<TcpStream>> = Vec::new();
    for i in 0..1000 {
        let mut http = connect_to(&endpoint).await;
        assert_eq!(http.put_media(&format!("s{i}")).await.status, 200, "connection {i}");
        http.send_chunk(&gigantic(begin_ms, 10_000)).await;
        open.push(http);
    }
    honest(&endpoint, begin_ms + 2000).await;
    let used_mib = peak_mib(&program) - before_mib;
    assert!(used_mib < 150, "{used_mib} MiB for a thousand connections with 10 kB each");
    // Twenty of them go on, to 8 MB each; 32 MiB are there for all.
    for http in open.iter_mut().take(20) {
        let piece = [format!("{:x}\r\n", 1 << 20).as_bytes(), &vec![1; 1 << 20], b"\r\n"].concat();
        for _ in 0..8 {
            if http.io.write_all(&piece).await.is_err() {
                break;
            }
        }
    }
    let mut refused = 0;
    for _ in 0..300 {
        let (_, stats) = connect_to(&endpoint).await.plain("GET", "/emulator/stats").await;
        refused = stats["errorAcks"]["INTERNAL_ERROR"].as_u64().unwrap_or(0);
        if refused >= 10 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!((10..20).contains(&refused), "{refused} of 20 greedy connections were told INTERNAL_ERROR");
    honest(&endpoint, begin_ms + 4000).await;
    let used_mib = peak_mib(&program) - before_mib;
    assert!(used_mib < 300, "{used_mib} MiB, though only 32 MiB of open fragments are allowed");
}

#[tokio::test]
async fn bad_signatures_by_the_hundred_are_refused_and_the_good_one_is_not() {
    let arguments = ["--access-key", "AK", "--secret-key", "secret"];
    let (_program, endpoint) = program(&arguments).await;
    for i in 0..300 {
        let mut http = connect_to(&endpoint).await;
        let head =
            if i % 2 == 0 { http.put_media("s").await } else { http.call("/listStreams", json!({})).await.0 };
        assert_eq!(head.status, 403, "request {i}");
        assert!(
            ["InvalidSignatureException", "UnrecognizedClientException"]
                .contains(&head.error_type().unwrap())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_or_never_comes_is_left_behind() {
    let emulator = crate::support::emulator().await;
    crate::support::create(&emulator, "s", 1).await;
    let mut slow = crate::support::connect(&emulator);
    slow.send(b"POST /describeStream HTTP/1.1\r\nHost: k\r\nContent-Length: 100\r\n\r\n{").await;
    let head = slow.head().await.unwrap();
    assert_eq!((head.status, head.error_type()), (408, Some("RequestTimeoutException")));
    let mut headless = crate::support::connect(&emulator);
    headless.send(b"POST /putMe").await;
    assert!(headless.head().await.is_none(), "a head that never ends loses its connection");
    let mut trickle = crate::support::connect(&emulator);
    trickle.put_media("s").await;
    for byte in &mkv::header()[..60] {
        trickle.send_chunk(&[*byte]).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    let begun_ms = emulator.now_ms();
    let (_, proper) = trickle.acks().await;
    assert!(proper && emulator.now_ms() - begun_ms <= 30_000, "once nothing comes, the call ends");
}

#[tokio::test(start_paused = true)]
async fn json_without_measure_is_refused() {
    let emulator = crate::support::emulator().await;
    let long = json!({ "StreamName": "x".repeat(300_000) });
    let answer = crate::support::refused(&emulator, "/describeStream", long).await;
    assert_eq!((answer.0, answer.1.as_str()), (400, "InvalidArgumentException"));
    let deep = "[".repeat(100_000);
    let mut http = crate::support::connect(&emulator);
    let signed = crate::support::http::SIGNED;
    let request = format!(
        "POST /listStreams HTTP/1.1\r\nHost: k\r\n{signed}Content-Length: {}\r\n\r\n{deep}",
        deep.len()
    );
    http.send(request.as_bytes()).await;
    assert_eq!(http.head().await.unwrap().error_type(), Some("SerializationException"));
    let mut http = crate::support::connect(&emulator);
    let head = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let taken = http.io.write_all(head.as_bytes()).await;
    assert!(taken.is_err() || http.head().await.is_none_or(|head| head.status >= 400));
}
