//! A Lambda function for the tests of the local stack: it does what the event says, on the real `lambda_runtime`.
//!
//! SQS records: the body is `{"n": 1, "do": …}`, where `do` is absent (succeed), `{"failUntil": 3}` (fail until that receive count),
//! `"error"`, `"crash"`, `"hang"`, `"garbage"`. After a failure the rest of the message group is failed too. Each record is logged as
//! one JSON line. WebSocket events: `$connect` is refused unless the role is `speaker`; a body `{"fail": true}` is an error; any other
//! is answered with what the function saw. An authorizer's event is allowed as the session and role that the query string names.

use std::collections::HashSet;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    if std::env::var_os("FAIL_INIT").is_some() {
        return Err("told to fail at init".into());
    }
    lambda_runtime::spawn_graceful_shutdown_handler(async || println!("{}", json!({"graceful": true}))).await;
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    match event.payload["Records"].as_array() {
        Some(records) => records_of(records, event.context.deadline).await,
        None if event.payload["type"] == "REQUEST" => Ok(allowed(&event.payload)),
        None => websocket(&event.payload),
    }
}

async fn records_of(records: &[Value], deadline: u64) -> Result<Value, Error> {
    let mut failed_groups = HashSet::new();
    let mut failures = Vec::new();
    for record in records {
        let body: Value = serde_json::from_str(record["body"].as_str().unwrap_or_default())?;
        let attributes = &record["attributes"];
        let group = attributes["MessageGroupId"].as_str().unwrap_or_default();
        let receives: u64 = attributes["ApproximateReceiveCount"].as_str().unwrap_or_default().parse()?;
        let ok = !failed_groups.contains(group) && receives > body["do"]["failUntil"].as_u64().unwrap_or(0);
        println!(
            "{}",
            json!({"group": group, "n": body["n"], "receives": receives, "ok": ok, "deadline": deadline})
        );
        match body["do"].as_str() {
            Some("error") => return Err("told to fail".into()),
            Some("crash") => std::process::exit(3),
            Some("hang") => std::future::pending::<()>().await,
            Some("garbage") => return Ok(json!({"batchItemFailures": [{"messageId": record["messageId"]}]})),
            _ => {}
        }
        if !ok {
            failed_groups.insert(group.to_owned());
            failures.push(json!({"itemIdentifier": record["messageId"]}));
        }
    }
    Ok(json!({"batchItemFailures": failures}))
}

fn allowed(event: &Value) -> Value {
    let query = &event["queryStringParameters"];
    let statement =
        json!({"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]});
    json!({
        "principalId": "somebody",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"sessionId": query["sessionId"], "role": query["role"]},
    })
}

fn websocket(event: &Value) -> Result<Value, Error> {
    let context = &event["requestContext"];
    println!("{}", json!({"route": context["routeKey"], "event": event}));
    let body: Value = serde_json::from_str(event["body"].as_str().unwrap_or_default()).unwrap_or_default();
    if context["eventType"] == "CONNECT" {
        let status = if context["authorizer"]["role"] == "speaker" { 200 } else { 403 };
        return Ok(json!({"statusCode": status}));
    }
    if body["fail"] == true {
        return Err("told to fail".into());
    }
    let seen = json!({"route": context["routeKey"], "session": context["authorizer"]["sessionId"], "body": event["body"]});
    Ok(json!({"statusCode": 200, "body": seen.to_string()}))
}
