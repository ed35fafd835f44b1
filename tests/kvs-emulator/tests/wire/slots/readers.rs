//! Three readers of a stream, and a fourth that gets the place of one that goes.

use super::{End, LONG_MS, emulator, eventually};
use crate::sockets::connect_to;
use crate::support::http::{Http, SIGNED, events};
use crate::support::{T0_MS, mkv};
use kvs_emulator::{Emulator, Fault, FaultKind, Operation};
use serde_json::json;
use tokio::net::TcpStream;

/// What a reader's connection waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reading {
    /// A fragment that does not come.
    AtTheTip,
    /// A line that is slow.
    Paced,
    /// A client that does not read.
    Unread,
    /// As at the tip, and a part of the next request has come.
    Pipelined,
}

async fn open(emulator: &Emulator, more: &str) -> Http<TcpStream> {
    let input =
        json!({ "StreamName": "s", "StartSelector": { "StartSelectorType": "EARLIEST" } }).to_string();
    let length = input.len();
    let request = format!(
        "POST /getMedia HTTP/1.1\r\nHost: k\r\n{SIGNED}Content-Length: {length}\r\n\r\n{input}{more}"
    );
    let mut http = connect_to(&emulator.endpoint()).await;
    http.send(request.as_bytes()).await;
    http
}

/// Puts enough that no socket takes all of it, as one fragment of large frames, or one that is small.
async fn fill(emulator: &Emulator, reading: Reading) {
    let large = [mkv::timestamp(T0_MS), mkv::simple_block(1, 0, &vec![7; 40_000_000])];
    let cluster = if reading == Reading::Unread { mkv::cluster_of(&large) } else { mkv::cluster(T0_MS, 20) };
    let mut http = connect_to(&emulator.endpoint()).await;
    assert_eq!(http.put_media("s").await.status, 200);
    http.send_chunk(&[mkv::header(), cluster].concat()).await;
    http.end_body().await;
    while http.ack().await["EventType"] != "RECEIVED" {}
    emulator.advance(80);
    assert_eq!(events(&http.acks().await.0), ["PERSISTED"]);
}

async fn gives_its_place_to_the_next_reader(reading: Reading, end: End) {
    let emulator = emulator().await;
    fill(&emulator, reading).await;
    if reading == Reading::Paced {
        let slow = FaultKind::Slow { bytes_per_second: 1000 };
        emulator.faults().add(Fault::new(slow).operation(Operation::GetMedia));
    }
    let more = if reading == Reading::Pipelined { "POST /getMe" } else { "" };
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut http = open(&emulator, more).await;
        assert_eq!(http.head().await.unwrap().status, 200);
        if matches!(reading, Reading::AtTheTip | Reading::Pipelined) {
            http.chunk().await.unwrap().unwrap();
        }
        readers.push(http);
    }
    let refusal = open(&emulator, "").await.head().await.unwrap();
    assert_eq!(refusal.error_type(), Some("ConnectionLimitExceededException"));
    let left = end.of(readers.pop().unwrap()).await;
    let next = async || open(&emulator, "").await.head().await.unwrap().status == 200;
    eventually("the reader's place is never free", next).await;
    if let Some(mut http) = left {
        emulator.advance(100 * LONG_MS);
        let (chunks, proper) = http.chunks().await;
        let at_the_tip = matches!(reading, Reading::AtTheTip | Reading::Pipelined);
        assert_eq!((chunks.is_empty(), proper), (at_the_tip, true), "all there was, and a proper end");
    }
    emulator.shutdown().await;
}

/// Three tests for each thing a reader may wait for.
macro_rules! each_end_of_a_reader {
    ($($name:ident: $reading:ident,)*) => { $(
        mod $name {
            use super::{super::End::*, Reading, gives_its_place_to_the_next_reader};

            #[tokio::test]
            async fn a_closed_reader() {
                gives_its_place_to_the_next_reader(Reading::$reading, Closed).await;
            }
            #[tokio::test]
            async fn a_reset_reader() {
                gives_its_place_to_the_next_reader(Reading::$reading, Reset).await;
            }
            #[tokio::test]
            async fn a_half_closed_reader() {
                gives_its_place_to_the_next_reader(Reading::$reading, HalfClosed).await;
            }
        }
    )* };
}

each_end_of_a_reader! {
    at_the_tip: AtTheTip,
    paced: Paced,
    unread: Unread,
    pipelined: Pipelined,
}
