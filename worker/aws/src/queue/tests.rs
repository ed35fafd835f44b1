use serde_json::{Value, json};

use super::*;
use crate::test_server::{Server, json_service};

fn queue(server: &Server) -> ChunkQueue {
    ChunkQueue::new(Client::new(&server.config()), "http://q/chunks.fifo".into(), "http://q/dlq.fifo".into())
}

fn message(id: usize, body_bytes: usize) -> Parked {
    Parked {
        message_id: format!("id-{id}"),
        group_id: "quiet-fox-1".into(),
        body: "x".repeat(body_bytes),
        attributes: vec![("reason", "ack-4006".into())],
    }
}

fn entries(body: &Value) -> Vec<Value> {
    body["Entries"].as_array().cloned().unwrap_or_default()
}

/// Answers a batch: `failing` (entry id, code, message) fail, the others succeed.
fn batch_answer(body: &Value, failing: &[(&str, &str, &str)]) -> (u16, Value) {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries(body) {
        match failing.iter().find(|(id, ..)| entry["Id"] == *id) {
            Some((id, code, message)) => {
                failed.push(json!({"Id": id, "Code": code, "Message": message, "SenderFault": true}));
            }
            None => successful.push(json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "0"})),
        }
    }
    (200, json!({"Successful": successful, "Failed": failed}))
}

#[tokio::test]
async fn all_handles_are_hidden_in_calls_of_ten() {
    let (server, calls) = json_service(|_, body| batch_answer(body, &[])).await;
    let handles: Vec<_> = (0..13).map(|i| format!("handle-{i}")).collect();
    queue(&server).hide(&handles, 2).await.unwrap();

    let calls = calls.lock().unwrap();
    let sizes: Vec<_> =
        calls.iter().map(|(operation, body)| (operation.as_str(), entries(body).len())).collect();
    assert_eq!(sizes, [("ChangeMessageVisibilityBatch", 10), ("ChangeMessageVisibilityBatch", 3)]);
    let hidden = calls.iter().flat_map(|(_, body)| entries(body)).map(|e| e["ReceiptHandle"].clone());
    assert_eq!(hidden.collect::<Vec<_>>(), handles);
    assert_eq!(entries(&calls[0].1)[0]["VisibilityTimeout"], 2);
    assert_eq!(calls[0].1["QueueUrl"], "http://q/chunks.fifo");
}

#[tokio::test]
async fn a_handle_that_is_no_longer_ours_is_no_failure() {
    for (code, text) in [
        ("MessageNotInflight", ""),
        ("AWS.SimpleQueueService.MessageNotInflight", ""),
        ("ReceiptHandleIsInvalid", ""),
        ("InvalidParameterValue", "Value h for parameter ReceiptHandle is invalid. Reason: it has expired."),
    ] {
        let (server, _) = json_service(move |_, body| batch_answer(body, &[("1", code, text)])).await;
        let outcome = queue(&server).hide(&["a".into(), "b".into(), "c".into()], 5).await;
        assert_eq!(outcome, Ok(()), "{code}");
    }
}

#[tokio::test]
async fn an_entry_that_fails_inside_an_answer_of_200_is_a_failure() {
    let (server, _) =
        json_service(|_, body| batch_answer(body, &[("1", "InternalError", "try again")])).await;
    let failure = queue(&server).hide(&["a".into(), "b".into()], 5).await.unwrap_err();
    assert_eq!(failure.reason(), "ChangeMessageVisibilityBatch-InternalError");

    let failure = queue(&server).park(&[message(0, 10), message(1, 10)]).await.unwrap_err();
    assert_eq!(failure.reason(), "SendMessageBatch-InternalError");
}

#[tokio::test]
async fn parked_copies_keep_group_body_and_order_and_are_named_after_the_original() {
    let (server, calls) = json_service(|_, body| batch_answer(body, &[])).await;
    let mut messages: Vec<_> = (0..12).map(|i| message(i, 100)).collect();
    messages[0].attributes = vec![("reason", "a\u{0}b".into()), ("chunkFirst", String::new())];
    queue(&server).park(&messages).await.unwrap();

    let calls = calls.lock().unwrap();
    assert!(
        calls
            .iter()
            .all(|(operation, body)| operation == "SendMessageBatch"
                && body["QueueUrl"] == "http://q/dlq.fifo")
    );
    let sent: Vec<_> = calls.iter().flat_map(|(_, body)| entries(body)).collect();
    let ids: Vec<_> = sent.iter().map(|e| e["MessageDeduplicationId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..12).map(|i| format!("id-{i}")).collect::<Vec<_>>());
    assert!(sent.iter().all(|e| e["MessageGroupId"] == "quiet-fox-1" && e["MessageBody"] == "x".repeat(100)));
    assert_eq!(
        sent[1]["MessageAttributes"],
        json!({"reason": {"DataType": "String", "StringValue": "ack-4006"}})
    );
    assert_eq!(
        sent[0]["MessageAttributes"],
        json!({"reason": {"DataType": "String", "StringValue": "a\u{FFFD}b"}}),
        "SQS refuses empty values and control characters"
    );
}

#[test]
fn no_batch_is_larger_than_sqs_takes_and_no_message_is_left_out() {
    let sizes = |messages: &[Parked]| batches(messages).map(<[Parked]>::len).collect::<Vec<_>>();
    let of = |count: usize, bytes: usize| (0..count).map(|i| message(i, bytes)).collect::<Vec<_>>();
    assert_eq!(sizes(&[]), [0_usize; 0]);
    assert_eq!(sizes(&of(21, 100)), [10, 10, 1]);
    assert_eq!(sizes(&of(10, 30 * 1_024)), [8, 2]);
    assert_eq!(
        sizes(&of(3, MAX_BATCH_BYTES)),
        [1, 1, 1],
        "attributes make these too large, each is tried alone"
    );
}

#[tokio::test]
async fn a_missing_queue_will_not_pass_and_a_throttle_will() {
    let answers =
        |code: &'static str| json_service(move |_, _| (400, json!({"__type": code, "message": "told"})));
    let (server, _) = answers("com.amazonaws.sqs#QueueDoesNotExist").await;
    let failure = queue(&server).park(&[message(0, 1)]).await.unwrap_err();
    assert_eq!(failure.class(), ingest::failure::Class::Lasting, "{failure}");

    let (server, _) = answers("com.amazonaws.sqs#AccessDenied").await;
    let failure = queue(&server).hide(&["a".into()], 1).await.unwrap_err();
    assert_eq!(failure.class(), ingest::failure::Class::Lasting, "{failure}");
}

#[tokio::test]
async fn a_chunk_is_sent_with_its_group_and_deduplication_id() {
    let (server, calls) = json_service(|_, _| (200, json!({"MessageId": "m", "SequenceNumber": "1"}))).await;
    let sender = ChunkSender::new(Client::new(&server.config()), "http://q/chunks.fifo".into());
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    sender.send("quiet-fox-1", "3-1795335945729-ab", "{}".into(), Some(trace.into())).await.unwrap();
    let calls = calls.lock().unwrap();
    assert_eq!(
        calls[0],
        (
            "SendMessage".into(),
            json!({
                "QueueUrl": "http://q/chunks.fifo",
                "MessageGroupId": "quiet-fox-1",
                "MessageDeduplicationId": "3-1795335945729-ab",
                "MessageBody": "{}",
                "MessageAttributes": {"traceparent": {"DataType": "String", "StringValue": trace}},
            })
        )
    );
}
