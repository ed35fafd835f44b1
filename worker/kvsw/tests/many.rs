//! A full DLQ: 1,000 messages in 50 sessions. Listed fast, moved in order within the rate, whatever happens meanwhile.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::MessageSystemAttributeName;
use serde_json::json;
use support::{Bench, folder};

/// A session whose messages lie behind others of it.
const OWL: &str = "owl";

const SESSIONS: usize = 50;
const CHUNKS: u64 = 20;

fn session(i: usize) -> String {
    format!("quiet-meadow-{i:02}")
}

async fn depth(bench: &Bench) -> (u64, u64) {
    let listed = bench.kvsw.run(&["dlq", "list", "--json"]).await.json();
    let number = |name: &str| listed["inQueue"][name].as_u64().unwrap();
    (number("visible"), number("inFlight"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_are_listed_fast_and_moved_in_order() {
    let bench = Bench::start().await;
    for i in 0..SESSIONS {
        let reason = if i % 2 == 0 { "ack-5001" } else { "CRASHED" };
        bench.park(&session(i), 100..100 + CHUNKS, reason).await;
    }
    lists_fast(&bench).await;
    a_filter_leaves_the_others_as_they_were(&bench).await;
    what_will_be_parked_again_is_waited_for(&bench).await;
    a_filter_reaches_what_lies_behind_others(&bench).await;
    a_stopped_export_leaves_the_order_as_it_was(&bench).await;
    what_sqs_moved_itself_is_seen(&bench).await;
    discard_needs_a_yes_and_keeps_what_it_drops(&bench).await;
    interrupted_or_killed_nothing_is_lost(&bench).await;
    bench.stop().await;
}

async fn lists_fast(bench: &Bench) {
    let began = Instant::now();
    let listed = bench.kvsw.run(&["dlq", "list"]).await;
    let took = began.elapsed();
    println!("listed 1,000 messages of 50 sessions in {} ms", took.as_millis());
    assert_eq!(listed.code, 1, "{listed:?}");
    assert!(
        listed.stdout.contains("1000 messages of 50 sessions; the DLQ holds about 1000"),
        "{}",
        listed.stdout
    );
    assert!(took < Duration::from_secs(2), "{took:?}");
    let shown = bench.kvsw.run(&["dlq", "list", "--session", &session(7), "--json"]).await.json();
    assert_eq!(shown["sessions"][0]["chunks"], serde_json::json!([[100, 119]]));
    assert_eq!(shown["sessions"][0]["reasons"], serde_json::json!({"CRASHED": 20}));
}

async fn a_filter_leaves_the_others_as_they_were(bench: &Bench) {
    let chosen = session(30);
    let args = ["dlq", "redrive", "--session", &chosen, "--wait", "0", "--json"];
    let dry = bench.kvsw.run(&[&args[..], &["--dry-run"]].concat()).await;
    assert_eq!(depth(bench).await, (1_000, 0), "a dry run moves nothing");
    let wet = bench.kvsw.run(&args).await;
    assert_eq!(dry.json()["plan"], wet.json()["plan"], "both come from one plan");
    assert_eq!(wet.json()["moved"]["moved"], 20, "{wet:?}");
    assert_eq!(depth(bench).await, (980, 0), "the others are visible again");
    let drained = bench.drain().await;
    assert_eq!(drained, (100..120).map(|chunk| (chosen.clone(), chunk)).collect::<Vec<_>>(), "in order");
}

/// Nobody knows these sessions, so the writer would park them again; here there is no writer, and nothing is seen of it.
async fn what_will_be_parked_again_is_waited_for(bench: &Bench) {
    bench.park("hare", 0..2, "ack-5001").await;
    let began = Instant::now();
    let ended = bench.kvsw.run(&["dlq", "redrive", "--session", "hare", "--wait", "2s"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(began.elapsed() >= Duration::from_secs(2), "it did not wait");
    let awaited = "2 messages neither written nor parked again yet";
    assert!(ended.stdout.contains(awaited), "{}", ended.stdout);
    assert_eq!(bench.drain().await.len(), 2);
}

/// Twelve messages of other reasons lie before the three that are meant; the DLQ shows ten.
async fn a_filter_reaches_what_lies_behind_others(bench: &Bench) {
    bench.park(OWL, 0..12, "NOT_JSON").await;
    bench.park(OWL, 12..15, "ack-4000").await;
    let out = folder("many").join("owl");
    let out = out.to_str().unwrap();
    let some = bench.kvsw.run(&["dlq", "export", "--session", OWL, "--out", out, "--json"]).await;
    assert_eq!((some.code, some.json()["messages"].as_u64()), (1, Some(10)), "SQS shows ten: {some:?}");
    assert_eq!(some.json()["notReached"], json!({"owl": 5}), "{some:?}");
    std::fs::remove_dir_all(out).unwrap();
    for round in 0..2 {
        let all = bench.kvsw.run(&["dlq", "export", "--session", OWL, "--out", out, "--all", "--json"]).await;
        assert_eq!((all.code, all.json()["messages"].as_u64()), (0, Some(15)), "round {round}: {all:?}");
        assert_eq!(chunks_in(out), (0..15).collect::<Vec<_>>(), "turned over, the order is the same");
        std::fs::remove_dir_all(out).unwrap();
    }
    let args = ["dlq", "export", "--session", OWL, "--all", "--reason", "ack-4*", "--limit", "2"];
    let two = bench.kvsw.run(&[&args[..], &["--out", out, "--json"]].concat()).await;
    assert_eq!((two.code, chunks_in(out)), (0, vec![12, 13]), "{two:?}");
    std::fs::remove_dir_all(out).unwrap();
    let args = ["dlq", "redrive", "--session", OWL, "--reason", "ACK-4*", "--wait", "0", "--json"];
    let moved = bench.kvsw.run(&args).await;
    assert_eq!((moved.code, &moved.json()["moved"]["moved"]), (0, &json!(3)), "{moved:?}");
    assert_eq!(bench.drain().await, [12, 13, 14].map(|chunk| (OWL.to_owned(), chunk)));
    assert_eq!(bench.order(OWL).await, (0..12).collect::<Vec<_>>(), "what stays is in its order");
    let healed = bench.kvsw.run(&args).await;
    assert_eq!((healed.code, &healed.json()["moved"]), (0, &json!(null)), "done already: {healed:?}");
    assert_eq!(depth(bench).await, (992, 0), "an export takes nothing away");
}

/// Interrupted while it turns a session over, an export finishes that turn.
async fn a_stopped_export_leaves_the_order_as_it_was(bench: &Bench) {
    let owl: Vec<u64> = (0..12).chain(100..148).collect();
    bench.park(OWL, 100..148, "NOT_JSON").await;
    let out = folder("many-stopped").join("owl");
    let args = ["dlq", "export", "--session", OWL, "--all", "--out", out.to_str().unwrap(), "--json"];
    for signal in ["-INT", "-TERM"] {
        let mut command = bench.kvsw.command(&args);
        let export = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        while !out.join("facts.jsonl").exists() {
            assert!(began.elapsed() < support::PATIENCE, "the export does not begin");
            tokio::task::yield_now().await;
        }
        let pid = export.id().unwrap().to_string();
        assert!(tokio::process::Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
        let ended = export.wait_with_output().await.unwrap();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        let told: serde_json::Value = serde_json::from_slice(&ended.stdout).expect(&told);
        assert_eq!((ended.status.code(), &told["interrupted"]), (Some(1), &json!(true)), "{signal}: {told}");
        std::fs::remove_dir_all(&out).unwrap();
        assert_eq!(bench.order(OWL).await, owl, "stopped by {signal}, the session is in its order");
    }
    let dropped = folder("many-stopped").join("dropped");
    let discard =
        ["dlq", "discard", "--session", OWL, "--yes", "--out", dropped.to_str().unwrap(), "--limit", "48"];
    let ended = bench.kvsw.run(&discard).await;
    assert_eq!((ended.code, bench.order(OWL).await), (0, (136..148).collect()), "{ended:?}");
    assert_eq!(depth(bench).await, (992, 0));
}

fn chunks_in(folder: &str) -> Vec<u64> {
    let lines = std::fs::read_to_string(format!("{folder}/messages.jsonl")).unwrap();
    let chunk =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["chunkIndex"].as_u64().unwrap();
    lines.lines().map(chunk).collect()
}

/// A message without a note and without attributes, as the queue's own redrive policy moves it.
async fn what_sqs_moved_itself_is_seen(bench: &Bench) {
    let send = bench.sqs.send_message().queue_url(&bench.resources.dlq_url).message_group_id("stray");
    let body = "{\"chunkIndex\":4}";
    send.message_deduplication_id("stray-4").message_body(body).send().await.unwrap();
    let listed = bench.kvsw.run(&["dlq", "list", "--session", "stray"]).await;
    assert!(listed.stdout.contains("1 message in the DLQ without a note"), "{}", listed.stdout);
    let looked = bench.kvsw.run(&["dlq", "list", "--session", "stray", "--look", "--json"]).await;
    assert_eq!(looked.json()["notNoted"], serde_json::json!({"stray": 1}), "{}", looked.stdout);
    let shown = bench.kvsw.run(&["dlq", "show", "stray", "--json"]).await.json();
    assert_eq!(
        (&shown["messages"][0]["reason"], &shown["messages"][0]["chunkIndex"]),
        (&"MOVED_BY_QUEUE".into(), &4.into())
    );
    assert_eq!(depth(bench).await, (993, 0), "what was looked at is visible again");
    let redriven = bench.kvsw.run(&["dlq", "redrive", "--session", "stray", "--wait", "0", "--json"]).await;
    assert_eq!((redriven.code, &redriven.json()["moved"]["moved"]), (0, &1.into()), "{redriven:?}");
    assert_eq!(bench.drain().await, [("stray".to_owned(), 4)]);
}

async fn discard_needs_a_yes_and_keeps_what_it_drops(bench: &Bench) {
    let refused = bench.kvsw.run(&["dlq", "discard", "--session", "owl"]).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("hint: --yes"), "{refused:?}");
    assert_eq!(depth(bench).await, (992, 0));
    let out = folder("many").join("dropped");
    let args = ["dlq", "discard", "--session", "owl", "--yes", "--out", out.to_str().unwrap(), "--json"];
    let dropped = bench.kvsw.run(&args).await;
    assert_eq!((dropped.code, dropped.json()["messages"].as_u64()), (0, Some(12)), "{dropped:?}");
    assert_eq!(std::fs::read_to_string(out.join("messages.jsonl")).unwrap().lines().count(), 12);
    assert_eq!(std::fs::read_to_string(out.join("facts.jsonl")).unwrap().lines().count(), 12);
    assert_eq!(depth(bench).await, (980, 0));
    let gone = bench.kvsw.run(&["dlq", "show", "owl"]).await;
    assert_eq!((gone.code, gone.stdout.trim()), (0, "nothing of session owl is parked"), "{gone:?}");
}

/// A move that is interrupted, with one message sent and not deleted, and begun again: every message once, each session in
/// order, within the rate.
async fn interrupted_or_killed_nothing_is_lost(bench: &Bench) {
    let rate = 150;
    bench.send_the_first_without_deleting_it().await;
    let args = ["dlq", "redrive", "--rate", "150", "--wait", "0", "--json"];
    // Who interrupts it does not want to wait for gaps that cannot close any more.
    let mut command = bench.kvsw.command(&["dlq", "redrive", "--rate", "150", "--wait", "10m", "--json"]);
    let first =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while bench.parked().await > 800 {
        assert!(began.elapsed() < support::PATIENCE, "the move does not get on");
    }
    let interrupt =
        tokio::process::Command::new("kill").args(["-INT", &first.id().unwrap().to_string()]).status();
    assert!(interrupt.await.unwrap().success());
    let interrupted = Instant::now();
    let first = first.wait_with_output().await.unwrap();
    assert!(interrupted.elapsed() < Duration::from_secs(20), "it waits: {:?}", interrupted.elapsed());
    assert_eq!(first.status.code(), Some(1), "not all is done");
    let told: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(told["moved"]["interrupted"], true);
    assert_eq!(depth(bench).await.1, 0, "what it held is visible again");

    let began = Instant::now();
    let rest = bench.kvsw.run(&args).await;
    let took = began.elapsed();
    let (before, moved) =
        (told["moved"]["moved"].as_u64().unwrap(), rest.json()["moved"]["moved"].as_u64().unwrap());
    println!("{before} messages, then {moved} in {took:?} at {rate}/s");
    assert_eq!((rest.code, before + moved), (0, 980), "{rest:?}");
    assert!(took.as_secs_f64() >= moved.saturating_sub(20) as f64 / f64::from(rate), "too fast: {took:?}");
    let drained = bench.drain().await;
    let distinct: BTreeSet<&(String, u64)> = drained.iter().collect();
    assert_eq!((drained.len(), distinct.len()), (980, 980), "every message has come, and none twice");
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for (session, chunk) in &drained {
        let before = last.insert(session, *chunk);
        assert!(before.is_none_or(|before| before < *chunk), "{session}: {chunk} after {before:?}");
    }
    let list = bench.kvsw.run(&["dlq", "list"]).await;
    assert_eq!((list.code, list.stdout.trim()), (0, "nothing is parked"), "the notes went with the messages");
}

impl Bench {
    /// A session's chunks as they lie in the DLQ, by an export that changes nothing: the order of ten a time, all turned over.
    async fn order(&self, session: &str) -> Vec<u64> {
        let out = folder("many-order").join("out");
        let args = ["dlq", "export", "--session", session, "--all", "--out", out.to_str().unwrap()];
        let exported = self.kvsw.run(&args).await;
        assert_eq!(exported.code, 0, "{exported:?}");
        chunks_in(out.to_str().unwrap())
    }

    async fn parked(&self) -> u64 {
        let (visible, in_flight) = depth(self).await;
        visible + in_flight
    }

    /// As a move leaves it that is killed between sending a message and deleting it.
    async fn send_the_first_without_deleting_it(&self) {
        let receive = self.sqs.receive_message().queue_url(&self.resources.dlq_url).max_number_of_messages(1);
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        let message = receive.send().await.unwrap().messages.unwrap().remove(0);
        let group = &message.attributes().unwrap()[&MessageSystemAttributeName::MessageGroupId];
        let send = self.sqs.send_message().queue_url(&self.resources.queue_url).message_group_id(group);
        let send = send.message_deduplication_id(format!("redrive-{}", message.message_id().unwrap()));
        send.message_body(message.body().unwrap()).send().await.unwrap();
        let show =
            self.sqs.change_message_visibility().queue_url(&self.resources.dlq_url).visibility_timeout(0);
        show.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
    }
}
