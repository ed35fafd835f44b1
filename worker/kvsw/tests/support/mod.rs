//! What the tests share: the program itself, and services for it.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses its part; a test may unwrap

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws::parked_index::ParkedIndex;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageAttributeValue, MessageSystemAttributeName,
    SendMessageBatchRequestEntry,
};
use kvs_emulator::{Fault, FaultKind, Point};
use local_stack::backend::{Backend, BackendKind};
use local_stack::project;
use local_stack::replay::recording::Recording;
use local_stack::replay::speaker::Speaker;
use local_stack::replay::{SessionResult, replay};
use local_stack::resources::{ResourceConfig, Resources};
use local_stack::stack::Stack;
use media::time::EpochMs;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use writer::ports::ParkedNote;

/// The program with its environment.
#[derive(Clone, Debug)]
pub struct Kvsw {
    env: BTreeMap<String, String>,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The result of a command with `--json`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }
}

impl Kvsw {
    /// Settings that lead nowhere: nothing listens on port 1.
    pub fn nowhere() -> Self {
        let nowhere = "http://127.0.0.1:1";
        let queue = |name: &str| format!("{nowhere}/000000000000/{name}.fifo");
        Self::with(&[
            ("QUEUE_URL", &queue("chunks")),
            ("DLQ_URL", &queue("dlq")),
            ("STATE_TABLE", "state"),
            ("SESSIONS_TABLE", "sessions"),
            ("AWS_ENDPOINT_URL", nowhere),
        ])
    }

    /// With these variables, a Region and test credentials.
    pub fn with(variables: &[(&str, &str)]) -> Self {
        let common =
            [("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
        let all = common.iter().chain(variables);
        Self { env: all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect() }
    }

    /// For these resources.
    pub fn on(resources: &Resources, backend: &str, kinesis_video: &str) -> Self {
        Self::with(&[
            ("QUEUE_URL", &resources.queue_url),
            ("DLQ_URL", &resources.dlq_url),
            ("STATE_TABLE", &resources.state_table),
            ("SESSIONS_TABLE", &resources.sessions_table),
            ("AWS_ENDPOINT_URL_SQS", backend),
            ("AWS_ENDPOINT_URL_DYNAMODB", backend),
            ("AWS_ENDPOINT_URL_KINESIS_VIDEO", kinesis_video),
        ])
    }

    /// With one more variable, or without it.
    pub fn set(mut self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => drop(self.env.insert(name.into(), value.into())),
            None => drop(self.env.remove(name)),
        }
        self
    }

    /// The command, to be started by the test itself.
    pub fn command(&self, args: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_kvsw"));
        command.args(args).env_clear().envs(&self.env).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, args: &[&str]) -> Ended {
        let Output { status, stdout, stderr } = self.command(args).output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
    }
}

/// SQS and DynamoDB with the system's queues and tables, a Kinesis Video emulator, and no functions.
pub struct Bench {
    backend: Backend,
    folder: PathBuf,
    pub emulator: kvs_emulator::Emulator,
    pub resources: Resources,
    pub sqs: aws_sdk_sqs::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub streams: aws_sdk_kinesisvideo::Client,
    pub kvsw: Kvsw,
}

impl Bench {
    pub async fn start() -> Self {
        let folder = project::run_folder().unwrap();
        let backend = Backend::start(BackendKind::MiniStack, &folder).await.unwrap();
        let emulator =
            kvs_emulator::start(kvs_emulator::Config { create_ms: 0, ..kvs_emulator::Config::strict() })
                .await
                .unwrap();
        let config = backend.sdk_config().await;
        let sqs = aws_sdk_sqs::Client::new(&config);
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        let resources = Resources::create(&sqs, &dynamodb, &ResourceConfig::default()).await.unwrap();
        let kvsw = Kvsw::on(&resources, backend.endpoint().unwrap(), &emulator.endpoint());
        let streams = local_stack::backend::local_sdk_config(&emulator.endpoint());
        let streams = aws_sdk_kinesisvideo::Client::new(&streams);
        Self { backend, folder, emulator, resources, sqs, dynamodb, streams, kvsw }
    }

    /// Parks a message as the writer does, with its note.
    pub async fn park(&self, session: &str, chunks: std::ops::Range<u64>, reason: &str) {
        let index = ParkedIndex::new(self.dynamodb.clone(), self.resources.state_table.clone());
        let chunks: Vec<u64> = chunks.collect();
        for ten in chunks.chunks(10) {
            let entries = ten.iter().map(|chunk| {
                let body = format!(
                    "{{\"action\":\"writeToStream\",\"sessionId\":\"{session}\",\"chunkIndex\":{chunk}}}"
                );
                let attribute = |value: &str| {
                    MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
                };
                SendMessageBatchRequestEntry::builder()
                    .id(chunk.to_string())
                    .message_group_id(session)
                    .message_deduplication_id(format!("{session}-{chunk}"))
                    .message_body(body)
                    .message_attributes("reason", attribute(reason))
                    .message_attributes("class", attribute("passing"))
                    .build()
                    .unwrap()
            });
            let send = self.sqs.send_message_batch().queue_url(&self.resources.dlq_url);
            let sent = send.set_entries(Some(entries.collect())).send().await.unwrap();
            assert!(sent.failed.is_empty(), "{sent:?}");
            let now = now_ms();
            let notes: Vec<ParkedNote> = ten
                .iter()
                .map(|chunk| ParkedNote {
                    message_id: format!("{session}-{chunk}"),
                    chunk_index: Some(*chunk),
                    captured_at: None,
                    numbering: None,
                    reason: reason.into(),
                    class: "passing".into(),
                    attempts: 4,
                    first_failure_at: EpochMs(now),
                    parked_at: EpochMs(now),
                })
                .collect();
            index.add(session, &notes).await.unwrap();
        }
    }

    /// Everything in the chunk queue, in the order of receipt: group and chunk. Deletes it.
    pub async fn drain(&self) -> Vec<(String, u64)> {
        let mut drained = Vec::new();
        loop {
            let receive = self.sqs.receive_message().queue_url(&self.resources.queue_url);
            let receive = receive.max_number_of_messages(10).wait_time_seconds(1);
            let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
            let messages = receive.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return drained;
            }
            let mut handles = Vec::new();
            for (i, message) in messages.into_iter().enumerate() {
                let body: Value = serde_json::from_str(message.body().unwrap()).unwrap();
                let group =
                    message.attributes().unwrap()[&MessageSystemAttributeName::MessageGroupId].clone();
                drained.push((group, body["chunkIndex"].as_u64().unwrap_or(u64::MAX)));
                let entry = DeleteMessageBatchRequestEntry::builder().id(i.to_string());
                handles.push(entry.receipt_handle(message.receipt_handle.unwrap()).build().unwrap());
            }
            let delete = self.sqs.delete_message_batch().queue_url(&self.resources.queue_url);
            let deleted = delete.set_entries(Some(handles)).send().await.unwrap();
            assert!(deleted.failed.is_empty(), "{deleted:?}");
        }
    }

    pub async fn stop(self) {
        self.emulator.shutdown().await;
        self.backend.stop().await;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A folder for what a test writes; emptied first, kept for a look.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// An HTTP server that answers each request (head and body) with 200 and what `answer` says.
pub async fn serve(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> String {
    serve_any(move |request| (200, answer(request))).await
}

/// The same with a status.
pub async fn serve_any(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let (status, body) = answer(&request(&mut socket).await);
                let date = aws_smithy_types::DateTime::from(std::time::SystemTime::now());
                let date = date.fmt(aws_smithy_types::date_time::Format::HttpDate).unwrap();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ndate: {date}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                socket.write_all((head + &body).as_bytes()).await.unwrap();
            });
        }
    });
    url
}

/// One request, as far as its content-length says.
async fn request(socket: &mut TcpStream) -> String {
    let (mut request, mut piece) = (String::new(), vec![0; 16 * 1_024]);
    loop {
        let read = socket.read(&mut piece).await.unwrap();
        request.push_str(&String::from_utf8_lossy(&piece[..read]));
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if read == 0 || body.len() >= length.unwrap_or(0) {
            return request;
        }
    }
}

/// A shipped recording, spoken at once in each of the sessions, until all of it is written or parked.
pub async fn speak(stack: &Stack, sessions: &[&str]) -> Vec<SessionResult> {
    let recording = project::root().join("tests/end-to-end/recordings/chromium-speech-default");
    let recording = Arc::new(Recording::read(&recording).unwrap());
    let speaker = |session: &&str| Speaker {
        recording: Arc::clone(&recording),
        session_id: (*session).into(),
        speed: 6.0,
        delay: Duration::ZERO,
    };
    let speakers: Vec<Speaker> = sessions.iter().map(speaker).collect();
    replay(stack, &speakers, PATIENCE, &()).await.unwrap()
}

/// The session's stream refuses `count` fragments for their data, from the `nth` on: they are parked at once.
pub fn refuse(session: &str, nth: u64, count: u64) -> Fault {
    let kind = FaultKind::ErrorAck { id: 4006, code: None, at: Point::Received, bare: false, stored: false };
    Fault::new(kind).stream(&format!("session-{session}")).nth(nth).count(count)
}
