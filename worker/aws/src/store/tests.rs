use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::test_server::{Server, json_service};

fn table(server: &Server) -> StateTable {
    StateTable::new(Client::new(&server.config()), "state".into())
}

fn session() -> SessionId {
    SessionId::parse("quiet-fox-1").unwrap()
}

/// One item's worth of DynamoDB: conditions on `version` and `attribute_not_exists`.
async fn one_item() -> (Server, crate::test_server::Calls) {
    let item: Arc<Mutex<Option<Value>>> = Arc::default();
    json_service(move |operation, body| {
        let mut item = item.lock().unwrap();
        match operation {
            "PutItem" => {
                let stored = item.as_ref().map(|item| item["version"].clone());
                let met = match body["ConditionExpression"].as_str() {
                    None => true,
                    Some("attribute_not_exists(pk)") => stored.is_none(),
                    Some(_) => stored.as_ref() == Some(&body["ExpressionAttributeValues"][":expected"]),
                };
                if !met {
                    let code = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
                    return (400, json!({"__type": code, "message": "The conditional request failed"}));
                }
                *item = Some(body["Item"].clone());
                (200, json!({}))
            }
            _ => (200, item.as_ref().map_or(json!({}), |item| json!({"Item": item}))),
        }
    })
    .await
}

#[tokio::test]
async fn a_checkpoint_is_written_on_the_version_that_was_read_and_on_no_other() {
    let (server, _) = one_item().await;
    let table = table(&server);
    assert_eq!(table.load(&session()).await.unwrap(), None);
    assert_eq!(table.save(&session(), None, b"one").await.unwrap(), Saved::Yes);
    assert_eq!(table.save(&session(), None, b"again").await.unwrap(), Saved::Conflict);
    assert_eq!(table.load(&session()).await.unwrap(), Some(Stored { bytes: b"one".to_vec(), version: 1 }));
    assert_eq!(table.save(&session(), Some(1), b"two").await.unwrap(), Saved::Yes);
    assert_eq!(table.save(&session(), Some(1), b"late").await.unwrap(), Saved::Conflict);
    assert_eq!(table.load(&session()).await.unwrap(), Some(Stored { bytes: b"two".to_vec(), version: 2 }));
}

#[tokio::test]
async fn reads_are_strong_and_keys_are_the_documented_ones() {
    let (server, calls) = one_item().await;
    let table = table(&server);
    table.save_snapshot(&session(), "gap-7", b"bytes", 60).await.unwrap();
    assert_eq!(table.load_snapshot(&session(), "gap-7").await.unwrap().as_deref(), Some(&b"bytes"[..]));
    let calls = calls.lock().unwrap();
    let (put, get) = (&calls[0].1, &calls[1].1);
    assert_eq!(get["ConsistentRead"], true);
    assert_eq!(get["Key"], json!({"pk": {"S": "quiet-fox-1"}, "sk": {"S": "snapshot#gap-7"}}));
    let seconds = |name: &str| put["Item"][name]["N"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(seconds("expiresAt"), seconds("updatedAt") / 1_000 + 60, "the TTL is in seconds");
    assert_eq!(put["Item"]["schema"], json!({"N": "1"}));
}

#[tokio::test]
async fn a_conditional_write_is_tried_once_because_a_second_try_would_meet_its_own_version() {
    let failing = |operation: &str, _: &Value| match operation {
        "PutItem" => (500, json!({"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError"})),
        _ => (200, json!({})),
    };
    let (server, calls) = json_service(failing).await;
    let failure = table(&server).save(&session(), Some(3), b"x").await.unwrap_err();
    assert!(failure.outcome_unknown(), "{failure}");
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_item_that_a_newer_worker_wrote_is_not_guessed_at() {
    let items = [
        json!({"schema": {"N": "2"}, "version": {"N": "1"}, "bytes": {"B": "AA=="}}),
        json!({"schema": {"N": "1"}, "version": {"N": "1"}}),
        json!({"schema": {"N": "1"}, "version": {"S": "1"}, "bytes": {"B": "AA=="}}),
    ];
    for item in items {
        let answer = json!({"Item": item});
        let (server, _) = json_service(move |_, _| (200, answer.clone())).await;
        let failure = table(&server).load(&session()).await.unwrap_err();
        assert!(matches!(failure, ServiceFailure::Garbled { .. }), "{failure}");
    }
}
