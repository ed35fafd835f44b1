//! Queue, mapping and function together, on the real emulators.

#![allow(clippy::unwrap_used)] // a test may

mod support;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName;
use local_stack::backend::BackendKind;
use local_stack::mapping::event::group_of;
use local_stack::mapping::{Disturbance, Duplicate, Mapping, MappingConfig};
use local_stack::runtime_api::{Function, LogLine};
use serde_json::json;
use support::{Bench, next_line, scripted_function};
use tokio::sync::broadcast;

/// Of the function: longer than a healthy invocation takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Of the function that is to run into it.
const SHORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Of the queue: how long a message that failed stays hidden.
const VISIBILITY: Duration = Duration::from_secs(4);

fn start_mapping(bench: &Bench, function: &Function, batch_size: u8) -> Mapping {
    let config = MappingConfig { batch_size, wait: Duration::from_secs(1), ..MappingConfig::default() };
    let Bench { sqs, resources, .. } = bench;
    Mapping::start(sqs.clone(), &resources.queue_url, &resources.queue_arn, function.clone(), config)
}

/// Reads lines until every group has seen its last number succeed; gives the numbers that succeeded, in order, per group.
async fn successes(
    lines: &mut broadcast::Receiver<Arc<LogLine>>,
    groups: &[&str],
    last: u64,
) -> BTreeMap<String, Vec<u64>> {
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    next_line(lines, |line| {
        let (group, n) = (line.value["group"].as_str()?, line.value["n"].as_u64()?);
        if line.value["ok"] == true {
            seen.entry(group.to_owned()).or_default().push(n);
        }
        groups.iter().all(|group| seen.get(*group).is_some_and(|all| all.contains(&last))).then_some(())
    })
    .await;
    seen
}

async fn groups_go_on_in_order_while_one_fails(bench: &Bench) {
    let (function, mut lines) = scripted_function(&bench.folder, TIMEOUT, 5, &[]);
    function.warm(5).await.unwrap();
    let groups = ["a", "b", "c"];
    for n in 0..12 {
        for group in groups {
            // The fifth message of b fails at its first delivery, and holds back what is behind it.
            let script = if group == "b" && n == 4 { json!({"failUntil": 1}) } else { json!(null) };
            bench.send(group, json!({"n": n, "do": script})).await;
        }
    }
    let mapping = start_mapping(bench, &function, 10);
    let seen = successes(&mut lines, &groups, 11).await;
    let in_order: Vec<u64> = (0..12).collect();
    for group in groups {
        assert_eq!(seen[group], in_order, "{group}: each message once and in order");
    }
    let stats = mapping.stats();
    mapping.stop().await;
    assert_eq!(stats.groups["a"].failed + stats.groups["c"].failed, 0, "the failure in b is b's alone");
    assert!(stats.groups["b"].failed >= 1, "b's failure was reported");
    assert_eq!(stats.delete_failures, 0);
    function.shutdown().await;
}

/// SQS fills a batch from one group before it turns to the next; the deferral of short batches counts on that.
async fn a_receive_takes_as_many_of_one_group_as_possible(bench: &Bench) {
    for n in 0..4 {
        for group in ["d", "e", "f"] {
            bench.send(group, json!({"n": n})).await;
        }
    }
    let receive =
        || bench.sqs.receive_message().queue_url(&bench.resources.queue_url).max_number_of_messages(10);
    let receive = receive().message_system_attribute_names(MessageSystemAttributeName::All);
    let messages = receive.send().await.unwrap().messages.unwrap();
    let received: Vec<(&str, u64)> = messages
        .iter()
        .map(|message| {
            let body: serde_json::Value = serde_json::from_str(message.body().unwrap()).unwrap();
            (group_of(message), body["n"].as_u64().unwrap())
        })
        .collect();
    let mut expected: Vec<(&str, u64)> = Vec::new();
    for group in [received[0].0, received[4].0, received[8].0] {
        expected.extend((0..4).map(|n| (group, n)));
    }
    assert_eq!(received, expected[..10], "group by group, in order");
    bench.sqs.purge_queue().queue_url(&bench.resources.queue_url).send().await.unwrap();
}

async fn poison_messages_end_in_the_dead_letter_queue(bench: &Bench) {
    let (function, _lines) = scripted_function(&bench.folder, SHORT_TIMEOUT, 5, &[]);
    let poisons = ["error", "crash", "hang", "garbage"];
    for poison in poisons {
        bench.send(poison, json!({"n": 0, "do": poison})).await;
    }
    let mapping = start_mapping(bench, &function, 1);
    let mut parked = HashSet::new();
    let all_parked = async {
        while parked.len() < poisons.len() {
            let receive =
                bench.sqs.receive_message().queue_url(&bench.resources.dlq_url).max_number_of_messages(10);
            let received = receive.wait_time_seconds(1).send().await.unwrap();
            parked
                .extend(received.messages.unwrap_or_default().into_iter().filter_map(|message| message.body));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all_parked)
        .await
        .expect("all four are parked within a minute");
    let stats = mapping.stats();
    for poison in poisons {
        assert!(parked.contains(&json!({"n": 0, "do": poison}).to_string()), "{poison} is not in the DLQ");
        let group = stats.groups[poison];
        assert_eq!(
            (group.failed, group.deleted),
            (2, 0),
            "{poison}: kept at both receives that the queue allows"
        );
    }
    mapping.stop().await;
    function.shutdown().await;
}

async fn the_mapping_keeps_its_rules(kind: BackendKind) {
    let bench = Bench::start(kind, VISIBILITY, 2).await;
    a_receive_takes_as_many_of_one_group_as_possible(&bench).await;
    groups_go_on_in_order_while_one_fails(&bench).await;
    poison_messages_end_in_the_dead_letter_queue(&bench).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mapping_keeps_its_rules_on_ministack() {
    the_mapping_keeps_its_rules(BackendKind::MiniStack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mapping_keeps_its_rules_on_localstack() {
    the_mapping_keeps_its_rules(BackendKind::LocalStack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disturbed_delivery_reaches_the_function_twice() {
    let bench = Bench::start(BackendKind::MiniStack, VISIBILITY, 20).await;
    let (function, mut lines) = scripted_function(&bench.folder, TIMEOUT, 5, &[]);
    let mapping = start_mapping(&bench, &function, 10);
    for (n, duplicate) in [(0, Duplicate::AtOnce), (1, Duplicate::AfterAnswer)] {
        mapping.disturb(Some(Arc::new(move || Disturbance { duplicate, ..Disturbance::default() })));
        bench.send("a", json!({"n": n})).await;
        for time in ["first", "second"] {
            let seen = next_line(&mut lines, |line| line.value["n"].as_u64()).await;
            assert_eq!(seen, n, "{time} delivery under {duplicate:?}");
        }
    }
    mapping.stop().await;
    function.shutdown().await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_delete_brings_the_message_back() {
    let bench = Bench::start(BackendKind::MiniStack, VISIBILITY, 20).await;
    let (function, mut lines) = scripted_function(&bench.folder, TIMEOUT, 5, &[]);
    let mapping = start_mapping(&bench, &function, 10);
    mapping.disturb(Some(Arc::new(|| Disturbance { drop_deletes: true, ..Disturbance::default() })));
    bench.send("a", json!({"n": 0})).await;
    for receives in [1, 2] {
        assert_eq!(next_line(&mut lines, |line| line.value["receives"].as_u64()).await, receives);
    }
    mapping.stop().await;
    function.shutdown().await;
    bench.stop().await;
}
