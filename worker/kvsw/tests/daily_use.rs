//! What an operator does every day: looks, watches, puts back, lists; and what a script relies on.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use support::{Bench, Ended, Kvsw, PATIENCE, folder, now_ms, serve_any};

async fn run(kvsw: &Kvsw, args: &[&str], code: i32) -> Ended {
    let ended = kvsw.run(args).await;
    assert_eq!(ended.code, code, "{args:?}: {ended:?}");
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_discarded_can_be_put_back_and_the_dlq_can_be_watched() {
    let bench = Bench::start().await;
    bench.park("owl", 0..25, "ack-5001").await;
    let out = folder("daily").join("dropped");
    let dropped = out.to_str().unwrap();
    let watch = bench
        .kvsw
        .command(&["dlq", "watch", "--until-empty", "--every", "200ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    run(&bench.kvsw, &["dlq", "discard", "--session", "owl", "--yes", "--out", dropped], 0).await;
    let watched = tokio::time::timeout(PATIENCE, watch.wait_with_output()).await.unwrap().unwrap();
    let told = String::from_utf8(watched.stdout).unwrap();
    assert_eq!(watched.status.code(), Some(0), "{told}");
    assert!(told.lines().last().unwrap_or_default().ends_with("; 0 parked") || told.is_empty(), "{told}");

    let dry = run(&bench.kvsw, &["dlq", "import", dropped, "--dry-run"], 0).await;
    assert!(dry.stdout.starts_with("25 messages of 1 session would be put into the DLQ"), "{dry:?}");
    run(&bench.kvsw, &["dlq", "list"], 0).await;
    run(&bench.kvsw, &["dlq", "import", dropped], 0).await;
    let listed = run(&bench.kvsw, &["dlq", "list", "--json"], 1).await.json();
    let session = &listed["sessions"][0];
    assert_eq!(
        (&session["reasons"], &session["chunks"]),
        (&json!({"ack-5001": 25}), &json!([[0, 24]])),
        "{listed}"
    );
    assert_eq!(listed["inQueue"]["visible"], 25, "each note has its message");
    let again = run(&bench.kvsw, &["dlq", "import", dropped], 0).await;
    assert!(again.stdout.contains("25 messages left out: parked already"), "{again:?}");
    let moved = run(&bench.kvsw, &["dlq", "redrive", "--wait", "0", "--json"], 0).await.json();
    assert_eq!(moved["moved"]["moved"], 25, "what was put back can be redriven");
    let chunks: Vec<u64> = bench.drain().await.into_iter().map(|(_, chunk)| chunk).collect();
    assert_eq!(chunks, (0..25).collect::<Vec<_>>(), "in order");
    sessions_are_listed(&bench).await;
    bench.stop().await;
}

async fn sessions_are_listed(bench: &Bench) {
    let text = |text: &str| AttributeValue::S(text.into());
    for (session, status, at) in [("quiet", "active", now_ms() - 60_000), ("loud", "ended", now_ms() - 1_000)]
    {
        let put = bench.dynamodb.put_item().table_name(&bench.resources.sessions_table);
        put.item("sessionId", text(session)).item("status", text(status)).send().await.unwrap();
        let put = bench.dynamodb.put_item().table_name(&bench.resources.state_table);
        let put = put.item("pk", text(session)).item("sk", text("checkpoint"));
        put.item("updatedAt", AttributeValue::N(at.to_string())).send().await.unwrap();
    }
    bench.park("quiet", 0..3, "CRASHED").await;
    bench.park("stray", 0..2, "SESSION_UNKNOWN").await;
    let listed = run(&bench.kvsw, &["session", "list", "--json"], 0).await.json();
    let of = |i: usize| {
        let session = &listed["sessions"][i];
        (session["sessionId"].clone(), session["status"].clone(), session["parked"].clone())
    };
    assert_eq!(of(0), (json!("loud"), json!("ended"), json!(0)), "the latest first: {listed}");
    assert_eq!(of(1), (json!("quiet"), json!("active"), json!(3)), "{listed}");
    assert_eq!(of(2), (json!("stray"), json!("unknown"), json!(2)), "its row was deleted: {listed}");
    let active = run(&bench.kvsw, &["session", "list", "--status", "active"], 0).await;
    assert!(active.stdout.contains("quiet") && !active.stdout.contains("loud"), "{active:?}");
    let one = run(&bench.kvsw, &["session", "list", "--limit", "1"], 0).await;
    assert!(one.stdout.ends_with("1 session, 2 more; --limit shows more\n"), "{one:?}");
    the_writers_log_is_shown(bench).await;
    what_cannot_be_shown_is_an_error(bench).await;
}

/// CloudWatch Logs by its wire format.
async fn the_writers_log_is_shown(bench: &Bench) {
    let asked = Arc::new(Mutex::new(Value::Null));
    let note = Arc::clone(&asked);
    let logs = serve_any(move |request| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains("x-amz-target: logs_20140328.filterlogevents"), "{head}");
        *note.lock().unwrap() = serde_json::from_str(body).unwrap();
        (
            200,
            json!({"events": [{"message": "{\"event\":\"parked\",\"sessionId\":\"quiet\"}\n"}]}).to_string(),
        )
    })
    .await;
    let kvsw = bench.kvsw.clone().set("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", Some(&logs));
    let shown = run(&kvsw, &["dlq", "show", "quiet", "--logs", "--log-group", "/aws/lambda/w"], 1).await;
    assert!(shown.stderr.contains("1 line of the writer's log:\n{\"event\":\"parked\""), "{shown:?}");
    let group = |asked: &Value| asked["logGroupName"].as_str().unwrap().to_owned();
    let first = asked.lock().unwrap().clone();
    assert_eq!(
        (&group(&first)[..], &first["filterPattern"]),
        ("/aws/lambda/w", &json!("{ $.sessionId = \"quiet\" }"))
    );
    run(&kvsw, &["dlq", "show", "quiet", "--logs"], 1).await;
    let named = group(&asked.lock().unwrap());
    assert!(
        named.ends_with("-kvs-stream-writer"),
        "the template names group and queue after the stack: {named}"
    );
}

/// A script must not take an empty file for success, nor a person a cut table for all.
async fn what_cannot_be_shown_is_an_error(bench: &Bench) {
    for args in [&["dlq", "list"][..], &["dlq", "list", "--json"], &["session", "list"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let child = bench.kvsw.command(args).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ended = child.wait_with_output().await.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.starts_with("error: standard output: "), "{args:?}: {said}");
    }
    for columns in [60_usize, 80, 200] {
        let narrow = bench.kvsw.clone().set("COLUMNS", Some(&columns.to_string()));
        let listed = run(&narrow, &["dlq", "show", "quiet"], 1).await;
        let table: Vec<&str> = listed.stdout.lines().take_while(|line| !line.is_empty()).collect();
        assert!(
            table.iter().all(|line| line.chars().count() <= columns),
            "wider than {columns}:\n{}",
            listed.stdout
        );
        assert!(table.len() >= 2, "{}", listed.stdout);
    }
}

#[tokio::test]
async fn shells_complete_commands_without_any_settings() {
    for (shell, part) in
        [("bash", "kvsw__subcmd__dlq"), ("zsh", "#compdef kvsw"), ("fish", "complete -c kvsw")]
    {
        let nothing_set = Kvsw::with(&[]).set("AWS_REGION", None);
        let script = run(&nothing_set, &["completions", shell], 0).await;
        assert!(
            script.stdout.contains(part) && script.stdout.contains("redrive"),
            "{shell}: {}",
            &script.stdout[..300]
        );
    }
}
