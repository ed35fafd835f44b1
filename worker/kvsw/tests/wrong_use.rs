//! Each wrong use ends with exit code 2, a message, and a hint, before anything is changed; most before any service is asked.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use support::{Bench, Ended, Kvsw, folder};

#[tokio::test]
async fn every_wrong_use_is_told_with_a_hint_and_changes_nothing() {
    let folder = folder("wrong-use");
    let path = |name: &str| folder.join(name).display().to_string();
    let (there, missing) = (path("there.wav"), path("no/such/folder.wav"));
    std::fs::write(&there, b"precious").unwrap();
    let txt = path("audio.txt");
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (vec![], "Usage"),
        (vec!["dlq"], "Usage"),
        (vec!["dlq", "lst"], "unrecognized subcommand"),
        (vec!["dlq", "list", "--sesion", "a"], "unexpected argument"),
        (vec!["dlq", "list", "--session", ""], "1 to 128 characters"),
        (vec!["dlq", "list", "--reason", " "], "--reason is empty"),
        (vec!["dlq", "show"], "<SESSION>"),
        (vec!["dlq", "redrive", "--rate", "0"], "--rate takes 1 to 3000"),
        (vec!["dlq", "redrive", "--rate", "-1"], "--rate"),
        (vec!["dlq", "redrive", "--rate", "fast"], "invalid value 'fast'"),
        (vec!["dlq", "redrive", "--native", "--rate", "501"], "--rate takes 1 to 500"),
        (vec!["dlq", "redrive", "--native", "--session", "a"], "--native moves everything"),
        (vec!["dlq", "redrive", "--wait", "soon"], "no length of time"),
        (vec!["dlq", "export"], "--out"),
        (vec!["dlq", "export", "--out", &there], "exists already"),
        (vec!["dlq", "discard", "--out", &missing], "no folder that exists"),
        (vec!["session", "show", "no name!"], "no stream name"),
        (vec!["session", "export", "a", "--out", &txt], ".wav or .mkv"),
        (vec!["session", "export", "a", "--out", &there], "exists already"),
        (vec!["session", "export", "a", "--out", &missing], "no folder that exists"),
        (
            vec!["session", "export", "a", "--out", "x.wav", "--from", "2:00", "--to", "1:00"],
            "does not lie after",
        ),
        (vec!["session", "export", "a", "--out", "x.wav", "--from", "later"], "no place in time"),
        (vec!["session", "timeline", "a", "--out", "x.wav"], ".png or .svg"),
        (vec!["sweep", "--silent-for", "5s"], "1 min or more"),
        (vec!["sweep", "--max", "0"], "--max is 0"),
        (vec!["doctor", "--timeout", "x"], "no length of time"),
        (vec!["--color", "sometimes", "doctor"], "invalid value"),
    ];
    let kvsw = Kvsw::nowhere();
    for (args, part) in cases {
        let ended = kvsw.run(&args).await;
        assert_eq!(ended.code, 2, "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(part), "{args:?} should say {part:?}: {}", ended.stderr);
        let last = ended.stderr.lines().last().unwrap();
        assert!(last.starts_with("hint: ") && last.len() > 12, "{args:?} ends with {last:?}");
        assert_eq!(ended.stdout, "", "{args:?}: stdout is for data");
    }
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["there.wav"], "nothing was made");
    assert_eq!(std::fs::read(&there).unwrap(), b"precious");
}

#[tokio::test]
async fn a_missing_or_wrong_variable_is_named_with_the_flag_that_replaces_it() {
    for name in ["QUEUE_URL", "DLQ_URL", "STATE_TABLE", "SESSIONS_TABLE", "AWS_REGION"] {
        let ended = Kvsw::nowhere().set(name, None).run(&["dlq", "list"]).await;
        assert_eq!(ended.code, 2, "{name}: {ended:?}");
        assert!(ended.stderr.contains(name) && ended.stderr.contains("\nhint: "), "{}", ended.stderr);
    }
    let standard = Kvsw::nowhere().set("DLQ_URL", Some("http://127.0.0.1:1/0/dlq"));
    let ended = standard.run(&["dlq", "list"]).await;
    assert!(ended.code == 2 && ended.stderr.contains("ends with .fifo"), "{ended:?}");
    assert!(ended.stderr.contains("--dlq-url"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_exit_code_3() {
    let kvsw = Kvsw::nowhere();
    for args in [&["dlq", "list"][..], &["session", "show", "owl"], &["sweep", "--dry-run"], &["doctor"]] {
        let ended = kvsw.run(args).await;
        assert_eq!(ended.code, 3, "{args:?}: {ended:?}");
    }
    let ended = kvsw.run(&["dlq", "list"]).await;
    assert!(
        ended.stderr.starts_with("error: ") && ended.stderr.contains("hint: is the network up"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn help_has_examples_and_is_no_error() {
    let kvsw = Kvsw::nowhere();
    let commands: [&[&str]; 9] = [
        &[],
        &["dlq", "list"],
        &["dlq", "show"],
        &["dlq", "export"],
        &["dlq", "redrive"],
        &["dlq", "discard"],
        &["session", "export"],
        &["session", "timeline"],
        &["sweep"],
    ];
    for command in commands {
        let ended = kvsw.run(&[command, &["--help"]].concat()).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{command:?}");
        assert!(ended.stdout.contains("Example"), "{command:?} has no example:\n{}", ended.stdout);
        assert!(!ended.stdout.contains('\u{1b}'), "colour in a pipe");
    }
}

/// Exit code 2, what it says, a hint at the end, nothing on stdout.
fn is_refused(ended: &Ended, part: &str, what: &str) {
    assert_eq!(ended.code, 2, "{what}: {ended:?}");
    assert!(ended.stderr.contains(part), "{what} should say {part:?}: {}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.starts_with("hint: ") && last.len() > 12, "{what} ends with {last:?}");
    assert_eq!(ended.stdout, "", "{what}: stdout is for data");
}

/// Messages of a queue, in any state.
async fn depth(bench: &Bench, url: &str) -> usize {
    let asked = bench.sqs.get_queue_attributes().queue_url(url);
    let told = asked.attribute_names(aws_sdk_sqs::types::QueueAttributeName::All).send().await.unwrap();
    let numbers = told.attributes.unwrap();
    let number = |name: &str| {
        numbers.iter().find(|(key, _)| key.as_str() == name).map_or(0, |(_, n)| n.parse::<usize>().unwrap())
    };
    number("ApproximateNumberOfMessages") + number("ApproximateNumberOfMessagesNotVisible")
}

async fn other_queue(bench: &Bench) -> String {
    let made = bench.sqs.create_queue().queue_name("other.fifo");
    let made = made.attributes(aws_sdk_sqs::types::QueueAttributeName::FifoQueue, "true");
    made.send().await.unwrap().queue_url.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_not_the_dlq_is_refused_and_left_as_it_is() {
    let bench = Bench::start().await;
    bench.park("owl", 0..3, "ack-5001").await;
    let (live, dlq) = (bench.resources.queue_url.clone(), bench.resources.dlq_url.clone());
    let send = bench.sqs.send_message().queue_url(&live).message_group_id("fox");
    send.message_deduplication_id("fox-0").message_body("{}").send().await.unwrap();
    let other = other_queue(&bench).await;
    let out = folder("no-dlq").join("out");
    let out = out.to_str().unwrap();
    let commands: [&[&str]; 7] = [
        &["dlq", "redrive", "--wait", "0"],
        &["dlq", "redrive", "--native"],
        &["dlq", "discard", "--yes", "--out", out],
        &["dlq", "export", "--out", out],
        &["dlq", "export", "--all", "--out", out],
        &["dlq", "show", "owl"],
        &["dlq", "list", "--look"],
    ];
    for (queue_url, dlq_url, part) in [
        (&live, &live, "but the dead-letter queue of"),
        (&dlq, &live, "has no redrive policy"),
        (&live, &other, "other.fifo, but the dead-letter queue of"),
    ] {
        let kvsw = bench.kvsw.clone().set("QUEUE_URL", Some(queue_url)).set("DLQ_URL", Some(dlq_url));
        for command in commands {
            is_refused(&kvsw.run(command).await, part, &format!("{command:?} with {dlq_url}"));
        }
    }
    assert!(!Path::new(out).exists(), "a folder was made for nothing");
    assert_eq!((depth(&bench, &live).await, depth(&bench, &dlq).await), (1, 3), "nothing was moved");
    let listed = bench.kvsw.run(&["dlq", "list", "--json"]).await.json();
    assert_eq!(listed["sessions"][0]["messages"], 3, "the notes are still there: {listed}");
    bench.stop().await;
}
