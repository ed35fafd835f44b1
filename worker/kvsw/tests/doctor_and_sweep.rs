//! The doctor finds what is wrong and only that; the sweep ends what is over and only that.
#![allow(clippy::unwrap_used)]

mod support;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};
use support::{Bench, now_ms, serve};

const HOUR_MS: u64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_is_wrong() {
    let bench = Bench::start().await;
    let healthy = bench.kvsw.run(&["doctor"]).await;
    assert_eq!(healthy.code, 0, "{}", healthy.stdout);
    assert!(healthy.stdout.contains("nothing is wrong"), "{}", healthy.stdout);
    for subject in ["mapping", "writer", "writer's role"] {
        let line = format!("not checked  {subject:<14} ");
        assert!(healthy.stdout.contains(&line), "what cannot be asked is said: {}", healthy.stdout);
    }

    let set = bench.sqs.set_queue_attributes().queue_url(&bench.resources.queue_url);
    set.attributes(QueueAttributeName::VisibilityTimeout, "10").send().await.unwrap();
    let ill = bench.kvsw.run(&["doctor", "--json"]).await;
    assert_eq!(ill.code, 1, "{}", ill.stdout);
    let findings = ill.json()["findings"].as_array().unwrap().clone();
    let wrong: Vec<&Value> = findings.iter().filter(|finding| finding["verdict"] == "wrong").collect();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0]["action"].as_str().unwrap().contains("VisibilityTimeout to 15 s"), "{wrong:?}");

    let other = bench.kvsw.clone().set("STATE_TABLE", Some("sessions")).run(&["doctor"]).await;
    assert!(
        other.code == 1
            && other.stdout.contains("it needs pk, sk, strings; does STATE_TABLE name the right table?"),
        "{}",
        other.stdout
    );
    let gone = bench
        .kvsw
        .clone()
        .set("AWS_ENDPOINT_URL_KINESIS_VIDEO", Some("http://127.0.0.1:1"))
        .run(&["doctor"])
        .await;
    assert!(gone.code == 3 && gone.stdout.contains("NO ANSWER"), "{}", gone.stdout);
    the_mapping_is_asked_where_lambda_is(&bench).await;
    bench.stop().await;
}

/// Lambda and IAM by their wire formats: kvsw signs its own requests to them.
async fn the_mapping_is_asked_where_lambda_is(bench: &Bench) {
    let resources = &bench.resources;
    let variables = json!({
        "QUEUE_URL": resources.queue_url, "DLQ_URL": resources.dlq_url,
        "STATE_TABLE": "another-table", "SESSIONS_TABLE": resources.sessions_table,
    });
    let mapping = json!({"EventSourceMappings": [{
        "State": "Enabled", "BatchSize": 10, "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:writer",
        "FunctionResponseTypes": [],
    }]});
    let function = json!({
        "Timeout": 1, "Role": "arn:aws:iam::000000000000:role/writer", "Environment": {"Variables": variables},
    });
    let lambda = serve(move |request| {
        assert!(request.to_lowercase().contains("authorization: aws4-hmac-sha256"), "unsigned: {request}");
        match request {
            _ if request.contains("/event-source-mappings/?EventSourceArn=arn%3Aaws%3Asqs") => {
                mapping.to_string()
            }
            _ if request.contains("/functions/") => function.to_string(),
            _ => {
                assert_eq!(request.matches("ResourceArns").count(), 1, "{request}");
                "<EvalDecision>allowed</EvalDecision><EvalActionName>sqs:SendMessage</EvalActionName>".into()
            }
        }
    })
    .await;
    let kvsw = bench.kvsw.clone().set("AWS_ENDPOINT_URL_LAMBDA", Some(&lambda));
    let told = kvsw.set("AWS_ENDPOINT_URL_IAM", Some(&lambda)).run(&["doctor"]).await;
    assert_eq!(told.code, 1, "{}", told.stdout);
    for part in [
        "does not report batch item failures",
        "has STATE_TABLE=another-table",
        "the writer's time-out is 1 s",
        "lacks sqs:ReceiveMessage, sqs:DeleteMessage",
        "dynamodb:GetItem on the sessions table",
    ] {
        assert!(told.stdout.contains(part), "{part} is not in\n{}", told.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_ends_what_is_over_and_nothing_else() {
    let bench = Bench::start().await;
    let now = now_ms();
    bench.session("talking", "active", None, Some(now - 1_000)).await;
    bench.session("silent", "active", None, Some(now - 2 * HOUR_MS)).await;
    bench.session("never-spoke", "active", None, None).await;
    bench.session("just-over", "ended", Some(now - HOUR_MS / 2), Some(now - HOUR_MS / 2)).await;
    bench.session("long-over", "ended", Some(now - 5 * HOUR_MS), Some(now - 5 * HOUR_MS)).await;
    bench.session("over-but-parked", "ended", Some(now - 5 * HOUR_MS), Some(now - 5 * HOUR_MS)).await;
    bench.session("over-and-backfilled", "ended", Some(now - 5 * HOUR_MS), Some(now - 60_000)).await;
    bench.park("over-but-parked", 0..1, "ack-5001").await;
    let streams =
        ["talking", "silent", "just-over", "long-over", "over-but-parked", "over-and-backfilled", "stranger"];
    for session in streams {
        let create = bench.streams.create_stream().stream_name(format!("session-{session}"));
        create.data_retention_in_hours(1).send().await.unwrap();
    }
    let other = bench.streams.create_stream().stream_name("somebody-elses").data_retention_in_hours(1);
    other.send().await.unwrap();

    let dry = bench.kvsw.run(&["sweep", "--dry-run", "--json"]).await;
    assert_eq!((dry.code, bench.emulator.streams().len()), (0, 8), "{dry:?}");
    assert_eq!(bench.status("silent").await, "active");

    let wet = bench.kvsw.run(&["sweep", "--json"]).await;
    assert_eq!(wet.code, 0, "{wet:?}");
    let (dry, wet) = (dry.json(), wet.json());
    for (name, key) in [("ended", "sessionId"), ("deleted", "stream")] {
        let names = |value: &Value| {
            let entries = value[name].as_array().unwrap().clone();
            entries.iter().map(|entry| entry[key].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&dry), names(&wet), "the dry run says what the real one does");
    }
    assert_eq!(wet["ended"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&wet["neverSpoke"], &wet["keptForParked"], &wet["unknown"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(
        (bench.status("silent").await, bench.status("talking").await),
        ("ended".into(), "active".into())
    );
    assert_eq!(wet["deleted"].as_array().unwrap().len(), 1);
    let gone = bench.streams.describe_stream().stream_name("session-long-over").send().await;
    let gone = gone.map(|told| told.stream_info.unwrap().status.unwrap());
    assert!(gone.as_ref().map_or(true, |status| status.as_str() == "DELETING"), "{gone:?}");
    let markers = bench.drain().await;
    assert_eq!(markers, [("silent".to_owned(), u64::MAX)], "its tail is flushed");

    let again = bench.kvsw.run(&["sweep", "--json"]).await.json();
    assert_eq!(
        (again["ended"].as_array().unwrap().len(), again["deleted"].as_array().unwrap().len()),
        (0, 0)
    );
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sweep_does_a_bounded_amount_of_work() {
    let bench = Bench::start().await;
    for i in 0..7 {
        bench.session(&format!("silent-{i}"), "active", None, Some(now_ms() - 2 * HOUR_MS)).await;
    }
    let some = bench.kvsw.run(&["sweep", "--max", "5", "--json"]).await;
    assert_eq!((some.code, some.json()["ended"].as_array().unwrap().len()), (1, 5), "{some:?}");
    assert_eq!(bench.drain().await.len(), 5, "the writer takes the markers");
    let rest = bench.kvsw.run(&["sweep", "--max", "5", "--json"]).await;
    assert_eq!((rest.code, rest.json()["ended"].as_array().unwrap().len()), (0, 2), "{rest:?}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_ends_nobody_whose_words_may_wait_for_the_writer() {
    let bench = Bench::start().await;
    bench.session("speaking", "active", None, Some(now_ms() - HOUR_MS)).await;
    let chunk = json!({"action": "writeToStream", "sessionId": "speaking", "chunkIndex": 9}).to_string();
    let send = bench.sqs.send_message().queue_url(&bench.resources.queue_url).message_body(chunk);
    send.message_group_id("speaking").message_deduplication_id("9").send().await.unwrap();

    let held = bench.kvsw.run(&["sweep", "--json"]).await;
    assert_eq!((held.code, held.json()["ended"].as_array().unwrap().len()), (1, 0), "{held:?}");
    let (held, status) = (held.json()["heldBack"].clone(), bench.status("speaking").await);
    assert_eq!((&held["sessions"], &held["queued"], &status[..]), (&json!(1), &json!(1), "active"));

    // Another session is being written: this one is truly silent.
    bench.session("talking", "active", None, Some(now_ms() - 1_000)).await;
    let swept = bench.kvsw.run(&["sweep", "--json"]).await;
    assert_eq!((swept.code, &swept.json()["heldBack"]), (0, &Value::Null), "{swept:?}");
    assert_eq!(bench.status("speaking").await, "ended");
    bench.stop().await;
}

impl Bench {
    /// A session, with a checkpoint that was last written at `activity`.
    async fn session(&self, id: &str, status: &str, ended_at: Option<u64>, activity: Option<u64>) {
        let text = |value: &str| AttributeValue::S(value.to_owned());
        let put = self.dynamodb.put_item().table_name(&self.resources.sessions_table);
        let put = put.item("sessionId", text(id)).item("status", text(status));
        let put = match ended_at {
            Some(at) => put.item("endedAt", AttributeValue::N(at.to_string())),
            None => put,
        };
        put.send().await.unwrap();
        if let Some(at) = activity {
            let put = self.dynamodb.put_item().table_name(&self.resources.state_table);
            let put = put.item("pk", text(id)).item("sk", text("checkpoint"));
            put.item("updatedAt", AttributeValue::N(at.to_string())).send().await.unwrap();
        }
    }

    async fn status(&self, id: &str) -> String {
        let get = self.dynamodb.get_item().table_name(&self.resources.sessions_table);
        let item = get.key("sessionId", AttributeValue::S(id.to_owned())).send().await.unwrap().item.unwrap();
        item["status"].as_s().unwrap().clone()
    }
}
