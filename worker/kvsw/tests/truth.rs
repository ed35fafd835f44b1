//! What kvsw says of sessions is what becomes of them, in the real processes: ends that are corrected, sessions that are added,
//! messages that SQS moved, and a Kinesis Video that does not answer.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Instant;

use kvs_emulator::{Fault, FaultKind};
use local_stack::project;
use local_stack::replay::recording::{Line, Recording};
use local_stack::resources::SessionStatus;
use local_stack::stack::{Stack, StackConfig};
use serde_json::{Value, json};
use support::{Ended, Kvsw, PATIENCE, now_ms};

/// Chunks of each session here: about 5 s.
const CHUNKS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_session_is_what_becomes_of_it() {
    let stack = Stack::start(StackConfig::default()).await.unwrap();
    let kinesis_video = stack.kinesis_video_endpoint().unwrap();
    let kvsw = Kvsw::on(stack.resources(), stack.backend_endpoint().unwrap(), &kinesis_video);
    let bench = Truth { stack, kvsw };
    bench.a_corrected_end_lets_the_chunks_join_the_live_audio().await;
    bench.a_session_that_is_added_is_read_back().await;
    bench.what_sqs_moved_is_possible_and_read_back().await;
    bench.the_state_answers_while_kinesis_video_does_not().await;
    bench.what_is_dropped_for_an_unknown_session_is_logged().await;
    bench.stack.shutdown().await;
}

struct Truth {
    stack: Stack,
    kvsw: Kvsw,
}

impl Truth {
    async fn a_corrected_end_lets_the_chunks_join_the_live_audio(&self) {
        let eel = "end-eel";
        self.ended(eel, now_ms() - 60_000).await;
        self.send(eel, &self.stack.resources().queue_url).await;
        self.until_parked(eel).await;
        let plan = self.says(&["dlq", "redrive", "--session", eel, "--dry-run"], 1).await;
        assert!(plan.stdout.contains("will be parked again: captured after the session's end"), "{plan:?}");
        self.ended(eel, now_ms() + 60_000).await;
        let plan = self.says(&["dlq", "redrive", "--session", eel, "--dry-run"], 0).await;
        assert!(plan.stdout.contains("chunks 0-19: join the session's live audio"), "{plan:?}");
        let told = self.says(&["dlq", "redrive", "--session", eel, "--json"], 0).await.json();
        self.is_read_back(&told, eel);
    }

    async fn a_session_that_is_added_is_read_back(&self) {
        let eel = "strange-eel";
        self.send(eel, &self.stack.resources().queue_url).await;
        self.until_parked(eel).await;
        let shown = self.says(&["session", "show", eel], 1).await;
        let parts = ["is unknown", "the writer keeps no state of it and has parked 20 messages"];
        assert!(parts.iter().all(|part| shown.stdout.contains(part)), "{shown:?}");
        self.stack.put_session(eel, SessionStatus::Active).await.unwrap();
        let told = self.says(&["dlq", "redrive", "--session", eel, "--json"], 0).await.json();
        self.is_read_back(&told, eel);
    }

    async fn what_sqs_moved_is_possible_and_read_back(&self) {
        let mule = "moved-mule";
        self.stack.put_session(mule, SessionStatus::Active).await.unwrap();
        self.send(mule, &self.stack.resources().dlq_url).await;
        let shown = self.says(&["session", "show", mule], 1).await;
        assert!(shown.stdout.contains("20 messages without a note: some may be this session's"), "{shown:?}");
        let redriven = self.says(&["dlq", "redrive", "--session", mule], 0).await;
        for part in ["moved 20 messages", "20 messages of them had no note", "20 messages written"] {
            assert!(redriven.stdout.contains(part), "{part} is not in {redriven:?}");
        }
        let shown = self.says(&["session", "show", mule, "--json"], 0).await.json();
        assert_eq!(shown["chunks"][0]["written"], json!([[0, 19]]), "{shown}");
    }

    async fn the_state_answers_while_kinesis_video_does_not(&self) {
        let faults = self.stack.emulator().unwrap().faults();
        let down = FaultKind::HttpError {
            status: 503,
            error_type: "ServiceUnavailable".into(),
            message: "down".into(),
        };
        faults.add(Fault::new(down).stream("session-end-eel"));
        let shown = self.says(&["session", "show", "end-eel"], 3).await;
        for part in ["is ended", "20 processed", "could not be asked: GetDataEndpoint failed with 503"] {
            assert!(shown.stdout.contains(part), "{part} is not in {shown:?}");
        }
        let out = support::folder("truth").join("x.wav");
        let export = self.says(&["session", "export", "end-eel", "--out", out.to_str().unwrap()], 3).await;
        assert!(export.stderr.contains("503") && !out.exists(), "{export:?}");
        faults.clear();
    }

    /// Four messages of an unknown session with one index and one time: one is parked, and the log says that three were dropped.
    async fn what_is_dropped_for_an_unknown_session_is_logged(&self) {
        let mut log = self.stack.log_lines();
        let at = now_ms();
        let bodies: Vec<String> = (0..4)
            .map(|i| {
                let audio = ["R0s=", "R0w=", "R00=", "R04="][i];
                json!({"action": "writeToStream", "sessionId": "double-eel", "chunkIndex": 0, "timestamp": at,
                    "format": "webm-opus", "audioData": audio})
                .to_string()
            })
            .collect();
        self.send_bodies("double-eel", &self.stack.resources().queue_url, &bodies).await;
        let (mut parked, mut dropped) = (0, 0);
        while parked + dropped < 4 {
            let line = tokio::time::timeout(PATIENCE, log.recv())
                .await
                .expect("each message leaves a trace")
                .unwrap();
            let messages = line.value["messages"].as_u64().unwrap_or_default();
            match line.value["event"].as_str() {
                Some("parked") => parked += messages,
                Some("duplicatesDropped") => dropped += messages,
                _ => {}
            }
        }
        assert_eq!(parked + dropped, 4, "{parked} parked, {dropped} dropped");
    }

    fn is_read_back(&self, told: &Value, session: &str) {
        let back = &told["readBack"];
        assert_eq!((&back["written"], &back["awaited"]), (&json!(CHUNKS), &json!(0)), "{session}: {told}");
        assert_eq!(back["live"][0]["written"], json!([[0, 19]]), "{session}: {told}");
        assert!(back["live"][0]["fragments"].as_u64() > Some(0), "{session}: {told}");
    }

    async fn says(&self, args: &[&str], code: i32) -> Ended {
        let ended = self.kvsw.run(args).await;
        assert_eq!(ended.code, code, "{args:?}: {ended:?}");
        ended
    }

    async fn ended(&self, session: &str, at_ms: u64) {
        self.stack.put_session(session, SessionStatus::Ended { at_ms }).await.unwrap();
    }

    async fn until_parked(&self, session: &str) {
        let began = Instant::now();
        loop {
            let listed = self.kvsw.run(&["dlq", "list", "--session", session, "--json"]).await.json();
            if listed["sessions"][0]["messages"] == json!(CHUNKS) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the writer does not park {session}: {listed}");
        }
    }

    /// The first chunks of a recording, as if they had been spoken until now.
    async fn send(&self, session: &str, queue_url: &str) {
        let recording =
            Recording::read(&project::root().join("tests/end-to-end/recordings/chromium-speech-default"))
                .unwrap();
        let lines = &recording.lines[..CHUNKS];
        let shift = now_ms() - lines[CHUNKS - 1].captured_ms().unwrap();
        let body = |line: &Line| {
            let Line::Message(fields) = line else { panic!("{line:?} is no message") };
            let mut fields = fields.clone();
            fields.insert("sessionId".into(), json!(session));
            fields.insert("timestamp".into(), json!(line.captured_ms().unwrap() + shift));
            Value::Object(fields).to_string()
        };
        self.send_bodies(session, queue_url, &lines.iter().map(body).collect::<Vec<_>>()).await;
    }

    async fn send_bodies(&self, session: &str, queue_url: &str, bodies: &[String]) {
        for (i, body) in bodies.iter().enumerate() {
            let send = self.stack.sqs().send_message().queue_url(queue_url).message_group_id(session);
            send.message_deduplication_id(format!("{session}-{i}")).message_body(body).send().await.unwrap();
        }
    }
}
