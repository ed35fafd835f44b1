//! An erased session is in no store any more: searched for by its name and by the packets of its audio. Another session stays.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use local_stack::project;
use local_stack::replay::recording::{Line, Recording};
use local_stack::replay::replay;
use local_stack::replay::speaker::Speaker;
use local_stack::resources::SessionStatus;
use local_stack::stack::{Stack, StackConfig};
use serde_json::json;
use support::{Ended, Kvsw, PATIENCE, now_ms, refuse};

const GONE: &str = "gone-fox";
const STAYS: &str = "quiet-owl";
/// Bytes of a chunk that are looked for: shorter than a packet, long enough to be no accident.
const NEEDLE: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_session_is_in_no_store_and_others_stay() {
    let stack = Stack::start(StackConfig::default()).await.unwrap();
    let kinesis_video = stack.kinesis_video_endpoint().unwrap();
    let kvsw = Kvsw::on(stack.resources(), stack.backend_endpoint().unwrap(), &kinesis_video);
    let kvsw = kvsw.set("CONNECTIONS_TABLE", Some(&stack.resources().connections_table));
    let recording = speak(&stack).await;
    let search = Search { stack: &stack, needles: needles(&recording) };
    leave_more(&stack, &recording).await;

    let before = search.stores().await;
    assert!(before.name.len() >= 5, "the search must find what there is: {before:?}");
    assert!(
        before.audio.contains(&"state table".to_owned()) && before.audio.contains(&"DLQ".to_owned()),
        "{before:?}"
    );

    let active = run(&kvsw, &["erase", GONE, "--yes"], 2).await;
    assert!(active.stderr.contains("is active; nothing was erased"), "{active:?}");
    stack.put_session(GONE, SessionStatus::Ended { at_ms: now_ms() }).await.unwrap();
    let fresh = run(&kvsw, &["erase", GONE, "--yes"], 2).await;
    assert!(fresh.stderr.contains("until then it may still be written"), "{fresh:?}");
    stack.put_session(GONE, SessionStatus::Ended { at_ms: now_ms() - 61_000 }).await.unwrap();
    let unasked = run(&kvsw, &["erase", GONE], 2).await;
    assert!(unasked.stderr.contains("erasing needs a yes"), "{unasked:?}");
    let dry = run(&kvsw, &["erase", GONE, "--dry-run", "--json"], 0).await.json();
    assert_eq!(
        (&dry["found"]["row"], &dry["found"]["stream"], &dry["erased"]),
        (&json!(true), &json!(true), &json!(null))
    );
    assert_eq!(search.stores().await, before, "neither a refusal nor a dry run changes anything");

    let erased = run(&kvsw, &["erase", GONE, "--yes"], 0).await;
    for part in [
        "its stream",
        "its row in the Sessions table",
        "from the DLQ",
        "looked for again: nothing",
        "out of reach:",
    ] {
        assert!(erased.stdout.contains(part), "{part} is not in {erased:?}");
    }
    assert_eq!(search.stores().await, Found::default(), "something of the session is left");
    let again = run(&kvsw, &["erase", GONE, "--yes"], 0).await;
    assert!(again.stdout.contains("nothing of session gone-fox was stored"), "{again:?}");
    run(&kvsw, &["session", "show", GONE], 2).await;
    run(&kvsw, &["session", "show", STAYS], 0).await;
    stack.shutdown().await;
}

async fn run(kvsw: &Kvsw, args: &[&str], code: i32) -> Ended {
    let ended = kvsw.run(args).await;
    assert_eq!(ended.code, code, "{args:?}: {ended:?}");
    ended
}

/// Two sessions with different recordings; some of the first one's audio is parked.
async fn speak(stack: &Stack) -> Arc<Recording> {
    let faults = stack.emulator().unwrap().faults();
    faults.add(refuse(GONE, 3, 2));
    let speaker = |session: &str, name: &str| {
        let recording =
            Recording::read(&project::root().join("tests/end-to-end/recordings").join(name)).unwrap();
        Speaker {
            recording: Arc::new(recording),
            session_id: session.into(),
            speed: 6.0,
            delay: Duration::ZERO,
        }
    };
    let speakers = [speaker(GONE, "chromium-speech-default"), speaker(STAYS, "firefox-speech")];
    let results = replay(stack, &speakers, PATIENCE, &()).await.unwrap();
    faults.clear();
    assert!(results[0].report.chunks_parked > 0, "{:?}", results[0].report);
    Arc::clone(&speakers[0].recording)
}

/// A message that SQS moved, which has no note, and an open connection.
async fn leave_more(stack: &Stack, recording: &Recording) {
    let Line::Message(fields) = &recording.lines[9] else { panic!("no message") };
    let mut body = fields.clone();
    body.insert("sessionId".into(), json!(GONE));
    let send = stack.sqs().send_message().queue_url(&stack.resources().dlq_url).message_group_id(GONE);
    let body = serde_json::Value::Object(body).to_string();
    send.message_deduplication_id("moved").message_body(body).send().await.unwrap();
    let text = |text: &str| AttributeValue::S(text.into());
    let put = stack.dynamodb().put_item().table_name(&stack.resources().connections_table);
    put.item("connectionId", text("c-1")).item("sessionId", text(GONE)).send().await.unwrap();
}

/// Pieces of each chunk, raw and as base64.
fn needles(recording: &Recording) -> Vec<Vec<u8>> {
    let mut needles = Vec::new();
    for line in recording.lines.iter().step_by(5) {
        let Line::Message(fields) = line else { continue };
        let text = fields["audioData"].as_str().unwrap();
        let raw = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        // The header at the beginning of a recording is no audio.
        for at in (200..raw.len().saturating_sub(NEEDLE)).step_by(200) {
            needles.push(raw[at..at + NEEDLE].to_vec());
        }
        needles.extend(text.as_bytes().get(400..400 + NEEDLE).map(<[u8]>::to_vec));
    }
    needles
}

/// Stores that hold the session's name, or its audio.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    name: Vec<String>,
    audio: Vec<String>,
}

struct Search<'a> {
    stack: &'a Stack,
    needles: Vec<Vec<u8>>,
}

impl Search<'_> {
    async fn stores(&self) -> Found {
        let resources = self.stack.resources();
        let mut found = Found::default();
        for (store, table) in [
            ("state table", &resources.state_table),
            ("sessions table", &resources.sessions_table),
            ("connections table", &resources.connections_table),
        ] {
            let mut bytes = Vec::new();
            let mut pages = self.stack.dynamodb().scan().table_name(table).into_paginator().send();
            while let Some(page) = pages.next().await {
                page.unwrap().items.unwrap().iter().flatten().for_each(|(name, value)| {
                    bytes.extend_from_slice(name.as_bytes());
                    flatten(value, &mut bytes);
                });
            }
            self.look(store, &bytes, &mut found);
        }
        for (store, url) in [("chunk queue", &resources.queue_url), ("DLQ", &resources.dlq_url)] {
            self.look(store, &self.messages(url).await, &mut found);
        }
        let streams = self.stack.emulator().unwrap().streams();
        self.look("streams", format!("{streams:?}").as_bytes(), &mut found);
        found
    }

    fn look(&self, store: &str, bytes: &[u8], found: &mut Found) {
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        if holds(GONE.as_bytes()) {
            found.name.push(store.to_owned());
        }
        if self.needles.iter().any(|needle| holds(needle)) {
            found.audio.push(store.to_owned());
        }
    }

    /// All messages that the queue shows: their bodies and what is beside them. They are visible again afterwards.
    async fn messages(&self, url: &str) -> Vec<u8> {
        let (mut bytes, mut handles) = (Vec::new(), Vec::new());
        loop {
            let receive = self.stack.sqs().receive_message().queue_url(url).max_number_of_messages(10);
            let receive = receive.wait_time_seconds(1).visibility_timeout(30).message_attribute_names("All");
            let receive = receive.message_system_attribute_names("All".into());
            let messages = receive.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                bytes.extend_from_slice(format!("{message:?}").as_bytes());
                handles.push(message.receipt_handle.unwrap());
            }
        }
        for handle in handles {
            let show = self.stack.sqs().change_message_visibility().queue_url(url).visibility_timeout(0);
            show.receipt_handle(handle).send().await.unwrap();
        }
        bytes
    }
}

fn flatten(value: &AttributeValue, bytes: &mut Vec<u8>) {
    match value {
        AttributeValue::B(blob) => bytes.extend_from_slice(blob.as_ref()),
        AttributeValue::S(text) | AttributeValue::N(text) => bytes.extend_from_slice(text.as_bytes()),
        AttributeValue::M(map) => map.iter().for_each(|(name, value)| {
            bytes.extend_from_slice(name.as_bytes());
            flatten(value, bytes);
        }),
        AttributeValue::L(list) => list.iter().for_each(|value| flatten(value, bytes)),
        other => bytes.extend_from_slice(format!("{other:?}").as_bytes()),
    }
}
