//! `kvsw dlq redrive --native` against SQS's wire format: MiniStack has no StartMessageMoveTask, and LocalStack's loses messages.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use support::{Bench, Kvsw, serve};

/// SQS and DynamoDB with an empty table, a DLQ, and a task that ends as `end` says.
async fn services(end: serde_json::Value) -> Kvsw {
    let looks = Arc::new(AtomicU32::new(0));
    let url = serve(move |request| {
        let is =
            |operation: &str| request.to_lowercase().contains(&format!(".{operation}\r\n").to_lowercase());
        let arn = |name: &str| format!("arn:aws:sqs:us-east-1:000000000000:{name}.fifo");
        let answer = match request {
            _ if is("Query") => json!({"Items": [], "Count": 0}),
            _ if is("GetQueueAttributes") => {
                let name = if request.contains("/dlq.fifo") { "dlq" } else { "chunks" };
                let policy = json!({"deadLetterTargetArn": arn("dlq"), "maxReceiveCount": 23}).to_string();
                let mut attributes =
                    json!({"QueueArn": arn(name), "ApproximateNumberOfMessages": "0", "RedrivePolicy": policy});
                if name == "dlq" {
                    attributes.as_object_mut().unwrap().remove("RedrivePolicy");
                }
                json!({"Attributes": attributes})
            }
            _ if is("StartMessageMoveTask") => {
                let destination = format!("\"DestinationArn\":\"{}\"", arn("chunks"));
                assert!(request.contains(&destination), "without a destination SQS would fail: {request}");
                assert!(request.contains("\"MaxNumberOfMessagesPerSecond\":50"), "{request}");
                json!({"TaskHandle": "task"})
            }
            _ if is("ListMessageMoveTasks") && looks.fetch_add(1, Ordering::Relaxed) == 0 => {
                json!({"Results": [{"Status": "RUNNING", "ApproximateNumberOfMessagesMoved": 1}]})
            }
            _ if is("ListMessageMoveTasks") => json!({"Results": [end]}),
            _ => panic!("nobody asks for {request}"),
        };
        answer.to_string()
    })
    .await;
    let queue = |name: &str| format!("{url}/000000000000/{name}.fifo");
    Kvsw::with(&[
        ("QUEUE_URL", &queue("chunks")),
        ("DLQ_URL", &queue("dlq")),
        ("STATE_TABLE", "state"),
        ("SESSIONS_TABLE", "sessions"),
        ("AWS_ENDPOINT_URL", &url),
    ])
}

const ARGS: [&str; 7] = ["dlq", "redrive", "--native", "--rate", "50", "--json", "--wait=0"];

#[tokio::test(flavor = "multi_thread")]
async fn sqs_is_told_the_destination_and_waited_for() {
    let done = json!({"Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": 7});
    let ended = services(done).await.run(&ARGS).await;
    assert_eq!((ended.code, &ended.json()["moved"]["moved"]), (0, &json!(7)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_says_why() {
    let failed =
        json!({"Status": "FAILED", "FailureReason": "AccessDenied", "ApproximateNumberOfMessagesMoved": 2});
    let ended = services(failed).await.run(&ARGS).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("FAILED AccessDenied"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_sqs_has_no_such_task_kvsws_own_move_is_named() {
    let bench = Bench::start().await;
    bench.park("owl", 0..3, "ack-5001").await;
    let ended = bench.kvsw.run(&ARGS).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("hint: leave --native out"), "{}", ended.stderr);
    assert_eq!(bench.drain().await, [], "nothing was moved");
    bench.stop().await;
}
