//! The assembled stack, with the scripted function in all places; the real functions have their own end-to-end tests.
#![allow(clippy::unwrap_used)] // a test may

mod support;

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use local_stack::backend::BackendKind;
use local_stack::proxy::{Call, Fault};
use local_stack::resources::SessionStatus;
use local_stack::stack::{Stack, StackConfig, StackError};
use serde_json::{Value, json};
use support::{Folder, descendants, next_line, scripted_bin_dir, survivors};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

async fn the_path_holds_together(backend: BackendKind) {
    let folder = Folder::new();
    let config = StackConfig { backend, bin_dir: Some(scripted_bin_dir(&folder)), ..StackConfig::default() };
    let stack = Stack::start(config).await.unwrap();
    let mut lines = stack.log_lines();

    stack.put_session("s-1", SessionStatus::Ended { at_ms: 7 }).await.unwrap();
    let session = stack.dynamodb().get_item().table_name(&stack.resources().sessions_table);
    let key = aws_sdk_dynamodb::types::AttributeValue::S("s-1".into());
    let session = session.key("sessionId", key).send().await.unwrap().item.unwrap();
    assert_eq!(session["status"].as_s().unwrap(), "ended");
    assert_eq!(session["endedAt"].as_n().unwrap(), "7");

    let (mut client, _) =
        connect_async(format!("{}?sessionId=s-1&role=speaker", stack.ws_url())).await.unwrap();
    client.send(Message::text(r#"{"action":"audioChunk"}"#)).await.unwrap();
    let answer: Value =
        serde_json::from_str(client.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(answer["session"], "s-1", "the gateway reaches connection-handler");

    let send = stack.sqs().send_message().queue_url(&stack.resources().queue_url).message_body(r#"{"n":1}"#);
    send.message_group_id("s-1").message_deduplication_id("1").send().await.unwrap();
    let function = next_line(&mut lines, |line| (line.value["n"] == 1).then(|| line.function.clone())).await;
    assert_eq!(&*function, "kvs-stream-writer", "the mapping reaches the writer");
    let drained = async {
        while stack.queue_depth().await.unwrap().total() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), drained).await.expect("the chunk leaves the queue");
    assert_eq!(stack.dlq_depth().await.unwrap().total(), 0);
    assert_eq!(stack.mapping_stats().groups["s-1"].deleted, 1);

    let logs = stack.folder().to_owned();
    stack.shutdown().await;
    assert!(!logs.exists(), "the stack's own folder is removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_holds_together_on_ministack() {
    the_path_holds_together(BackendKind::MiniStack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_holds_together_on_localstack() {
    the_path_holds_together(BackendKind::LocalStack).await;
}

#[tokio::test]
async fn a_missing_binary_is_named_with_what_to_do() {
    let folder = Folder::new();
    let config = StackConfig { bin_dir: Some(folder.to_owned()), ..StackConfig::default() };
    let error = Stack::start(config).await.err().unwrap();
    assert!(
        matches!(&error, StackError::Binary { path } if path.ends_with("kvs-stream-writer")),
        "{error:?}"
    );
    assert!(error.to_string().contains("cargo build -p functions"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fault_proxy_breaks_the_calls_it_is_told_to() {
    let folder = Folder::new();
    let bin_dir = Some(scripted_bin_dir(&folder));
    let stack =
        Stack::start(StackConfig { bin_dir, fault_proxy: true, ..StackConfig::default() }).await.unwrap();
    let proxy = stack.proxy().unwrap();
    let through = local_stack::backend::local_sdk_config(&proxy.endpoint()).into_builder();
    let through = through.retry_config(aws_config::retry::RetryConfig::disabled()).build();
    let sqs = aws_sdk_sqs::Client::new(&through);
    let ask = || sqs.get_queue_url().queue_name("audio-chunks.fifo").send();
    ask().await.expect("a call passes while nothing is broken");

    proxy.sabotage(Some(std::sync::Arc::new(|call: &Call| match call.operation.as_str() {
        "GetQueueUrl" => Fault::Refuse { status: 503, code: "ServiceUnavailable".into() },
        "SendMessage" => Fault::LoseAnswer,
        _ => Fault::None,
    })));
    let refused = ask().await.unwrap_err().into_service_error();
    assert_eq!(refused.meta().code(), Some("ServiceUnavailable"));
    let send =
        sqs.send_message().queue_url(&stack.resources().queue_url).message_body(json!({"n": 9}).to_string());
    let mut lines = stack.log_lines();
    let lost = send.message_group_id("s").message_deduplication_id("9").send().await;
    assert!(lost.is_err(), "the answer is lost");
    next_line(&mut lines, |line| (line.value["n"] == 9).then_some(())).await; // but the message was sent
    assert_eq!(proxy.faults(), 2);
    stack.shutdown().await;
}

/// Starts `local-stack run` and waits until it is up; gives it and the processes below it.
async fn run_command(folder: &Folder) -> (tokio::process::Child, Vec<u32>) {
    use tokio::io::AsyncBufReadExt;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_local-stack"));
    command.arg("run").env("KVS_BIN_DIR", scripted_bin_dir(folder)).env("TMPDIR", &**folder);
    let mut child = command.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut printed = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let up = async {
        while let Some(line) = printed.next_line().await.unwrap() {
            if line.contains("websocat") {
                return;
            }
        }
        panic!("local-stack run ended without saying how to talk to it");
    };
    tokio::time::timeout(Duration::from_secs(60), up).await.expect("up within a minute");
    let below = descendants(child.id().unwrap());
    assert!(below.len() >= 3, "an emulator and two functions run, found {below:?}");
    (child, below)
}

#[tokio::test]
async fn ctrl_c_ends_the_stack_cleanly_and_leaves_no_process() {
    let folder = Folder::new();
    let (mut child, below) = run_command(&folder).await;
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(child.wait().await.unwrap().success(), "Ctrl-C is a clean end");
    assert_eq!(survivors(&below).await, [0; 0], "these processes outlived the stack");
}

#[tokio::test]
async fn a_killed_stack_leaves_no_process() {
    let folder = Folder::new();
    let (mut child, below) = run_command(&folder).await;
    child.kill().await.unwrap();
    assert_eq!(
        survivors(&below).await,
        [0; 0],
        "these processes outlived a stack that was killed with SIGKILL"
    );
}
