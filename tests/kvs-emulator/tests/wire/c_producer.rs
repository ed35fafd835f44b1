//! AWS's C producer, as it behaves on the wire (release 1.6.4; the library itself was run by hand, see the README): RELATIVE
//! timecodes that go on over a reconnect while the start header is the present time, without zero padding; Segment and
//! Clusters of unknown size; each tag in its own Tags element; a body that stays open for the last PERSISTED; a new
//! connection as soon as the old one has failed.

use crate::support::http::Http;
use crate::support::{connect, mkv, virtual_config};
use kvs_emulator::{Emulator, Fault, FaultKind, Point};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::DuplexStream;

const FRAGMENT_MS: u64 = 2000;

/// What becomes of a fragment.
#[derive(Debug, PartialEq)]
enum Fate {
    Persisted,
    /// By this ErrorId.
    Refused(u64),
    /// The connection broke.
    Lost,
}

struct Producer<'a> {
    emulator: &'a Emulator,
    http: Option<Http<DuplexStream>>,
    /// Fragments so far: the timecode goes on over connections.
    sent: u64,
}

impl<'a> Producer<'a> {
    fn new(emulator: &'a Emulator) -> Self {
        Self { emulator, http: None, sent: 0 }
    }

    /// A connection whose start is now: seconds, a point, and milliseconds as a plain number.
    async fn open(&mut self) -> u16 {
        let now_ms = self.emulator.now_ms();
        let start = format!("{}.{}", now_ms / 1000, now_ms % 1000);
        let more = "user-agent: AWS-PRODUCER-SDK-KVS/1.6.4\r\nconnection: keep-alive\r\n\
                    x-amzn-fragment-acknowledgment-required: 1\r\nExpect: 100-continue\r\n";
        let mut http = connect(self.emulator);
        let mut head = http.put_media_with("s", "RELATIVE", &start, more).await;
        if head.status == 100 {
            head = http.head().await.unwrap();
            http.send_chunk(&mkv::header()).await;
            self.http = Some(http);
        }
        head.status
    }

    /// The next fragment, with its end told at once; `skip` goes on to the one after it whatever becomes of it.
    async fn fragment(&mut self, skip: bool) -> Fate {
        let at_ms = self.sent * FRAGMENT_MS;
        let media =
            [mkv::cluster(at_ms, 20), mkv::tags(&[("AWS_KINESISVIDEO_END_OF_FRAGMENT", "")])].concat();
        let fate = self.put(at_ms, &media).await;
        if skip || fate == Fate::Persisted {
            self.sent += 1;
        }
        if fate != Fate::Persisted {
            self.http = None;
        }
        fate
    }

    async fn put(&mut self, at_ms: u64, media: &[u8]) -> Fate {
        let Some(http) = &mut self.http else { return Fate::Lost };
        http.send_chunk(media).await;
        loop {
            let Ok(Some(chunk)) = http.chunk().await else { return Fate::Lost };
            let ack: Value = serde_json::from_slice(&chunk).unwrap();
            match ack["EventType"].as_str().unwrap() {
                "PERSISTED" if ack["FragmentTimecode"] == at_ms => return Fate::Persisted,
                "ERROR" => return Fate::Refused(ack["ErrorId"].as_u64().unwrap()),
                _ => {}
            }
        }
    }

    /// Ends the body, which was open until now.
    async fn stop(mut self) {
        let mut http = self.http.take().unwrap();
        http.end_body().await;
        assert_eq!(http.acks().await, (vec![], true));
    }
}

async fn created(create_ms: u64) -> Emulator {
    let mut config = virtual_config();
    config.create_ms = create_ms;
    let emulator = kvs_emulator::start(config).await.unwrap();
    let input = json!({ "StreamName": "s", "DataRetentionInHours": 2 });
    crate::support::call(&emulator, "/createStream", input).await;
    emulator
}

#[tokio::test(start_paused = true)]
async fn no_start_of_the_second_is_in_the_future() {
    for start in 0..14 {
        let emulator = created(0).await;
        // Among them 5 ms, which the producer writes as .5, and 77 ms: .77.
        tokio::time::advance(Duration::from_millis(start * 72 + 5)).await;
        let mut producer = Producer::new(&emulator);
        assert_eq!(producer.open().await, 200);
        for fragment in 0..3 {
            assert_eq!(producer.fragment(false).await, Fate::Persisted, "start {start}, fragment {fragment}");
            tokio::time::advance(Duration::from_millis(FRAGMENT_MS)).await;
        }
        producer.stop().await;
        assert_eq!(emulator.fragments("s").len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_whose_timecodes_go_on_is_not_refused_for_being_seconds_ahead() {
    let emulator = created(0).await;
    let mut producer = Producer::new(&emulator);
    for connection in 0..6 {
        assert_eq!(producer.open().await, 200);
        for _ in 0..2 {
            assert_eq!(producer.fragment(false).await, Fate::Persisted, "connection {connection}");
            tokio::time::advance(Duration::from_millis(FRAGMENT_MS)).await;
        }
        producer.http = None;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let last = emulator.fragments("s").pop().unwrap();
    assert!(last.producer_timestamp_ms > last.server_timestamp_ms + 19_000, "that is how far it is ahead");
}

#[tokio::test(start_paused = true)]
async fn every_error_and_every_cut_leaves_the_stream_free_for_the_next_connection() {
    let errors = (4000..=4012).chain([4500, 5000, 5001]).map(|id| (Some(id), Fate::Refused(id.into())));
    for (id, fate) in errors.chain([(None, Fate::Lost)]) {
        for at in [Point::Buffering, Point::Received, Point::Persisted] {
            let emulator = created(0).await;
            let kind = match id {
                Some(id) => FaultKind::ErrorAck { id, code: None, at, bare: id % 2 == 0, stored: false },
                None => FaultKind::Cut { at, stored: true },
            };
            emulator.faults().add(Fault::new(kind).nth(2));
            let mut producer = Producer::new(&emulator);
            assert_eq!(producer.open().await, 200);
            assert_eq!(producer.fragment(false).await, Fate::Persisted);
            // Skipped if it cannot be sent again, else sent again: here by turns.
            assert_eq!(producer.fragment(id.is_some_and(|id| id < 4500)).await, fate, "{id:?} at {at:?}");
            assert_eq!(producer.open().await, 200, "the stream is not free after {id:?} at {at:?}");
            assert_eq!(producer.fragment(false).await, Fate::Persisted);
            producer.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_acks_are_held_or_never_come_is_left_for_another() {
    for kind in [FaultKind::HoldAcks { ms: 60_000 }, FaultKind::NoAcks { stored: true }] {
        let emulator = created(0).await;
        emulator.faults().add(Fault::new(kind.clone()).nth(1));
        let mut producer = Producer::new(&emulator);
        assert_eq!(producer.open().await, 200);
        let stale = tokio::time::timeout(Duration::from_secs(20), producer.fragment(false)).await;
        assert!(stale.is_err(), "{kind:?}: nothing comes");
        producer.http = None;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(producer.open().await, 200, "{kind:?}: the stream is not free");
        assert_eq!(producer.fragment(false).await, Fate::Persisted);
        producer.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_puts_at_once_after_creating_gets_in_when_the_stream_is_active() {
    for create_ms in [0, 200, 1000, 3000] {
        let emulator = created(create_ms).await;
        let mut producer = Producer::new(&emulator);
        let begun_ms = emulator.now_ms();
        loop {
            match producer.open().await {
                200 => match producer.fragment(false).await {
                    Fate::Persisted => break,
                    refused => assert_eq!(refused, Fate::Refused(4008), "CREATING for {create_ms} ms"),
                },
                status => assert_eq!(status, 400, "five calls a second"),
            }
            tokio::time::advance(Duration::from_millis(12)).await;
        }
        let took_ms = emulator.now_ms() - begun_ms;
        assert!(took_ms <= create_ms + 1200, "CREATING for {create_ms} ms: it got in after {took_ms} ms");
        producer.stop().await;
    }
}
