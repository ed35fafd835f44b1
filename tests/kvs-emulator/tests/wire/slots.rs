//! A stream takes one producer and three readers at once, so a client that goes must give its connection back: whatever
//! the emulator waits for at that moment, and whether the client closes, resets, or closes only its own side. Over real
//! sockets, on a clock that stands still: what is held back stays so, and `cut_release_ms` is exact.

mod readers;

use crate::sockets::connect_to;
use crate::support::http::{Http, SIGNED, events};
use crate::support::{EPOCH_MS, T0_MS, mkv};
use kvs_emulator::{Clock, Config, Emulator, Fault, FaultKind};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const CUT_RELEASE_MS: u64 = 700;
const LONG_MS: u64 = 60_000;

/// How a client goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Closed,
    Reset,
    HalfClosed,
}

impl End {
    /// Ends the connection; gives it back if there is still something to read.
    async fn of(self, mut http: Http<TcpStream>) -> Option<Http<TcpStream>> {
        match self {
            End::Closed => None,
            End::Reset => {
                http.io.set_zero_linger().unwrap();
                None
            }
            End::HalfClosed => {
                http.io.shutdown().await.unwrap();
                Some(http)
            }
        }
    }
}

/// How far the client has come with its body.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    InAFragment,
    AfterAFragment,
    AfterTheBody,
}

/// What the emulator is doing for the client.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Situation {
    /// It never answers.
    Silent,
    /// It holds all acks back.
    HeldAcks,
    /// PERSISTED takes its time.
    SlowPersist,
    /// It has refused the body, of which more comes.
    RefusedBody,
    /// It reads the body slowly, and much of it is not read yet.
    PausedBody,
    /// The client has sent a part of its next request already.
    PipelinedBytes,
    /// A fragment was refused while the one before it is being persisted.
    PendingAfterError,
}

async fn emulator() -> Emulator {
    let clock = Clock::Manual { epoch_ms: EPOCH_MS };
    let mut config = Config { clock, create_ms: 0, cut_release_ms: CUT_RELEASE_MS, ..Config::default() };
    config.limits.rates = false;
    // A frame of PCM that fills every buffer lasts minutes.
    config.rules.duration_ms_max = u64::MAX;
    config.get_media_linger_ms = u64::MAX;
    let emulator = kvs_emulator::start(config).await.unwrap();
    let input = json!({ "StreamName": "s", "DataRetentionInHours": 1 });
    assert_eq!(connect_to(&emulator.endpoint()).await.call("/createStream", input).await.0.status, 200);
    emulator
}

/// Asks until the answer is as wanted; the machine may be busy, but not for this long.
async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !ask().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::task::yield_now().await;
    }
}

async fn is_put(emulator: &Emulator) -> bool {
    let (_, streams) = connect_to(&emulator.endpoint()).await.plain("GET", "/emulator/streams").await;
    streams[0]["putting"].as_bool().unwrap()
}

impl Situation {
    fn fault(self) -> Option<FaultKind> {
        match self {
            Situation::Silent => Some(FaultKind::NoAcks { stored: true }),
            Situation::HeldAcks => Some(FaultKind::HoldAcks { ms: LONG_MS }),
            Situation::PausedBody => Some(FaultKind::Slow { bytes_per_second: 1 }),
            Situation::RefusedBody => None,
            _ => Some(FaultKind::SlowPersist { ms: LONG_MS }),
        }
    }

    /// The stream is free when the ERROR is there, not only when the client has gone.
    fn ends_with_error(self) -> bool {
        matches!(self, Situation::RefusedBody | Situation::PendingAfterError)
    }

    /// What the client sends as its body.
    fn media(self, moment: Moment) -> Vec<u8> {
        let mut media = [mkv::header(), mkv::sized_cluster(T0_MS, 20)].concat();
        let next = mkv::cluster(T0_MS + 2000, 20);
        let undeclared = mkv::simple_block(7, 0, &[0; 32]);
        match (self, moment) {
            (Situation::RefusedBody, Moment::InAFragment) => {
                media.extend([next, undeclared, vec![0; 100_000]].concat());
            }
            (Situation::RefusedBody, _) => media.extend([b"no Matroska".to_vec(), vec![0; 100_000]].concat()),
            (Situation::PendingAfterError, Moment::InAFragment) => media.extend([next, undeclared].concat()),
            (Situation::PendingAfterError, _) => media.extend(mkv::cluster(T0_MS, 20)),
            (Situation::PausedBody, _) => {
                (1..4).for_each(|i| media.extend(mkv::cluster(T0_MS + i * 2000, 20)))
            }
            (Situation::PipelinedBytes, _) => {}
            (_, Moment::InAFragment) => media.extend(&next[..next.len() - 100]),
            _ => {}
        }
        if (self, moment) == (Situation::PausedBody, Moment::InAFragment) {
            media.truncate(media.len() - 100);
        }
        media
    }

    /// Sends the body, and what may stand behind it.
    async fn send(self, http: &mut Http<TcpStream>, moment: Moment) {
        let media = self.media(moment);
        let pipelined = self == Situation::PipelinedBytes;
        let (first, rest) = media.split_at(media.len() / 2);
        http.send_chunk(first).await;
        http.send_chunk(rest).await;
        if moment == Moment::AfterTheBody || pipelined {
            http.end_body().await;
        }
        if pipelined {
            let put = "POST /putMedia HTTP/1.1\r\nHost: k\r\nx-amzn-stream-name: s\r\n\r\n";
            let list =
                format!("POST /listStreams HTTP/1.1\r\nHost: k\r\n{SIGNED}Content-Length: 2\r\n\r\n{{}}");
            let next = match moment {
                Moment::InAFragment => &put[..10],
                Moment::AfterAFragment => put,
                Moment::AfterTheBody => &list,
            };
            http.send(next.as_bytes()).await;
        }
    }

    /// Waits until the emulator is where the client is to leave it.
    async fn reached(self, http: &mut Http<TcpStream>, emulator: &Emulator) {
        let first = match self {
            Situation::Silent => {
                let bytes = || emulator.requests().iter().map(|request| request.media_bytes).sum::<u64>();
                return eventually("the body is never read", async || bytes() > 64_000).await;
            }
            Situation::HeldAcks | Situation::PausedBody => return,
            _ if self.ends_with_error() => "ERROR",
            _ => "RECEIVED",
        };
        while http.ack().await["EventType"] != first {}
    }
}

/// What a client that has closed its own side only still hears.
async fn rest_of_the_answer(situation: Situation, moment: Moment, mut http: Http<TcpStream>) {
    let (acks, proper) = http.acks().await;
    let whole_body = moment == Moment::AfterTheBody || situation == Situation::PipelinedBytes;
    let expected = whole_body && situation != Situation::Silent || situation.ends_with_error();
    assert_eq!(proper, expected, "{acks:?}");
    let persisted = events(&acks).iter().filter(|event| **event == "PERSISTED").count();
    let fragments = match (situation, moment) {
        (Situation::Silent, _) => 0,
        (Situation::PausedBody, Moment::AfterTheBody) => 4,
        // The last fragment's end is not known.
        (Situation::PausedBody, _) => 3,
        _ => 1,
    };
    assert_eq!(persisted, fragments, "what was whole is acknowledged: {acks:?}");
}

async fn gives_the_stream_back(situation: Situation, moment: Moment, end: End) {
    let emulator = emulator().await;
    if let Some(kind) = situation.fault() {
        emulator.faults().add(Fault::new(kind).nth(1));
    }
    let mut http = connect_to(&emulator.endpoint()).await;
    assert_eq!(http.put_media("s").await.status, 200);
    situation.send(&mut http, moment).await;
    situation.reached(&mut http, &emulator).await;
    if !situation.ends_with_error() {
        assert!(is_put(&emulator).await, "the client is still there");
    }
    let left = end.of(http).await;
    eventually("the stream's connection is never given back", async || !is_put(&emulator).await).await;
    if !situation.ends_with_error() {
        let refusal = connect_to(&emulator.endpoint()).await.put_media("s").await;
        assert_eq!(refusal.error_type(), Some("ConnectionLimitExceededException"));
        emulator.advance(CUT_RELEASE_MS);
    }
    let mut next = connect_to(&emulator.endpoint()).await;
    assert_eq!(next.put_media("s").await.status, 200, "the stream is not free");
    if let Some(http) = left {
        emulator.advance(2 * LONG_MS);
        rest_of_the_answer(situation, moment, http).await;
    }
    emulator.shutdown().await;
}

/// Nine tests for each situation.
macro_rules! each_end_at_each_moment {
    ($($name:ident: $situation:ident,)*) => { $(
        mod $name {
            use super::{End::*, Moment::*, Situation, gives_the_stream_back};

            const SITUATION: Situation = Situation::$situation;

            #[tokio::test]
            async fn closed_in_a_fragment() {
                gives_the_stream_back(SITUATION, InAFragment, Closed).await;
            }
            #[tokio::test]
            async fn closed_after_a_fragment() {
                gives_the_stream_back(SITUATION, AfterAFragment, Closed).await;
            }
            #[tokio::test]
            async fn closed_after_the_body() {
                gives_the_stream_back(SITUATION, AfterTheBody, Closed).await;
            }
            #[tokio::test]
            async fn reset_in_a_fragment() {
                gives_the_stream_back(SITUATION, InAFragment, Reset).await;
            }
            #[tokio::test]
            async fn reset_after_a_fragment() {
                gives_the_stream_back(SITUATION, AfterAFragment, Reset).await;
            }
            #[tokio::test]
            async fn reset_after_the_body() {
                gives_the_stream_back(SITUATION, AfterTheBody, Reset).await;
            }
            #[tokio::test]
            async fn half_closed_in_a_fragment() {
                gives_the_stream_back(SITUATION, InAFragment, HalfClosed).await;
            }
            #[tokio::test]
            async fn half_closed_after_a_fragment() {
                gives_the_stream_back(SITUATION, AfterAFragment, HalfClosed).await;
            }
            #[tokio::test]
            async fn half_closed_after_the_body() {
                gives_the_stream_back(SITUATION, AfterTheBody, HalfClosed).await;
            }
        }
    )* };
}

each_end_at_each_moment! {
    silent: Silent,
    held_acks: HeldAcks,
    slow_persist: SlowPersist,
    refused_body: RefusedBody,
    paused_body: PausedBody,
    pipelined_bytes: PipelinedBytes,
    pending_after_error: PendingAfterError,
}

#[tokio::test]
async fn a_reset_in_the_body_is_a_client_that_has_gone_and_no_read_error() {
    let emulator = emulator().await;
    let mut http = connect_to(&emulator.endpoint()).await;
    http.put_media("s").await;
    http.send_chunk(&[mkv::header(), mkv::cluster(T0_MS, 20)].concat()).await;
    assert_eq!(http.ack().await["EventType"], "BUFFERING");
    End::Reset.of(http).await;
    eventually("the stream is never free", async || !is_put(&emulator).await).await;
    assert_eq!(emulator.stats().error_acks, Default::default(), "4000 is for a body that is no HTTP");
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_request_of_a_client_that_closes_its_side_at_once_is_answered() {
    let emulator = emulator().await;
    let mut http = connect_to(&emulator.endpoint()).await;
    let request = format!("POST /listStreams HTTP/1.1\r\nHost: k\r\n{SIGNED}Content-Length: 2\r\n\r\n{{}}");
    http.send(request.as_bytes()).await;
    http.io.shutdown().await.unwrap();
    assert_eq!(http.head().await.unwrap().status, 200);
    let mut http = connect_to(&emulator.endpoint()).await;
    assert_eq!(http.put_media("s").await.status, 200);
    http.send_chunk(&[mkv::header(), mkv::sized_cluster(T0_MS, 20)].concat()).await;
    http.end_body().await;
    http.io.shutdown().await.unwrap();
    let mut last = Value::Null;
    while last["EventType"] != "RECEIVED" {
        last = http.ack().await;
    }
    emulator.advance(80);
    assert_eq!((events(&http.acks().await.0), emulator.fragments("s").len()), (vec!["PERSISTED"], 1));
    emulator.shutdown().await;
}
