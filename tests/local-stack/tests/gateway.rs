//! The WebSocket gateway with a real client and a real function.
#![allow(clippy::unwrap_used)] // a test may

mod support;

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use local_stack::gateway::{Gateway, GatewayConfig, Witness};
use local_stack::runtime_api::{Function, LogLine};
use serde_json::{Value, json};
use support::{Folder, next_line, scripted_function};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Api {
    gateway: Gateway,
    function: Function,
    lines: broadcast::Receiver<Arc<LogLine>>,
    seen: broadcast::Receiver<Arc<LogLine>>,
}

impl Api {
    async fn start(config: GatewayConfig) -> Self {
        let (function, lines) = scripted_function(&Folder::new(), Duration::from_secs(10), 4, &[]);
        let (witnessed, seen) = broadcast::channel(64);
        let gateway = Gateway::start(function.clone(), None, Witness::new(witnessed), config).await.unwrap();
        Self { gateway, function, lines, seen }
    }

    async fn connect(&self, query: &str) -> Result<Client, tungstenite::Error> {
        Ok(connect_async(format!("{}{query}", self.gateway.url())).await?.0)
    }

    async fn speaker(&self) -> Client {
        self.connect("?sessionId=caf%C3%A9-1&role=speaker").await.unwrap()
    }

    async fn stop(self) {
        self.gateway.shutdown().await;
        self.function.shutdown().await;
    }
}

async fn next_message(client: &mut Client) -> Message {
    tokio::time::timeout(Duration::from_secs(10), client.next()).await.expect("an answer").unwrap().unwrap()
}

async fn next_json(client: &mut Client) -> Value {
    serde_json::from_str(next_message(client).await.to_text().unwrap()).unwrap()
}

#[track_caller]
fn assert_closed(message: &Message, code: CloseCode) {
    assert!(
        matches!(message, Message::Close(Some(frame)) if frame.code == code),
        "{message:?} instead of {code:?}"
    );
}

#[tokio::test]
async fn a_speaker_sends_and_gets_the_routes_answers() {
    let mut api = Api::start(GatewayConfig::default()).await;
    let mut client = api.speaker().await;
    for (body, route) in [
        (r#"{"action":"audioChunk","n":1}"#, "audioChunk"),
        (r#"{"action":"endStream"}"#, "endStream"),
        ("not json at all", "$default"),
    ] {
        client.send(Message::text(body)).await.unwrap();
        let answer = next_json(&mut client).await;
        assert_eq!(answer, json!({"route": route, "session": "café-1", "body": body}));
    }
    client.close(None).await.unwrap();
    let event = next_line(&mut api.lines, |line| {
        (line.value["route"] == "$disconnect").then(|| line.value["event"].clone())
    });
    let event = event.await;
    assert_eq!(event["requestContext"]["authorizer"]["sessionId"], "café-1", "$disconnect knows the session");
    api.stop().await;
}

#[tokio::test]
async fn a_refused_connect_is_an_http_error_and_opens_nothing() {
    let api = Api::start(GatewayConfig::default()).await;
    for (query, status) in [("?sessionId=s&role=listener", 403), ("?sessionId=s", 401), ("", 401)] {
        match api.connect(query).await {
            Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), status, "{query:?}"),
            other => panic!("{query:?} gave {other:?} instead of HTTP {status}"),
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a_failing_function_gives_api_gateways_own_error_and_the_connection_lives_on() {
    let api = Api::start(GatewayConfig::default()).await;
    let mut client = api.speaker().await;
    client.send(Message::text(r#"{"action":"audioChunk","fail":true}"#)).await.unwrap();
    let error = next_json(&mut client).await;
    assert_eq!(error["message"], "Internal server error");
    assert!(error["connectionId"].is_string() && error["requestId"].is_string(), "{error}");
    client.send(Message::text("again")).await.unwrap();
    assert_eq!(next_json(&mut client).await["body"], "again");
    api.stop().await;
}

#[tokio::test]
async fn messages_over_the_limits_close_the_connection_with_1009() {
    let api = Api::start(GatewayConfig::default()).await;
    let mut client = api.speaker().await;
    client.send(Message::text("x".repeat(32 * 1024))).await.unwrap();
    assert_eq!(next_json(&mut client).await["route"], "$default", "a frame of exactly 32 KB passes");
    client.send(Message::text("x".repeat(32 * 1024 + 1))).await.unwrap();
    assert_closed(&next_message(&mut client).await, CloseCode::Size);

    for (frames, closes) in [(4, false), (5, true)] {
        let mut client = api.speaker().await;
        for n in 0..frames {
            let opcode = if n == 0 { Data::Text } else { Data::Continue };
            let frame = Frame::message(vec![b'x'; 32 * 1024], OpCode::Data(opcode), n == frames - 1);
            client.send(Message::Frame(frame)).await.unwrap();
        }
        let answer = next_message(&mut client).await;
        if closes {
            assert_closed(&answer, CloseCode::Size);
        } else {
            assert!(answer.is_text(), "128 KB in four frames pass, got {answer:?}");
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a_binary_frame_closes_the_connection_with_1003() {
    let api = Api::start(GatewayConfig::default()).await;
    let mut client = api.speaker().await;
    client.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_closed(&next_message(&mut client).await, CloseCode::Unsupported);
    api.stop().await;
}

#[tokio::test]
async fn a_silent_or_old_connection_is_closed_with_1001() {
    let short = Duration::from_millis(200);
    let silent = GatewayConfig { idle_timeout: short, ..GatewayConfig::default() };
    let old = GatewayConfig { connection_duration_max: short, ..GatewayConfig::default() };
    for config in [silent, old] {
        let api = Api::start(config).await;
        let mut client = api.speaker().await;
        assert_closed(&next_message(&mut client).await, CloseCode::Away);
        api.stop().await;
    }
}

#[tokio::test]
async fn several_messages_of_one_connection_are_handled_and_the_gateway_ends_cleanly() {
    let api = Api::start(GatewayConfig { in_flight_per_connection: 2, ..GatewayConfig::default() }).await;
    let mut client = api.speaker().await;
    for n in 0..50 {
        client.send(Message::text(json!({"action": "audioChunk", "n": n}).to_string())).await.unwrap();
    }
    let mut answered = Vec::new();
    for _ in 0..50 {
        let answer = next_json(&mut client).await;
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        answered.push(body["n"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..50).collect::<Vec<_>>(), "each message is answered once");
    let Api { gateway, function, .. } = api;
    let ended = tokio::spawn(gateway.shutdown());
    assert_closed(&next_message(&mut client).await, CloseCode::Away);
    ended.await.unwrap();
    function.shutdown().await;
}

#[tokio::test]
async fn a_cut_breaks_a_sessions_connections_without_a_word_and_lets_none_in_until_it_is_over() {
    let api = Api::start(GatewayConfig::default()).await;
    let (mut cut, mut other) = (api.speaker().await, api.connect("?sessionId=b&role=speaker").await.unwrap());
    api.gateway.cut("café-1", Duration::from_millis(300));
    let end = tokio::time::timeout(Duration::from_secs(5), cut.next()).await.expect("the connection broke");
    assert!(!matches!(end, Some(Ok(_))), "no close frame: {end:?}");
    let refused = api.connect("?sessionId=caf%C3%A9-1&role=speaker").await;
    assert!(matches!(refused, Err(tungstenite::Error::Http(response)) if response.status() == 503));
    other.send(Message::text("here")).await.unwrap();
    assert_eq!(next_json(&mut other).await["body"], "here", "another session's network is its own");
    let back = async {
        loop {
            if let Ok(client) = api.connect("?sessionId=caf%C3%A9-1&role=speaker").await {
                return client;
            }
        }
    };
    let mut back = tokio::time::timeout(Duration::from_secs(5), back).await.expect("the outage ends");
    back.send(Message::text("back")).await.unwrap();
    assert_eq!(next_json(&mut back).await["body"], "back");
    api.stop().await;
}

#[tokio::test]
async fn whoever_looks_on_sees_each_chunk_come_and_its_answer_go() {
    let mut api = Api::start(GatewayConfig::default()).await;
    let mut client = api.speaker().await;
    let chunk = json!({"action": "audioChunk", "chunkIndex": 7, "timestamp": 42, "audioData": "AAAAAAAA"});
    client.send(Message::text(chunk.to_string())).await.unwrap();
    next_json(&mut client).await;
    for event in ["connected", "chunkSent"] {
        let line = next_line(&mut api.seen, |line| Some(line.value.clone())).await;
        assert_eq!((&line["event"], &line["sessionId"]), (&json!(event), &json!("café-1")), "{line}");
        if event == "chunkSent" {
            let told = (&line["chunkIndex"], &line["capturedMs"], &line["bytes"]);
            assert_eq!(told, (&json!(7), &json!(42), &json!(6)));
            assert!(!line.to_string().contains("AAAA"), "no audio in a log line");
        }
    }
    api.stop().await;
}
